"""What the tests of ReportHook report: a runner and its metrics."""
import logging
import math
from types import SimpleNamespace

from mmengine.evaluator import Evaluator

from mmad.evaluation import ImageMetric, PixelMetric


class Lines(logging.Handler):

    def __init__(self):
        super().__init__()
        self.text = ''

    def emit(self, record):
        self.text += record.getMessage() + '\n'


def report_runner(tmp_path):
    """A runner with one metric of images and one of pixels."""
    logger = logging.Logger('report')
    lines = Lines()
    logger.addHandler(lines)
    images, pixels = ImageMetric(), PixelMetric()
    images.per_defect_type = dict(cut=dict(image_auroc=1 / 3))
    images.conditions = dict(images=4, defective_images=2)
    pixels.per_defect_type = dict(cut=dict(pixel_auroc=2 / 3, aupro=math.nan))
    pixels.conditions = dict(
        resolution='input',
        fpr_limit=0.3,
        score_bits=None,
        map_size='224x224',
        cropped_images=0,
        error_bounds=dict(aupro=math.nan))
    loop = SimpleNamespace(
        evaluator=Evaluator([images, pixels]),
        dataloader=SimpleNamespace(dataset=range(4)))
    return SimpleNamespace(
        work_dir=str(tmp_path / 'work'),
        logger=logger,
        lines=lines,
        val_loop=loop,
        test_loop=loop)


VALUES = dict(
    val_loss=1.0, aupro=math.nan, pixel_auroc=0.1 + 0.2, image_auroc=1 / 7)
