"""Draws ``docs/images/architecture.svg`` from the code: `make architecture`.

The rows are the layers of the contract that import-linter holds (``pyproject.toml``), the words each room's own first
sentence, and what it uses the imports that are in its code, without those that follow from others.
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
BOX, HEIGHT, GAP, LEFT, TOP, MIDDLE = 250, 64, 12, 24, 20, 580
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
    sentence = re.split(r"(?<=\.)\s", " ".join((ast.get_docstring(ast.parse(source)) or "").split()))[0]
    return sentence.rstrip(".").replace("`", "")


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
            places[SITE] = (MIDDLE - BOX // 2 - GAP - BOX, TOP + number * (HEIGHT + GAP))
    uses: dict[str, list[str]] = {}
    for above, under in arrows(set(places)):
        uses.setdefault(above, []).append(under.removeprefix("precompute."))
    boxes = [box(room, *places[room], uses.get(room, [])) for row in rows for room in row]
    width, height = 2 * MIDDLE - LEFT, 2 * TOP + len(rows) * (HEIGHT + GAP) - GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            "<title>The rooms of the program: each may import those below it, and no other</title>",
            f'<rect width="{width}" height="{height}" fill="#fbfaf7"/>',
            *boxes,
            *legend(height),
            "</svg>\n",
        ]
    )


def box(room: str, x: int, y: int, uses: list[str]) -> str:
    """Draw a room: its name, what it is for, and what it uses."""
    words = textwrap.wrap(purpose(room), 46, max_lines=2, placeholder=" …")
    name = room.removeprefix("precompute.")
    text = "".join(
        f'<text x="{x + 10}" y="{y + 31 + 12 * number}" font-size="9.5" fill="#5f666d">{escape(part)}</text>'
        for number, part in enumerate(words)
    )
    if uses:
        text += f'<text x="{x + 10}" y="{y + HEIGHT - 8}" font-size="9.5" fill="#0b6478">↓ {", ".join(uses)}</text>'
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="#fff" stroke="#2f8296"/>'
        f'<text x="{x + 10}" y="{y + 17}" font-size="13" font-weight="600" fill="#23282d">{escape(name)}</text>{text}'
    )


def legend(height: int) -> list[str]:
    """Say how the picture is read."""
    says = (
        "A room may import the rooms below its row,",
        "and no other: `make lint` holds it to that.",
        "↓ what it imports, without what follows.",
        "sitegen imports atlas and errors only.",
    )
    return [
        f'<text x="{LEFT}" y="{height - 70 + 14 * number}" font-size="10.5" fill="#5f666d">{part}</text>'
        for number, part in enumerate(says)
    ]


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
