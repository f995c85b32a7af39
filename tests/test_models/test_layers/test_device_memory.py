import torch

from mmad.models.layers.device_memory import has_room


def test_half_of_the_free_memory_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda device:
                        (1000, 9000))
    device = torch.device('cuda', 1)
    assert has_room(500, device)
    assert not has_room(501, device)


def test_other_devices():
    assert has_room(1 << 60, torch.device('cpu'))
