from mmad.evaluation.metrics.region_census import RegionCensus, regions_of


def make(*counts, shape=(2000, 3000), resized=(256, 256)):
    return regions_of(
        dict(mask_regions=counts, ori_shape=shape, resized_shape=resized))


def census_of(*images):
    census = RegionCensus()
    for number, image in enumerate(images):
        census.add(f'{number}.png', image)
    return census


def test_what_is_not_known():
    assert regions_of(dict(ori_shape=(2, 3), resized_shape=(2, 3))) is None
    assert RegionCensus().conditions == {}
    assert RegionCensus().sentences() == []


def test_all_visible():
    census = census_of(make(3, 0, 0, 0), make(1, 0, 0, 0))
    assert census.conditions == dict(
        mask_regions=4,
        regions_outside=0,
        regions_lost=0,
        regions_of_one_pixel=0)
    assert census.sentences() == []


def test_regions_that_shrink_to_nothing():
    small = make(1, 0, 1, 0, shape=(300, 300))
    census = census_of(make(1, 0, 0, 0), make(4, 0, 1, 2), small)
    assert census.conditions == dict(
        mask_regions=6,
        regions_outside=0,
        regions_lost=2,
        regions_of_one_pixel=2)
    text, = census.sentences()
    assert text.startswith('2 of 6 defective regions have no pixel left')
    assert '2 have a single one' in text
    # 3000 / 256 is 11.7.
    assert '3000x2000 pixels are reduced to 256x256' in text
    assert 'narrower than 24 pixels' in text
    assert text.endswith(': 1.png, 2.png.')


def test_regions_outside_of_the_crop():
    text, = census_of(make(1, 0, 0, 0), make(2, 1, 0, 0)).sentences()
    assert text.startswith('1 of 3 defective regions lie outside')
    assert text.endswith('(crop less): 1.png.')
