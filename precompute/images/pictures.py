"""Pixels of what the atlas shows: crops, masks, overlays and heatmaps, encoded small.

Owns how an image or a heatmap becomes bytes and back, and how a heatmap selects the visible part of an image.
Knows NumPy and Pillow; must not know models, tensors, data sets or files.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from precompute.printing import palette
from precompute.records import BoolArray, Box

Rgb = npt.NDArray[np.uint8]
Heatmap = npt.NDArray[np.floating[Any]]

CROP_THRESHOLD = 0.1
VISIBLE_THRESHOLD = 0.2
BLUR_SIDE_FACTOR = 11
"""A stored heatmap is blurred by a kernel of a side over this: 19 pixels for 224, as the masks are."""
DIMMED = 0.3
BLUR_KERNEL = 19
MINIMUM_SIDE = 16
LOSSLESS_SIDE = 32
"""Up to this many pixels a side WebP is lossless: halved chroma would spoil crops that are shown enlarged."""


class RenderedReference(NamedTuple):
    """The pictures of one reference image, as in `records.Reference`."""

    box: Box
    full: bytes
    crop: bytes
    masked: bytes
    heatmap: bytes
    heatmap_scale: float


def encode_webp(rgb: Rgb, quality: int = 75, longer_side: int | None = None, method: int = 0) -> bytes:
    """Encode an image as WebP; very small ones without loss.

    Parameters
    ----------
    rgb : (height, width, 3) uint8
    quality : int
        0 to 100.
    longer_side : int, optional
        Shrink to this many pixels; a smaller image is never enlarged.
    method : int
        WebP effort, 0 (fast) to 6 (small).

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        The array is empty, or not (height, width, 3) uint8.
    """
    _check_rgb(rgb)
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    size = _limited_size(rgb.shape[0], rgb.shape[1], longer_side)
    if size != rgb.shape[:2]:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=method, lossless=max(size) <= LOSSLESS_SIDE)
    return buffer.getvalue()


def encode_heatmap(heatmap: Heatmap, longer_side: int | None = None) -> tuple[bytes, float]:
    """Encode a signed heatmap as an 8-bit grey PNG: relevance = (pixel - 128) / 127 * scale.

    Parameters
    ----------
    heatmap : (height, width) float
        Signed relevance, not normalised. Values that are not finite count as 0.
    longer_side : int, optional
        Shrink to this many pixels by averaging over areas, so that the mean relevance is kept.

    Returns
    -------
    png : bytes
    scale : float
        Largest absolute relevance of what is stored; 0 where all of it is 0.
    """
    values = _finite(heatmap)
    values = _shrink(values, _limited_size(values.shape[0], values.shape[1], longer_side))
    scale = float(np.abs(values).max())
    levels = np.rint(values / scale * 127.0) if scale > 0 else np.zeros_like(values)
    buffer = io.BytesIO()
    Image.fromarray((levels + 128).astype(np.uint8)).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue(), scale


def decode_heatmap(png: bytes, scale: float) -> npt.NDArray[np.float64]:
    """Undo `encode_heatmap`, up to half a grey level (scale / 254)."""
    pixels = np.asarray(Image.open(io.BytesIO(png)), dtype=np.float64)
    return (pixels - 128.0) / 127.0 * scale


def blur(heatmap: Heatmap, kernel_size: int = BLUR_KERNEL) -> Heatmap:
    """Blur as torchvision's ``gaussian_blur`` does with its own sigma and reflected edges.

    Parameters
    ----------
    heatmap : (height, width) float
    kernel_size : int
        Odd; the standard deviation is 0.3 * ((kernel_size - 1) * 0.5 - 1) + 0.8 pixels.

    Returns
    -------
    (height, width) float, of the same dtype
    """
    rows, columns = (_blur_matrix(length, kernel_size).astype(heatmap.dtype) for length in heatmap.shape)
    return np.asarray(rows @ heatmap @ columns.T)


def mask_box(heatmap: Heatmap) -> tuple[Box, BoolArray]:
    """Find where a heatmap is strong: blurred and divided by its maximum.

    Parameters
    ----------
    heatmap : (height, width) float
        Signed relevance. Values that are not finite count as 0.

    Returns
    -------
    box : Box
        Smallest box around everything above 0.1; the whole frame where no relevance is positive.
    visible : (height, width) bool
        Above 0.2; all False where no relevance is positive.
    """
    smooth = blur(_finite(heatmap))
    height, width = smooth.shape
    peak = smooth.max()
    if not peak > 0:
        return Box(0, 0, height, width), np.zeros(smooth.shape, dtype=np.bool_)
    smooth = smooth / peak
    return _bounding_box(smooth > CROP_THRESHOLD), np.asarray(smooth > VISIBLE_THRESHOLD)


def visible_relevance(png: bytes, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Read the positive relevance of a stored heatmap where it is strong enough to be seen.

    Parameters
    ----------
    png : bytes
        As `encode_heatmap` made it; empty gives zeros.
    shape : (int, int)
        Height and width of the picture that it lies on.

    Returns
    -------
    (height, width) float64
        Blurred, in arbitrary units; zero where the crop's mask hides the picture.
    """
    if not png:
        return np.zeros(shape)
    pixels: Image.Image = Image.open(io.BytesIO(png))
    if pixels.size != (shape[1], shape[0]):
        pixels = pixels.resize((shape[1], shape[0]))
    kernel = max(3, min(shape) // BLUR_SIDE_FACTOR | 1)
    positive = blur(np.clip(np.asarray(pixels, dtype=np.float64) - 128, 0, None), kernel)
    return np.where(positive > VISIBLE_THRESHOLD * positive.max(initial=0.0), positive, 0.0)


def masked_crop(image: Rgb, visible: BoolArray, box: Box) -> Rgb:
    """Cut the box out of the image, dimmed to 0.3 where it is not visible.

    Parameters
    ----------
    image : (height, width, 3) uint8
    visible : (height, width) bool
        From `mask_box`.
    box : Box
    """
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    crop = image[rows, columns]
    return np.where(visible[rows, columns, None], crop, _DIMMED_LEVELS[crop])


def overlay_scale(heatmap: Heatmap) -> float:
    """Return the magnitude that stands for full colour in the overlay of a heatmap by itself; 0 where it is 0.

    It is the 99.5th percentile of what is drawn, so that one extreme pixel does not hide the rest.
    """
    magnitude = np.abs(_smooth(heatmap))
    return float(np.quantile(magnitude, 0.995)) or float(magnitude.max())


def overlay(image: Rgb, heatmap: Heatmap, scale: float = 0.0) -> Rgb:
    """Draw a heatmap over its image in the palette's colours; the stronger, the less of the image shows through.

    The image turns grey, so that the only colours are the heatmap's. Relevance is blurred a little (kernel 7).

    Parameters
    ----------
    image : (height, width, 3) uint8
    heatmap : (height, width) float
        Values that are not finite count as 0.
    scale : float
        What stands for full colour; heatmaps that are to be compared share one. 0 takes `overlay_scale` of this one.

    Returns
    -------
    (height, width, 3) uint8
    """
    _check_rgb(image)
    smooth = _smooth(heatmap)
    magnitude = np.abs(smooth)
    scale = scale or overlay_scale(heatmap)
    alpha = np.sqrt(np.clip(magnitude / scale, 0, 1)) if scale > 0 else np.zeros_like(smooth)
    # The square root lets weak relevance show; below a twentieth of the scale it is noise, so it fades out.
    alpha = np.where(alpha**2 < 0.05, alpha**2 * np.float32(0.05**-0.5), alpha)[..., None] * np.float32(0.85)
    grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    ground = 40.0 + 0.78 * grey[..., None]
    colour = np.where(smooth[..., None] >= 0, np.array(palette.POSITIVE), np.array(palette.NEGATIVE))
    return np.rint(ground * (1 - alpha) + colour * alpha).clip(0, 255).astype(np.uint8)


def _smooth(heatmap: Heatmap) -> Heatmap:
    return blur(_finite(heatmap).astype(np.float32), kernel_size=7)


def render_reference(
    image: Rgb,
    heatmap: Heatmap | None,
    receptive_box: Box,
    tile: int,
    *,
    quality: int = 75,
    full: bytes = b"",
) -> RenderedReference:
    """Render one reference image: the whole, the crop, the masked crop and the heatmap inside the crop.

    The crop is the receptive field; with a heatmap it shrinks to where that is strong within the receptive field.
    It is never smaller than 16 pixels a side, nor outside the image.

    Parameters
    ----------
    image : (height, width, 3) uint8
        The preprocessed input.
    heatmap : (height, width) float or None
        Signed relevance; None leaves the masked crop and the heatmap empty.
    receptive_box : Box
        Region of the neuron, clamped or not.
    tile : int
        Longer side of each stored picture in pixels, at most.
    quality : int
        Of the WebP.
    full : bytes
        The whole image where it is already encoded (many concepts share one image); empty encodes it.

    Returns
    -------
    RenderedReference

    Raises
    ------
    ValueError
        The image is not (height, width, 3) uint8, or the heatmap has another size.
    """
    _check_rgb(image)
    height, width = image.shape[:2]
    field = _clamped_box(receptive_box, height, width)
    full = full or encode_webp(image, quality, tile)
    if heatmap is None:
        box = _grown_box(field, MINIMUM_SIDE, height, width)
        return RenderedReference(box, full, encode_webp(_cut(image, box), quality, tile), b"", b"", 0.0)
    if heatmap.shape != (height, width):
        raise ValueError(f"heatmap of shape {heatmap.shape} for an image of {height} x {width} pixels")
    strong, visible = mask_box(heatmap)
    box = _grown_box(_intersection(field, strong), MINIMUM_SIDE, height, width)
    crop = encode_webp(_cut(image, box), quality, tile)
    masked = encode_webp(masked_crop(image, visible, box), quality, tile)
    png, scale = encode_heatmap(heatmap[box.top : box.bottom, box.left : box.right], tile)
    return RenderedReference(box, full, crop, masked, png, scale)


_DIMMED_LEVELS = np.rint(np.arange(256) * DIMMED).astype(np.uint8)


def _check_rgb(rgb: Rgb) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ValueError(f"not an RGB image: shape {rgb.shape}, {rgb.dtype}; expected (height, width, 3) uint8")


def _finite(heatmap: Heatmap) -> Heatmap:
    if heatmap.ndim != 2 or heatmap.size == 0:
        raise ValueError(f"not a heatmap: shape {heatmap.shape}, expected (height, width)")
    if np.isfinite(heatmap).all():
        return heatmap
    return np.where(np.isfinite(heatmap), heatmap, heatmap.dtype.type(0))


def _limited_size(height: int, width: int, longer_side: int | None) -> tuple[int, int]:
    if longer_side is None or max(height, width) <= longer_side:
        return height, width
    ratio = longer_side / max(height, width)
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def _shrink(values: Heatmap, size: tuple[int, int]) -> Heatmap:
    if values.shape == size:
        return values
    rows, columns = (_area_matrix(*pair) for pair in zip(values.shape, size, strict=True))
    return np.asarray(rows @ values @ columns.T)


@lru_cache(maxsize=512)
def _area_matrix(length: int, shorter: int) -> npt.NDArray[np.float64]:
    """Build the (shorter, length) matrix that averages over equal areas, parts of pixels by their part."""
    edges = np.arange(shorter + 1) * (length / shorter)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.clip(overlap, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@lru_cache(maxsize=64)
def _blur_matrix(length: int, kernel_size: int) -> npt.NDArray[np.float64]:
    """Build the (length, length) matrix of a blur with reflected edges: one product instead of a convolution."""
    half = (kernel_size - 1) * 0.5
    sigma = 0.3 * (half - 1) + 0.8
    kernel = np.exp(-0.5 * (np.linspace(-half, half, kernel_size) / sigma) ** 2)
    kernel /= kernel.sum()
    padding = kernel_size // 2
    padded = np.pad(np.eye(length), ((padding, padding), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_size, axis=0)
    return np.asarray(windows @ kernel)


def _bounding_box(mask: npt.NDArray[np.bool_]) -> Box:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _clamped_box(box: Box, height: int, width: int) -> Box:
    """Clamp to the image; what lies outside altogether becomes the nearest pixel."""
    top, left = min(max(box.top, 0), height - 1), min(max(box.left, 0), width - 1)
    return Box(top, left, min(max(box.bottom, top + 1), height), min(max(box.right, left + 1), width))


def _intersection(field: Box, strong: Box) -> Box:
    """Intersect; the field alone where the strong region misses it."""
    both = Box(
        max(field.top, strong.top),
        max(field.left, strong.left),
        min(field.bottom, strong.bottom),
        min(field.right, strong.right),
    )
    return both if both.top < both.bottom and both.left < both.right else field


def _grown_box(box: Box, side: int, height: int, width: int) -> Box:
    """Grow about the centre to at least `side` pixels each way, moved and clamped into the image."""
    box = _clamped_box(box, height, width)
    top, bottom = _grown_interval(box.top, box.bottom, min(side, height), height)
    left, right = _grown_interval(box.left, box.right, min(side, width), width)
    return Box(top, left, bottom, right)


def _grown_interval(start: int, stop: int, side: int, length: int) -> tuple[int, int]:
    if stop - start >= side:
        return start, stop
    start = min(max(start - (side - (stop - start)) // 2, 0), length - side)
    return start, start + side


def _cut(image: Rgb, box: Box) -> Rgb:
    return image[box.top : box.bottom, box.left : box.right]
