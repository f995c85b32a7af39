import mmengine.config.config
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmad.engine.hooks import CalibrationHook
from mmad.errors import InputError
from mmad.utils import load_checkpoint, setup_environment


def make_runner(config, folder, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({
        'work_dir': str(folder),
        'experiment_name': folder.name,
        'log_level': 'WARNING',
        'train_dataloader.dataset.category': 'bottle',
        'val_dataloader.dataset.category': 'bottle',
        'test_dataloader.dataset.category': 'bottle',
        **changes
    })
    setup_environment()
    return Runner.from_cfg(cfg)


@pytest.fixture(scope='module')
def trained(students_config, tmp_path_factory):
    """Work dir of three epochs, all saved, of which the second and the last
    are validated."""
    folder = tmp_path_factory.mktemp('calibrated')
    with pytest.MonkeyPatch.context() as patch:
        # Formatting the config takes most of the time.
        patch.setattr(mmengine.config.config, 'FormatCode',
                      lambda text, **kwargs: (text, True))
        make_runner(
            students_config, folder, **{
                'train_cfg.max_epochs': 3,
                'default_hooks.checkpoint.interval': 1
            }).train()
    return folder


@pytest.mark.parametrize(('epoch', 'calibrated'), [
    (0, False), (1, False), (2, True), (3, True)])
def test_calibrated_where_it_is_validated(trained, epoch, calibrated):
    state = load_checkpoint(str(trained / f'epoch_{epoch}.pth'))
    assert state['meta']['epoch'] == epoch
    for name in ('score_mean', 'score_std'):
        assert len(state['state_dict'][f'scales.p17.{name}']) == (
            2 if calibrated else 0)


def test_calibrated_anew(trained):
    second, third = (
        load_checkpoint(str(trained / f'epoch_{i}.pth'))['state_dict']
        for i in (2, 3))
    assert (second['scales.p33.score_mean']
            != third['scales.p33.score_mean']).all()


def test_images_are_those_that_were_kept(students_config, tmp_path,
                                         monkeypatch):
    runner = make_runner(students_config, tmp_path)
    hook, = (h for h in runner.hooks if isinstance(h, CalibrationHook))
    monkeypatch.setattr(Runner, 'epoch', 0)
    hook.before_train(runner)
    ours = {entry['img_path'] for entry in map(
        hook._loader.dataset.get_data_info, range(2))}
    train = runner.train_dataloader.dataset
    theirs = {train.get_data_info(i)['img_path'] for i in range(len(train))}
    assert len(ours) == 2
    assert len(theirs) == 5
    assert not ours & theirs


def test_no_images_are_kept(students_config, tmp_path):
    runner = make_runner(
        students_config, tmp_path,
        **{'train_dataloader.dataset.calibration': 0})
    with pytest.raises(InputError, match='no images are kept'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))
