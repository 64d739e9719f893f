"""Drawings of reports as SVG: outlines on a photo, curves. Owns their geometry and look on paper, grey paper too.

Text in them is numbers and words of the program alone. Must not know records of files.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from precompute.printing import palette
from precompute.printing.numbers import count, fixed
from precompute.records import Box

INK = "#23282d"
QUIET = "#5f666d"
FONT = "Libertinus Serif, Georgia, serif"


class Spot(NamedTuple):
    """A numbered outline, and where its number stands."""

    number: int
    box: Box
    x: float
    y: float


def outlined(photo: bytes, size: tuple[int, int], spots: Sequence[Spot]) -> bytes:
    """Draw numbered outlines on a photo.

    Parameters
    ----------
    photo : bytes
        WebP.
    size : (int, int)
        Width and height in pixels, in which the outlines are given.
    spots : sequence of Spot
    """
    width, height = size
    unit = max(width, height) / 160
    parts = [
        Markup('<image width="{}" height="{}" preserveAspectRatio="none" href="data:image/webp;base64,{}"/>').format(
            width, height, base64.b64encode(photo).decode()
        )
    ]
    for spot in spots:
        frame = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="none" stroke="{}" stroke-width="{:.2f}"/>')
        box = spot.box
        place = (box.left, box.top, box.right - box.left, box.bottom - box.top)
        parts += [frame.format(*place, "#ffffff", 2.6 * unit), frame.format(*place, INK, 1.1 * unit)]
    side = 13 * unit
    for spot in spots:
        x, y = min(spot.x, width - side), min(spot.y, height - side)
        parts.append(
            Markup(
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="{}" stroke="#ffffff" '
                'stroke-width="{:.2f}"/><text x="{:.1f}" y="{:.1f}" font-family="{}" font-size="{:.1f}" '
                'font-weight="bold" fill="#ffffff" text-anchor="middle">{}</text>'
            ).format(x, y, side, side, INK, 0.8 * unit, x + side / 2, y + 0.78 * side, FONT, 11 * unit, spot.number)
        )
    return _svg(width, height, parts)


class Curve(NamedTuple):
    """A line of a chart: its words, its heights and how it is dashed."""

    words: str
    values: tuple[float, ...]
    dash: str
    colour: str


LEFT, TOP, WIDTH, HEIGHT, RIGHT, BOTTOM = 44, 30, 380, 190, 190, 40


def curves(counts: Sequence[int], lines: Sequence[Curve], across: str, upwards: str) -> bytes:
    """Draw how much is left as more and more is taken away, each line with its words at its end.

    Parameters
    ----------
    counts : (n,) int
        From left to right.
    lines : sequence of Curve
        Each with at most n values.
    across, upwards : str
        What the axes are.
    """
    top = max(1.0, *(value for line in lines for value in line.values))
    parts = [Markup("")]
    for level in (0.0, 0.5, 1.0):
        y = TOP + HEIGHT * (1 - level / top)
        parts.append(_line((LEFT, y), (LEFT + WIDTH, y), "#d8d4ca"))
        parts.append(_text(LEFT - 6, y + 4, fixed(level, 1), "end"))
    ends: list[tuple[float, Curve]] = []
    for line in lines:
        points = [
            (LEFT + WIDTH * count / counts[-1], TOP + HEIGHT * (1 - value / top))
            for count, value in zip(counts, line.values, strict=False)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1.8" stroke-dasharray="{}"/>').format(
                path, line.colour, line.dash
            )
        )
        ends.append((points[-1][1], line))
    for y, line in _apart(ends):
        parts.append(_text(LEFT + WIDTH + 8, y + 4, line.words, "start", line.colour))
    for step in counts:
        if step in (counts[0], counts[-1]) or step * 4 >= counts[-1]:
            x = LEFT + WIDTH * step / counts[-1]
            parts.append(_text(x, TOP + HEIGHT + 16, count(step), "middle"))
    parts.append(_text(LEFT + WIDTH / 2, TOP + HEIGHT + 33, across, "middle", QUIET))
    parts.append(_text(LEFT, 13, upwards, "start", QUIET))
    return _svg(LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM, parts)


def _apart(ends: Sequence[tuple[float, Curve]], gap: float = 15) -> list[tuple[float, Curve]]:
    """Move the words at the ends of lines downwards until none covers another, then up into the chart."""
    placed: list[tuple[float, Curve]] = []
    for y, line in sorted(ends, key=lambda end: end[0]):
        placed.append((max(y, placed[-1][0] + gap) if placed else y, line))
    over = max(0.0, placed[-1][0] - TOP - HEIGHT) if placed else 0.0
    return [(y - over, line) for y, line in placed]


def _line(start: tuple[float, float], end: tuple[float, float], colour: str) -> Markup:
    return Markup('<path d="M{:.1f} {:.1f}L{:.1f} {:.1f}" stroke="{}" fill="none"/>').format(*start, *end, colour)


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> Markup:
    return Markup(
        '<text x="{:.1f}" y="{:.1f}" font-family="{}" font-size="13" fill="{}" text-anchor="{}">{}</text>'
    ).format(x, y, FONT, colour, anchor, text)


def _svg(width: int, height: int, parts: Sequence[Markup]) -> bytes:
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}">').format(width, height)
    return (head + Markup("").join(parts) + Markup("</svg>")).encode()


LOOKS = {
    "most": ("none", palette.hexadecimal(palette.POSITIVE)),
    "activation": ("6 3", QUIET),
    "random": ("2 3", INK),
    "least": ("none", palette.hexadecimal(palette.NEGATIVE)),
    "greedy": ("8 3 2 3", QUIET),
}
"""How the line of each order is dashed and coloured; on grey paper the dashes and the words tell them apart."""
