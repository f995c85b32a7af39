'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const BATCH = 24;
const VERDICTS = {
  missed: '▲ Missed', alarm: '◆ False alarm', found: '● Found',
  passed: '○ Passed',
};
const slider = byId('threshold');
const state = {
  run: Number(byId('run').value), filter: 'all', type: 'all', order: 'wrong',
  limit: BATCH, steps: data.runs.map((run) => run && run.start),
};

const number = (x) => String(Number(x.toPrecision(5)));
const count = (x) => x.toLocaleString('en-US');
const percent = (part, whole) => (
  whole ? `${(100 * part / whole).toFixed(1)} %` : 'undefined');
const sum = (values) => values.reduce((total, value) => total + value, 0);
const plural = (x, one, many) => `${count(x)} ${x === 1 ? one : many}`;

function current() {
  const run = data.runs[state.run];
  const step = state.steps[state.run];
  const defective = sum(run.counts.slice(1));
  const hits = run.hits.map((type) => type[step]);
  const tp = sum(hits);
  const fp = run.alarms[step];
  return {
    run, step, hits, tp, fp, defective, good: run.counts[0],
    threshold: run.values[step], fn: defective - tp, tn: run.counts[0] - fp,
  };
}

function verdict(item, threshold) {
  if (item.kind) return item.score > threshold ? 'found' : 'missed';
  return item.score > threshold ? 'alarm' : 'passed';
}

function showDecision(now) {
  const parts = [];
  if (now.defective) {
    parts.push(`${count(now.tp)} of ${plural(now.defective, 'defective image',
      'defective images')} found, ${count(now.fn)} missed`);
  }
  if (now.good) {
    parts.push(`${count(now.fp)} of ${plural(now.good, 'good image',
      'good images')} rejected by mistake`);
  }
  byId('summary').textContent = `At this threshold: ${parts.join('; ')}.`;
  const short = [];
  if (now.defective) short.push(`▲ ${count(now.fn)} missed`);
  if (now.good) {
    short.push(`◆ ${plural(now.fp, 'false alarm', 'false alarms')}`);
  }
  byId('counts').textContent = short.join('   ');
  byId('value').textContent = number(now.threshold);
  slider.setAttribute(
    'aria-valuetext', `${number(now.threshold)}: ${parts.join('; ')}`);
  for (const name of ['tp', 'fn', 'fp', 'tn']) {
    byId(name).textContent = count(now[name]);
  }
  byId('row-defective').hidden = !now.defective;
  byId('row-good').hidden = !now.good;
  for (const name of ['recall', 'precision', 'f1']) {
    byId(name).parentElement.hidden = !now.defective;
  }
  byId('recall').textContent = percent(now.tp, now.defective);
  byId('rate').textContent = percent(now.fp, now.good);
  byId('precision').textContent = (
    now.defective ? percent(now.tp, now.tp + now.fp) : 'undefined');
  byId('f1').textContent = percent(
    2 * now.tp, now.defective && 2 * now.tp + now.fp + now.fn);
  byId('expected-row').hidden = !now.run.expected;
  if (now.run.expected) {
    byId('expected').textContent = percent(now.run.expected[now.step], 1);
  }
}

function showRun(now) {
  const own = `.of-run[data-run="${state.run}"]`;
  for (const part of all('.of-run')) part.hidden = !part.matches(own);
  let origin = 'Moved by hand.';
  for (const button of all(`${own} .presets button`)) {
    const pressed = Number(button.dataset.step) === now.step;
    if (pressed && origin === 'Moved by hand.') {
      origin = `${button.textContent}: ${button.dataset.text}.`;
    }
    button.setAttribute('aria-pressed', pressed);
  }
  if (now.step === now.run.start) origin = `Starting point: ${now.run.origin}.`;
  byId('origin').textContent = origin;
  for (const chart of all(`${own} .histogram`)) {
    const low = Number(chart.dataset.low);
    const high = Number(chart.dataset.high);
    const place = (now.threshold - low) / (high - low);
    const line = chart.querySelector('.line');
    line.style.left = `${100 * Math.min(1, Math.max(0, place))}%`;
  }
  all(`${own} .types tbody tr`).forEach((row, type) => {
    const whole = now.run.counts[type + 1];
    const hits = now.hits[type];
    row.querySelector('.type-found').textContent = count(hits);
    row.querySelector('.type-missed').textContent = count(whole - hits);
    row.querySelector('.type-recall').textContent = percent(hits, whole);
  });
  const recall = now.tp / now.defective;
  movePoint('roc', now.fp / now.good, recall);
  movePoint('pr', recall, now.tp / (now.tp + now.fp));
}

function movePoint(curve, x, y) {
  const point = document.querySelector(`[data-curve="${curve}"] .point`);
  if (!point) return;
  const known = Number.isFinite(x) && Number.isFinite(y);
  point.setAttribute('cx', known ? 300 * x : -99);
  point.setAttribute('cy', known ? 300 * (1 - y) : -99);
}

function showGallery(now) {
  const counts = { all: 0, missed: 0, alarm: 0, found: 0, passed: 0 };
  const items = now.run.gallery.filter(
    (item) => state.type === 'all' || item.kind === Number(state.type));
  for (const item of items) {
    item.verdict = verdict(item, now.threshold);
    counts.all += 1;
    counts[item.verdict] += 1;
  }
  for (const button of all('.filters button')) {
    const key = button.dataset.filter;
    const words = { all: 'All', alarm: '◆ False alarms' }[key];
    button.textContent = `${words || VERDICTS[key]} ${count(counts[key])}`;
    button.setAttribute('aria-pressed', key === state.filter);
    button.hidden = (key === 'missed' || key === 'found') && !now.defective;
  }
  const wrong = (item) => (
    item.kind ? now.threshold - item.score : item.score - now.threshold);
  const keys = {
    wrong: (one, other) => wrong(other) - wrong(one),
    high: (one, other) => other.score - one.score,
    low: (one, other) => one.score - other.score,
    name: (one, other) => one.name.localeCompare(other.name, 'en',
      { numeric: true }),
  };
  const chosen = items.filter(
    (item) => state.filter === 'all' || item.verdict === state.filter);
  chosen.sort(keys[state.order]);
  const part = chosen.slice(0, state.limit);
  byId('gallery').replaceChildren(...part.map((item) => card(item, now.run)));
  byId('shown').textContent = chosen.length
    ? `Showing ${count(part.length)} of ${plural(chosen.length, 'image',
      'images')}.` : 'There is no such image at this threshold.';
  byId('more').hidden = part.length === chosen.length;
}

function card(item, run) {
  if (!item.card) {
    item.card = byId('card').content.firstElementChild.cloneNode(true);
    const trio = item.card.querySelector('.trio');
    const missing = item.kind ? 'no mask' : 'no defect';
    trio.append(
      picture(item.image, `image ${item.name}`, 'image', 'not found'),
      picture(item.heat, `anomaly map of ${item.name}`, 'anomaly map',
        'no map'));
    if (run.has_masks) {
      trio.append(
        picture(item.mask, `mask of ${item.name}`, 'mask', missing));
    }
    item.card.querySelector('.name').textContent = item.name;
    const kind = item.kind ? run.types[item.kind - 1] : 'good';
    const p = item.p === null ? '' : `, p = ${Number(item.p.toPrecision(2))}`;
    item.card.querySelector('.detail').textContent = `${kind}${p}`;
    item.card.querySelector('.score').textContent = number(item.score);
  }
  item.card.className = `card ${item.verdict}`;
  item.card.querySelector('.verdict').textContent = VERDICTS[item.verdict];
  return item.card;
}

function picture(place, alt, caption, missing) {
  const figure = document.createElement('figure');
  let shown;
  if (place === null) {
    shown = document.createElement('div');
    shown.className = 'missing';
    shown.textContent = missing;
  } else {
    shown = document.createElement('img');
    shown.src = data.pictures[place];
    shown.alt = alt;
  }
  const text = document.createElement('figcaption');
  text.textContent = caption;
  figure.append(shown, text);
  return figure;
}

function update() {
  const now = current();
  slider.value = now.step;
  showDecision(now);
  showRun(now);
  showGallery(now);
}

let waiting = false;
function updateSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    update();
  });
}

function moveTo(step) {
  state.steps[state.run] = step;
  state.limit = BATCH;
  updateSoon();
}

function chooseRun() {
  state.run = Number(byId('run').value);
  state.limit = BATCH;
  state.type = 'all';
  const run = data.runs[state.run];
  slider.max = run.values.length - 1;
  const types = [['all', 'all'], ...run.counts.map(
    (size, kind) => [kind, kind ? run.types[kind - 1] : 'good'])];
  byId('type').replaceChildren(...types.map(
    ([value, name]) => new Option(name, value)));
  update();
}

function nearestStep(values, score) {
  let low = 0;
  let high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] > score) high = middle;
    else low = middle;
  }
  return score - values[low] < values[high] - score ? low : high;
}

function followPointer(event) {
  if (event.buttons !== 1) return;
  const chart = event.currentTarget.closest('.histogram');
  const box = event.currentTarget.getBoundingClientRect();
  const low = Number(chart.dataset.low);
  const high = Number(chart.dataset.high);
  const share = (event.clientX - box.left) / box.width;
  moveTo(nearestStep(data.runs[state.run].values, low + share * (high - low)));
}

slider.addEventListener('input', () => moveTo(Number(slider.value)));
byId('run').addEventListener('change', chooseRun);
for (const button of all('.presets button')) {
  button.addEventListener(
    'click', () => moveTo(Number(button.dataset.step)));
}
for (const plane of all('.plane')) {
  plane.addEventListener('pointerdown', followPointer);
  plane.addEventListener('pointermove', followPointer);
}
for (const button of all('.filters button')) {
  button.addEventListener('click', () => {
    state.filter = button.dataset.filter;
    state.limit = BATCH;
    update();
  });
}
for (const key of ['type', 'order']) {
  byId(key).addEventListener('change', (event) => {
    state[key] = event.target.value;
    state.limit = BATCH;
    update();
  });
}
byId('more').addEventListener('click', () => {
  state.limit += BATCH;
  update();
});
chooseRun();
