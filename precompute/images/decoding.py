"""From the bytes of an image file to a picture in RGB, and from there to the input of the model and back.

Owns decoding, colour conversion, the EXIF orientation, preprocessing and normalisation. Must not know data sets
or models.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from precompute.config import PreprocessingConfig
from precompute.errors import DataError

MAX_ASPECT_RATIO = 100
"""A more oblong image is refused: resizing its shorter side would blow it up to gigabytes."""


def decode_image(content: bytes, max_megapixels: float) -> PIL.Image.Image:
    """Decode one image file.

    EXIF orientation is applied; of an animation the first frame counts. Grey, palette and CMYK convert to RGB; 16-bit
    grey is scaled to 8 bits; transparency is composited on white.

    Returns
    -------
    PIL.Image.Image
        RGB, 8 bits.

    Raises
    ------
    DataError
        The message is the reason alone: empty, not an image, truncated, too large, too oblong.
    """
    if not content:
        raise DataError("the file is empty")
    # Warnings of decoders are about metadata or about sizes, which are checked here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with PIL.Image.open(io.BytesIO(content)) as image:
                _check_size(image, max_megapixels)
                image.load()
                return _to_rgb(_oriented(image))
        except DataError:
            raise
        except PIL.UnidentifiedImageError as error:
            raise DataError(f"not an image: it begins with {content[:12]!r}") from error
        except PIL.Image.DecompressionBombError as error:
            raise DataError("too large: more pixels than the decoder allows") from error
        except Exception as error:  # decoders raise anything on a broken file, and one file must not end a run
            raise DataError(f"broken or truncated: {error}") from error


def preprocess(image: PIL.Image.Image, preprocessing: PreprocessingConfig) -> npt.NDArray[np.uint8]:
    """Resize the shorter side and crop the centre, exactly as torchvision's classification preset does.

    For a network that gets grey alone the picture is grey: what people see is what it sees.

    Returns
    -------
    (3, crop, crop) uint8
        Red, green and blue, whatever the network's channels are: what people see. `normalise` makes the channels.
    """
    mode = InterpolationMode(preprocessing.interpolation)
    if set(preprocessing.channels) == {"grey"}:
        image = image.convert("L").convert("RGB")
    resized = F.resize(image, [preprocessing.resize], interpolation=mode)
    cropped = F.center_crop(resized, [preprocessing.crop])
    return np.ascontiguousarray(np.asarray(cropped, dtype=np.uint8).transpose(2, 0, 1))


def normalise(
    images: torch.Tensor, preprocessing: PreprocessingConfig, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Make the network's channels, scale to [0, 1], subtract the mean and divide by the standard deviation.

    Parameters
    ----------
    images : (n, 3, height, width) uint8
        Red, green and blue.
    preprocessing : PreprocessingConfig
    dtype : torch.dtype

    Returns
    -------
    (n, n_channels, height, width) of `dtype`
        On the images' device.
    """
    mean = torch.tensor(preprocessing.mean, dtype=dtype, device=images.device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, dtype=dtype, device=images.device).view(-1, 1, 1)
    return _map_channels(images, preprocessing.channels).to(dtype).div_(255).sub_(mean).div_(std)


_LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in 65,536ths, as Pillow turns colours into grey (ITU-R 601-2)."""


def _map_channels(images: torch.Tensor, channels: Sequence[str]) -> torch.Tensor:
    """Take (n, 3, height, width) colours apart into (n, n_channels, height, width), all uint8."""
    if tuple(channels) == ("red", "green", "blue"):
        return images
    planes = dict(zip(("red", "green", "blue"), images.unbind(1), strict=True))
    if "grey" in channels:
        weighted = [plane.to(torch.int32) * weight for plane, weight in zip(planes.values(), _LUMA, strict=True)]
        planes["grey"] = ((weighted[0] + weighted[1] + weighted[2] + 0x8000) >> 16).to(torch.uint8)
    planes["black"] = torch.zeros_like(planes["red"])
    planes["white"] = torch.full_like(planes["red"], 255)
    return torch.stack([planes[channel] for channel in channels], dim=1)


def _check_size(image: PIL.Image.Image, max_megapixels: float) -> None:
    width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise DataError(
            f"too large: {width} x {height} is {width * height / 1e6:.1f} megapixels, "
            f"dataset.max_megapixels allows {max_megapixels:g}"
        )
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise DataError(f"too oblong: {width} x {height}, the longer side may be {MAX_ASPECT_RATIO} times the shorter")


def _oriented(image: PIL.Image.Image) -> PIL.Image.Image:
    try:
        return PIL.ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, struct.error):
        # Damaged metadata does not make the pixels worse.
        return image


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return PIL.Image.fromarray(_to_8_bits(image), "L").convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    """Scale grey of 16 bits, of 32 bits or in floating point to 0 to 255.

    The range is that of the format (16 bits; 0 to 1 or 0 to 255 for floating point) where the values keep to it, and
    else that of the values.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    low, high = float(values.min()), float(values.max())
    limits = (65535.0,) if image.mode.startswith("I") else (1.0, 255.0)
    top = next((limit for limit in limits if low >= 0 and high <= limit), None)
    if top is None:
        values, top = values - low, (high - low) or 1.0
    return np.rint(values * (255 / top)).astype(np.uint8)
