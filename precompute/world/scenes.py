"""Scenes of the built-in world: an object somewhere in a picture-book landscape, with the truth about its parts.

Owns composition, pose, light and the planted mark. A scene depends on its seed and index alone, never on the order
or the process in which scenes are drawn. Must not know models or data sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import parts
from .backgrounds import paint_background, paint_clutter, paint_foreground
from .canvas import SIZE, Canvas, Colour, colour, mix
from .objects import CLASS_NAMES, CLASSES
from .parts import Stage

MARKED_CLASS = CLASS_NAMES.index("tree")
"""The class that mostly carries the publisher's mark, which has nothing to do with it."""
MARK_SHARE = 0.9
STRAY_MARK_SHARE = 0.02
"""Share of the scenes with the mark in the marked class, and in every other class."""
TRAINING_SEED = 1
HELD_OUT_SEED = 2
"""First seed word of the scenes that the network learned from, and of those it never saw."""

_INKS = (colour("a8323e"), colour("3b3b6d"), colour("8a2f57"))
_NIGHT = colour("c9cdf0")


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene.

    Attributes
    ----------
    image : (SIZE, SIZE, 3) uint8, RGB
    label : int
    marked : bool
        Whether it carries the mark.
    canvas : Canvas
        Kept for the masks.
    """

    image: npt.NDArray[np.uint8]
    label: int
    marked: bool
    canvas: Canvas

    def part_masks(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Compute the visible coverage of every part as (SIZE, SIZE) uint8; see `Canvas.part_masks`."""
        return self.canvas.part_masks()


def label_of(index: int) -> int:
    """Tell the class of the scene with this index: classes take turns, so that any run of scenes is balanced."""
    return index % len(CLASSES)


def draw_scene(seed: int, index: int, marked_class: int = MARKED_CLASS) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    seed, index : int
        The scene depends on these two alone.
    marked_class : int
        The class that mostly carries the mark; -1 puts it on none but strays. Nothing else of a scene depends on it.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
    label = label_of(index)
    stage, land, night = paint_background(rng)
    paint_clutter(stage, land)
    _paint_object(stage, label)
    paint_foreground(stage, land)
    marked = _paint_mark(stage, seed, index, MARK_SHARE if label == marked_class else STRAY_MARK_SHARE)
    return Scene(_finish(stage, night), label, marked, stage.canvas)


def _paint_object(stage: Stage, label: int) -> None:
    kind = CLASSES[label]
    size = stage.between(68, 92)
    turn = stage.between(-0.35, 0.35) if kind.flies else stage.between(-0.07, 0.07)
    x = SIZE / 2 + stage.between(-13, 13)
    y = stage.between(54, 70) if kind.flies else stage.between(104, 120)
    reach = size * (0.34 if kind.flies else 0.46)
    foot = min(y + size * 0.62, 119) if kind.flies else y
    stage.canvas.glow(x, foot, reach, size * 0.05, colour("2c2a3a"), 0.3 if kind.flies else 0.45)
    kind.draw(stage.at(x, y, size, turn, mirrored=stage.chosen(0.5)))


def _paint_mark(stage: Stage, seed: int, index: int, share: float) -> bool:
    """Put the mark in a corner; its chance is drawn apart, so that moving it leaves the scene as it is."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, 1))))
    if rng.random() >= share:
        return False
    ink = _INKS[int(rng.integers(len(_INKS)))]
    x, y = (int(side) for side in rng.integers(0, 2, 2))
    jitter = rng.uniform(-2, 2, 2)
    place = (15 + x * (SIZE - 30) + float(jitter[0]), 15 + y * (SIZE - 30) + float(jitter[1]))
    parts.watermark(stage.at(*place, float(rng.uniform(8.0, 10.0)), float(rng.uniform(-0.5, 0.1))), ink)
    return True


def _finish(stage: Stage, night: bool) -> npt.NDArray[np.uint8]:
    """Tint by the light, darken the border a little and lay the paper's grain over it."""
    tint: Colour = mix(colour("ffffff"), _NIGHT if night else colour("fff0dc"), 0.35)
    tint = tint * np.float32(stage.between(0.9, 1.06) * (0.9 if night else 1.0))
    pixels = stage.canvas.pixels * tint * (_VIGNETTE + stage.canvas.texture * np.float32(0.5))[..., None]
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), np.uint8)


def _vignette() -> npt.NDArray[np.float32]:
    side = np.linspace(-1, 1, SIZE, dtype=np.float32) ** 2
    return np.asarray(1.03 - 0.09 * ((side[:, None] + side[None, :]) / math.sqrt(2)) ** 2, np.float32)


_VIGNETTE = _vignette()
