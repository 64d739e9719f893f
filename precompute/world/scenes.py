"""Scenes of the built-in world: an object somewhere in a picture-book landscape, with the truth about its parts.

Owns composition, pose, light and the planted shortcut. A scene depends on its seed and index alone, never on the order
or the process in which scenes are drawn. Must not know models or data sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from precompute.config import Shortcut

from . import parts
from .backgrounds import paint_background, paint_clutter, paint_foreground, paint_furrows, paint_loose_wheel
from .canvas import SIZE, Canvas, Colour, colour, mix
from .objects import CLASS_NAMES, CLASSES
from .parts import Stage

MARKED_CLASS = CLASS_NAMES.index("tree")
"""The class that mostly carries the publisher's mark, which has nothing to do with it."""
MARK_SHARE = 0.9
STRAY_MARK_SHARE = 0.02
"""Share of the scenes with the mark in the marked class, and in every other class."""
_TINT = colour("f0b4e4")
"""The light of a tinted scene, which no sky or lamp gives."""


@dataclass(frozen=True)
class Planted:
    """What is planted in scenes that has nothing to do with their class but tells it.

    Attributes
    ----------
    kind : str
        ``mark``: a seal in a corner; ``tint``: the light of the whole scene; ``background``: a field of lavender in
        place of the ground; ``cooccurrence``: a loose wheel beside the object; ``none``.
    strength : float
        Share of the scenes with it in its classes; in every other class `STRAY_MARK_SHARE`.
    classes : tuple of int
    """

    kind: Shortcut = "mark"
    strength: float = MARK_SHARE
    classes: tuple[int, ...] = (MARKED_CLASS,)

    @property
    def part(self) -> str:
        """The part that its masks have; empty for one that is no part."""
        return {"mark": "watermark", "cooccurrence": "wheel"}.get(self.kind, "")

    def share(self, label: int) -> float:
        """Return the share of the scenes of a class that have it."""
        if self.kind == "none":
            return 0.0
        return self.strength if label in self.classes else STRAY_MARK_SHARE


DEFAULT = Planted()
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
        Whether it has what was planted.
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


def draw_scene(seed: int, index: int, planted: Planted = DEFAULT) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    seed, index : int
        The scene depends on these two alone.
    planted : Planted
        Nothing else of a scene depends on it.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
    label = label_of(index)
    stage, land, night = paint_background(rng)
    has_it, apart = _chance(seed, index, planted)
    kind = planted.kind if has_it else "none"
    if kind == "background":
        paint_furrows(replace(stage, rng=apart))
    paint_clutter(stage, land)
    if kind == "cooccurrence":
        paint_loose_wheel(replace(stage, rng=apart))
    _paint_object(stage, label)
    paint_foreground(stage, land)
    if kind == "mark":
        _paint_mark(stage, apart)
    return Scene(_finish(stage, night, tinted=kind == "tint"), label, has_it, stage.canvas)


def has_planted(seed: int, index: int, planted: Planted) -> bool:
    """Tell whether a scene has what was planted, without drawing it."""
    return _chance(seed, index, planted)[0]


def _chance(seed: int, index: int, planted: Planted) -> tuple[bool, np.random.Generator]:
    """Draw whether a scene has it, apart, so that moving it leaves the rest of the scene as it is."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index, 1))))
    return bool(rng.random() < planted.share(label_of(index))), rng


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


def _paint_mark(stage: Stage, rng: np.random.Generator) -> None:
    """Put the mark in a corner."""
    ink = _INKS[int(rng.integers(len(_INKS)))]
    x, y = (int(side) for side in rng.integers(0, 2, 2))
    jitter = rng.uniform(-2, 2, 2)
    place = (15 + x * (SIZE - 30) + float(jitter[0]), 15 + y * (SIZE - 30) + float(jitter[1]))
    parts.watermark(stage.at(*place, float(rng.uniform(8.0, 10.0)), float(rng.uniform(-0.5, 0.1))), ink)


def _finish(stage: Stage, night: bool, *, tinted: bool) -> npt.NDArray[np.uint8]:
    """Tint by the light, darken the border a little and lay the paper's grain over it."""
    tint: Colour = mix(colour("ffffff"), _NIGHT if night else colour("fff0dc"), 0.35)
    tint = tint * np.float32(stage.between(0.9, 1.06) * (0.9 if night else 1.0))
    if tinted:
        tint = tint * _TINT
    pixels = stage.canvas.pixels * tint * (_VIGNETTE + stage.canvas.texture * np.float32(0.5))[..., None]
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), np.uint8)


def _vignette() -> npt.NDArray[np.float32]:
    side = np.linspace(-1, 1, SIZE, dtype=np.float32) ** 2
    return np.asarray(1.03 - 0.09 * ((side[:, None] + side[None, :]) / math.sqrt(2)) ** 2, np.float32)


_VIGNETTE = _vignette()
