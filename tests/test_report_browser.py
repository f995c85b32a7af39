"""The page of a report in a browser: what the slider does, and the layout."""
import shutil

import pytest
from report_folders import draw_scores, make_predictions, write_run
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from mmad.visualization.report import build_page, read_runs

CHROMIUM = next(
    filter(
        None,
        map(shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])),
    None)
ARGUMENTS = [
    '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'
]
EVIL = '<img src=x onerror="document.title=1">.png'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason='needs Chromium, for example of Debian')
]


@pytest.fixture(scope='module')
def browser():
    api = pytest.importorskip(
        'playwright.sync_api',
        reason='needs playwright, of the extra `browser`')
    with api.sync_playwright() as playwright:
        # With a new profile, which is removed at the end.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """A page of two runs, and the scores and kinds of the first."""
    folder = tmp_path_factory.mktemp('report')
    scores, kinds = draw_scores(40, 30)
    names = [f'{place:03} {"long " * 30}{EVIL}' for place in range(70)]
    first = make_predictions(
        folder / 'a',
        scores,
        kinds,
        names, ['<b>cut</b>', 'dent'],
        image_threshold=2.72,
        pixel_threshold=1.9,
        false_alarm_rate=0.05,
        calibration_images=19,
        calibration_scores=[place / 7 for place in range(19)])
    second = make_predictions(folder / 'b', *draw_scores(9, 0, seed=1))
    runs = read_runs([
        write_run(folder / 'first', first),
        write_run(folder / 'second', second)
    ])
    path = folder / 'report.html'
    path.write_text(build_page(runs, 'Report'), encoding='utf-8')
    return path, scores, kinds


@pytest.fixture
def open_page(browser, report):
    """Open the page; at the end, it must not have complained or loaded."""
    contexts, faults = [], []

    def open_one(width=1280, scheme='light'):
        context = browser.new_context(
            viewport=dict(width=width, height=800),
            color_scheme=scheme,
            offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on('console', lambda message: faults.append(message.text))
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.on(
            'request', lambda request: faults.append(request.url)
            if not request.url.startswith(('file:', 'data:')) else None)
        page.goto(report[0].as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert faults == []


def matrix(page):
    return [[
        int(page.inner_text(f'#{name}').replace(',', '')) for name in row
    ] for row in (('tn', 'fp'), ('fn', 'tp'))]


def settle(page):
    page.evaluate('new Promise(done => requestAnimationFrame('
                  '() => requestAnimationFrame(done)))')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 400])
def test_slider_moves_the_confusion_matrix(open_page, report, width, scheme):
    _, scores, kinds = report
    page = open_page(width, scheme)
    values = page.evaluate('data.runs[0].values')
    assert page.inner_text('#value') == '2.72'
    slider = page.locator('#threshold')
    for step in (4, len(values) // 2, len(values) - 3):
        slider.evaluate(
            '(slider, step) => { slider.value = step; '
            'slider.dispatchEvent(new Event("input")) }', step)
        settle(page)
        above = scores > values[step]
        assert matrix(page) == confusion_matrix(kinds > 0, above).tolist()
        recall = recall_score(kinds > 0, above)
        precision = precision_score(kinds > 0, above)
        rate = above[kinds == 0].mean()
        assert page.inner_text('#recall') == f'{100 * recall:.1f} %'
        assert page.inner_text('#precision') == f'{100 * precision:.1f} %'
        assert page.inner_text('#rate') == f'{100 * rate:.1f} %'
        shown = [
            page.inner_text(f'[data-filter={name}]').split()[-1]
            for name in ('passed', 'alarm', 'missed', 'found')
        ]
        assert [int(one)
                for one in shown] == [*matrix(page)[0], *matrix(page)[1]]
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.title() == 'Report'
    back = page.evaluate('getComputedStyle(document.body).backgroundColor')
    dark = sum(int(one) for one in back[4:-1].split(', ')) < 200
    assert dark == (scheme == 'dark')


def test_keys_move_the_slider_by_one_step(open_page):
    page = open_page()
    start = int(page.input_value('#threshold'))
    page.focus('#threshold')
    for _ in range(3):
        page.keyboard.press('ArrowRight')
    settle(page)
    assert int(page.input_value('#threshold')) == start + 3
    spoken = page.get_attribute('#threshold', 'aria-valuetext')
    assert 'of 30 defective images found' in spoken
    assert page.inner_text('#origin') == 'Moved by hand.'
    page.click('.presets button:has-text("Calibrated")')
    settle(page)
    assert int(page.input_value('#threshold')) == start


def test_a_click_on_the_histogram_moves_the_threshold(open_page):
    page = open_page()
    box = page.locator('.plane').first.bounding_box()
    page.mouse.click(box['x'] + 0.6 * box['width'], box['y'] + 40)
    settle(page)
    line = page.locator('.line').first.bounding_box()
    assert abs(line['x'] - box['x'] - 0.6 * box['width']) < 40
    assert float(page.inner_text('#value')) != 2.72


def test_gallery_shows_the_worst_first(open_page, report):
    _, scores, kinds = report
    page = open_page()

    def cards():
        return page.evaluate(
            '[...document.querySelectorAll(".card")].map(card => [card'
            '.querySelector(".verdict").textContent, Number(card'
            '.querySelector(".score").textContent)])')

    wrong = [
        max(score - 2.72, 0) if kind == 0 else max(2.72 - score, 0)
        for score, kind in zip(scores.tolist(), kinds)
    ]
    first = cards()
    assert len(first) == 24
    expected = sorted(wrong, reverse=True)[:24]
    for (verdict, score), by in zip(first, expected):
        if by > 0:
            assert abs(score - 2.72) == pytest.approx(by, abs=1e-4)
            assert verdict in ('▲ Missed', '◆ False alarm')
    page.click('[data-filter=missed]')
    assert {verdict for verdict, _ in cards()} == {'▲ Missed'}
    assert len(cards()) == sum((kinds > 0) & (scores <= 2.72))
    page.click('[data-filter=all]')
    page.select_option('#type', label='<b>cut</b>')
    assert len(cards()) == 15
    page.select_option('#type', 'all')
    page.click('#more')
    assert len(cards()) == 48
    assert page.locator('.card img').first.evaluate(
        'image => image.complete && image.naturalWidth > 0')


def test_another_run_is_chosen(open_page):
    page = open_page(400)
    page.select_option('#run', label='second')
    assert page.inner_text('#summary') == (
        'At this threshold: 0 of 9 good images rejected by mistake.')
    assert not page.is_visible('#row-defective')
    assert 'highest score of these good images' in page.inner_text('#origin')
    assert page.locator('.histogram:visible').count() == 1
    assert page.evaluate('document.documentElement.scrollWidth') <= 400


def test_prints_without_the_controls(open_page):
    page = open_page(800, 'dark')
    page.emulate_media(media='print')
    assert not page.is_visible('#threshold')
    assert page.is_visible('#summary')
    assert page.evaluate('getComputedStyle(document.body).backgroundColor'
                         ) == ('rgb(255, 255, 255)')
