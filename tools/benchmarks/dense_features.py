"""Compare the speed of dense descriptors with that of single patches.

Patches are only cut out around a sample of the pixels. Both speeds are given
in pixels per second.
"""
import argparse

import torch
import torch.nn.functional as F
from timing import median_seconds

from mmad.models import PatchNetwork
from mmad.utils.command_line import one_sentence_errors


def multiplications(network: PatchNetwork, size: int) -> int:
    """Count the multiplications of a dense pass over ``size`` squared pixels.
    """
    total, side, dilation = 0, size + network.receptive_field - 1, 1
    for layer in network.layers:
        if isinstance(layer, torch.nn.MaxPool2d):
            side, dilation = side - dilation, 2 * dilation
        elif isinstance(layer, torch.nn.Conv2d):
            side -= (layer.kernel_size[0] - 1) * dilation
            total += layer.weight.numel() * side**2
    return total


@one_sentence_errors
@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--patch-sizes', type=int, nargs='+', default=[17, 33, 65])
    parser.add_argument('--width', type=float, default=1.0)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--sample', type=int, default=256)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    print(f'{args.size} x {args.size} pixels, width {args.width:g}, '
          f'{device}, {torch.get_num_threads()} threads')
    print('  p   dense px/s   patches px/s   ratio   dense GMAC/s')
    for patch_size in args.patch_sizes:
        network = PatchNetwork(patch_size, args.width).to(device).eval()
        images = torch.randn(1, 3, args.size, args.size, device=device)
        half = patch_size // 2
        padded = F.pad(images, (half, ) * 4, mode='reflect')[0]
        places = torch.randint(args.size, (args.sample, 2)).tolist()

        def cut(network=network,
                padded=padded,
                places=places,
                side=patch_size) -> torch.Tensor:
            return network(
                torch.stack([
                    padded[:, row:row + side, column:column + side]
                    for row, column in places
                ]))

        dense, naive = median_seconds(
            [lambda n=network, i=images: n.dense(i), cut], args.repeats)
        pixels = args.size**2 / dense
        cut_out = args.sample / naive
        speed = multiplications(network, args.size) / dense / 1e9
        print(f'{patch_size:>3} {pixels:12.0f} {cut_out:14.0f} '
              f'{pixels / cut_out:7.1f} {speed:14.1f}')


if __name__ == '__main__':
    main()
