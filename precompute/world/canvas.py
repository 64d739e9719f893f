"""The picture-book canvas of the built-in world: shapes, paint, and who owns which pixel.

Owns rasterising (through aggdraw, anti-aliased), shading, outlines and the visible coverage of every part.
Must not know which parts or classes exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypedDict

import aggdraw
import numpy as np
import numpy.typing as npt

SIZE = 128
"""Side of a scene in pixels."""

Points = npt.NDArray[np.float64]
Colour = npt.NDArray[np.float32]
Field = npt.NDArray[np.float32]

_FILL = aggdraw.Brush(255)
_INK = np.array((0.16, 0.13, 0.2), np.float32)
_WARM = np.array((1.0, 0.96, 0.84), np.float32)
_STEPS = np.arange(SIZE, dtype=np.float32)


def colour(code: str) -> Colour:
    """Read a colour as ``rrggbb``; returns (3,) float32 in [0, 1]."""
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / np.float32(255)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend `share` of the second colour into the first."""
    return first + (second - first) * np.float32(share)


def points(*pairs: tuple[float, float]) -> Points:
    """Collect corners as (n, 2) float64."""
    return np.array(pairs, np.float64)


def ellipse(x: float, y: float, width: float, height: float | None = None, n: int = 28) -> Points:
    """Outline of an ellipse with the given half axes."""
    angle = np.arange(n) * (2 * math.pi / n)
    height = width if height is None else height
    return np.stack((x + width * np.cos(angle), y + height * np.sin(angle)), axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Outline of a rectangle."""
    return points((left, top), (right, top), (right, bottom), (left, bottom))


def smooth(corners: Sequence[tuple[float, float]] | Points, n: int = 6, *, closed: bool = True) -> Points:
    """Draw a Catmull-Rom curve through the corners, `n` points to each stretch."""
    knots = np.asarray(corners, np.float64)
    if closed:
        padded = np.concatenate((knots[-1:], knots, knots[:2]))
    else:
        padded = np.concatenate((knots[:1], knots, knots[-1:]))
    stretches = np.stack([padded[shift : len(padded) - 3 + shift] for shift in range(4)])
    curve = np.tensordot(_basis(n), stretches, axes=(1, 0)).transpose(1, 0, 2).reshape(-1, 2)
    return curve if closed else np.concatenate((curve, knots[-1:]))


@lru_cache
def _basis(n: int) -> Points:
    """Weights of the four knots around a stretch at n points along it, (n, 4)."""
    t = np.arange(n) / n
    return 0.5 * np.stack(
        (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3), axis=1
    )


def ribbon(path: Points, start: float, end: float) -> Points:
    """Outline of a stroke along an open path, its half width running from `start` to `end`."""
    ends = np.concatenate((path[:1], path, path[-1:]))
    direction = ends[2:] - ends[:-2]
    normal = np.stack((-direction[:, 1], direction[:, 0]), axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    width = np.linspace(start, end, len(path))[:, None]
    return np.concatenate((path + normal * width, (path - normal * width)[::-1]))


@dataclass(frozen=True, eq=False)
class Coverage:
    """How far a painted shape covers each pixel, inside its bounding box.

    Attributes
    ----------
    top, left : int
    values : (height, width) float32 in [0, 1]
    part : str
        Name of the part that owns the pixels; empty for scenery.
    """

    top: int
    left: int
    values: Field
    part: str = ""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the bounding box."""
        height, width = self.values.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def full(self) -> Field:
        """Return the coverage as (SIZE, SIZE) float32."""
        whole = np.zeros((SIZE, SIZE), np.float32)
        whole[self.window] = self.values
        return whole


def rasterise(outline: Points, line_width: float = 0.0) -> Coverage | None:
    """Cover a polygon, or only the line around it; None where it lies outside the frame."""
    margin = 2 + line_width
    left, top = np.maximum(np.floor(outline.min(axis=0) - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(outline.max(axis=0) + margin), SIZE).astype(int)
    if right <= left or bottom <= top:
        return None
    surface = aggdraw.Draw("L", (int(right - left), int(bottom - top)), 0)
    flat = (outline - (left, top)).ravel().tolist()
    if line_width:
        surface.polygon(flat + flat[:4], aggdraw.Pen(255, line_width), None)
    else:
        surface.polygon(flat, None, _FILL)
    values = np.frombuffer(surface.tobytes(), np.uint8).reshape(bottom - top, right - left)
    return Coverage(int(top), int(left), values.astype(np.float32) / np.float32(255))


class PaintOptions(TypedDict, total=False):
    """Options of `Canvas.paint`, for those who hand them on."""

    shade: float
    line: float
    opacity: float
    clip: Coverage | None


@dataclass(eq=False)
class Canvas:
    """One scene while it is painted, back to front.

    Attributes
    ----------
    pixels : (SIZE, SIZE, 3) float32
    texture : (SIZE, SIZE) float32 around 0
        Grain of the paint, the same for a whole scene.
    light : float
        Angle in radians that the light comes from.
    painted : list of Coverage
        Solid shapes in the order they were painted.
    """

    pixels: Field
    texture: Field
    light: float
    painted: list[Coverage] = field(default_factory=list)

    def wash(self, cover: Coverage, paint: Field | Colour, opacity: float = 1.0) -> None:
        """Blend paint over the pixels that the coverage tells."""
        region = self.pixels[cover.window]
        change = paint - region
        change *= (cover.values * np.float32(opacity))[..., None]
        region += change

    def shaded(self, cover: Coverage, base: Colour, strength: float) -> Field:
        """Shade a colour across the shape, brighter towards the light, with the grain of the paint."""
        rows, columns = cover.window
        height, width = cover.values.shape
        across = (_STEPS[columns] - np.float32(cover.left + width / 2)) * np.float32(math.cos(self.light) / width)
        down = (_STEPS[rows] - np.float32(cover.top + height / 2)) * np.float32(math.sin(self.light) / height)
        tone = np.float32(2 * strength) * (across + down[:, None]) + self.texture[rows, columns]
        return np.asarray(base + tone[..., None] * (base * _WARM), np.float32)

    def paint(
        self,
        outline: Points,
        base: Colour,
        part: str = "",
        *,
        shade: float = 0.16,
        line: float = 1.1,
        opacity: float = 1.0,
        clip: Coverage | None = None,
    ) -> Coverage | None:
        """Paint one shape.

        Parameters
        ----------
        outline : (n, 2) float64
            Pixels.
        base : (3,) float32
        part : str
            Owner of the pixels. A shape without a part and with an opacity below 1 is glaze: it hides nothing.
        shade, line, opacity : float
            Strength of the shading; width of the darker line around it in pixels; 0 to 1.
        clip : Coverage, optional
            Paint only inside this shape.

        Returns
        -------
        Coverage or None
            None where nothing of it lies in the frame.
        """
        cover = rasterise(outline)
        if cover is None:
            return None
        cover = _inside(cover, clip)
        self.wash(cover, self.shaded(cover, base, shade), opacity)
        if line and (rim := rasterise(outline, line)):
            rim = _inside(rim, clip)
            self.wash(rim, mix(base * np.float32(0.5), _INK, 0.35), 0.8 * opacity)
            cover = _union(cover, rim)
        if part or opacity == 1:
            self.painted.append(Coverage(cover.top, cover.left, cover.values, part))
        return cover

    def glow(self, x: float, y: float, width: float, height: float, tint: Colour, opacity: float) -> None:
        """Lay a soft spot of light or shade over the scene; it hides nothing."""
        across, down = np.exp(-(((_STEPS - x) / width) ** 2)), np.exp(-(((_STEPS - y) / height) ** 2))
        left, right = max(int(x - 2.5 * width), 0), min(int(x + 2.5 * width) + 1, SIZE)
        top, bottom = max(int(y - 2.5 * height), 0), min(int(y + 2.5 * height) + 1, SIZE)
        if right > left and bottom > top:
            spot = down[top:bottom, None] * across[None, left:right]
            self.wash(Coverage(top, left, spot.astype(np.float32)), tint, opacity)

    def part_masks(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Compute the visible coverage of every part.

        Returns
        -------
        dict of str to (SIZE, SIZE) uint8
            Only parts of which at least a few pixels can be seen; at every pixel the masks sum to at most 255.
        """
        clear = np.ones((SIZE, SIZE), np.float32)
        visible: dict[str, Field] = {}
        for cover in reversed(self.painted):
            if cover.part:
                mask = visible.setdefault(cover.part, np.zeros((SIZE, SIZE), np.float32))
                mask[cover.window] += cover.values * clear[cover.window]
            clear[cover.window] *= 1 - cover.values
        masks = {part: np.floor(mask * 255).astype(np.uint8) for part, mask in sorted(visible.items())}
        return {part: mask for part, mask in masks.items() if int(mask.sum()) >= 255 * 6}


def _inside(cover: Coverage, clip: Coverage | None) -> Coverage:
    if clip is None:
        return cover
    return Coverage(cover.top, cover.left, cover.values * clip.full()[cover.window])


def _union(fill: Coverage, rim: Coverage) -> Coverage:
    """Join a shape and the line around it; the line's bounding box holds the shape's."""
    values = rim.values.copy()
    top, left = fill.top - rim.top, fill.left - rim.left
    height, width = fill.values.shape
    part = values[top : top + height, left : left + width]
    np.maximum(part, fill.values[: part.shape[0], : part.shape[1]], out=part)
    return Coverage(rim.top, rim.left, values)
