"""Measure the time of an exported ONNX model beside PyTorch's.

Both get the same image, as uint8, in turns. Shown are medians of the time of
the process, which other work on the machine hardly changes, and of the time
that passes.
"""
import argparse
import time
from statistics import median

import numpy as np
import onnxruntime
import torch

from mmad.apis import init_model
from mmad.deploy.exportable_detector import ExportableDetector
from mmad.deploy.image_input import ImageInput
from mmad.utils.command_line import one_sentence_errors


@one_sentence_errors
@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint')
    parser.add_argument('onnx', help='the same model, by tools/export.py')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    detector = init_model(args.checkpoint, device='cpu')
    image_input = ImageInput.of(detector, args.checkpoint)
    model = ExportableDetector(detector, image_input, 'rgb').eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.onnx, options)
    images = np.random.default_rng(0).integers(
        0, 256, (args.batch_size, *image_input.size, 3), np.uint8)
    runs = {
        'PyTorch': lambda: model(torch.from_numpy(images)),
        'ONNX Runtime': lambda: session.run(None, dict(images=images))
    }
    times: dict[str, list] = {name: [] for name in runs}
    for _ in range(args.repeats + 1):
        for name, run in runs.items():
            start = time.process_time(), time.perf_counter()
            run()
            times[name].append((time.process_time() - start[0],
                                time.perf_counter() - start[1]))
    for name, pairs in times.items():
        busy, passed = (1000 * median(part) for part in zip(*pairs[1:]))
        print(f'{name}: {busy:.1f} ms of the process, {passed:.1f} ms')


if __name__ == '__main__':
    main()
