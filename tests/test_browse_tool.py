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
    result = run_tool(tmp_path, 'browse_dataset.py', small_config, '--split',
                      'val')
    assert result.status == 2
    assert 'has no val_dataloader; use another --split.' in result.err


def test_images_of_the_same_name(run_tool, small_config, tmp_path, mvtec_root):
    good = mvtec_root / 'bottle' / 'test' / 'good'
    more = mvtec_root / 'bottle' / 'train' / 'good'
    small_config.write_text(
        small_config.read_text().replace(
            "type='AnomalyDataset'", "type='FolderDataset'").replace(
                "category='bottle'",
                f"normal_dir=['{good}', '{more}'], holdout=0.01") +
        "train_dataloader['sampler'] = dict(type='DefaultSampler')\n"
        "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)\n"
        'optim_wrapper = dict()\n')
    result = run_tool(tmp_path, 'browse_dataset.py', small_config, '--out-dir',
                      'out')
    assert result.status == 0, result.err
    # One of ten is held out.
    assert len(list((tmp_path / 'out' / 'good').iterdir())) == 9
    assert not list((tmp_path / 'out').glob('*.png'))


@pytest.fixture
def own_config(tmp_path, own_root):
    path = tmp_path / 'own.py'
    path.write_text(
        CONFIG.format(root=own_root).replace(
            "num_workers=0, ",
            "num_workers=0, sampler=dict(type='DefaultSampler'"
            ", shuffle=False), ") + """
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict()
""")
    return path


def test_drawings_never_replace_data(run_tool, own_config, tmp_path, own_root):
    train = own_root / 'bottle/train'
    before = {path: path.read_bytes() for path in train.rglob('*.png')}
    result = run_tool(tmp_path, 'browse_dataset.py', own_config, '--out-dir',
                      str(train))
    assert result.status == 2
    assert 'might replace' in result.err
    assert before == {path: path.read_bytes() for path in train.rglob('*.png')}
