"""The strongest paths of one explanation: from a class through the concepts of its main layer to those one layer down.

Owns which paths are drawn, how wide, and where. All widths have one scale: that of a concept is its absolute share,
that of a path through it this share times the absolute part of what it passed down. What a concept passed down on
other ways is a band too, so that the bands of a concept are together as wide as the concept.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from precompute.records import TargetExplanation
from sitegen.data.catalogue import Catalogue

N_CONCEPTS = 6
N_PATHS = 12
"""Paths drawn; more would cross each other beyond reading."""

DRAWN = 240.0
"""Height of all concepts drawn together, in the unit of the drawing; those of a wide layer would else be hairlines."""
NODE, GAP, LINE = 34.0, 8.0, 13.0
CLASS_END, MIDDLE, MIDDLE_END, LOWER = 16.0, 190.0, 400.0, 570.0
DRAWN_WIDTH = 760.0
LETTERS = 24
TOP = 20.0


@dataclass(frozen=True)
class Path:
    """What one concept passed down to another.

    Attributes
    ----------
    upper, lower : str
        Concept keys.
    share : float
        Signed part of what the upper concept passed down.
    width : float
        Part of the whole.
    """

    upper: str
    lower: str
    share: float
    width: float


@dataclass(frozen=True)
class Paths:
    """The paths drawn of one target.

    Attributes
    ----------
    shares : dict of str to float
        Signed share of each concept of the main layer that is drawn.
    paths : tuple of Path
        By width, the widest first.
    rest : float
        Part of the whole that is with other concepts of the main layer or runs beside it.
    """

    shares: dict[str, float]
    paths: tuple[Path, ...]
    rest: float

    def through(self, upper: str) -> list[Path]:
        """List the paths of one concept."""
        return [path for path in self.paths if path.upper == upper]

    def undrawn(self, upper: str) -> float:
        """Return what a concept passed down on ways that are not drawn, as a part of the whole."""
        return max(0.0, abs(self.shares[upper]) - sum(path.width for path in self.through(upper)))

    @property
    def drawn(self) -> float:
        """Return what all drawn paths carry together, as a part of the whole."""
        return sum(path.width for path in self.paths)


def strongest_paths(target: TargetExplanation, n_concepts: int = N_CONCEPTS, n_paths: int = N_PATHS) -> Paths | None:
    """Choose the strongest paths of a target's main layer; None where nothing is known of the layer below."""
    concepts = target.layers[0].concepts[:n_concepts] if target.layers else ()
    found = [
        Path(item.concept, sub.concept, sub.share, abs(item.share * sub.share))
        for item in concepts
        for sub in item.sub_concepts
        if item.share and sub.share
    ]
    if not found:
        return None
    found.sort(key=lambda path: -path.width)
    shares = {item.concept: item.share for item in concepts if item.share}
    return Paths(shares, tuple(found[:n_paths]), max(0.0, 1 - sum(map(abs, shares.values()))))


@dataclass
class _Node:
    """A concept's place in the drawing; `left` and `right` are where its next band ends and begins."""

    width: float
    """In the unit of the drawing."""
    y: float = 0.0
    left: float = 0.0
    right: float = field(default=0.0)

    def put(self, y: float) -> float:
        """Place it; return where the next one may begin."""
        self.y = y
        height = max(NODE, self.width)
        self.left = self.right = y + (height - self.width) / 2
        return y + height + GAP

    @property
    def middle(self) -> float:
        return self.y + max(NODE, self.width) / 2


def paths_context(catalogue: Catalogue, target: TargetExplanation) -> dict[str, Any] | None:
    """Gather the drawing and the nested list of a target's strongest paths; None where there are none."""
    found = strongest_paths(target)
    if found is None:
        return None
    scale = DRAWN / sum(map(abs, found.shares.values()))
    middle = {key: _Node(abs(share) * scale) for key, share in found.shares.items()}
    lower: dict[str, _Node] = {}
    for path in found.paths:
        lower.setdefault(path.lower, _Node(0.0)).width += path.width * scale
    undrawn = _Node(scale * sum(found.undrawn(key) for key in middle))
    bottoms = [_stack(middle.values()), _stack([*lower.values(), undrawn])]
    bands = []
    at = (max(bottoms) - DRAWN) / 2
    start = _Node(DRAWN, at, at, at)
    for key, node in middle.items():
        bands.append(_band(start, node, CLASS_END, MIDDLE, node.width, _kind(found.shares[key])))
    for key, node in middle.items():
        for path in sorted(found.through(key), key=lambda path: lower[path.lower].y):
            bands.append(_band(node, lower[path.lower], MIDDLE_END, LOWER, path.width * scale, _kind(path.share)))
        bands.append(_band(node, undrawn, MIDDLE_END, LOWER, found.undrawn(key) * scale, "rest"))
    return {
        "width": DRAWN_WIDTH,
        "height": f"{max(*bottoms, at + DRAWN + GAP):.0f}",
        "class_at": f"{at:.1f}",
        "trunk": DRAWN,
        "end": CLASS_END,
        "bands": [band for band in bands if band["d"]],
        "nodes": [
            *(_drawn(catalogue, key, node, MIDDLE, found.shares[key]) for key, node in middle.items()),
            *(_drawn(catalogue, key, node, LOWER, node.width / scale) for key, node in lower.items()),
        ],
        "undrawn": {"x": LOWER + 4, "y": f"{undrawn.middle + 4:.1f}", "part": undrawn.width / scale},
        "list": [
            {
                "card": catalogue.card(key),
                "share": share,
                "undrawn": found.undrawn(key),
                "below": [
                    {"card": catalogue.card(path.lower), "share": path.share, "width": path.width}
                    for path in found.through(key)
                ],
            }
            for key, share in found.shares.items()
        ],
        "n_paths": len(found.paths),
        "drawn": found.drawn,
        "rest": found.rest,
    }


def _stack(nodes: Iterable[_Node]) -> float:
    """Place nodes below each other; return where the last one ends."""
    y = TOP
    for node in nodes:
        y = node.put(y)
    return y


def _band(upper: _Node, lower: _Node, left: float, right: float, width: float, kind: str) -> dict[str, str]:
    """Draw a band of true width between two nodes, each time below the one before; none where it is too thin to see."""
    height = width
    top, bottom = upper.right, lower.left
    upper.right += height
    lower.left += height
    if not math.isfinite(height) or height < 0.05:
        return {"d": "", "kind": kind}
    half = (left + right) / 2
    return {
        "d": f"M{left} {top:.2f}C{half} {top:.2f} {half} {bottom:.2f} {right} {bottom:.2f}v{height:.2f}"
        f"C{half} {bottom + height:.2f} {half} {top + height:.2f} {left} {top + height:.2f}z",
        "kind": kind,
    }


def _kind(share: float) -> str:
    return "down" if share < 0 else "up"


def _drawn(catalogue: Catalogue, key: str, node: _Node, x: float, part: float) -> dict[str, Any]:
    card = catalogue.card(key)
    cut = card.thumbnail
    lines = textwrap.wrap(card.name, LETTERS, max_lines=2, placeholder=" …") or [key]
    picture = None
    if cut:
        picture = {
            "address": cut.address,
            "box": f"{cut.column} {cut.row} 1 1",
            "columns": cut.columns,
            "rows": cut.rows,
        }
    first = node.middle + 4 - LINE * len(lines) / 2
    return {
        "card": card,
        "x": x + 4,
        "y": f"{node.middle - 15:.1f}",
        "text_x": x + 40,
        "lines": [{"y": f"{first + LINE * place:.1f}", "text": text} for place, text in enumerate(lines)],
        "figure_y": f"{first + LINE * len(lines):.1f}",
        "part": part,
        "is_lower": x == LOWER,
        "picture": picture,
    }
