"""Banks of patches of small random images."""
import torch

from mmad.models.layers import CoresetBank

PER_IMAGE = 12


def draw(number=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 5, 3, 4, generator=generator)


def fit(features, order=None, inside=None, **kwargs):
    bank = CoresetBank(**kwargs).to(features.device)
    bank.num_images = len(features)
    bank.reset()
    for i in range(len(features)) if order is None else order:
        bank.update(features[i:i + 1], [i],
                    None if inside is None else inside[i:i + 1])
    bank.finalize()
    return bank


def patches(features):
    return features.flatten(2).transpose(1, 2).flatten(0, 1)


def draw_clusters(seed, number=12):
    """Images whose patches are of few kinds, some of them odd."""
    generator = torch.Generator().manual_seed(seed)
    kinds = 4 * torch.randn(8, 5, generator=generator)
    kind = torch.randint(8, (number, 3, 4), generator=generator)
    spread = torch.rand(number, 1, 1, 1, generator=generator)
    noise = torch.randn(number, 5, 3, 4, generator=generator)
    return kinds[kind].permute(0, 3, 1, 2) + spread * noise


def score_left_out(bank, features):
    bank.left_out = range(len(features))
    distances = bank(patches(features))[0]
    bank.left_out = None
    return distances.view(len(features), -1).amax(1)


def state_of(bank):
    filled = bank.fill_rows.view(-1, bank.rows.shape[1])
    return torch.cat([
        torch.cat([bank.rows, bank.sources], 1),
        torch.cat([filled, bank.fill_images[:, None].expand(-1, 2)], 1)
    ])
