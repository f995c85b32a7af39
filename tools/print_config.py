"""Print a config with its bases and the command line merged in."""
import argparse

from mmad.interrupt import watch_imports

watch_imports()

from mmad.utils.command_line import (
    add_common_arguments,
    load_config,
    one_sentence_errors,
)


@one_sentence_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    print(load_config(parser.parse_args()).pretty_text)


if __name__ == '__main__':
    main()
