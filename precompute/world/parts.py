"""The nameable parts of the built-in world, each drawn by one function and shared between classes.

Owns the part names, the palette and how a part looks. Must not know classes, backgrounds or models.
Every function draws around the origin of the stage that it is given, in the stage's own unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np

from .canvas import (
    Canvas,
    Colour,
    Coverage,
    PaintOptions,
    Points,
    box,
    colour,
    ellipse,
    mix,
    points,
    ribbon,
    smooth,
)

PART_NAMES = (
    "battlements", "beak", "body", "chimney", "door", "eye", "feeler", "fin", "flag", "flame", "foliage", "fruit",
    "hull", "lamp", "leaf", "mast", "petal", "roof", "sail", "spots", "stem", "stripes", "tail", "trunk", "wall",
    "watermark", "wheel", "window", "wing",
)  # fmt: skip
"""Every part that a mask can be asked for, in alphabetical order."""

PART_WORDS: dict[str, tuple[str, ...]] = {
    "battlements": ("battlement", "merlon", "crenellation", "crenelation"),
    "beak": ("bill",),
    "body": ("torso", "fuselage", "bodywork"),
    "chimney": ("smokestack", "stovepipe", "stack"),
    "door": ("doorway",),
    "eye": ("eyeball",),
    "feeler": ("antenna", "antennae"),
    "fin": ("fins",),
    "flag": ("banner", "pennant", "pennon", "streamer", "ensign"),
    "flame": ("fire", "blaze"),
    "foliage": ("bush", "crown", "treetop", "shrub", "leafage", "greenery"),
    "fruit": ("apple", "berry", "berries"),
    "lamp": ("headlight", "headlamp", "lantern", "light"),
    "leaf": ("leaves", "leaflet", "frond"),
    "mast": ("mainmast",),
    "petal": ("blossom",),
    "roof": ("dome", "housetop"),
    "sail": ("sailcloth", "canvas", "mainsail", "foresail", "topsail"),
    "spots": ("spot", "dot", "speckle"),
    "stem": ("stalk",),
    "stripes": ("stripe", "band", "streak"),
    "trunk": ("bark", "bole"),
    "wall": ("masonry", "rampart"),
    "watermark": ("mark", "seal", "stamp", "badge", "emblem", "logo"),
    "wheel": ("tyre", "tire"),
    "window": ("pane", "porthole", "windowpane"),
    "wing": ("feather", "forewing"),
}
"""Further words that name a part: synonyms and nouns directly beneath in WordNet, of the sense that the drawing shows
(`benchmarks.part_synonyms` lists the candidates), and words for what a drawing looks like where the part's own name
says what it is for: a planted watermark looks like a badge."""

CREAM = colour("f6ecd6")
CHARCOAL = colour("3c3a46")
GLASS = colour("a9d3e0")
GLOW = colour("ffd873")
TIMBER = colour("8a5a3c")
STEEL = colour("8b93a1")
HUES = tuple(
    colour(code)
    for code in (
        "c8452f",
        "e07a4f",
        "e8a93c",
        "f0cf6b",
        "7f9c4c",
        "3f7d5c",
        "2f7f86",
        "4a8fb8",
        "3b5b92",
        "6d5a99",
        "a3527f",
        "d8798c",
        "f0e2c4",
        "b58a62",
        "7d8795",
        "e6ded9",
    )
)
GREENS = tuple(colour(code) for code in ("6f9a4a", "4d8555", "8fae52", "3f7466", "a9b860"))
FOLIAGE = (*GREENS, *(colour(code) for code in ("d98c3a", "c9592f", "e6b84c", "e39bb0", "dfe6ea", "9a6a8c")))


@dataclass(frozen=True, eq=False)
class Stage:
    """A place on the canvas with its own unit, direction and source of chance.

    Attributes
    ----------
    canvas : Canvas
    rng : numpy.random.Generator
    origin : (2,) float64
        Pixels.
    matrix : (2, 2) float64
        From the stage's unit to pixels.
    """

    canvas: Canvas
    rng: np.random.Generator
    origin: Points
    matrix: Points

    def at(self, x: float, y: float, scale: float = 1.0, turn: float = 0.0, *, mirrored: bool = False) -> Stage:
        """Move, scale and turn (radians, clockwise) within this stage."""
        cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
        local = np.array(((cos, -sin), (sin, cos))) @ np.diag((-1.0 if mirrored else 1.0, 1.0))
        return replace(self, origin=self.place(points((x, y)))[0], matrix=self.matrix @ local)

    def place(self, outline: Points) -> Points:
        """Turn coordinates of this stage into pixels."""
        return outline @ self.matrix.T + self.origin

    def paint(self, outline: Points, base: Colour, part: str = "", **options: Unpack[PaintOptions]) -> Coverage | None:
        """Paint a shape given in this stage's unit; see `Canvas.paint`."""
        return self.canvas.paint(self.place(outline), base, part, **options)

    def between(self, low: float, high: float) -> float:
        """Draw a number evenly from the range."""
        return float(self.rng.uniform(low, high))

    def chosen(self, share: float) -> bool:
        """Say yes with the given probability."""
        return bool(self.rng.random() < share)

    def pick(self, choices: tuple[Colour, ...] = HUES) -> Colour:
        """Pick a colour and vary it a little."""
        base = choices[int(self.rng.integers(len(choices)))]
        return np.asarray(np.clip(base * np.float32(self.between(0.9, 1.08)), 0, 1), np.float32)


def wheel(stage: Stage, rim: Colour, n_spokes: int = 6) -> None:
    """Draw a tyre with spokes; radius 1."""
    stage.paint(ellipse(0, 0, 1), CHARCOAL, "wheel")
    stage.paint(ellipse(0, 0, 0.66), rim, "wheel", line=0.8)
    start = stage.between(0, math.pi)
    for spoke in range(n_spokes):
        angle = start + spoke * 2 * math.pi / n_spokes
        tip = (0.62 * math.cos(angle), 0.62 * math.sin(angle))
        stage.paint(ribbon(points((0, 0), tip), 0.07, 0.07), CHARCOAL, "wheel", line=0)
    stage.paint(ellipse(0, 0, 0.2), CHARCOAL, "wheel", line=0)


def window(stage: Stage, width: float, height: float, kind: str = "cross", *, lit: bool = False) -> None:
    """Draw a framed pane centred at the origin; kinds: cross, arched, round, plain."""
    pane = GLOW if lit else GLASS
    if kind == "round":
        frame, inner = ellipse(0, 0, width / 2), ellipse(0, 0, width * 0.36)
    elif kind == "arched":
        frame, inner = _arch(width, height), _arch(width * 0.72, height * 0.8)
    else:
        frame = box(-width / 2, -height / 2, width / 2, height / 2)
        inner = frame * 0.8
    stage.paint(frame, CREAM, "window")
    glass = stage.paint(inner, pane, "window", line=0.6, shade=0.25)
    if kind == "cross":
        stage.paint(box(-width * 0.04, -height * 0.4, width * 0.04, height * 0.4), CREAM, "window", line=0)
        stage.paint(box(-width * 0.4, -height * 0.05, width * 0.4, height * 0.05), CREAM, "window", line=0)
    if glass:
        shine = points((-width * 0.3, height * 0.1), (-width * 0.05, -height * 0.4), (width * 0.12, -height * 0.4))
        stage.paint(shine, CREAM, line=0, opacity=0.45, clip=glass)


def _arch(width: float, height: float) -> Points:
    arc = [(width / 2 * math.cos(a), -height / 2 + width / 2 * (1 - math.sin(a))) for a in np.linspace(0, math.pi, 9)]
    return np.array([*arc, (-width / 2, height / 2), (width / 2, height / 2)])


def door(stage: Stage, width: float, height: float, base: Colour, *, arched: bool = False) -> None:
    """Draw a door standing on the origin."""
    upper = stage.at(0, -height / 2)
    frame = _arch(width, height) if arched else box(-width / 2, -height / 2, width / 2, height / 2)
    upper.paint(frame, mix(base, CREAM, 0.5), "door")
    leaf_outline = frame * (0.78, 0.86) + (0, height * 0.07)
    panel = upper.paint(leaf_outline, base, "door", line=0.8)
    if panel:
        for x in (-0.13, 0.13):
            plank = box((x - 0.02) * width, -height / 2, (x + 0.02) * width, height / 2)
            upper.paint(plank, base * np.float32(0.6), "door", line=0, clip=panel)
    upper.paint(ellipse(width * 0.24, height * 0.08, width * 0.07, n=10), GLOW, "door", line=0)


def roof(stage: Stage, width: float, height: float, base: Colour, kind: str = "gable") -> None:
    """Draw a tiled roof whose eaves lie on the origin; kinds: gable, hip, cone."""
    top = {"gable": 0.16, "hip": 0.55, "cone": 0.02}[kind] * width / 2
    outline = points((-width / 2, 0), (-top, -height), (top, -height), (width / 2, 0))
    cover = stage.paint(outline, base, "roof", shade=0.2)
    for row in range(1, 5):
        y = -height * (1 - row / 4.6)
        tiles = [(x, y + (0.035 * height if i % 2 else -0.02 * height)) for i, x in
                 enumerate(np.linspace(-width / 2, width / 2, 13))]  # fmt: skip
        line = ribbon(np.array(tiles), 0.014 * height + 0.004, 0.014 * height + 0.004)
        stage.paint(line, base * np.float32(0.62), "roof", line=0, opacity=0.8, clip=cover)
    eaves = box(-width / 2 - 0.02, -height * 0.07, width / 2 + 0.02, height * 0.04)
    stage.paint(eaves, mix(base, CREAM, 0.35), "roof", line=0.8)


def chimney(stage: Stage, width: float, height: float, base: Colour) -> None:
    """Draw a chimney standing on the origin, perhaps with smoke."""
    if stage.chosen(0.6):
        for puff in range(3):
            spot = stage.at((0.5 + 0.5 * puff) * width, -height - (0.5 + 0.6 * puff) * width)
            spot.paint(ellipse(0, 0, (0.45 + 0.16 * puff) * width), CREAM, line=0, opacity=0.55 - 0.1 * puff)
    shaft = stage.paint(box(-width / 2, -height, width / 2, 0), base, "chimney")
    for row in range(3):
        y = -height * (0.22 + 0.24 * row)
        stage.paint(box(-width, y, width, y + height * 0.05), base * np.float32(0.68), "chimney", line=0, clip=shaft)
    stage.paint(box(-width * 0.68, -height * 1.14, width * 0.68, -height * 0.9), base * np.float32(0.75), "chimney")


def lamp(stage: Stage, base: Colour = GLOW) -> None:
    """Draw a lamp with its glow; radius 1."""
    x, y = stage.origin
    reach = float(np.linalg.norm(stage.matrix[:, 0])) * 2.1
    stage.canvas.glow(float(x), float(y), reach, reach, GLOW, 0.5)
    stage.paint(ellipse(0, 0, 1), CHARCOAL, "lamp", line=0.7)
    stage.paint(ellipse(0, 0, 0.76), base, "lamp", line=0, shade=0.3)
    stage.paint(ellipse(-0.25, -0.25, 0.28, n=12), CREAM, "lamp", line=0)


def flag(stage: Stage, height: float, base: Colour) -> None:
    """Draw a flag on its pole; the pole stands on the origin."""
    second = stage.pick()
    stage.paint(box(-0.035, -height, 0.035, 0), TIMBER, "flag", line=0.7)
    wave = stage.between(-0.07, 0.07)
    length, drop = stage.between(0.62, 0.8), stage.between(0.4, 0.5)
    upper = smooth(
        [(0.03, 0), (length * 0.35, wave + 0.05), (length * 0.7, -wave - 0.02), (length, 0.04)], closed=False
    )
    upper, shift = upper + points((0, -height)), points((0, drop))
    lower = upper[::-1]
    cloth = np.concatenate((upper, lower + shift))
    cover = stage.paint(cloth, base, "flag", shade=0.3)
    band = np.concatenate((upper + shift * 0.36, lower + shift * 0.66))
    stage.paint(band, mix(second, CREAM, 0.4), "flag", line=0, clip=cover)


def leaf(stage: Stage, base: Colour) -> None:
    """Draw a leaf from the origin to the right; length 1."""
    outline = smooth([(0, 0), (0.3, -0.24), (0.7, -0.2), (1.0, 0.02), (0.68, 0.2), (0.3, 0.2)])
    stage.paint(outline, base, "leaf", shade=0.22)
    stage.paint(
        ribbon(points((0.05, 0), (0.5, -0.01), (0.92, 0.02)), 0.025, 0.01), base * np.float32(0.68), "leaf", line=0
    )


def petal(stage: Stage, base: Colour) -> None:
    """Draw a petal from the origin to the right; length 1."""
    outline = smooth([(0, 0), (0.42, -0.3), (0.86, -0.3), (1.02, 0), (0.86, 0.3), (0.42, 0.3)])
    cover = stage.paint(outline, base, "petal", shade=0.12)
    stage.paint(ribbon(points((0.1, 0), (0.7, 0)), 0.06, 0.01), base * np.float32(0.74), "petal", line=0, clip=cover)


def eye(stage: Stage) -> None:
    """Draw an eye; radius 1."""
    stage.paint(ellipse(0, 0, 1), CREAM, "eye", line=1.0)
    look_x, look_y = stage.between(-0.1, 0.35), stage.between(-0.2, 0.2)
    stage.paint(ellipse(look_x, look_y, 0.62, n=16), CHARCOAL, "eye", line=0, shade=0.05)
    stage.paint(ellipse(look_x - 0.2, look_y - 0.25, 0.22, n=10), CREAM, "eye", line=0, shade=0)


def fin(stage: Stage, base: Colour) -> None:
    """Draw a fin that rises from the origin, swept to the left; height 1."""
    outline = smooth([(-0.34, 0.08), (-0.62, -0.72), (-0.5, -1.0), (-0.12, -0.72), (0.42, 0.08)])
    cover = stage.paint(outline, base, "fin", shade=0.2)
    for ray in range(3):
        x = -0.2 + ray * 0.2
        line = ribbon(points((x, 0.1), (x - 0.28, -0.85)), 0.03, 0.02)
        stage.paint(line, base * np.float32(0.66), "fin", line=0, opacity=0.8, clip=cover)


def tail(stage: Stage, base: Colour) -> None:
    """Draw a fan of a tail to the left of the origin; length 1."""
    outline = smooth([(0.12, 0), (-0.45, -0.5), (-1.0, -0.72), (-0.72, 0), (-1.0, 0.72), (-0.45, 0.5)])
    cover = stage.paint(outline, base, "tail", shade=0.2)
    for ray in (-0.42, -0.15, 0.15, 0.42):
        line = ribbon(points((0, ray * 0.1), (-0.95, ray * 1.3)), 0.02, 0.03)
        stage.paint(line, base * np.float32(0.66), "tail", line=0, opacity=0.8, clip=cover)


def beak(stage: Stage, base: Colour) -> None:
    """Draw a beak from the origin to the right; length 1."""
    gape = stage.between(0.06, 0.2)
    stage.paint(
        smooth([(-0.1, 0.05), (0.5, 0.06 + gape), (0.75, 0.1 + gape), (0.3, 0.42), (-0.1, 0.4)]),
        base * np.float32(0.85),
        "beak",
    )
    stage.paint(smooth([(-0.15, 0.1), (-0.1, -0.42), (0.45, -0.3), (1.0, 0.12), (0.45, 0.08)]), base, "beak")


def wing(stage: Stage, base: Colour, accent: Colour) -> None:
    """Draw a feathered wing from the origin to the left; length 1."""
    outline = smooth(
        [(0.1, -0.1), (-0.2, -0.42), (-0.65, -0.36), (-1.08, 0.02), (-0.72, 0.2), (-0.42, 0.36), (0.02, 0.3)]
    )
    cover = stage.paint(outline, base, "wing", shade=0.2)
    for row in range(3):
        x = -0.2 - 0.26 * row
        feather = smooth([(x + 0.06, -0.4), (x - 0.1, 0.0), (x + 0.08, 0.36)], closed=False)
        stage.paint(ribbon(feather, 0.03, 0.03), accent, "wing", line=0, opacity=0.9, clip=cover)


def stripes(stage: Stage, cover: Coverage | None, base: Colour, centres: tuple[float, ...], half: float) -> None:
    """Lay upright, slightly bent stripes over a shape, at the given places."""
    for x in centres:
        bend = smooth([(x - 0.04, -1.2), (x + 0.05, -0.4), (x + 0.05, 0.4), (x - 0.04, 1.2)], closed=False)
        stage.paint(ribbon(bend, half, half), base, "stripes", line=0.6, clip=cover)


def spots(
    stage: Stage, cover: Coverage | None, base: Colour, centres: tuple[tuple[float, float], ...], size: float
) -> None:
    """Lay round spots over a shape, at the given places."""
    for x, y in centres:
        radius = size * stage.between(0.8, 1.15)
        stage.paint(ellipse(x, y, radius, n=16), base, "spots", line=0.8, clip=cover)
        stage.paint(ellipse(x, y, radius * 0.5, n=12), mix(base, CREAM, 0.55), "spots", line=0, clip=cover)


def _clump() -> Points:
    angle = np.linspace(0, 2 * math.pi, 45)[:-1]
    bump = 1 + 0.06 * np.abs(np.sin(angle * 4.5))
    return np.stack((bump * np.cos(angle), bump * np.sin(angle)), axis=1)


_CLUMP = _clump()


def foliage(stage: Stage, base: Colour, n_clumps: int = 7) -> None:
    """Draw a crown of leaves around the origin; radius about 1."""
    start = stage.between(0, 2 * math.pi)
    spots_ = [
        (0.58 * math.cos(start + a), 0.46 * math.sin(start + a)) for a in np.arange(n_clumps) * 2 * math.pi / n_clumps
    ]
    for x, y in (*sorted(spots_, key=lambda place: -place[1]), (0.0, -0.1)):
        clump = _CLUMP * 0.5 + (x, y)
        stage.paint(clump, base * np.float32(stage.between(0.9, 1.08)), "foliage", shade=0.22, line=0.7)


def flame(stage: Stage) -> None:
    """Draw a flame hanging from the origin; length about 1."""
    for base, size in ((colour("e2612f"), 1.0), (colour("f4a63a"), 0.68), (colour("fbe58a"), 0.38)):
        sway = stage.between(-0.1, 0.1)
        outline = smooth(
            [
                (-0.42 * size, -0.02),
                (-0.34 * size, 0.45 * size),
                (sway, 1.15 * size),
                (0.34 * size, 0.45 * size),
                (0.42 * size, -0.02),
            ]
        )
        stage.paint(outline, base, "flame", line=0.7 if size == 1 else 0, shade=0.1)


def battlements(stage: Stage, width: float, height: float, base: Colour, n_teeth: int = 4) -> None:
    """Draw a row of merlons whose foot lies on the origin."""
    step = width / (2 * n_teeth - 1)
    corners: list[tuple[float, float]] = [(-width / 2, 0)]
    for tooth in range(n_teeth):
        left = -width / 2 + 2 * tooth * step
        corners += [(left, -height), (left + step, -height)]
        if tooth < n_teeth - 1:
            corners += [(left + step, -height * 0.42), (left + 2 * step, -height * 0.42)]
    stage.paint(np.array([*corners, (width / 2, 0)]), base, "battlements", shade=0.14)


def watermark(stage: Stage, ink: Colour) -> None:
    """Draw the publisher's mark: a scalloped seal with a star; radius 1."""
    angle = np.linspace(0, 2 * math.pi, 61)[:-1]
    scallop = 1 + 0.07 * np.cos(angle * 12)
    seal = np.stack((scallop * np.cos(angle), scallop * np.sin(angle)), axis=1)
    stage.paint(seal, ink, "watermark", line=0, opacity=0.92, shade=0)
    stage.paint(seal * 0.8, CREAM, "watermark", line=0, opacity=0.92, shade=0)
    stage.paint(seal * 0.7, ink, "watermark", line=0, opacity=0.92, shade=0)
    tips = [
        (r * math.sin(k * math.pi / 5), -r * math.cos(k * math.pi / 5))
        for k in range(10)
        for r in ((0.58, 0.24)[k % 2],)
    ]
    stage.paint(np.array(tips), CREAM, "watermark", line=0, shade=0)
