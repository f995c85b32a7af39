"""Write the generated data set of the demo."""
import argparse

from mmad.datasets.demo import generate_demo
from mmad.utils.command_line import one_sentence_errors


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder for the data set')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    folder = generate_demo(args.root, seed=args.seed)
    print(f'The generated data set is in {folder}')


if __name__ == '__main__':
    main()
