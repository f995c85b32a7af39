"""Export a checkpoint as one graph: ONNX, torch.export or OpenVINO."""
import argparse
import shlex
from functools import partial

from mmad.interrupt import exit_quietly_on_interrupt

exit_quietly_on_interrupt()

from mmad.command_options import add_checkpoint_arguments
from mmad.terminal import open_terminal, say, shown_path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of tools/train.py')
    parser.add_argument(
        '--format',
        choices=['onnx', 'torch-export', 'openvino'],
        default='onnx',
        help='format of the graph (default: onnx)')
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='file to write, which ends in .onnx, .pt2 or .xml (default: '
        'beside the checkpoint)')
    parser.add_argument(
        '--color-order',
        choices=['rgb', 'bgr'],
        default='rgb',
        help='of the images that the graph takes (default: rgb)')
    parser.add_argument(
        '--batch-size',
        type=int,
        help='number of images that the graph takes (default: any)')
    parser.add_argument(
        '--check',
        metavar='FOLDER',
        help='also compare the graph with the checkpoint on these images')
    add_checkpoint_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Imported here and in `export`, so that --help is quick.
    open_terminal()
    from mmad.utils.one_sentence_errors import one_sentence_errors

    one_sentence_errors(partial(export, args))()


def export(args: argparse.Namespace) -> None:
    from pathlib import Path

    from mmad.deploy import export_model

    say('Export', f'{args.checkpoint} to {args.format}')
    about = export_model(args.checkpoint, args.format, args.out,
                         args.color_order, args.batch_size, args.check,
                         args.config, args.modules)
    names = [output['name'] for output in about['outputs']]
    say('Method', about['method'])
    say('Outputs', ', '.join(names))
    if about['thresholds'] is None:
        say(
            'Note', 'there are no labels and no masks, since the model has '
            'no thresholds; fit it with the CalibrationHook for them')
    if 'anomaly_map' not in names:
        say(
            'Note', f'there is no anomaly map, since that of '
            f'{about["method"]} is a gradient, which is no part of a graph')
    parity = about['parity']
    worst = max(parity['differences'].values())
    labels = 'without labels'
    if parity['equal_labels']:
        labels = f'labels equal on {parity["equal_labels"]}'
    say(
        'Parity', f'{parity["images"]} images, largest relative difference '
        f'{worst:.1e}, {labels}')
    folder = Path(args.out or args.checkpoint).parent
    for name in (about['file'], *about['other_files'],
                 f'{about["file"]}.json'):
        say('Written', shown_path(folder / name))
    if args.format == 'onnx':
        runner = shown_path(Path(__file__).parent / 'deploy/run_onnx.py')
        path = shown_path(folder / about['file'])
        say('Next', f'{shlex.join(["python", runner, path])} IMAGES')


if __name__ == '__main__':
    main()
