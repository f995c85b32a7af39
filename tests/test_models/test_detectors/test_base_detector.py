import pytest
import torch

from mmad.models import BaseDetector
from mmad.structures import AnomalyDataSample


class Brightness(BaseDetector):

    def __init__(self):
        super().__init__()
        # There is nothing that it would have to learn.
        self.fit_state.finalize()

    def score(self, inputs):
        maps = inputs.mean(1, keepdim=True)
        return maps.amax((1, 2, 3)), maps

    def loss(self, inputs, data_samples):
        return dict(loss=inputs.mean())


def test_modes(images):
    detector = Brightness()
    scores, maps = detector(images)
    assert scores.shape == (7, )
    assert maps.shape == (7, 1, 32, 40)
    assert detector(images, None, mode='loss') == dict(loss=images.mean())
    predictions = detector(images, mode='predict')
    for sample, score, anomaly_map in zip(predictions, scores, maps):
        assert torch.equal(sample.pred_score, score)
        assert torch.equal(sample.pred_map, anomaly_map[0])
    with pytest.raises(ValueError, match='got "train"'):
        detector(images, mode='train')


def test_predict_keeps_what_is_known(images):
    samples = [
        AnomalyDataSample(metainfo=dict(sample_idx=i), gt_label=i % 2)
        for i in range(7)
    ]
    predictions = Brightness()(images, samples, mode='predict')
    for i, sample in enumerate(predictions):
        assert sample is samples[i]
        assert sample.sample_idx == i
        assert sample.gt_label == i % 2


def test_number_of_samples_must_agree(images):
    with pytest.raises(ValueError, match='longer'):
        Brightness()(images, [AnomalyDataSample()], mode='predict')


@pytest.mark.parametrize(('scores', 'maps'), [((2, 1), (2, 1, 32, 40)),
                                              ((2, ), (2, 32, 40)),
                                              ((2, ), (2, 1, 8, 10)),
                                              ((1, ), (1, 1, 32, 40))])
def test_shapes_of_a_score(images, scores, maps):

    class Wrong(Brightness):

        def score(self, inputs):
            return torch.zeros(scores), torch.zeros(maps)

    with pytest.raises(ValueError, match=r'`Wrong\.score` returned'):
        Wrong().predict(images[:2])
