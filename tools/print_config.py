"""Print a config merged with its bases and the command line."""
import argparse
from functools import partial

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmad.command_options import add_common_arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config file, or the name of one of mmad')
    add_common_arguments(parser)
    args = parser.parse_args()
    # Imported here, so that --help is quick.
    from mmad.utils.command_line import one_sentence_errors

    one_sentence_errors(partial(print_config, args))()


def print_config(args: argparse.Namespace) -> None:
    from mmad.utils.command_line import load_config
    from mmad.utils.config_text import config_text

    print(config_text(load_config(args)))


if __name__ == '__main__':
    main()
