import zipfile

import pytest
import torch
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F


def torchvisions(images, chain, interpolation=F.InterpolationMode.NEAREST):
    """The operations as torchvision's own policies apply them, to one image or to each of many."""
    apply = v2.RandAugment()._apply_image_or_video_transform
    for op, magnitude in chain:
        images = apply(images, op.name, magnitude, interpolation=interpolation, fill={})
    return images


@pytest.fixture(scope="session")
def patterns() -> torch.Tensor:
    """16 x 3 x 64 x 64: smooth, noisy, dark, bright, grey, constant, two-valued, saturated."""
    g = torch.Generator().manual_seed(0)
    smooth = interpolate(torch.rand(8, 3, 6, 6, generator=g) * 255, size=64, mode="bicubic").clamp(0, 255).byte()
    noise = torch.randint(0, 256, (2, 3, 64, 64), generator=g, dtype=torch.uint8)
    ramp = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)
    grey, two_valued = noise[0, :1].expand(3, 64, 64), (noise[1] > 127).byte() * 255
    constant, saturated = torch.full_like(ramp, 77), torch.full_like(ramp, 255)
    return torch.cat([smooth, noise, torch.stack([ramp, ramp + 150, grey, two_valued, constant, saturated])])


@pytest.fixture(scope="session")
def decoded(photos) -> torch.Tensor:
    """16 x 3 x 64 x 64."""
    with zipfile.ZipFile(photos) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))[::180][:16]
        files = [torch.frombuffer(bytearray(archive.read(name)), dtype=torch.uint8) for name in names]
    return torch.stack([decode_jpeg(file, ImageReadMode.RGB) for file in files])


@pytest.fixture(params=["patterns", "decoded"])
def images(request) -> torch.Tensor:
    """uint8, N x 3 x 64 x 64."""
    return request.getfixturevalue(request.param).clone()


@pytest.fixture(params=["rows", "all"])
def path(request, monkeypatch) -> str:
    """Both ways through the code on a CPU: for the rows that need it, and the GPU's, for all rows."""
    if request.param == "all":
        monkeypatch.setattr("coatnet.augment.cpu.serves", lambda x: False)
    return request.param
