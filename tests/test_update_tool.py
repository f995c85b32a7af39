import shutil

import cv2

from mmad.utils import load_checkpoint
from mmad.utils.packed_names import unpack_names


def fitted_images(checkpoint):
    return unpack_names(load_checkpoint(checkpoint)['meta']['fitted_images'])


def test_update(run_tool, trained, mvtec_root, tmp_path):
    good = mvtec_root / 'bottle' / 'train' / 'good'
    fitted = sorted(good.iterdir())
    (tmp_path / 'new parts').mkdir()
    shutil.copy(fitted[0], tmp_path / 'new parts' / 'copy of one.png')
    picture = cv2.imread(str(fitted[0]))
    cv2.imwrite(str(tmp_path / 'new parts' / 'new.png'), 255 - picture)
    checkpoint = trained / 'work' / 'epoch_1.pth'
    names = fitted_images(checkpoint)
    assert [name.split('/')[-1] for name in names] == [p.name for p in fitted]
    result = run_tool(tmp_path, 'update.py', checkpoint, 'new parts',
                      '--forget', fitted[1], '--out', 'new.pth', '--device',
                      'cpu')
    assert result.status == 0, result.err
    number = len(fitted)
    assert (f'Images: {number} before, 2 added, 1 forgotten, {number + 1} now'
            in result.out)
    assert f'Forgotten: {fitted[1]}' in result.out
    assert 'Threshold: ' in result.out
    assert 'Checkpoint: new.pth' in result.out
    assert len(fitted_images(tmp_path / 'new.pth')) == number + 1
    # And once more, from what it wrote.
    result = run_tool(tmp_path, 'update.py', 'new.pth', '--forget', 'new.png')
    assert result.status == 0, result.err
    assert (tmp_path / f'new_{number}images.pth').is_file()


def test_nothing_to_do(run_tool, trained, tmp_path):
    result = run_tool(tmp_path, 'update.py', trained / 'work' / 'epoch_1.pth')
    assert result.status == 2
    assert result.err == ('error: there is nothing to do; name a folder, or '
                          '--forget.\n')
