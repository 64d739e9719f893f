"""The classes of the built-in world, each composed of shared parts.

Owns the class names and how parts make an object. Must not know backgrounds, masks or models.
Every function draws an object about 1 high: standing ones on the origin, flying ones around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import parts
from .canvas import Colour, Coverage, Points, box, colour, ellipse, mix, points, ribbon, smooth
from .parts import CHARCOAL, CREAM, FOLIAGE, GREENS, HUES, STEEL, TIMBER, Stage

_BEAKS = (colour("e8963a"), colour("e0b13c"), colour("c8552f"))


def _masonry(stage: Stage, cover: Coverage | None, base: Colour, rows: int = 4) -> None:
    """Suggest a few bricks on a wall."""
    for _ in range(rows * 2):
        x, y = stage.between(-0.5, 0.42), -stage.between(0.05, 0.95)
        brick = box(x, y, x + 0.09, y + 0.035)
        stage.paint(brick, base * np.float32(0.8), "wall", line=0, opacity=0.7, clip=cover)


def house(stage: Stage) -> None:
    """Wall, roof, door, windows and mostly a chimney."""
    base, tiles, lit = stage.pick(), stage.pick(), stage.chosen(0.4)
    width, height = stage.between(0.82, 1.0), stage.between(0.44, 0.56)
    if stage.chosen(0.75):
        parts.chimney(stage.at(stage.between(-0.3, 0.3), -height - 0.1), 0.19, 0.38, stage.pick())
    cover = stage.paint(box(-width / 2, -height, width / 2, 0), base, "wall")
    _masonry(stage, cover, base, 3)
    kind = "hip" if stage.chosen(0.3) else "gable"
    parts.roof(stage.at(0, -height), width * 1.18, stage.between(0.36, 0.46), tiles, kind)
    side = stage.between(-0.28, 0.28) * width
    parts.door(stage.at(side, 0), 0.22, 0.34, stage.pick(), arched=stage.chosen(0.4))
    pane = "arched" if stage.chosen(0.3) else "cross"
    for x in (-0.29, 0.0, 0.29):
        if abs(x * width - side) > 0.22:
            parts.window(stage.at(x * width, -height * 0.56), 0.22, 0.24, pane, lit=lit)


def castle(stage: Stage) -> None:
    """Two towers with roofs or battlements, a gate, windows and mostly a flag."""
    base, tiles, lit = stage.pick(), stage.pick(), stage.chosen(0.4)
    high = stage.between(0.66, 0.78)
    pointed = stage.chosen(0.55)
    if stage.chosen(0.8):
        parts.flag(stage.at(-0.34, -high - (0.26 if pointed else 0.0), 0.6), 0.74, stage.pick())
    wall = stage.paint(box(-0.36, -0.42, 0.36, 0), mix(base, CREAM, 0.15), "wall")
    _masonry(stage, wall, base)
    parts.battlements(stage.at(0, -0.42), 0.44, 0.15, base, 3)
    for x, height in ((-0.36, high), (0.36, high - stage.between(0.0, 0.16))):
        tower = stage.paint(box(x - 0.15, -height, x + 0.15, 0), base, "wall")
        _masonry(stage, tower, base)
        if pointed:
            parts.roof(stage.at(x, -height), 0.4, 0.36, tiles, "cone")
        else:
            parts.battlements(stage.at(x, -height + 0.02), 0.4, 0.2, base, 3)
        parts.window(stage.at(x, -height * 0.66), 0.17, 0.23, "arched", lit=lit)
    parts.door(stage.at(0, 0), 0.26, 0.33, stage.pick(), arched=True)


def lighthouse(stage: Stage) -> None:
    """Tapering tower, mostly with stripes, a lamp under a small roof, a door and a window."""
    base, accent = stage.pick(), stage.pick()
    foot, head = stage.between(0.2, 0.26), stage.between(0.12, 0.15)
    tower = stage.paint(points((-foot, 0), (-head, -0.72), (head, -0.72), (foot, 0)), base, "wall")
    if stage.chosen(0.75):
        for y in (-0.58, -0.32):
            band = box(-0.4, y - 0.07, 0.4, y + 0.07)
            stage.paint(band, accent, "stripes", line=0.6, clip=tower)
    parts.window(stage.at(0, -0.46), 0.16, 0.17, "round" if stage.chosen(0.5) else "arched", lit=stage.chosen(0.4))
    parts.door(stage.at(0, 0), 0.21, 0.26, stage.pick(), arched=stage.chosen(0.6))
    stage.paint(box(-head * 1.5, -0.76, head * 1.5, -0.7), STEEL, "wall")
    stage.paint(box(-head * 0.9, -0.93, head * 0.9, -0.76), mix(STEEL, CREAM, 0.5), "wall", line=0.8)
    parts.lamp(stage.at(0, -0.84, 0.105))
    parts.roof(stage.at(0, -0.93), head * 2.7, 0.2, accent, "cone")


def car(stage: Stage) -> None:
    """Body, two wheels, windows and a lamp."""
    base, rim = stage.pick(), stage.pick((CREAM, STEEL, HUES[3]))
    rise = stage.between(0.7, 0.84)
    outline = [
        (-0.62, -0.18),
        (-0.62, -0.42),
        (-0.42, -0.5),
        (-0.28, -rise),
        (0.2, -rise),
        (0.36, -0.48),
        (0.6, -0.42),
        (0.64, -0.18),
    ]
    body = stage.paint(smooth(outline, 5), base, "body", shade=0.2)
    if stage.chosen(0.25):
        parts.stripes(stage, body, stage.pick(), (-0.5, 0.42), 0.05)
    for x in (-0.17, 0.11):
        parts.window(stage.at(x, -rise + 0.17), 0.25, 0.22, "plain")
    stage.paint(box(-0.66, -0.22, 0.68, -0.16), STEEL, "body", line=0.8)
    parts.lamp(stage.at(0.56, -0.36, 0.11))
    for x in (-0.36, 0.36):
        parts.wheel(stage.at(x, -0.16, stage.between(0.16, 0.19)), rim, 5)


def train(stage: Stage) -> None:
    """Engine: boiler, cab with a roof and a window, chimney, lamp and wheels."""
    base, accent, rim = stage.pick(), stage.pick(), stage.pick()
    parts.chimney(stage.at(0.36, -0.52), 0.2, 0.3, accent)
    stage.paint(
        smooth([(-0.3, -0.2), (-0.3, -0.54), (0.5, -0.56), (0.6, -0.38), (0.5, -0.2)], 5), base, "body", shade=0.24
    )
    stage.paint(box(0.14, -0.56, 0.19, -0.2), accent, "body", line=0.6)
    stage.paint(box(-0.62, -0.72, -0.16, -0.18), base, "body")
    parts.window(stage.at(-0.39, -0.52), 0.26, 0.24, "cross" if stage.chosen(0.5) else "plain", lit=stage.chosen(0.4))
    parts.roof(stage.at(-0.39, -0.72), 0.6, 0.17, accent, "hip")
    stage.paint(box(-0.66, -0.22, 0.62, -0.16), CHARCOAL, "body", line=0.6)
    parts.lamp(stage.at(0.58, -0.4, 0.11))
    for x, radius in ((-0.42, 0.19), (0.06, 0.13), (0.4, 0.13)):
        parts.wheel(stage.at(x, -radius, radius), rim, 6)


def sailing_boat(stage: Stage) -> None:
    """Hull, mast, one or two sails and mostly a flag."""
    base, cloth = stage.pick(), mix(stage.pick(), CREAM, stage.between(0.2, 0.8))
    if stage.chosen(0.7):
        parts.flag(stage.at(0, -0.94, 0.42, mirrored=stage.chosen(0.5)), 0.42, stage.pick())
    stage.paint(box(-0.04, -1.0, 0.04, -0.2), TIMBER, "mast")
    reach = stage.between(0.42, 0.52)
    main = stage.paint(_sail(reach, 0.7), cloth, "sail", shade=0.2)
    for y in (-0.48, -0.68):
        stage.paint(box(0, y, 1, y + 0.015), cloth * np.float32(0.75), "sail", line=0, clip=main)
    if stage.chosen(0.75):
        jib = _sail(stage.between(0.3, 0.38), 0.56) * (-1, 1)
        stage.paint(jib, mix(cloth, stage.pick(), 0.5), "sail", shade=0.2)
    hull = smooth([(-0.62, -0.24), (0.0, -0.2), (0.64, -0.26), (0.46, -0.02), (0.0, 0.02), (-0.44, -0.02)], 5)
    cover = stage.paint(hull, base, "hull", shade=0.22)
    stage.paint(box(-0.8, -0.17, 0.8, -0.12), mix(base, CREAM, 0.6), "hull", line=0, clip=cover)


def _sail(reach: float, height: float) -> Points:
    leech = smooth([(0.04, -0.26 - height), (reach * 0.72, -0.26 - height * 0.42), (reach, -0.28)], closed=False)
    return np.concatenate((leech, points((0.04, -0.28))))


def rocket(stage: Stage) -> None:
    """Body with round windows, fins and a flame."""
    base, accent = stage.pick(), stage.pick()
    parts.flame(stage.at(0, 0.36, 0.38))
    for mirrored in (False, True):
        parts.fin(stage.at(0.0, 0.0).at(0.2 * (1 if mirrored else -1), 0.4, 0.36, mirrored=mirrored), accent)
    outline = smooth(
        [(-0.17, 0.38), (-0.22, 0.05), (-0.15, -0.32), (0, -0.6), (0.15, -0.32), (0.22, 0.05), (0.17, 0.38)], 5
    )
    body = stage.paint(outline, base, "body", shade=0.24)
    if stage.chosen(0.5):
        for y in (0.16, 0.29):
            stage.paint(box(-0.4, y - 0.035, 0.4, y + 0.035), accent, "stripes", line=0.5, clip=body)
    stage.paint(points((-0.4, -0.38), (0.4, -0.38), (0, -1)), accent, "body", line=0.8, clip=body)
    parts.window(stage.at(0, -0.14), 0.23, 0.23, "round", lit=stage.chosen(0.3))
    if stage.chosen(0.5):
        parts.window(stage.at(0, 0.1), 0.16, 0.16, "round", lit=stage.chosen(0.3))


def fish(stage: Stage) -> None:
    """Body with stripes or spots, fins, tail and an eye."""
    base, accent = stage.pick(), stage.pick()
    parts.tail(stage.at(-0.42, 0, 0.34), accent)
    parts.fin(stage.at(-0.02, -0.24, 0.3, 0.1), accent)
    girth = stage.between(0.29, 0.36)
    outline = [
        (0.6, 0.02),
        (0.38, -girth * 0.78),
        (0.05, -girth),
        (-0.5, -0.09),
        (-0.5, 0.09),
        (0.05, girth),
        (0.38, girth * 0.78),
    ]
    body = stage.paint(smooth(outline, 5), base, "body", shade=0.24)
    if stage.chosen(0.5):
        parts.stripes(stage, body, accent, (-0.26, -0.06, 0.14), 0.055)
    else:
        parts.spots(stage, body, accent, ((-0.26, -0.03), (-0.08, 0.1), (-0.02, -0.14), (0.15, 0.02)), 0.085)
    parts.fin(stage.at(0.0, 0.1, 0.22, math.pi * 0.95, mirrored=True), mix(accent, CREAM, 0.2))
    parts.eye(stage.at(0.36, -0.06, 0.115))


def bird(stage: Stage) -> None:
    """Body, wing, tail, beak and eye, sometimes with spots."""
    base, accent = stage.pick(), stage.pick()
    for x in (-0.04, 0.1):
        stage.paint(ribbon(points((x, 0.26), (x + 0.02, 0.44)), 0.018, 0.014), CHARCOAL, "body", line=0)
    parts.tail(stage.at(-0.36, 0.06, 0.36, 0.25), accent)
    parts.beak(stage.at(0.49, -0.3, 0.33), stage.pick(_BEAKS))
    outline = [
        (0.52, -0.28),
        (0.4, -0.5),
        (0.2, -0.44),
        (-0.06, -0.2),
        (-0.46, 0.02),
        (-0.2, 0.28),
        (0.2, 0.3),
        (0.42, 0.02),
    ]
    body = stage.paint(smooth(outline, 5), base, "body", shade=0.24)
    if stage.chosen(0.35):
        parts.spots(stage, body, accent, ((0.28, 0.02), (0.2, 0.18), (0.34, -0.13)), 0.065)
    parts.wing(
        stage.at(0.14, 0.02, stage.between(0.5, 0.62), stage.between(-0.25, 0.75)),
        mix(base, accent, 0.6),
        mix(accent, CHARCOAL, 0.3),
    )
    parts.eye(stage.at(0.35, -0.32, 0.11))


def butterfly(stage: Stage) -> None:
    """Four wings with spots or stripes, feelers, a body and sometimes eyes."""
    base, accent = stage.pick(), stage.pick()
    spread = stage.between(0.85, 1.05)
    dotted = stage.chosen(0.6)
    for mirrored in (False, True):
        half = stage.at(0, 0, mirrored=mirrored)
        lower = half.paint(
            smooth([(0.03, 0.0), (0.42 * spread, 0.08), (0.5 * spread, 0.36), (0.26, 0.48), (0.05, 0.2)]),
            mix(base, accent, 0.35),
            "wing",
        )
        upper = half.paint(
            smooth([(0.03, 0.06), (0.1, -0.26), (0.44 * spread, -0.5), (0.68 * spread, -0.34), (0.5 * spread, 0.04)]),
            base,
            "wing",
            shade=0.2,
        )
        if dotted:
            parts.spots(half, upper, accent, ((0.42 * spread, -0.24),), 0.12)
            parts.spots(half, lower, accent, ((0.31 * spread, 0.25),), 0.085)
        else:
            parts.stripes(half, upper, accent, (0.28 * spread, 0.46 * spread), 0.045)
            parts.stripes(half, lower, accent, (0.3 * spread,), 0.045)
        curl = smooth([(0.02, -0.26), (0.08, -0.46), (0.2, -0.58)], closed=False)
        half.paint(ribbon(curl, 0.036, 0.026), CHARCOAL, "feeler", line=0)
        half.paint(ellipse(0.21, -0.59, 0.06, n=12), CHARCOAL, "feeler", line=0)
    stage.paint(ellipse(0, 0.06, 0.065, 0.33), mix(accent, CHARCOAL, 0.65), "body")
    if stage.chosen(0.6):
        for x in (-0.07, 0.07):
            parts.eye(stage.at(x, -0.24, 0.075))


def flower(stage: Stage) -> None:
    """Stem, leaves and a ring of petals."""
    green, base = stage.pick(GREENS), stage.pick()
    sway = stage.between(-0.1, 0.1)
    path = smooth([(0, 0), (sway, -0.3), (sway * 0.4, -0.66)], closed=False)
    stage.paint(ribbon(path, 0.05, 0.038), green, "stem")
    for mirrored, y in ((False, -0.16), (True, -0.26)):
        parts.leaf(
            stage.at(sway * 0.6, y, stage.between(0.36, 0.46), -0.4 if not mirrored else 0.4).at(
                0, 0, mirrored=mirrored
            ),
            green,
        )
    n_petals, head = int(stage.rng.integers(5, 9)), stage.at(sway * 0.4, -0.68)
    start = stage.between(0, math.pi)
    for k in range(n_petals):
        parts.petal(head.at(0, 0, 0.34, start + k * 2 * math.pi / n_petals), base)
    head.paint(ellipse(0, 0, 0.12), stage.pick((colour("e8b23c"), colour("7a5236"), CREAM)), "petal")


def tree(stage: Stage) -> None:
    """Trunk and foliage, sometimes with fruit."""
    base = stage.pick(FOLIAGE)
    trunk = [(-0.19, 0.0), (-0.1, -0.12), (-0.085, -0.5), (0.085, -0.5), (0.11, -0.12), (0.2, 0.0)]
    bark = stage.pick((TIMBER, colour("6e5142"), colour("b9a48c")))
    cover = stage.paint(np.array(trunk), bark, "trunk", shade=0.25)
    for x in (-0.035, 0.03):
        stage.paint(box(x, -0.4, x + 0.015, -0.05), bark * np.float32(0.68), "trunk", line=0, clip=cover)
    crown = stage.at(0, -0.7, stage.between(0.38, 0.45))
    parts.foliage(crown, base, int(stage.rng.integers(5, 8)))
    if stage.chosen(0.55):
        fruit = stage.pick((HUES[0], HUES[2], HUES[9], HUES[11]))
        for _ in range(int(stage.rng.integers(4, 7))):
            angle, distance = stage.between(0, 2 * math.pi), stage.between(0.2, 0.75)
            spot = crown.at(distance * math.cos(angle), distance * math.sin(angle) * 0.85, 0.19)
            spot.paint(ellipse(0, 0, 1, n=16), fruit, "fruit", line=0.8, shade=0.3)
            spot.paint(ellipse(-0.3, -0.35, 0.25, n=8), CREAM, "fruit", line=0, opacity=0.9)


@dataclass(frozen=True)
class ObjectClass:
    """One class: its name, what draws it, and whether it flies instead of standing."""

    name: str
    draw: Callable[[Stage], None]
    flies: bool = False


CLASSES = (
    ObjectClass("bird", bird, flies=True),
    ObjectClass("butterfly", butterfly, flies=True),
    ObjectClass("car", car),
    ObjectClass("castle", castle),
    ObjectClass("fish", fish, flies=True),
    ObjectClass("flower", flower),
    ObjectClass("house", house),
    ObjectClass("lighthouse", lighthouse),
    ObjectClass("rocket", rocket, flies=True),
    ObjectClass("sailing boat", sailing_boat),
    ObjectClass("train", train),
    ObjectClass("tree", tree),
)
CLASS_NAMES = tuple(kind.name for kind in CLASSES)
