"""The pictures of one report, and where they are taken from.

Owns which pictures of an atlas a report may show, and that each is known by its digest. Must not know what a report
says, nor how a picture is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from precompute.atlas.digests import digest_bytes
from precompute.records import Concept, Explanation, Reference
from precompute.records.reported import PictureFile, PictureFormat
from sitegen.data.illustrations import Illustrations
from sitegen.pictures import Heat, SpriteSlice, full_of, size_of

KEY_LENGTH = 16
N_REFERENCES = 5


class Pictures(Illustrations):
    """The pictures of an atlas as bytes: nothing of a site is drawn."""

    def thumbnail(self, concept: Concept) -> SpriteSlice | None:
        """Give none: a report shows whole pictures."""
        del concept
        return None

    def photo(self, explanation: Explanation) -> str:
        """Give no address."""
        del explanation
        return ""

    def picture(self, explanation: Explanation, overlay: str, heatmap: str, strength: float = 1.0) -> str:
        """Give no address."""
        del explanation, overlay, heatmap, strength
        return ""

    def heat(self, explanation: Explanation, heatmap: str) -> Heat:
        """Tell what the full colour of a heatmap over its photo stands for; it has no address."""
        content = self.content(explanation, heatmap)
        return Heat("", full_of(content) if content else 1.0)

    def content(self, explanation: Explanation, name: str) -> bytes:
        """Read a picture of an explanation; empty where it is missing."""
        path = self._path(explanation, name)
        return path.read_bytes() if path and path.is_file() else b""

    def photo_content(self, explanation: Explanation) -> bytes:
        """Read the photo of an explanation; empty where it is missing or not to be shown."""
        return self.content(explanation, explanation.photo) if self.include_images else b""

    def best_references(self, concept: Concept) -> list[Reference]:
        """List the first reference images of a concept by relevance that show what it looks for."""
        tables = self._source.atlas.layers.get(concept.layer)
        if self._reader is None or tables is None or concept.channel >= tables.info.n_channels:
            return []
        found = self._reader.read(concept, "relmax")
        tells = tables.relmax.telling(len(found))[:, concept.channel].tolist() if found else []
        shown = [item for item in found if item.rank < len(tells) and tells[item.rank]]
        return shown[:N_REFERENCES]


@dataclass(frozen=True)
class _Content:
    file: PictureFile
    content: bytes


class Album:
    """Pictures of one report by key."""

    def __init__(self) -> None:
        self._pictures: dict[str, _Content] = {}

    def add(self, content: bytes, kind: PictureFormat) -> str:
        """Keep a picture and return its key, the beginning of its digest."""
        digest = digest_bytes(content)
        key = digest[:KEY_LENGTH]
        width, height = _size_of_svg(content) if kind == "svg" else size_of(content)
        self._pictures[key] = _Content(PictureFile(kind, digest, width, height), content)
        return key

    def files(self) -> dict[str, PictureFile]:
        """List what is known of each picture, by key."""
        return {key: self._pictures[key].file for key in sorted(self._pictures)}

    def contents(self) -> dict[str, bytes]:
        """List the pictures, by key."""
        return {key: self._pictures[key].content for key in sorted(self._pictures)}


def _size_of_svg(content: bytes) -> tuple[int, int]:
    found = re.search(rb'viewBox="0 0 (\d+) (\d+)"', content)
    if found is None:
        raise ValueError("a drawing has no viewBox from 0 0 with whole numbers")
    return int(found[1]), int(found[2])
