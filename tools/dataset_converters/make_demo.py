"""Write the generated data set of the demo."""
import argparse

from mmad.datasets.demo import generate_demo
from mmad.utils.command_line import one_sentence_errors


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder for the data set')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--any-pose',
        action='store_true',
        help='write the plates at any angle, and the same plates brought '
        'upright, instead of the large ones')
    args = parser.parse_args()
    if args.any_pose:
        folders = [
            generate_demo(
                args.root,
                category,
                seed=args.seed,
                num_train=160,
                num_good=40)
            for category in ('plate_any-pose', 'plate_upright')
        ]
    else:
        folders = [generate_demo(args.root, seed=args.seed)]
    for folder in folders:
        print(f'The generated data set is in {folder}')


if __name__ == '__main__':
    main()
