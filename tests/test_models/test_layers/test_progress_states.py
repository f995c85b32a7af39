"""Fits that are interrupted and go on from what their modules tell."""
import random
from collections.abc import Callable

import pytest
import torch
from budgets import budget_for
from torch import Tensor

from mmad.models.layers import (
    ChannelReduction,
    CoresetBank,
    FittedModule,
    Gallery,
    MemoryBank,
    PositionGaussians,
    StageGaussians,
    coreset,
    coreset_filling,
)

NUMBER = 23
STAGES = [(6, 4, 5), (10, 2, 3)]


def _maps(generator: torch.Generator, shape) -> Tensor:
    # Few values, so that there are equal patches and ties.
    return torch.randint(4, (NUMBER, *shape), generator=generator).float()


def _inside(generator):
    return torch.rand(NUMBER, 1, 8, 10, generator=generator) > 0.7


Case = tuple[Callable[[], FittedModule], Callable]
CASES: dict[str, Case] = dict(
    coreset=(lambda: CoresetBank(0.3, 4), lambda g: (_maps(g, STAGES[0]), )),
    borders=(lambda: CoresetBank(0.3, None), lambda g:
             (_maps(g, STAGES[0]), _inside(g))),
    thinned=(lambda: CoresetBank(0.3, 4, memory_budget=budget_for(100, 6, 4)),
             lambda g: (_maps(g, STAGES[0]), )),
    random=(lambda: CoresetBank(0.3, selection='random'), lambda g:
            (_maps(g, STAGES[0]), )),
    bank=(MemoryBank, lambda g: (_maps(g, (7, )), )),
    gallery=(lambda: Gallery(2), lambda g:
             ((_maps(g, (7, )), *(_maps(g, shape) for shape in STAGES)), )),
    half=(lambda: Gallery(2, 'float16'), lambda g:
          ((_maps(g, (7, )), *(_maps(g, shape) for shape in STAGES)), )),
    gaussians=(PositionGaussians, lambda g: (_maps(g, STAGES[0]) / 3, )),
    stages=(lambda: StageGaussians(2), lambda g:
            (tuple(_maps(g, shape) / 3 for shape in STAGES), )),
    pca=(lambda: ChannelReduction('pca', 3), lambda g:
         (_maps(g, STAGES[0]) / 3, )))


def _part(features, ids):
    if isinstance(features, tuple):
        return tuple(part[ids] for part in features)
    return features[ids]


def _feed(module, features, ids, batch_size=3):
    for start in range(0, len(ids), batch_size):
        batch = ids[start:start + batch_size]
        module.update(*(_part(part, batch) for part in features[:1]), batch,
                      *(part[batch] for part in features[1:]))


def _begin(name):
    make, draw = CASES[name]
    module = make()
    module.num_images = NUMBER
    module.reset()
    return module, draw(torch.Generator().manual_seed(1))


def _told(module, ids, sizes):
    """What it tells, in notes of so many images."""
    states = []
    for size in sizes:
        states.append(module.progress_state(ids[:size]))
        ids = ids[size:]
    assert not ids
    return states[-1:] if module.progress_is_whole else states


def _fit(rank, name, dealt, cuts):
    """Fit to the images dealt to this process, with so many interruptions.

    The last is in the selection of a coreset, if there is one.
    """
    ids = dealt[rank]
    module, features = _begin(name)
    assert module.tells_progress
    done = 0
    for cut in [*cuts[rank], len(ids)]:
        _feed(module, features, ids[done:cut])
        half = cut // 2
        states = _told(module, ids[:cut], [half, 0, cut - half, 0])
        done = cut
        module, _ = _begin(name)
        for state in states:
            module.load_progress_state(_copy(state))
    notes = []
    module.on_progress = lambda: notes.append(
        _told(module, ids, [len(ids), 0]))
    module.finalize()
    if name in ('coreset', 'borders'):
        assert {'choice.nearest', 'filling.places'
                } <= {key
                      for note in notes
                      for key in note[-1]}
    states = [module.state_dict()]
    for note in notes:
        again, _ = _begin(name)
        for state in note:
            again.load_progress_state(_copy(state))
        again.finalize()
        states.append(again.state_dict())
    return states


def _copy(state):
    return {key: value.clone() for key, value in state.items()}


@pytest.fixture(autouse=True)
def note_often(monkeypatch):
    monkeypatch.setattr(coreset, '_NOTED', 20)
    monkeypatch.setattr(coreset_filling, '_NOTED', 2)


@pytest.mark.parametrize('world', [1, 2, 3])
@pytest.mark.parametrize('name', CASES)
def test_goes_on_bit_for_bit(run_processes, name, world):
    order = random.Random(world).sample(range(NUMBER), NUMBER)
    dealt = [order[rank::world] for rank in range(world)]
    cuts = [[1, 4, 4 + 2 * rank] for rank in range(world)]
    module, features = _begin(name)
    _feed(module, features, list(range(NUMBER)))
    module.finalize()
    expected = module.state_dict()
    ends = ([_fit(0, name, dealt, cuts)] if world == 1 else run_processes(
        world, _fit, name, dealt, cuts))
    for states in ends:
        assert len(states) > (name in ('coreset', 'borders'))
        for state in states:
            assert state.keys() == expected.keys()
            for key, value in expected.items():
                assert torch.equal(state[key], value), key


def test_files_of_a_gallery(tmp_path):
    _, draw = CASES['gallery']
    features = draw(torch.Generator().manual_seed(1))
    whole, first, second = (
        Gallery(2, folder=tmp_path / name) for name in 'abc')
    for module in (whole, first, second):
        module.num_images = NUMBER
        module.reset()
    ids = list(range(NUMBER))
    _feed(whole, features, ids)
    _feed(first, features, ids[:9])
    state = first.progress_state(ids[:9])
    del first
    second.load_progress_state(state)
    _feed(second, features, ids[9:])
    for module in (whole, second):
        module.finalize()
    for found, expected in zip(second.pyramids.levels, whole.pyramids.levels):
        assert torch.equal(found, expected)
    assert torch.equal(second.pyramids.digest, whole.pyramids.digest)


def test_what_a_module_does_not_tell():

    class Counting(MemoryBank):

        def update(self, features, ids):
            super().update(features, ids)
            self.number = len(ids)

    class Silent(FittedModule):

        def update(self, features, ids):
            """Take in nothing."""

    class Around(Gallery):

        def __init__(self):
            super().__init__(1)
            self.images = Counting()

    class Telling(Counting):

        def progress_state(self, ids):
            return super().progress_state(ids)

    assert [
        module.tells_progress
        for module in (Counting(), Silent(), Around(), Telling())
    ] == [False, False, False, True]
