"""Make a page of the results of tests, in one HTML file."""
import argparse
from functools import partial
from pathlib import Path

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmad.terminal import open_terminal, say, shown_path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        metavar='WORK_DIR',
        help='work directory of a test; several are compared')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='HTML file to write (default: report.html in the first WORK_DIR)')
    parser.add_argument('--title', help='title of the page')
    parser.add_argument(
        '--max-images',
        type=int,
        default=500,
        help='number of images to show, over all runs (default: 500)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported here and in `report`, so that --help is quick.
    open_terminal()
    from mmad.utils.one_sentence_errors import one_sentence_errors

    one_sentence_errors(partial(report, args))()


def report(args: argparse.Namespace) -> None:
    from mmad.utils import write_atomically
    from mmad.utils.command_line import check_at_least
    from mmad.utils.path_checks import check_file
    from mmad.visualization.report import build_page, read_runs

    check_at_least('--max-images', args.max_images, 0)
    runs = read_runs(args.work_dirs)
    out = Path(args.out or Path(args.work_dirs[0], 'report.html'))
    check_file(out, '--out')
    title = args.title or ('Report on ' + ', '.join(run.name for run in runs))
    page = build_page(runs, title, args.max_images)
    write_atomically(out, page.encode())
    say('Report', f'{shown_path(out)} ({len(page) / 1e6:.1f} MB)')


if __name__ == '__main__':
    main()
