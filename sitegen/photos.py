"""Whole reference images, each written once: a file for each, or where there are many, one file for many of a class.

A host counts files, and so does whoever copies a site; the images of a large atlas would be most of them. Images of
one class lie together, since a page that shows one mostly shows others. They are put in as they are stored, without
being encoded again, into an SVG that shows the one its address ends with; that works without a script, from a disk
too. Owns which image lies where. Must not know pages, nor what an image shows.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from precompute.records import MISSING
from sitegen.links import Links

MOST_FILES = 2000
"""So many whole images are a file each; more share about so many files."""


def plan_photos(class_of: Mapping[int, int], links: Links) -> dict[int, str]:
    """Choose the shared file of every image.

    Parameters
    ----------
    class_of : mapping of int to int
        The class under which it stands, or `MISSING`, by index of every sample that is shown.
    links : Links

    Returns
    -------
    dict of int to str
        Address of the shared file by sample index; empty where each has a file of its own.
    """
    if len(class_of) <= MOST_FILES:
        return {}
    sizes = Counter(class_of.values())
    largest = max(sizes.values())
    in_one = next(
        (n for n in range(2, largest) if sum(-(-size // n) for size in sizes.values()) <= MOST_FILES), largest
    )
    placed: Counter[int] = Counter()
    plan = {}
    for sample in sorted(class_of):
        class_index = class_of[sample]
        plan[sample] = links.photos(class_index if class_index != MISSING else None, placed[class_index] // in_one)
        placed[class_index] += 1
    return plan


class PhotoFiles:
    """Writes whole images below the root of a new site.

    Parameters
    ----------
    output : Path
        Root of the site in the making.
    plan : mapping of int to str
        As of `plan_photos`.
    alone : callable
        From an image to the address of a file of its own.
    """

    def __init__(self, output: Path, plan: Mapping[int, str], alone: Callable[[bytes], str]) -> None:
        self._output, self._plan, self._alone = output, plan, alone
        self._addresses: dict[int, str] = {}
        self._begun: set[str] = set()

    def address_of(self, sample_index: int, content: bytes, size: Callable[[bytes], tuple[int, int]]) -> str:
        """Write an image where it is not yet, and return its address.

        Parameters
        ----------
        sample_index : int
        content : bytes
            WebP.
        size : callable
            From an image to its width and height in pixels.
        """
        if sample_index not in self._addresses:
            shared = self._plan.get(sample_index, "")
            self._addresses[sample_index] = f"{shared}#s{sample_index}" if shared else self._alone(content)
            if shared:
                self._add(shared, sample_index, content, size(content))
            else:
                self._write(self._addresses[sample_index], content)
        return self._addresses[sample_index]

    def close(self) -> None:
        """End the shared files."""
        for address in self._begun:
            self._append(address, ["</svg>\n"])

    def _write(self, address: str, content: bytes) -> None:
        target = self._output / address
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def _add(self, address: str, sample_index: int, content: bytes, size: tuple[int, int]) -> None:
        width, height = size
        head = []
        if address not in self._begun:
            self._begun.add(address)
            (self._output / address).parent.mkdir(parents=True, exist_ok=True)
            head = [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
                f' viewBox="0 0 {width} {height}"><style>image{{display:none}}image:target{{display:inline}}</style>\n'
            ]
        encoded = base64.b64encode(content).decode("ascii")
        self._append(
            address,
            [
                *head,
                f'<image id="s{sample_index}" width="100%" height="100%" href="data:image/webp;base64,{encoded}"/>\n',
            ],
        )

    def _append(self, address: str, lines: Iterable[str]) -> None:
        with (self._output / address).open("a", encoding="ascii") as file:
            file.writelines(lines)
