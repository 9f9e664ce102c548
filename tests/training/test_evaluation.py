import pytest
import torch
from torch import nn

from coatnet.data.transform import EvalTransform
from coatnet.training.evaluation import predict

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.LazyLinear(5))


@pytest.fixture
def images():
    return torch.randint(0, 256, (7, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_batches_make_no_difference_and_the_mode_stays(model, images):
    transform = EvalTransform(image_size=32, mean=MEAN, std=STD)
    done = []
    logits = predict(model, images, transform, batch_size=3, progress=done.append)
    assert done == [3, 3, 1] and model.training
    again = predict(model.eval(), images, transform, batch_size=7)
    assert not model.training
    for found in (logits, again):
        torch.testing.assert_close(found, model(transform(images)))


def test_flip_averages_the_logits_of_both(model, images):
    transform = EvalTransform(image_size=32, mean=MEAN, std=STD)
    both = predict(model, images, transform, batch_size=7, flip=True)
    one, other = (predict(model, x, transform, batch_size=7) for x in (images, images.flip(3)))
    assert not torch.allclose(one, other)
    torch.testing.assert_close(both, (one + other) / 2)
