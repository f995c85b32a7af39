"""Take new normal images into a fitted checkpoint, and others out of it."""
import argparse
from functools import partial
from typing import TYPE_CHECKING

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmad.command_options import add_checkpoint_arguments
from mmad.terminal import open_terminal, say, shown_path

if TYPE_CHECKING:
    from mmad.apis import CheckpointUpdate

_SHOWN = 3


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of tools/train.py')
    parser.add_argument(
        'folder',
        nargs='?',
        help='folder of new normal images; those that were fitted already '
        'are left alone')
    parser.add_argument(
        '--forget',
        nargs='+',
        default=[],
        metavar='PATH',
        help='images that were fitted by mistake')
    parser.add_argument(
        '--calibrate',
        metavar='FOLDER',
        help='find the thresholds anew from these normal images; those that '
        'were fitted are left out of the fit, one at a time (default: from '
        'the scores in the checkpoint and those of the new images)')
    parser.add_argument(
        '--false-alarm-rate',
        type=float,
        metavar='RATE',
        help='wanted share of normal images above the threshold (default: '
        'the one that the fit was asked for)')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='new checkpoint (default: beside the old one, as '
        'NAME_209images.pth)')
    parser.add_argument(
        '--batch-size', type=int, default=8, help='(default: 8)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 and so on')
    add_checkpoint_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported here and in `update`, so that --help is quick.
    open_terminal()
    from mmad.utils.one_sentence_errors import one_sentence_errors

    one_sentence_errors(partial(update, args))()


def update(args: argparse.Namespace) -> None:
    from mmad.apis import update_checkpoint

    say_changes(update_checkpoint(**vars(args)))


def say_changes(result: 'CheckpointUpdate') -> None:
    """Log what has changed."""
    say(
        'Images', f'{result.num_before} before, {len(result.added)} added, '
        f'{len(result.forgotten)} forgotten, {result.num_fitted} now')
    if result.known:
        say('Fitted before', f'{len(result.known)} images of the folder')
    for name in result.forgotten:
        say('Forgotten', shown_path(name))
    if result.after is None:
        say('Threshold', 'none, since the checkpoint has none')
    else:
        say('Threshold', describe_threshold(result))
    if result.scores:
        say(
            'Oddest new images', ', '.join(
                f'{path.name} ({score:.4g})'
                for path, score in zip(result.added[:_SHOWN], result.scores)))
    say('Checkpoint', shown_path(result.checkpoint))


def describe_threshold(result: 'CheckpointUpdate') -> str:
    """Say how the thresholds have moved, and what they rest on."""
    after = result.after
    texts = []
    for name, place in (('', 0), ('of the map ', 1)):
        text = f'{name}{after.thresholds[place]:.4g}'
        if result.before is not None:
            text += f', before {result.before.thresholds[place]:.4g}'
        texts.append(text)
    rate = after.conditions['false_alarm_rate']
    said = (
        after.conditions['threshold_kind']
        if rate is None else f'for a false-alarm rate of {100 * rate:.2g} %')
    return (f'{"; ".join(texts)}; {said}, from {len(after.scores)} normal '
            'images')


if __name__ == '__main__':
    main()
