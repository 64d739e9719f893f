"""Draws ``docs/images/architecture.svg`` from the code: `make architecture`.

The rows are the layers of the contract that import-linter holds (``pyproject.toml``), the arrows the imports that it
finds between rooms, without those that follow from others, the words each room's own first sentence.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/images/architecture.svg"
SITE = "sitegen"
BOX, HEIGHT, GAP, LEFT, TOP, MIDDLE = 236, 58, 22, 24, 20, 560
"""Width and height of a box, space between rows, margins, and the middle of the rows, in pixels."""


def layers() -> list[list[str]]:
    """Read the rows from the contract, the top first; the site stands beside the stages, below the pipeline."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = [item for item in contracts if item["type"] == "layers"]
    rows = [[f"precompute.{name.strip()}" for name in row.split("|")] for row in contract["layers"]]
    return [[SITE, *row] if row == ["precompute.stages"] else row for row in rows]


def arrows(rooms: set[str]) -> list[tuple[str, str]]:
    """Find which room imports which, and leave out what follows from the others."""
    graph = grimp.build_graph("precompute", SITE, cache_dir=None)
    below: dict[str, set[str]] = {room: set() for room in rooms}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if (above := room_of(module, rooms)) != (under := room_of(imported, rooms)) and above and under:
                below[above].add(under)
    return sorted((a, b) for a in rooms for b in below[a] if not any(b in reached(c, below) for c in below[a] - {b}))


def room_of(module: str, rooms: set[str]) -> str:
    """Return the room that a module is in; empty for what is in none, such as the package itself."""
    parts = module.split(".")
    return next((room for room in (".".join(parts[:2]), parts[0]) if room in rooms), "")


def reached(room: str, below: dict[str, set[str]]) -> set[str]:
    """Return every room that one can reach from a room, itself left out."""
    found: set[str] = set()
    waiting = [*below[room]]
    while waiting:
        if (here := waiting.pop()) not in found:
            found.add(here)
            waiting += below[here]
    return found


def purpose(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    path = ROOT / room.replace(".", "/")
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    sentence = re.split(r"(?<=[.:])\s", " ".join((ast.get_docstring(ast.parse(source)) or "").split()))[0]
    return sentence.rstrip(".:")


def draw() -> str:
    """Draw the picture as SVG, the same text every time."""
    rows = layers()
    places: dict[str, tuple[int, int]] = {}
    for number, row in enumerate(rows):
        shown = [room for room in row if room != SITE]
        for index, room in enumerate(shown):
            x = MIDDLE + round((index - (len(shown) - 1) / 2) * (BOX + GAP)) - BOX // 2
            places[room] = (x, TOP + number * (HEIGHT + GAP))
        if SITE in row:
            places[SITE] = (LEFT, TOP + number * (HEIGHT + GAP))
    lines = [line(places[above], places[under], index) for index, (above, under) in enumerate(arrows(set(places)))]
    boxes = [box(room, *places[room]) for row in rows for room in row]
    width, height = 2 * MIDDLE - LEFT, 2 * TOP + len(rows) * (HEIGHT + GAP) - GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            "<title>The rooms of the program: an arrow leads from what imports to what is imported</title>",
            '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0L8 4L0 8z" fill="#5a6169"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#fbfaf7"/>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


def line(start: tuple[int, int], end: tuple[int, int], index: int) -> str:
    """Draw an arrow: straight down to the next row, in a bow beside the rows between to a farther one."""
    (x, y), (to_x, to_y) = start, end
    if to_y - y <= HEIGHT + GAP and to_y != y:
        path = f"M{x + BOX // 2} {y + HEIGHT}L{to_x + BOX // 2} {to_y - 1}"
    elif x + BOX < MIDDLE - BOX:  # the site, in its own column
        path = f"M{x + BOX // 2} {y + HEIGHT}C{x + BOX // 2} {to_y} {to_x - 90} {to_y + 29} {to_x - 1} {to_y + 29}"
    elif to_x + BOX < MIDDLE - BOX:
        path = f"M{x} {y + 29}C{x - 120} {y + 29} {to_x + BOX // 2} {to_y - 60} {to_x + BOX // 2} {to_y - 1}"
    else:
        right = x + to_x + BOX >= 2 * MIDDLE - index % 2
        edge, to_edge, sign = (x + BOX, to_x + BOX, 1) if right else (x, to_x, -1)
        bow = 30 + (to_y - y) // 5 + 6 * (index % 4)
        outer = max(edge, to_edge) + bow if right else min(edge, to_edge) - bow
        path = f"M{edge} {y + 29}C{outer} {y + 29} {outer} {to_y + 29} {to_edge + sign} {to_y + 29}"
    return f'<path d="{path}" fill="none" stroke="#5a6169" stroke-width="1.2" opacity=".75" marker-end="url(#end)"/>'


def box(room: str, x: int, y: int) -> str:
    """Draw a room: its name and what it is for."""
    words = textwrap.wrap(purpose(room), 46)
    shown = words[:2] if len(words) <= 2 else [words[0], textwrap.shorten(" ".join(words[1:]), 46, placeholder=" …")]
    name = room.removeprefix("precompute.")
    text = "".join(
        f'<text x="{x + 10}" y="{y + 34 + 13 * number}" font-size="9.5" fill="#5f666d">{escape(part)}</text>'
        for number, part in enumerate(shown)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="#fff" stroke="#2f8296"/>'
        f'<text x="{x + 10}" y="{y + 18}" font-size="13" font-weight="600" fill="#23282d">{escape(name)}</text>{text}'
    )


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
