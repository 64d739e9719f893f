"""From the bytes of an image file to a picture in RGB, and from there to the input of the model and back.

Owns decoding, colour conversion, the EXIF orientation, preprocessing and normalisation. Must not know data sets
or models.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import torch

from precompute.config import PreprocessingConfig
from precompute.errors import DataError

with contextlib.suppress(ImportError):  # a plugin that reads the photos of phones; not everybody has or needs it
    importlib.import_module("pillow_heif").register_heif_opener()

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "HEIF")
"""What is decoded, by Pillow's names; nothing else is tried, whatever a file's bytes look like."""

_SPELLINGS = {
    **dict.fromkeys((".jif", ".pjpeg", ".pjpg", ".pjp"), "JPEG"),
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics", ".heifs"), "HEIF"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
}
"""Suffixes that Pillow does not list, or lists only where it was built with the format."""

MAX_ASPECT_RATIO = 100
"""A more oblong image is refused: resizing its shorter side would blow it up to gigabytes."""

_DEPTHS = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""White of grey of 8, 10, 12, 14 and 16 bits, which all come in files of 16 bits."""


class GreyRange(NamedTuple):
    """Which values of deep grey are black and white.

    Attributes
    ----------
    black : float
    white : float
    is_measured : bool
        The range comes from some of the images, so that an image beyond it is refused; one that was set cuts off.
    """

    black: float
    white: float
    is_measured: bool = False


class Measured(NamedTuple):
    """The extremes of one image of deep grey."""

    low: float
    high: float
    is_float: bool


def _known_suffixes() -> dict[str, str]:
    """Find the formats that can be read here, by suffix."""
    PIL.Image.init()
    known = {suffix: kind for suffix, kind in PIL.Image.registered_extensions().items() if kind in FORMATS}
    readable = {*PIL.Image.OPEN, "MPO"}  # Pillow opens the pictures of a camera's MPO as JPEG
    return {suffix: kind for suffix, kind in {**known, **_SPELLINGS}.items() if kind in readable}


IMAGE_SUFFIXES = frozenset(_known_suffixes())
"""In lower case, with the dot; what can be decoded here."""

PLUGINS = {suffix: "pip install pillow-heif" for suffix, kind in _SPELLINGS.items() if kind in ("HEIF", "AVIF")}
"""What to run where the suffix of a known format is not among `IMAGE_SUFFIXES`."""


def decode_image(content: bytes, max_megapixels: float, grey: GreyRange | None = None) -> PIL.Image.Image:
    """Decode one image file.

    EXIF orientation is applied; of an animation the first frame counts. Grey, palette and CMYK convert to RGB;
    transparency is composited on white; deep grey (10 to 32 bits, floating point) is scaled to 8 bits.

    Parameters
    ----------
    content : bytes
    max_megapixels : float
    grey : GreyRange, optional
        Black and white of deep grey; without it those that `choose_grey` takes for this image.

    Returns
    -------
    PIL.Image.Image
        RGB, 8 bits.

    Raises
    ------
    DataError
        The message is the reason alone: empty, not an image, truncated, too large, too oblong, beyond a measured
        grey range.
    """
    with _opened(content, max_megapixels) as image:
        return _to_rgb(_oriented(image), grey)


def measure_grey(content: bytes, max_megapixels: float) -> Measured | None:
    """Find the smallest and the largest value of an image of deep grey; None where it is none or cannot be used."""
    try:
        with _opened(content, max_megapixels, lazy=True) as image:
            if not _is_deep(image):
                return None
            image.load()
            return _measure(image)
    except DataError:
        return None


def choose_grey(measured: Measured) -> GreyRange:
    """Choose black and white for measured values: of the smallest depth that holds them, else the values' own."""
    depths = (1.0, *_DEPTHS) if measured.is_float else _DEPTHS
    white = next((depth for depth in depths if measured.low >= 0 and measured.high <= depth), None)
    return GreyRange(*measured[:2]) if white is None else GreyRange(0.0, white)


@contextlib.contextmanager
def _opened(content: bytes, max_megapixels: float, *, lazy: bool = False) -> Iterator[PIL.Image.Image]:
    """Open an image whatever its decoder raises; `lazy` leaves the pixels for later."""
    if not content:
        raise DataError("the file is empty")
    # Warnings of decoders are about metadata or about sizes, which are checked here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with PIL.Image.open(io.BytesIO(content), formats=_OPENED) as image:
                _check_size(image, max_megapixels)
                if not lazy:
                    image.load()
                yield image
        except DataError:
            raise
        except PIL.UnidentifiedImageError as error:
            raise DataError("not an image: it begins like no format that is known") from error  # published: no content
        except PIL.Image.DecompressionBombError as error:
            raise DataError("too large: more pixels than the decoder allows") from error
        except Exception as error:  # decoders raise anything on a broken file, and one file must not end a run
            raise DataError(f"broken or truncated: {error}") from error


_OPENED = tuple(kind for kind in FORMATS if kind in PIL.Image.OPEN)


_RESAMPLING = {
    **{way.name.lower(): way for way in PIL.Image.Resampling},
    "nearest-exact": PIL.Image.Resampling.NEAREST,  # on pictures torchvision takes the two for one
}


def preprocess(image: PIL.Image.Image, preprocessing: PreprocessingConfig) -> npt.NDArray[np.uint8]:
    """Resize the shorter side or squeeze, and crop the centre, exactly as torchvision's transforms do.

    They would do it with the same two calls of Pillow; importing torchvision brings the compiler of torch along, which
    costs every process that decodes seconds at its start.

    For a network that gets grey alone the picture is grey: what people see is what it sees.

    Returns
    -------
    (3, height, width) uint8
        Red, green and blue, whatever the network's channels are: what people see. `normalise` makes the channels.
    """
    if set(preprocessing.channels) == {"grey"}:
        image = image.convert("L").convert("RGB")
    if isinstance(preprocessing.resize, int):
        width, height = (int(preprocessing.resize * side / min(image.size)) for side in image.size)
    else:
        height, width = preprocessing.resize
    if (width, height) != image.size:
        image = image.resize((width, height), _RESAMPLING[preprocessing.interpolation])
    height, width = preprocessing.size
    left, top = (round((side - wanted) / 2) for side, wanted in zip(image.size, (width, height), strict=True))
    cropped = image.crop((left, top, left + width, top + height))
    return np.ascontiguousarray(np.asarray(cropped, dtype=np.uint8).transpose(2, 0, 1))


def normalise(
    images: torch.Tensor, preprocessing: PreprocessingConfig, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Make the network's channels, scale to the range of training, subtract the mean, divide by the deviation.

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
    black, white = preprocessing.value_range
    values = _map_channels(images, preprocessing.channels).to(dtype).div_(255)
    if (black, white) != (0, 1):
        values = values.mul_(white - black).add_(black)
    return values.sub_(mean).div_(std)


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


def _is_deep(image: PIL.Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _to_rgb(image: PIL.Image.Image, grey: GreyRange | None) -> PIL.Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if _is_deep(image):
        return PIL.Image.fromarray(_to_8_bits(image, grey), "L").convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def _values(image: PIL.Image.Image) -> npt.NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image).astype(np.float64))


def _measure(image: PIL.Image.Image) -> Measured:
    values = _values(image)
    return Measured(float(values.min()), float(values.max()), image.mode == "F")


def _to_8_bits(image: PIL.Image.Image, grey: GreyRange | None) -> npt.NDArray[np.uint8]:
    measured = _measure(image)
    black, white, is_measured = grey or choose_grey(measured)
    if is_measured and (measured.low < black or measured.high > white):
        raise DataError(
            f"its grey goes from {measured.low:g} to {measured.high:g}, that of the images looked at from {black:g} to "
            f"{white:g}: set dataset.grey_range to black and white of all, such as [0, {choose_grey(measured).white:g}]"
        )
    return np.rint(np.clip((_values(image) - black) / ((white - black) or 1.0), 0, 1) * 255).astype(np.uint8)
