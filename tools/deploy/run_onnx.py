"""Score images with an exported ONNX model, without mmad and PyTorch.

    python run_onnx.py MODEL.onnx IMAGE_OR_FOLDER...

It takes onnxruntime, NumPy and Pillow, and can be copied anywhere.
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


class Detector:
    """An exported model and its description, ``MODEL.onnx.json``."""

    def __init__(self, path, threads=0):
        with open(f'{path}.json', encoding='utf-8') as file:
            self.about = json.load(file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options)

    def read(self, path):
        """Read an image as uint8 (H, W, 3), resized as in the fit."""
        image = ImageOps.exif_transpose(Image.open(path)).convert('RGB')
        resize = self.about['resize']
        if resize is not None and resize['backend'] == 'pillow':
            kind = Image.Resampling[resize['interpolation'].upper()]
            image = image.resize((resize['width'], resize['height']), kind)
        elif resize is not None:
            raise ValueError('resize images by OpenCV, as in the fit')
        order = self.about['input']['color_order']
        return np.asarray(image)[..., ::-1 if order == 'bgr' else 1]

    def __call__(self, images):
        """Score uint8 images (B, H, W, 3); returns arrays by name."""
        names = [output['name'] for output in self.about['outputs']]
        images = np.ascontiguousarray(images)
        return dict(zip(names, self.session.run(names, {'images': images})))


def list_images(places):
    """List images, and those in folders."""
    for place in map(Path, places):
        yield from sorted(place.iterdir()) if place.is_dir() else [place]


if __name__ == '__main__':
    detector = Detector(sys.argv[1])
    for name in list_images(sys.argv[2:]):
        found = detector(detector.read(name)[None])
        print(
            name,
            *(f'{key}={found[key][0]}' for key in ('score', 'label', 'p_value')
              if key in found))
