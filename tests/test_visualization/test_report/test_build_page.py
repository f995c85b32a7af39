import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from report_folders import draw_scores, make_predictions, write_run

from mmad.visualization.report import build_page, read_runs

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>.png'


class Page(HTMLParser):
    """Elements of a page: tags, attributes that load, and scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.text = [], [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ('src', 'href', 'srcset', 'data', 'action'):
                self.addresses.append(value)
            if name.startswith('on'):
                self.handlers.append(name)

    def handle_data(self, data):
        self.text += data


def page_data(text):
    found, = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text,
        re.DOTALL)
    return json.loads(found)


@pytest.fixture
def make_page(tmp_path):

    def make(*predictions, max_images=500, title='Report', **metrics):
        folders = [
            write_run(tmp_path / f'run{number}', one, **metrics)
            for number, one in enumerate(predictions)
        ]
        return build_page(read_runs(folders), title, max_images)

    return make


def test_page_loads_nothing(make_page, tmp_path):
    page = Page(make_page(make_predictions(tmp_path, *draw_scores())))
    assert all(
        address.startswith(('#', 'data:')) for address in page.addresses)
    assert page.tags.count('script') == 2
    assert page.handlers == []


def test_names_are_text(make_page, tmp_path):
    scores, kinds = draw_scores(2, 2)
    names = [f'{place}{EVIL.replace("/", "|")}' for place in range(4)]
    predictions = make_predictions(
        tmp_path, scores, kinds, names, [EVIL, '{{ 7 * 7 }}'], method=EVIL)
    predictions.paths = [f'{place}{EVIL}' for place in range(4)]
    text = make_page(
        predictions,
        title=EVIL,
        per_defect_type={EVIL: dict(image_auroc=0.5)},
        **{EVIL: 0.25})
    page = Page(text)
    assert page.tags.count('script') == 2
    assert 'img' not in page.tags
    assert page.handlers == []
    assert EVIL in page.text
    assert '{{ 7 * 7 }}' in page.text
    data = page_data(text)
    assert data['runs'][0]['types'] == [EVIL, '{{ 7 * 7 }}']
    assert data['runs'][0]['gallery'][0]['name'].endswith(
        'onerror=alert(2)>.png')


def test_a_name_that_is_no_text(make_page, tmp_path):
    predictions = make_predictions(tmp_path, *draw_scores(2, 2))
    predictions.paths[1] = 'kr\udce4tz\n.png'
    text = make_page(predictions)
    text.encode()
    names = [item['name'] for item in page_data(text)['runs'][0]['gallery']]
    assert 'kr\\udce4tz\\n.png' in names[1]


def test_gallery_has_each_image_with_its_pictures(make_page, tmp_path):
    scores, kinds = draw_scores()
    predictions = make_predictions(tmp_path, scores, kinds)
    predictions.p_values = np.linspace(0, 1, 35, dtype=np.float32)
    data = page_data(make_page(predictions))
    gallery = data['runs'][0]['gallery']
    assert [item['score'] for item in gallery] == scores.tolist()
    assert [item['kind'] for item in gallery] == kinds.tolist()
    assert gallery[3]['p'] == predictions.p_values[3]
    used = [item[name] for item in gallery for name in ('image', 'heat')]
    used += [item['mask'] for item in gallery if item['kind']]
    assert sorted(used) == list(range(len(data['pictures']))) == list(
        range(35 * 2 + 15))
    assert [item['mask'] is None for item in gallery] == (kinds == 0).tolist()


def test_runs_share_the_pictures_of_their_images(make_page, tmp_path):
    scores, kinds = draw_scores()
    first = make_predictions(tmp_path, scores, kinds)
    second = make_predictions(tmp_path, 3 * scores, kinds)
    data = page_data(make_page(first, second))
    assert len(data['pictures']) == 35 * 3 + 15
    one, two = (run['gallery'] for run in data['runs'])
    assert [item['image'] for item in one] == [item['image'] for item in two]


def test_large_sets_show_a_part_and_say_so(make_page, tmp_path):
    text = make_page(
        make_predictions(tmp_path, *draw_scores(40, 40)), max_images=16)
    assert re.search(r'16 of 80 images:', text)
    run, = page_data(text)['runs']
    assert len(run['gallery']) == 16
    assert run['counts'] == [40, 20, 20]


def test_missing_files_are_said(make_page, tmp_path):
    predictions = make_predictions(tmp_path, *draw_scores())
    (tmp_path / 'images/003.png').unlink()
    text = make_page(predictions)
    assert '1 files could not be shown' in Page(text).text
    gallery = page_data(text)['runs'][0]['gallery']
    assert gallery[3]['image'] is None
    assert gallery[3]['heat'] is not None


def test_paths_are_relative_to_the_folder_of_the_test(make_page, tmp_path):
    predictions = make_predictions(tmp_path, *draw_scores())
    predictions.about = dict(folder=str(tmp_path))
    predictions.paths = [f'images/{place:03}.png' for place in range(35)]
    text = make_page(predictions)
    assert 'could not be shown' not in text
    assert str(tmp_path) not in Page(text).text


def test_only_good_images(make_page, tmp_path):
    text = make_page(
        make_predictions(tmp_path, *draw_scores(9, 0)),
        image_auroc='undefined',
        aupro='undefined')
    page = Page(text)
    assert ('Undefined, since they take good and defective images, and masks '
            'for pixels: Image AUROC, AUPRO.') in page.text
    assert 'the highest score of these good images' in text
    assert page_data(text)['runs'][0]['hits'] == []
    assert 'data-curve="roc"' not in text


def test_metrics_stand_side_by_side(tmp_path):
    runs = read_runs([
        write_run(tmp_path / 'a', aupro=0.25, own='text', image_auroc=0.5),
        write_run(tmp_path / 'b', aupro='undefined', own=2.0)
    ])
    text = Page(build_page(runs, 'Report')).text
    assert 'AUPRO25.0 %undefined' in text
    assert 'Image AUROC50.0 %90.0 %' in text
    assert 'own-2' in text


def test_metrics_alone(tmp_path):
    write_run(tmp_path, image_auroc=0.5, f1=float(3), note='text')
    text = build_page(read_runs([tmp_path]), 'Report')
    page = Page(text)
    assert 'no predictions.npz' in page.text
    assert '50.0 %' in page.text
    assert page.tags.count('script') == 0


def test_many_images_make_a_page_of_bounded_size(make_page, tmp_path):
    scores, kinds = draw_scores(20000, 20000)
    few = make_predictions(tmp_path, scores[:4], kinds[:4])
    few.paths = [f'{place}.png' for place in range(40000)]
    few.scores = np.random.default_rng(0).random(40000).astype(np.float32)
    few.kinds, few.defect_types = kinds, ['cut', 'dent']
    text = make_page(few)
    assert '4 of 40000 images' in text
    assert len(text) < 300_000
