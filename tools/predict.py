"""Judge new images with a fitted checkpoint, and write the verdicts to files.

The folder gets predictions.csv and predictions.json, with score, verdict and
defective regions of each image, and drawings. Defective images and images
that cannot be read do not change the exit status, which is 0. It is 2 for
input that stops the tool, with a sentence that names it.
"""
import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmad.command_options import add_checkpoint_arguments
from mmad.terminal import open_terminal, say, shown_path

if TYPE_CHECKING:
    from mmad.apis import AnomalyInferencer, PredictionWriter


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='checkpoint of tools/train.py')
    parser.add_argument(
        'inputs',
        nargs='+',
        help='images, folders, patterns such as "parts/*.png", video files, '
        'or one camera, its index or address, until Ctrl-C')
    parser.add_argument(
        '--out-dir', required=True, help='folder for the predictions')
    parser.add_argument(
        '--overlays',
        choices=['all', 'defective', 'none'],
        default='all',
        help='which images to draw with heat map and regions (default: all)')
    parser.add_argument(
        '--maps',
        action='store_true',
        help='also write the anomaly maps, as TIFF at the size of the images')
    verdict = parser.add_mutually_exclusive_group()
    verdict.add_argument(
        '--false-alarm-rate',
        type=float,
        help='share of good images that may be called defective, in place of '
        'that of the fit')
    verdict.add_argument(
        '--threshold',
        type=float,
        help='score above which an image is defective, in place of that of '
        'the fit')
    parser.add_argument(
        '--pixel-threshold',
        type=float,
        help='with --threshold: value of the anomaly map above which a pixel '
        'is defective')
    parser.add_argument(
        '--strict',
        action='store_true',
        help='stop at the first image that cannot be read')
    parser.add_argument(
        '--batch-size', type=int, default=8, help='(default: 8)')
    parser.add_argument(
        '--num-workers',
        type=int,
        default=0,
        help='threads that read images while the model works (default: 0)')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 and so on')
    add_checkpoint_arguments(parser)
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='also show the warnings of libraries')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported here and in `predict`, so that --help is quick.
    open_terminal(verbose=args.verbose)
    from mmad.utils.one_sentence_errors import one_sentence_errors

    one_sentence_errors(partial(predict, args))()


def predict(args: argparse.Namespace) -> None:
    from mmad.apis import AnomalyInferencer, PredictionWriter
    from mmad.errors import InputError

    if args.pixel_threshold is not None and args.threshold is None:
        raise InputError('--pixel-threshold has no effect without '
                         '--threshold; give both.')
    inferencer = AnomalyInferencer(args.checkpoint, args.config, args.device,
                                   args.modules)
    has_verdicts = set_thresholds(inferencer, args)
    if args.overlays == 'defective' and not has_verdicts:
        raise InputError('--overlays defective needs verdicts, but the '
                         'checkpoint has no threshold; give --threshold.')
    inputs = find_inputs(args.inputs)
    writer = PredictionWriter(args.out_dir, args.overlays, args.maps,
                              [] if isinstance(inputs, int) else inputs,
                              inferencer.describe(), inferencer.visualizer)
    start = time.perf_counter()
    try:
        with writer:
            try:
                inferencer.write(inputs, writer, args.batch_size, args.strict,
                                 args.num_workers)
            except KeyboardInterrupt:
                # It is the only way to end a camera.
                if not is_camera(inputs):
                    raise
    except BaseException:
        if writer.counts:
            say(
                'Stopped', 'the predictions so far are in '
                f'{shown_path(writer.csv_path)}.part')
        raise
    report(writer, time.perf_counter() - start, has_verdicts)


def set_thresholds(inferencer: 'AnomalyInferencer',
                   args: argparse.Namespace) -> bool:
    """Set the thresholds of the command line, and say what they are."""
    decision = inferencer.model.decision
    if args.threshold is not None:
        inferencer.set_thresholds(args.threshold, args.pixel_threshold)
    elif args.false_alarm_rate is not None:
        decision.set_false_alarm_rate(args.false_alarm_rate)
    found = inferencer.describe()
    threshold, rate = (
        found.get(key) for key in ('image_threshold', 'false_alarm_rate'))
    if threshold is None:
        return False
    text = f'{threshold:.6g}'
    if rate is not None:
        text += (f', for a false-alarm rate of {100 * rate:.2g} % on '
                 f'{found["calibration_images"]} normal images')
        if args.false_alarm_rate is not None and rate > args.false_alarm_rate:
            text += ', the lowest that so many images can tell'
    say('Threshold', text)
    return True


def find_inputs(inputs: list[str]) -> list[str] | int:
    """Check that each input exists, and recognize the index of a camera."""
    from mmad.apis.images import find_images
    from mmad.errors import InputError

    for name in inputs:
        is_index = name.isdigit() and not Path(name).exists()
        if is_index or '://' in name:
            if len(inputs) > 1:
                raise InputError(f'the camera "{name}" must be the only '
                                 'input; start the tool for each camera.')
            return int(name) if is_index else inputs
    if len(inputs) < 1000:  # else by a pattern of the shell
        for name in inputs:
            if not Path(name).is_dir():
                find_images(name, strict=False)
    return inputs


def is_camera(inputs: list[str] | int) -> bool:
    """Return whether the images have no end."""
    return isinstance(inputs, int) or any('://' in name for name in inputs)


def report(writer: 'PredictionWriter', seconds: float,
           has_verdicts: bool) -> None:
    """Say what was found, and where it is written."""
    from mmad.errors import InputError

    counts, number = writer.counts, writer.counts.total()
    if number and counts['error'] == number:
        raise InputError(f'none of the {number} images can be scored; the '
                         f'reasons are in "{writer.csv_path}".')
    known = ([f'{counts["good"]} good', f'{counts["defective"]} defective']
             if has_verdicts else [f'{counts["unjudged"]} scored'])
    known.append(f'{counts["error"]} unreadable')
    say('Result', f'{", ".join(known)}; '
        f'{seconds / max(number, 1):.3f} s per image')
    if not has_verdicts:
        say(
            'Verdicts', 'none, since the checkpoint has no threshold; fit '
            'with the CalibrationHook, or give --threshold')
    if writer.unplaced:
        say(
            'Regions', f'none for {writer.unplaced} images that the pipeline '
            'has rotated or cropped in a way that cannot be undone')
    say('Predictions', shown_path(writer.csv_path))


if __name__ == '__main__':
    main()
