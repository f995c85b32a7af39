import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from os.path import abspath
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
from PIL import Image

from mmad.errors import InputError, printable
from mmad.structures import AnomalyDataSample
from mmad.utils import check_choice, write_atomically
from mmad.utils.path_checks import check_folder
from mmad.utils.safe_path import safe_path
from mmad.utils.unique_names import UniqueNames
from mmad.visualization import AnomalyVisualizer

from .record import make_record

_COLUMNS = ('path', 'frame', 'label', 'score', 'p_value', 'threshold',
            'regions', 'boxes', 'error')
# The folders of test images in MVTec AD and MVTec AD 2.
_TESTS = ('test', 'test_public', 'test_private', 'test_private_mixed')


class PredictionWriter:
    """Writes predictions to files, one image after the other.

    In its folder it writes

    - ``predictions.csv``: a row for each image. ``boxes`` has the ``x y w h
      area`` of each defective region in pixels of the original image,
      separated by semicolons.
    - ``predictions.json``: the given ``about``, the same rows as a list
      ``predictions``, each on a line of its own, and their ``summary``.
    - ``overlays/NAME.png``: drawings at the size of the original image.
    - ``anomaly_maps/NAME.tiff``: anomaly maps at the size of the original
      image, float32. Where a crop left the image out, they have the lowest
      value of the image.

    Until all is written, the first two have the suffix ``.part`` and contain
    what is known so far, also after a crash. ``NAME`` is the path below the
    folder that was given, from the name of this folder on; for an image in
    the folders of MVTec AD it is ``OBJECT/test/DEFECT/STEM``, the layout that
    its evaluation reads.

    Args:
        out_dir (str | Path): Folder for the files.
        overlays (str): Which images to draw: ``'all'``, ``'defective'`` or
            ``'none'``. Defaults to ``'all'``.
        maps (bool): Write the anomaly maps. Defaults to False.
        roots (Sequence[str | Path]): Folders that images were listed from.
        about (dict, optional): Further entries of the JSON file. Defaults to
            none.
        visualizer (AnomalyVisualizer, optional): Defaults to a new one.

    Attributes:
        counts (Counter): Number of images by label.

    Raises:
        InputError: If an argument is out of range, or a file cannot be
            written.
    """

    def __init__(self,
                 out_dir: str | Path,
                 overlays: str = 'all',
                 maps: bool = False,
                 roots: Sequence[str | Path] = (),
                 about: dict | None = None,
                 visualizer: AnomalyVisualizer | None = None) -> None:
        check_choice('overlays', overlays, ('all', 'defective', 'none'))
        check_folder(out_dir, 'the folder for predictions')
        self.out_dir = Path(out_dir)
        self.overlays = overlays
        self.maps = maps
        self.counts: Counter[str] = Counter()
        self.unplaced = 0
        self._roots = [Path(abspath(root)) for root in roots]
        self._about = about or {}
        self._visualizer = visualizer
        self._name = UniqueNames()
        self._files: list[TextIO] = []

    @property
    def csv_path(self) -> Path:
        """Path of the table."""
        return self.out_dir / 'predictions.csv'

    @property
    def json_path(self) -> Path:
        """Path of the JSON file."""
        return self.out_dir / 'predictions.json'

    def __enter__(self) -> 'PredictionWriter':
        try:
            self.out_dir.mkdir(parents=True, exist_ok=True)
            for path in (self.csv_path, self.json_path):
                # File names may have any characters.
                self._files.append(
                    open(
                        _part(path),
                        'w',
                        encoding='utf-8',
                        errors='backslashreplace',
                        newline=''))
        except OSError as error:
            raise self._refusal(error) from error
        self._table = csv.DictWriter(self._files[0], _COLUMNS)
        self._table.writeheader()
        begin = json.dumps(self._about, indent=2)[:-2] + ','
        self._files[1].write((begin if self._about else '{') +
                             '\n  "predictions": [')
        self.flush()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        try:
            if error is None:
                self._files[1].write('\n  ],\n  "summary": ' +
                                     json.dumps(self.summary()) + '\n}\n')
            for file in self._files:
                file.close()
            if error is None:
                for path in (self.csv_path, self.json_path):
                    _part(path).replace(path)
        except OSError as failure:
            if error is None:
                raise self._refusal(failure) from failure

    def add(self,
            sample: AnomalyDataSample,
            image: np.ndarray | None = None) -> dict:
        """Write what is known about an image.

        Args:
            sample (AnomalyDataSample): Its prediction.
            image (np.ndarray, optional): The original image, ``(H, W, 3)``
                uint8 BGR, for the drawing. Defaults to None: no drawing.

        Returns:
            dict: The record of :func:`~mmad.apis.record.make_record`, with
            the paths of ``overlay`` and ``map`` below the folder.
        """
        record = make_record(sample)
        record.update(overlay=None, map=None)
        label = record['label'] or 'unjudged'
        if label != 'error':
            placed = is_placed(sample)
            self.unplaced += not placed
            if self.overlays not in (label, 'all'):
                image = None
            if placed and (image is not None or self.maps):
                # Kept for good, so only where there is a file.
                name = self._make_name(record)
                if image is not None:
                    record['overlay'] = self._draw(name, image, sample)
                if self.maps:
                    record['map'] = self._write_map(name, sample)
        regions = record['regions']
        row = {key: record.get(key) for key in _COLUMNS if key != 'boxes'}
        for key in ('path', 'error'):
            row[key] = printable(row[key] or '')
        if regions is not None:
            row['regions'] = len(regions)
            row['boxes'] = '; '.join(
                '{x} {y} {width} {height} {area}'.format(**region)
                for region in regions)
        try:
            self._table.writerow(row)
            self._files[1].write((',' if self.counts else '') + '\n    ' +
                                 json.dumps(record))
        except OSError as error:
            raise self._refusal(error) from error
        self.counts[label] += 1
        return record

    def flush(self) -> None:
        """Hand what was added to the file system."""
        try:
            for file in self._files:
                file.flush()
        except OSError as error:
            raise self._refusal(error) from error

    def summary(self) -> dict:
        """Return the number of images, in all and by label."""
        return dict(images=self.counts.total(), **self.counts)

    def _make_name(self, record: dict) -> Path:
        if record['path'] is None:
            return self._name(f'image_{self.counts.total():06d}')
        if record['frame'] is not None:
            folder = record['path'].replace('://', '_')
            return self._name(
                Path(folder.replace('\\', '_').replace('/', '_')).stem,
                f'{record["frame"]:06d}')
        path = Path(abspath(record['path']))
        *folders, last = path.parts[1:]
        tests = [
            place for place, part in enumerate(folders)
            if part in _TESTS and 0 < place >= len(folders) - 2
        ]
        if tests:
            folders = folders[tests[-1] - 1:]
        else:
            inside = [root for root in self._roots if root in path.parents]
            if inside:
                # From the name of the outermost given folder on.
                folders = folders[min(len(root.parts) for root in inside) - 2:]
            else:
                folders = folders[-1:]
        return self._name(*folders, Path(last).stem)

    def _draw(self, name: Path, image: np.ndarray,
              sample: AnomalyDataSample) -> str:
        if self._visualizer is None:
            self._visualizer = AnomalyVisualizer()
        file = Path('overlays', f'{name}.png')
        if abspath(self.out_dir / file) == abspath(sample.get('img_path', '')):
            raise InputError(
                f'the drawing of "{sample.img_path}" would replace it; choose '
                'another folder for predictions.')
        self._visualizer.add_datasample(
            str(name),
            image,
            sample,
            out_file=safe_path(self.out_dir, str(file)),
            frame='original')
        return file.as_posix()

    def _write_map(self, name: Path, sample: AnomalyDataSample) -> str:
        scores = sample.original_map().numpy()
        if np.isnan(scores).any():
            scores = np.nan_to_num(scores, nan=float(np.nanmin(scores)))
        content = io.BytesIO()
        Image.fromarray(scores).save(
            content, 'tiff', compression='tiff_adobe_deflate')
        file = Path('anomaly_maps', f'{name}.tiff')
        write_atomically(
            safe_path(self.out_dir, str(file)), content.getvalue())
        return file.as_posix()

    def _refusal(self, error: OSError) -> InputError:
        return InputError(
            f'the predictions cannot be written to "{self.out_dir}" '
            f'({error.strerror}); free some space or choose another folder.')


def _part(path: Path) -> Path:
    return path.with_name(path.name + '.part')


def is_placed(sample: Any) -> bool:
    """Return whether the place of the map in the original image is known."""
    return not (sample.get('frame_lost') or sample.get('rotation')
                or sample.get('ori_shape') is None)
