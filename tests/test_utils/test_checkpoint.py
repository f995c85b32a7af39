import builtins
import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader

from mmad.errors import InputError
from mmad.utils.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    numbered_checkpoints,
    register_safe_loader,
)


@pytest.fixture
def path(tmp_path):
    """A checkpoint with all that MMEngine's runner stores."""
    hub = MessageHub.get_instance('test_checkpoint')
    for i in range(3):
        hub.update_scalar('train/loss', torch.tensor(0.5 * i))
        hub.update_scalar('train/time', np.float32(i))
        hub.update_scalar('val/auroc', float(i))
    hub.update_info('iter', 3)
    state = dict(
        meta=dict(epoch=1, cfg='a = 1', seed=np.int64(0)),
        state_dict=dict(weight=torch.arange(4.0)),
        message_hub=hub.state_dict(),
        curve=np.linspace(0, 1, 5))
    torch.save(state, tmp_path / 'epoch_1.pth')
    return tmp_path / 'epoch_1.pth'


def test_real_checkpoint(path):
    state = load_checkpoint(str(path), map_location='cpu')
    assert torch.equal(state['state_dict']['weight'], torch.arange(4.0))
    assert state['meta'] == dict(epoch=1, cfg='a = 1', seed=0)
    assert state['curve'].tolist() == [0, 0.25, 0.5, 0.75, 1]
    log = state['message_hub']['log_scalars']['train/loss']
    assert isinstance(log, HistoryBuffer)
    assert log.mean() == 0.5
    assert log.current() == 1


def test_mmengine_reads_through_it(path, tmp_path):
    register_safe_loader()
    state = CheckpointLoader.load_checkpoint(str(path))
    assert state['meta']['epoch'] == 1
    with open(path, 'wb') as file:
        torch.save(Call(os.system, f'touch {tmp_path}/run'), file)
    with pytest.raises(InputError, match='was refused'):
        CheckpointLoader.load_checkpoint(str(path))


class Call:

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def _getattr(*path):
    found = path[0]
    for name in path[1:]:
        found = Call(getattr, found, name)
    return found


ATTACKS = dict(
    system=lambda run: Call(os.system, f'touch {run}'),
    open=lambda run: Call(builtins.open, str(run), 'w'),
    eval=lambda run: Call(eval, f'open({str(run)!r}, "w")'),
    # The builtin that a HistoryBuffer needs must not lead any further.
    getattr_globals=lambda run: _getattr(HistoryBuffer, '__init__',
                                         '__globals__'),
    getattr_class=lambda run: _getattr(HistoryBuffer, '__class__'),
    getattr_instance=lambda run: _getattr(HistoryBuffer(), 'min'),
    getattr_array=lambda run: _getattr(np.ndarray, 'tofile'),
    getattr_tensor=lambda run: _getattr(torch.Tensor, 'mean'),
)


@pytest.mark.parametrize('attack', ATTACKS)
@pytest.mark.parametrize('save', [torch.save, pickle.dump])
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_attacks_are_refused(tmp_path, attack, save):
    with open(tmp_path / 'evil.pth', 'wb') as file:
        save(dict(state_dict=ATTACKS[attack](tmp_path / 'run')), file)
    with pytest.raises(InputError, match=r'evil\.pth" was refused'):
        load_checkpoint(str(tmp_path / 'evil.pth'))
    assert not (tmp_path / 'run').exists()


def test_nothing_stays_allowed(path):
    load_checkpoint(str(path))
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.99])
def test_truncated(path, share):
    content = path.read_bytes()
    path.write_bytes(content[:int(share * len(content))])
    with pytest.raises(InputError, match=r'epoch_1\.pth"'):
        load_checkpoint(str(path))


def test_missing(tmp_path):
    with pytest.raises(InputError, match=r'none\.pth" does not exist'):
        load_checkpoint(str(tmp_path / 'none.pth'))


def test_folder(tmp_path):
    with pytest.raises(InputError, match='cannot be read'):
        load_checkpoint(str(tmp_path))


@pytest.mark.parametrize(('note', 'expected'),
                         [(None, None), ('epoch_2.pth', 'epoch_2.pth'),
                          ('', 'epoch_10.pth'),
                          ('epoch_3.pth', 'epoch_10.pth'),
                          ('\0', 'epoch_10.pth')])
def test_latest_checkpoint(tmp_path, note, expected):
    for name in ('epoch_2.pth', 'epoch_10.pth', 'epoch_x.pth', 'best.pth'):
        (tmp_path / name).touch()
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(
            note and str(tmp_path / note))
    found = latest_checkpoint(tmp_path)
    assert found == (expected and str(tmp_path / expected))


@pytest.mark.parametrize(
    ('last', 'expected'),
    [('epoch_10.pth', ['epoch_2.pth', 'epoch_9.pth', 'epoch_10.pth']),
     ('epoch_9.pth', ['epoch_2.pth', 'epoch_9.pth']),
     ('epoch_11.pth', ['epoch_11.pth']), ('best.pth', ['best.pth'])])
def test_checkpoints_up_to_one(tmp_path, last, expected):
    for name in ('epoch_10.pth', 'epoch_2.pth', 'epoch_x.pth', 'best.pth',
                 'epoch_9.pth', 'epoch_4.txt'):
        (tmp_path / name).touch()
    found = numbered_checkpoints(tmp_path / last)
    assert found == [tmp_path / name for name in expected]


def test_no_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path / 'none') is None
    (tmp_path / 'last_checkpoint').touch()
    assert latest_checkpoint(tmp_path) is None


def test_no_damaged_byte_is_read(path, tmp_path):
    content = path.read_bytes()
    expected = load_checkpoint(path)['state_dict']['weight']
    rng = np.random.default_rng(0)
    damaged = tmp_path / 'damaged.pth'
    refused = 0
    for place in rng.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        damaged.write_bytes(changed)
        try:
            state = load_checkpoint(damaged)
        except InputError:
            refused += 1
        else:
            # It was in the padding.
            assert torch.equal(state['state_dict']['weight'], expected)
    assert refused > 100


def rewrite(path, method=zipfile.ZIP_STORED, **contents):
    """Write a checkpoint again with other or further members."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    root = next(iter(members)).split('/')[0]
    members.update({f'{root}/{name}': data for name, data in contents.items()})
    with zipfile.ZipFile(path, 'w', method) as file:
        for name, data in members.items():
            file.writestr(name, data)


def text(string):
    return b'X' + len(string).to_bytes(4, 'little') + string.encode()


def long(number):
    data = pickle.encode_long(number)
    return b'\x8a' + bytes([len(data)]) + data


@pytest.mark.parametrize('body', [
    b'cbuiltins\nbytearray\n' + long(10**15) + b'\x85R',
    b'cbuiltins\nbytearray\n' + long(10**25) + b'\x85R',
    b'cbuiltins\ncomplex\n' + long(2**1500) + b'\x85R', b'cbuiltins\nset\n' +
    long(7) + b'\x85R', b'c_codecs\nencode\n' + text('x') + text('nope') +
    b'\x86R', b'c_codecs\nencode\n' + text('x') + text('zip') + b'\x86R',
    b'cnumpy\nndarray\n' + long(10**14) + b'\x85R', b'cnumpy\ndtype\n' +
    text('(' * 5000) + b'\x85R', b'J\0', b'h\5', b'\x8a', b'(t', b'0', b''
])
def test_whatever_the_pickle_makes_of_it(path, body):
    rewrite(path, **{'data.pkl': b'\x80\x02' + body + b'.'})
    with pytest.raises(InputError, match=r'epoch_1\.pth"'):
        load_checkpoint(path)


@pytest.mark.parametrize(
    'method', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_to_more_than_it_is(path, method):
    rewrite(path, method, **{'data/999': bytes(10**6)})
    with pytest.raises(InputError, match='it unpacks to'):
        load_checkpoint(path)


def test_members_that_share_their_bytes(path):
    rewrite(path, **{f'data/9{number}': b''
                     for number in range(100)}, **{'data/900': bytes(10**5)})
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content, 'a') as file:
        large = max(file.infolist(), key=lambda entry: entry.file_size)
        for entry in file.infolist():
            if not entry.file_size:
                entry.header_offset = large.header_offset
                entry.file_size = entry.compress_size = large.file_size
                entry.CRC = large.CRC
        file.comment = b'written again'
    path.write_bytes(content.getvalue())
    with pytest.raises(InputError, match='it unpacks to'):
        load_checkpoint(path)


def test_what_mmengine_would_run_is_left_out(tmp_path):
    meta = OrderedDict(epoch=1, config='print(1)')
    meta.pop = meta.get = OrderedDict
    torch.save(dict(meta=meta), tmp_path / 'a.pth')
    assert load_checkpoint(tmp_path / 'a.pth')['meta'] == dict(epoch=1)


@pytest.mark.parametrize('state', [None, 7, 'ab', [1], {7: 1}, {b'a': 1}])
def test_a_state_that_names_nothing(tmp_path, state):
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    with pytest.raises(InputError, match='`state_dict` that is no dict'):
        load_checkpoint(tmp_path / 'a.pth')


def test_a_note_that_is_no_text(tmp_path):
    (tmp_path / 'last_checkpoint').write_bytes(b'\xff\xfe')
    assert latest_checkpoint(tmp_path) is None
    (tmp_path / 'epoch_7.pth').touch()
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_7.pth')
