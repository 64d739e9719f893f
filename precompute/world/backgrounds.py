"""What stands around the object of a scene: sky, distance, ground, clutter and what hides part of it.

Owns the palettes of light and land; nothing here depends on the class of a scene, so that no background tells it.
Must not know classes, masks or models.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from . import parts
from .canvas import SIZE, Canvas, Colour, Field, box, colour, ellipse, mix, points, ribbon, smooth
from .parts import CHARCOAL, CREAM, FOLIAGE, GREENS, TIMBER, Stage

_SKIES = tuple(
    (colour(top), colour(low), night)
    for top, low, night in (
        ("8cc6de", "e9f1e2", False),
        ("6fa8cf", "cfe6ea", False),
        ("f0b58e", "fbe6c0", False),
        ("c98ba6", "f6cfa8", False),
        ("b9c7cc", "e8e6da", False),
        ("86bfb4", "f1eccd", False),
        ("2c3a63", "6b6c9c", True),
        ("3b3358", "a8688a", True),
        ("f2d9a0", "fbf1d8", False),
    )
)
_LANDS = tuple(
    colour(code) for code in ("8fb35f", "e3cd93", "eef1f0", "b8935f", "a3b96a", "c9a7b8", "7fa39a", "d9b36a")
)
_FAR = tuple(colour(code) for code in ("7fa39a", "8a93b5", "b3a27d", "9db8a0", "a98aa0", "6f8fa8"))
_SEA = colour("5b9bb0")


def grain(rng: np.random.Generator) -> Field:
    """Make the grain of paint and paper: coarse blotches and fine noise, (SIZE, SIZE) float32 around 0."""
    coarse = rng.standard_normal((9, 9)).astype(np.float32)
    blotches = Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    fine = rng.standard_normal((SIZE, SIZE), np.float32)
    return np.asarray(np.float32(0.022) * np.asarray(blotches) + np.float32(0.011) * fine, np.float32)


def paint_background(rng: np.random.Generator) -> tuple[Stage, Colour, bool]:
    """Start a scene: sky, distance and ground.

    Returns
    -------
    stage : Stage
        In pixels, the origin in the upper left corner.
    land : (3,) float32
        Colour of the ground.
    night : bool
    """
    top, low, night = _SKIES[int(rng.integers(len(_SKIES)))]
    ramp = np.linspace(0, 1.25, SIZE, dtype=np.float32).clip(0, 1)[:, None, None]
    pixels = np.broadcast_to(top + (low - top) * ramp, (SIZE, SIZE, 3)).astype(np.float32)
    texture = grain(rng)
    pixels += texture[..., None] * np.float32(0.8)
    light = float(rng.uniform(-0.85, -0.15)) * math.pi
    stage = Stage(Canvas(pixels, texture, light), rng, np.zeros(2), np.eye(2))
    _paint_sky(stage, night)
    horizon = stage.between(70, 92)
    land = stage.pick(_LANDS) * np.float32(0.72 if night else 1)
    _DISTANCES[int(rng.integers(len(_DISTANCES)))](stage, horizon, low)
    _paint_ground(stage, horizon, land)
    return stage, land, night


def _paint_sky(stage: Stage, night: bool) -> None:
    x, y = stage.between(10, 118), stage.between(10, 42)
    stage.canvas.glow(x, y, 34, 34, CREAM, 0.45)
    disc = CREAM if night else colour("fbe2a0")
    stage.paint(ellipse(x, y, stage.between(6, 10)), disc, line=0, opacity=0.9, shade=0.05)
    if night:
        for _ in range(14):
            stage.paint(
                ellipse(stage.between(0, SIZE), stage.between(0, 70), stage.between(0.5, 1.2), n=6),
                CREAM,
                line=0,
                opacity=0.8,
            )
    for _ in range(int(stage.rng.integers(0, 4))):
        cloud(stage, stage.between(0, SIZE), stage.between(10, 56), stage.between(7, 13), 0.4 if night else 0.8)


def cloud(stage: Stage, x: float, y: float, size: float, opacity: float) -> None:
    """Paint a soft cloud."""
    lobes = [(-1.7, 0.2), (-1.2, -0.4), (-0.4, -0.7), (0.4, -0.85), (1.1, -0.4), (1.8, 0.15), (1.2, 0.45), (-1.1, 0.45)]
    stage.at(x, y, size).paint(smooth(lobes, 4), CREAM, line=0, opacity=opacity, shade=0.06)


def _ridge(stage: Stage, horizon: float, height: float, base: Colour, n: int, *, jagged: bool = False) -> None:
    tops = [(x, horizon - stage.between(0.2, 1.0) * height) for x in np.linspace(-10, SIZE + 10, n)]
    line = np.array(tops) if jagged else smooth(tops, 6, closed=False)
    outline = np.concatenate((line, points((SIZE + 12, SIZE), (-12, SIZE))))
    stage.paint(outline, base, line=0.7, shade=0.1, opacity=0.99)


def _hills(stage: Stage, horizon: float, haze: Colour) -> None:
    base = stage.pick(_FAR)
    _ridge(stage, horizon - 4, 22, mix(base, haze, 0.55), 5)
    _ridge(stage, horizon + 1, 14, mix(base, haze, 0.25), 6)


def _mountains(stage: Stage, horizon: float, haze: Colour) -> None:
    base = stage.pick(_FAR)
    _ridge(stage, horizon - 2, 36, mix(base, haze, 0.6), 7, jagged=True)
    _ridge(stage, horizon + 2, 14, mix(base, haze, 0.3), 6)


def _sea(stage: Stage, horizon: float, haze: Colour) -> None:
    base = mix(_SEA, haze, stage.between(0.05, 0.45))
    stage.paint(box(-2, horizon - 16, SIZE + 2, SIZE), base, line=0.6, opacity=0.99)
    for _ in range(9):
        x, y, reach = stage.between(0, SIZE), stage.between(horizon - 13, horizon), stage.between(4, 12)
        stage.paint(box(x - reach, y, x + reach, y + 0.8), mix(base, CREAM, 0.55), line=0, opacity=0.8)


def _woods(stage: Stage, horizon: float, haze: Colour) -> None:
    base = mix(stage.pick(_FAR), haze, 0.35)
    for x in range(-4, SIZE + 8, 9):
        height, foot = stage.between(12, 26), horizon + 3
        fir = points((x - 6, foot), (x, foot - height), (x + 6, foot))
        stage.paint(fir, base * np.float32(stage.between(0.9, 1.05)), line=0.5, opacity=0.99)


def _plain(stage: Stage, horizon: float, haze: Colour) -> None:
    _ridge(stage, horizon, 6, mix(stage.pick(_FAR), haze, 0.5), 5)


_DISTANCES: tuple[Callable[[Stage, float, Colour], None], ...] = (_hills, _mountains, _sea, _woods, _plain)


def _paint_ground(stage: Stage, horizon: float, land: Colour) -> None:
    line = smooth([(x, horizon + stage.between(-3, 3)) for x in np.linspace(-8, SIZE + 8, 5)], 6, closed=False)
    outline = np.concatenate((line, points((SIZE + 12, SIZE + 4), (-12, SIZE + 4))))
    stage.paint(outline, land, line=0.7, shade=0.1, opacity=0.99)
    for _ in range(12):
        x, y = stage.between(0, SIZE), stage.between(horizon + 6, SIZE)
        tone = land * np.float32(stage.between(0.82, 1.14))
        stage.paint(ellipse(x, y, stage.between(3, 9), stage.between(0.6, 1.4), n=12), tone, line=0, opacity=0.7)


def tuft(stage: Stage, base: Colour) -> None:
    """Paint blades of grass that grow from the origin; height about 1."""
    for _ in range(5):
        tip = stage.between(-0.7, 0.7)
        blade = smooth([(tip * 0.2, 0), (tip * 0.5, -0.5), (tip, -stage.between(0.7, 1.1))], closed=False)
        stage.paint(ribbon(blade, 0.1, 0.02), base * np.float32(stage.between(0.85, 1.1)), line=0.5)


def stone(stage: Stage, base: Colour) -> None:
    """Paint a stone that lies on the origin; about 1 wide."""
    outline = smooth([(-0.5, 0), (-0.42, -0.3), (-0.05, -0.46), (0.36, -0.32), (0.5, 0)], 4)
    stage.paint(outline, base, shade=0.25)


def _fence(stage: Stage, base: Colour) -> None:
    for x in np.linspace(-1, 1, 5):
        post = points((x - 0.09, 0), (x - 0.09, -0.6), (x, -0.74), (x + 0.09, -0.6), (x + 0.09, 0))
        stage.paint(post, base, line=0.8)
    stage.paint(box(-1.1, -0.5, 1.1, -0.38), base * np.float32(0.92), line=0.8)


def _loose_wheel(stage: Stage) -> None:
    parts.wheel(stage.at(0, -0.5, 0.5), stage.pick())


def _loose_flag(stage: Stage) -> None:
    parts.flag(stage, 1.5, stage.pick())


def _loose_leaf(stage: Stage) -> None:
    parts.leaf(stage.at(0, -0.5, 0.95, stage.between(0, 2 * math.pi)), stage.pick(FOLIAGE))


def _loose_lamp(stage: Stage) -> None:
    stage.paint(box(-0.05, -1.3, 0.05, 0), CHARCOAL, line=0.6)
    parts.lamp(stage.at(0, -1.4, 0.28))


def _loose_bush(stage: Stage) -> None:
    parts.foliage(stage.at(0, -0.45, 0.62), stage.pick(FOLIAGE), 5)


def _loose_door(stage: Stage) -> None:
    parts.door(stage, 0.62, 1.0, stage.pick(), arched=stage.chosen(0.5))


def _loose_window(stage: Stage) -> None:
    kinds = ("cross", "arched", "round", "plain")
    parts.window(stage.at(0, -0.5), 0.8, 0.9, kinds[int(stage.rng.integers(4))])


_LOOSE: tuple[Callable[[Stage], None], ...] = (
    _loose_wheel, _loose_flag, _loose_leaf, _loose_lamp, _loose_bush, _loose_door, _loose_window,
)  # fmt: skip


def paint_clutter(stage: Stage, land: Colour) -> None:
    """Scatter stones, grass and now and then a loose part of something else behind the object."""
    for _ in range(int(stage.rng.integers(0, 4))):
        spot = stage.at(stage.between(4, 124), stage.between(90, 112), stage.between(6, 12))
        if stage.chosen(0.5):
            stone(spot, mix(land, stage.pick(), 0.4))
        else:
            tuft(spot, stage.pick(GREENS))
    if stage.chosen(0.4):
        loose = _LOOSE[int(stage.rng.integers(len(_LOOSE)))]
        side = stage.between(8, 30) if stage.chosen(0.5) else stage.between(98, 120)
        loose(stage.at(side, stage.between(88, 116), stage.between(17, 24)))


def paint_furrows(stage: Stage) -> None:
    """Cover the ground with a field of lavender in rows that meet far away."""
    base, far = colour("8d7cc0"), stage.between(94, 99)
    stage.paint(box(-4, far, SIZE + 4, SIZE + 4), base, line=0.7, shade=0.05, opacity=0.99)
    middle = stage.between(40, 88)
    for x in np.linspace(-120, 248, 17):
        row = points((middle + (x - middle) * 0.35, far), (x - 2.2, SIZE + 2), (x + 2.2, SIZE + 2))
        stage.paint(row, base * np.float32(0.72), line=0, opacity=0.9)


def paint_loose_wheel(stage: Stage) -> None:
    """Stand a wheel beside the object, as those of the clutter stand."""
    side = stage.between(8, 24) if stage.chosen(0.5) else stage.between(104, 120)
    _loose_wheel(stage.at(side, stage.between(92, 112), stage.between(17, 24)))


def paint_foreground(stage: Stage, land: Colour) -> None:
    """Hide a little of the object: a bush, a stone, a fence or grass at the lower border, or a cloud."""
    kind = int(stage.rng.integers(0, 7))
    x = stage.between(10, 118)
    if kind == 0:
        parts.foliage(stage.at(x, 124, stage.between(13, 19)), stage.pick(FOLIAGE), 5)
    elif kind == 1:
        stone(stage.at(x, 128, stage.between(28, 44)), mix(land, stage.pick(), 0.4))
    elif kind == 2:
        _fence(stage.at(x, 126, stage.between(20, 28)), mix(stage.pick(), TIMBER, 0.5))
    elif kind == 3:
        cloud(stage, x, stage.between(24, 100), stage.between(8, 12), 1.0)
    elif kind == 4:
        for offset in np.linspace(-40, 40, 7):
            tuft(stage.at(x + offset, 129, stage.between(14, 22)), mix(stage.pick(GREENS), land, 0.3))
