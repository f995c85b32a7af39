import itertools

import numpy as np
import pytest
from PIL import Image

from mmad.evaluation.metrics.defect_census import DefectCensus, mask_fault

FAULTS = ['empty', None, 'removed', 'removed', None, 'empty', 'empty']


def count(faults, start=0):
    census = DefectCensus('the place')
    for index, fault in enumerate(faults, start):
        census.add(f'{index}.png', fault)
    return census


@pytest.mark.parametrize('cuts', itertools.combinations(range(8), 2))
def test_parts_count_as_the_whole(cuts):
    first, second = cuts
    census = count(FAULTS[:first])
    census.merge(count(FAULTS[first:second], first))
    census.merge(count(FAULTS[second:], second))
    whole = count(FAULTS)
    assert census.conditions == whole.conditions == dict(
        empty_masks=3, defects_removed=2)
    assert census.sentences() == whole.sentences()
    empty, removed = whole.sentences()
    assert empty.startswith('3 of 7 ')
    assert '0.png, 5.png, 6.png.' in empty
    assert removed.startswith('2 of 7 ')
    assert 'at the place' in removed


def test_many_are_counted_and_few_named():
    sentence, = count(['empty'] * 10).sentences()
    assert sentence.endswith('0.png, 1.png, 2.png and 7 more.')
    assert count([None] * 10).sentences() == []


@pytest.mark.parametrize(('area', 'fault'), [(0, 'empty'), (3, 'removed')])
@pytest.mark.parametrize('is_noted', [True, False])
def test_the_file_tells_what_the_pipeline_removed(tmp_path, area, fault,
                                                  is_noted):
    pixels = np.zeros((4, 5), np.uint8)
    pixels[0, :area] = 255
    path = tmp_path / 'mask.png'
    Image.fromarray(pixels).save(path)
    sample = dict(mask_path=str(path), ori_shape=(4, 5))
    if is_noted:
        path.unlink()
        sample['mask_area'] = area
    assert mask_fault(sample, np.zeros((2, 2), bool)) == fault
    assert mask_fault(sample, np.ones((2, 2), bool)) is None


def test_regions_in_several_files_tell_it_too(tmp_path):
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / '000.png')
    sample = dict(mask_path=str(tmp_path), ori_shape=(4, 4))
    assert mask_fault(sample, np.zeros((2, 2), bool)) == 'removed'


@pytest.mark.parametrize(
    'sample', [{}, dict(mask_path=None),
               dict(mask_path='none.png')])
def test_without_a_file_the_mask_is_what_was_given(sample):
    assert mask_fault(sample, np.zeros((2, 2), bool)) == 'empty'
