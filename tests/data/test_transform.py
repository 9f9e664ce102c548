import pytest
import torch
from torch.nn.functional import interpolate

from coatnet.data.transform import EvalTransform


@pytest.mark.parametrize(
    ("height", "width", "size", "crop", "top", "left"),
    [
        (64, 64, 32, 0.5, 16, 16),
        (64, 96, 48, 0.5, 16, 24),
        (96, 64, 48, 0.5, 24, 16),
        (64, 64, 80, 0.5, 16, 16),
        (64, 64, 64, 1.0, 0, 0),
        (64, 64, 64, None, 4, 4),
        (64, 64, 48, None, 0, 0),
        (48, 64, 64, None, 0, 0),
    ],
)
def test_the_centre_is_cut_out_and_resampled(height, width, size, crop, top, left):
    mean, std = (0.48, 0.45, 0.40), (0.28, 0.27, 0.29)
    images = torch.randint(256, (3, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    kept = images[:, :, top : height - top, left : width - left] / 255
    expected = (kept - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    x = EvalTransform(image_size=size, crop=crop, mean=mean, std=std)(images)
    torch.testing.assert_close(x, interpolate(expected, (size, size), mode="bilinear"), rtol=0, atol=1e-5)
