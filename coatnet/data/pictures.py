"""Pictures as people have them, of any format, size and mode, made into the images that models are trained on."""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from PIL.Image import Transpose

from ..errors import UserError, one_line

_ORIENTATION = 0x0112  # EXIF's tag
_BITS = 0x0102  # TIFF's tag for the bits of a value
_UPRIGHT = {  # what puts each orientation right; 1 is upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def open_picture(source: bytes | str | Path, name: str | None = None) -> Image.Image:
    """A picture, upright and in RGB.

    Takes whatever Pillow reads. Of an animation, the first frame; what is transparent shows white; of 16 bits, the
    high 8; a scale without a known white (float, 32 bits) runs from the least to the greatest value. JPEGs are decoded
    as shards are (`write_shards`), so that the same file gives the same pixels in training and in use.

    Args:
        source: a path, or a file's content.
        name: what an error calls it (default: the path).

    Raises:
        UserError: it cannot be read, is no image or a broken one, or has so many pixels that Pillow takes it for an
            attack on the memory.
    """
    name = name or ("the image" if isinstance(source, bytes) else str(source))
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as opened:
            # A pipe, such as the shell's <(...), cannot be read twice.
            file = opened if opened.seekable() else io.BytesIO(opened.read())
            if not file.read(1):
                raise UserError(f"{name} is empty")
            file.seek(0)
            return _open(file)
    except UserError:
        raise
    except Image.UnidentifiedImageError:
        raise UserError(f"{name} is no image that Pillow reads") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name} has over {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels: make it smaller") from None
    except Exception as error:  # as many kinds as there are formats
        if isinstance(error, OSError) and error.strerror:  # the system's, not a decoder's
            raise UserError(f"{name} cannot be read: {error.strerror}") from None
        raise UserError(f"{name} is a broken image: {one_line(error)}") from None


def fit(image: Image.Image, size: int) -> Image.Image:
    """The middle square of `image`, resized to `size` x `size` pixels (bicubic, antialiased).

    That is the short side brought to `size`, then a centre crop. An image of this size stays as it is, bit for bit.
    """
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    return image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + short, top + short))


def as_rgb(image: Image.Image) -> Image.Image:
    """Upright and in RGB, as `open_picture` says but for the decoding of JPEGs."""
    image.load()  # the first frame; what is broken shows here
    has_white = _has_white(image)
    image = _turn(image, _orientation(image))
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image, has_white)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _open(file: BinaryIO) -> Image.Image:
    image = Image.open(file)
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        orientation = _orientation(image)
        file.seek(0)
        if decoded := decode_jpeg(file.read()):
            return _turn(decoded, orientation)
        file.seek(0)
        image = Image.open(file)
    return as_rgb(image)


def _orientation(image: Image.Image) -> int:
    """As EXIF numbers it; upright where it says nothing sensible, since wrong EXIF data break no picture."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # as many kinds as there are ways to write EXIF wrongly
        return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    if orientation not in _UPRIGHT:
        return image
    turned = image.transpose(_UPRIGHT[orientation])
    # Of what Pillow copies along, only what is transparent: the orientation would turn it once more when asked again.
    turned.info = {key: value for key, value in turned.info.items() if key == "transparency"}
    return turned


def decode_jpeg(content: bytes) -> Image.Image | None:
    """In RGB, by the decoder of `write_shards`; None where that fails: Pillow's reads some that it does not."""
    from torchvision.io import ImageReadMode  # a second to import
    from torchvision.io import decode_jpeg as decode

    try:
        image_chw = decode(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    except (RuntimeError, ValueError):
        return None
    return Image.fromarray(image_chw.permute(1, 2, 0).contiguous().numpy())


def _has_white(image: Image.Image) -> bool:
    """Whether 2^16 is white, of an image of integers or floats as it was opened.

    Pillow has some formats' 16 bits in its type of 32. Of an image that no file was opened for, the values tell.
    """
    if image.mode != "I":
        return image.mode != "F"
    if image.format == "TIFF":
        return image.getexif().get(_BITS, (32,)) in (16, (16,))
    return image.format in ("PNG", "PPM", None)


def _eight_bits(image: Image.Image, has_white: bool) -> Image.Image:
    """An image of integers of 16 or 32 bits, or of floats, in greys of 8 bits."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    if not has_white or low < 0 or high >= 2**16:
        values = (values - low) * ((2**16 - 1) / (high - low or 1))
    return Image.fromarray((values / 2**8).astype(np.uint8))
