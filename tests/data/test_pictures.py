"""Pictures that people have, odd and broken ones. What each looks like is known: four coloured quarters."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional as F

from coatnet import UserError
from coatnet.data.pictures import as_rgb, fit, open_picture

SIZE = (60, 40)  # width, height
ORIENTATION = 0x0112


def picture(size: tuple[int, int] = SIZE) -> Image.Image:
    """Quarters of red, green, blue and grey, so that a turn, a flip or a swapped channel shows."""
    image = Image.new("RGB", size)
    width, height = size[0] // 2, size[1] // 2
    for colour, corner in (("#c82828", (0, 0)), ("#28b428", (1, 0)), ("#2828c8", (0, 1)), ("#a0a0a0", (1, 1))):
        x, y = corner[0] * width, corner[1] * height
        image.paste(colour, (x, y, size[0] if corner[0] else width, size[1] if corner[1] else height))
    return image


def saved(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def transparent() -> Image.Image:
    """The picture, its right half transparent over black."""
    image = picture().convert("RGBA")
    image.paste((0, 0, 0, 0), (SIZE[0] // 2, 0, *SIZE))
    return image


def over_white() -> Image.Image:
    image = picture()
    image.paste("white", (SIZE[0] // 2, 0, *SIZE))
    return image


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257)


def turned(orientation: int) -> bytes:
    """A JPEG that lies as a camera of this orientation stores it."""
    undo = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE}
    image = picture() if orientation == 1 else picture().transpose(undo[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(image, "JPEG", quality=95, exif=exif)


def _thirty_two_bits() -> Image.Image:
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.int32))


def _signed_tiff() -> bytes:
    """Signed integers of 16 bits, which Pillow has in its type of 32."""
    return saved(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 128), "TIFF", tiffinfo={339: 2})


def stretched() -> Image.Image:
    """The greys of the picture from black to white."""
    grey = np.asarray(picture().convert("L")).astype(float)
    return Image.fromarray(((grey - grey.min()) * 255 / (grey.max() - grey.min())).astype(np.uint8))


def frames() -> dict:
    return {"save_all": True, "append_images": [Image.new("RGB", SIZE, "black")] * 2}


GREY = picture().convert("L")
FLOATS = Image.fromarray(np.asarray(GREY).astype(np.float32) / 255 - 0.5)
ODD = {  # content, and what it must look like
    "png": lambda: (saved(picture(), "PNG"), picture()),
    "png-rgba": lambda: (saved(transparent(), "PNG"), over_white()),
    "png-grey-alpha": lambda: (saved(transparent().convert("LA"), "PNG"), over_white().convert("L")),
    "png-palette": lambda: (saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), picture()),
    "png-palette-transparent": lambda: (saved(transparent().quantize(8), "PNG"), over_white()),
    "png-one-colour-transparent": lambda: (
        saved(transparent().convert("RGB"), "PNG", transparency=(0, 0, 0)),
        over_white(),
    ),
    "png-1-bit": lambda: (
        saved(GREY.convert("1", dither=Image.Dither.NONE), "PNG"),
        GREY.point(lambda v: 255 * (v > 127)),
    ),
    "png-16-bit": lambda: (saved(sixteen_bits(), "PNG"), GREY),
    "png-exif": lambda: (saved(picture().transpose(Image.Transpose.ROTATE_90), "PNG", exif=_exif(6)), picture()),
    "png-animated": lambda: (saved(picture(), "PNG", **frames()), picture()),
    "pgm-16-bit": lambda: (b"P5 60 40 65535\n" + np.asarray(sixteen_bits()).astype(">u2").tobytes(), GREY),
    "tiff-16-bit": lambda: (saved(sixteen_bits(), "TIFF"), GREY),
    "tiff-float": lambda: (saved(FLOATS, "TIFF"), stretched()),
    "tiff-32-bit": lambda: (saved(Image.fromarray(np.asarray(GREY).astype(np.int32) * 10**6), "TIFF"), stretched()),
    "tiff-32-bit-small": lambda: (saved(_thirty_two_bits(), "TIFF"), stretched()),
    "tiff-32-bit-turned": lambda: (
        saved(_thirty_two_bits().transpose(Image.Transpose.ROTATE_90), "TIFF", exif=_exif(6)),
        stretched(),
    ),
    "tiff-16-bit-signed": lambda: (_signed_tiff(), GREY.point(lambda v: v // 2)),
    "tiff-lzw-pages": lambda: (saved(picture(), "TIFF", compression="tiff_lzw", **frames()), picture()),
    "tiff-cmyk": lambda: (saved(picture().convert("CMYK"), "TIFF"), picture()),
    "jpeg-grey": lambda: (saved(GREY, "JPEG", quality=95), GREY),
    "jpeg-progressive": lambda: (saved(picture(), "JPEG", quality=95, progressive=True), picture()),
    "jpeg-cmyk": lambda: (saved(picture().convert("CMYK"), "JPEG", quality=95), picture()),
    "jpeg-upside-down": lambda: (turned(3), picture()),
    "jpeg-turned": lambda: (turned(6), picture()),
    "jpeg-mirrored": lambda: (turned(7), picture()),
    "jpeg-wrong-exif": lambda: (saved(picture(), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), picture()),
    "gif-animated": lambda: (saved(picture(), "GIF", **frames()), picture()),
    "webp-alpha": lambda: (saved(transparent(), "WEBP", lossless=True), over_white()),
    "webp-exif": lambda: (
        saved(picture().transpose(Image.Transpose.ROTATE_180), "WEBP", lossless=True, exif=_exif(3)),
        picture(),
    ),
    "jpeg-2000": lambda: (saved(picture(), "JPEG2000"), picture()),
    "avif": lambda: (saved(picture(), "AVIF", quality=95), picture()),
    "bmp": lambda: (saved(picture(), "BMP"), picture()),
    "tga": lambda: (saved(transparent(), "TGA"), over_white()),
    "ico": lambda: (saved(picture((32, 32)), "ICO", sizes=[(32, 32)]), picture((32, 32))),
}
NEEDS = {"webp-alpha": "webp", "webp-exif": "webp", "jpeg-2000": "jpg_2000", "avif": "avif"}


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("kind", ODD)
def test_odd_pictures_look_as_they_should(kind, tmp_path):
    if kind in NEEDS and not features.check(NEEDS[kind]):
        pytest.skip(f"this Pillow was built without {NEEDS[kind]}")
    content, expected = ODD[kind]()
    (tmp_path / "no extension").write_bytes(content)
    for found in (open_picture(content), open_picture(tmp_path / "no extension")):
        assert (found.mode, found.size) == ("RGB", expected.size)
        difference = np.abs(np.asarray(found).astype(int) - np.asarray(expected.convert("RGB")).astype(int))
        assert difference.mean() < 3  # the lossy formats blur the edges
        assert as_rgb(found).tobytes() == found.tobytes()  # not turned once more


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_put_upright(orientation):
    content = saved(picture(), "PNG", exif=_exif(orientation))
    with Image.open(io.BytesIO(content)) as image:
        expected = ImageOps.exif_transpose(image)
    found = open_picture(content)
    assert (found.size, found.tobytes()) == (expected.size, expected.tobytes())


def test_a_pixel_that_is_no_number_is_black():
    content = saved(Image.fromarray(np.array([[0, 1], [np.nan, 0.5]], np.float32)), "TIFF")
    assert np.asarray(open_picture(content))[..., 0].tolist() == [[0, 255], [0, 127]]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3000, 2), (65, 64)])
def test_odd_sizes(size):
    found = fit(open_picture(saved(Image.new("RGB", size, "red"), "PNG")), 64)
    assert found.size == (64, 64) and found.getcolors() == [(64 * 64, (255, 0, 0))]


BROKEN = {
    "empty": lambda: b"",
    "text": lambda: b"Not a picture.\n",
    "csv": lambda: b"a,b\n1,2\n",
    "html": lambda: b"<!DOCTYPE html><title>404</title>",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf": lambda: b"%PDF-1.7\n%%EOF",
    "zip": lambda: _zip(),
    "noise": lambda: np.random.default_rng(0).bytes(5000),
    "zeros": lambda: bytes(5000),
    "jpeg-cut-off": lambda: _half(saved(picture((200, 200)), "JPEG")),
    "jpeg-head": lambda: saved(picture(), "JPEG")[:20],
    "jpeg-mark-alone": lambda: b"\xff\xd8\xff",
    "png-cut-off": lambda: _half(saved(_noise(), "PNG")),
    "png-head": lambda: saved(picture(), "PNG")[:33],
    "png-wrong-checksum": lambda: _flipped(saved(_noise(), "PNG")),
    "gif-cut-off": lambda: _half(saved(_noise(), "GIF")),
    "bmp-cut-off": lambda: _half(saved(picture(), "BMP")),
    "tiff-cut-off": lambda: _half(saved(picture(), "TIFF")),
    "tiff-without-pages": lambda: b"II*\0\x08\0\0\0\0\0\0\0\0\0",
    "webp-cut-off": lambda: _half(saved(_noise(), "WEBP")),
    "ppm-cut-off": lambda: _half(saved(picture(), "PPM")),
    "bomb": lambda: _png_head(30_000, 30_000),
}


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8))


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("cat.jpg", "no picture")
    return out.getvalue()


def _png_head(width: int, height: int) -> bytes:
    """A file of a few bytes that asks for gigabytes of memory."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_is_one_sentence_with_its_name(kind, tmp_path):
    content = BROKEN[kind]()
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    for source, name, shown in ((path, None, str(path)), (content, "standard input", "standard input")):
        with pytest.raises(UserError) as error:
            open_picture(source, name)
        assert str(error.value).startswith(f"{shown} ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["nowhere.jpg", "folder"])
def test_what_cannot_be_read_is_said(name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=rf"{name} cannot be read: \w+"):
        open_picture(tmp_path / name)


def test_a_file_that_claims_too_many_pixels_is_refused_before_it_takes_the_memory():
    with pytest.raises(UserError, match=r"over 178,956,970 pixels"):
        open_picture(_png_head(30_000, 30_000))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_has_the_pixels_of_the_shards(mode):
    """Pillow has a decoder of its own, perhaps of another version, which may round otherwise."""
    content = saved(_noise().convert(mode), "JPEG", quality=70)
    expected = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    assert torch.equal(F.pil_to_tensor(open_picture(content)), expected)


def test_a_jpeg_that_the_shards_decoder_refuses_is_left_to_pillow(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no")

    monkeypatch.setattr("torchvision.io.decode_jpeg", refuse)
    assert open_picture(saved(picture(), "JPEG")).size == SIZE


def test_fitting_an_image_of_the_size_changes_nothing():
    noise = _noise().resize((64, 64))
    assert fit(noise, 64).tobytes() == noise.tobytes()


@pytest.mark.parametrize(("size", "box"), [((64, 65), (0, 0, 64, 64)), ((96, 64), (16, 0, 80, 64))])
def test_of_a_longer_image_with_the_right_short_side_the_middle_is_cut_out(size, box):
    noise = _noise().resize(size)
    assert fit(noise, 64).tobytes() == noise.crop(box).tobytes()


@pytest.mark.parametrize("size", [(500, 333), (40, 90)])
def test_fit_is_torchvisions_resize_and_centre_crop(size):
    image = picture(size).rotate(10, Image.Resampling.BICUBIC)
    resized = F.resize(image, 64, F.InterpolationMode.BICUBIC, antialias=True)
    expected = np.asarray(F.center_crop(resized, 64)).astype(int)
    # They round the long side to whole pixels.
    assert np.abs(np.asarray(fit(image, 64)).astype(int) - expected).mean() < 4
