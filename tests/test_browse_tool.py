import pytest

CONFIG = '''
dataset = dict(type='AnomalyDataset', data_root='{root}', category='bottle',
               split='train', pipeline=[
                   dict(type='LoadImage'), dict(type='LoadMask'),
                   dict(type='PackInputs')])
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dataset)
val_dataloader = None
'''


@pytest.fixture
def small_config(tmp_path, mvtec_root):
    path = tmp_path / 'browse.py'
    path.write_text(CONFIG.format(root=mvtec_root))
    return path


@pytest.mark.parametrize('number', ['-1', '0'])
def test_number(run_tool, small_config, tmp_path, number):
    result = run_tool(tmp_path, 'browse_dataset.py', small_config, '--number',
                      number)
    assert result.status == 2
    assert result.err.endswith(
        f'error: --number must be at least 1, got {number}.\n')


@pytest.mark.parametrize('place', ['file', 'file/below'])
def test_out_dir(run_tool, small_config, tmp_path, place):
    (tmp_path / 'file').write_text('mine')
    result = run_tool(tmp_path, 'browse_dataset.py', small_config, '--out-dir',
                      place)
    assert result.status == 2
    assert f'error: --out-dir "{place}" cannot be written to' in result.err
    assert (tmp_path / 'file').read_text() == 'mine'


def test_split_that_is_not_there(run_tool, small_config, tmp_path):
    result = run_tool(tmp_path, 'browse_dataset.py', small_config,
                      '--split', 'val')
    assert result.status == 2
    assert 'has no val_dataloader; take another --split.' in result.err


@pytest.fixture
def own_config(tmp_path, own_root):
    path = tmp_path / 'own.py'
    path.write_text(CONFIG.format(root=own_root).replace(
        "num_workers=0, ", "num_workers=0, sampler=dict(type='DefaultSampler'"
        ", shuffle=False), ") + """
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict()
""")
    return path


def test_equal_stems_do_not_overwrite_each_other(run_tool, own_config,
                                                 tmp_path, own_root):
    good = own_root / 'bottle/train/good'
    images = sorted(good.iterdir())
    images[0].with_suffix('.bmp').write_bytes(images[0].read_bytes())
    result = run_tool(tmp_path, 'browse_dataset.py', own_config,
                      '--out-dir', 'drawn')
    assert result.status == 0
    assert len(list((tmp_path / 'drawn').rglob('*.png'))) == len(images) + 1


def test_drawings_never_replace_data(run_tool, own_config, tmp_path,
                                     own_root):
    train = own_root / 'bottle/train'
    before = {path: path.read_bytes() for path in train.rglob('*.png')}
    result = run_tool(tmp_path, 'browse_dataset.py', own_config,
                      '--out-dir', str(train))
    assert result.status == 2
    assert 'might replace' in result.err
    assert before == {
        path: path.read_bytes() for path in train.rglob('*.png')}
