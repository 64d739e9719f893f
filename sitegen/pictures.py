"""Pictures for the pages: sheets of tiles, thumbnails and coloured heatmaps.

Owns Pillow, tile sizes, how relevance fades and content-hashed file names; a sheet that an earlier build already made
is taken over without being encoded again. Must not know pages or what a picture means.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFilter, ImageOps

from precompute.errors import StoreError
from precompute.printing import palette
from precompute.records import RANKINGS, Box, Ranking, Reference
from sitegen.links import Links
from sitegen.photos import PhotoFiles

PHOTO_TILE = 112
HEAT_TILE = 56
THUMB = 80
THUMB_COLUMNS = 16
THUMBS_PER_SHEET = 256
QUALITY = 75
REPORT_QUALITY = 90
"""On paper a picture is looked at closer than on a page of thousands."""
SHEET_VERSION = b"2"

HEAT_GAMMA = 0.6
HEAT_BLUR = 1.4
"""Standard deviation in pixels; a heatmap over a photo is smoothed so that its pattern does not hide the photo's."""
HEAT_QUANTILE = 0.995
"""What has full colour over a photo: one extreme pixel does not hide the rest."""


class Heat(NamedTuple):
    """A heatmap to lay over a photo: its address, and what full colour stands for as a part of its largest value."""

    address: str
    full: float


@dataclass(frozen=True)
class SpriteSlice:
    """One picture on a sheet.

    Attributes
    ----------
    address : str
        Of the sheet, from the root of the site.
    columns, rows : int
        Slots of the sheet.
    column, row : int
        Slot of this picture.
    width, height : float
        The part of the slot that the picture fills, from its upper left corner, 0 to 1.
    """

    address: str
    columns: int
    rows: int
    column: int
    row: int
    width: float = 1.0
    height: float = 1.0

    @property
    def style(self) -> str:
        """Custom properties from which the style sheet cuts the picture out."""
        used = "" if self.width == self.height == 1 else f";--w:{self.width:.4f};--h:{self.height:.4f}"
        return f"--n:{self.columns};--c:{self.column};--r:{self.row}{used}"


@dataclass(frozen=True)
class Tile:
    """One reference image as it is shown; a view that there is no picture for is None or empty.

    Attributes
    ----------
    reference : Reference
        Without its pictures.
    crop, masked, heatmap : Cut or None
    whole : str
        Address of the whole image.
    frame : str
        Custom properties of the crop's frame in the whole image; empty where the crop is all of it.
    """

    ranking: Ranking
    rank: int
    sample_index: int
    neuron: int
    score: float
    box: Box
    crop: SpriteSlice | None = None
    masked: SpriteSlice | None = None
    heatmap: SpriteSlice | None = None
    whole: str = ""
    frame: str = ""


@dataclass
class PictureStore:
    """Writes pictures below the root of a new site.

    Parameters
    ----------
    output : Path
        Root of the site in the making.
    previous : Path
        Root of the site made before; need not exist.
    links : Links
    include_images : bool
        False writes no pixel of the data set, only heatmaps in plain colours.
    include_crops_only : bool
        True writes no whole image, and no crop that is one.
    photo_plan : mapping of int to str
        Address of the file that a whole image shares, by sample index, as of `plan_photos`.
    input_size : (int, int)
        Height and width of the model's input in pixels, for the frames; 0 where unknown.
    """

    output: Path
    previous: Path
    links: Links
    include_images: bool = True
    input_size: tuple[int, int] = (0, 0)
    include_crops_only: bool = False
    photo_plan: Mapping[int, str] = field(default_factory=dict)
    n_made: int = 0
    n_kept: int = 0
    _written: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._photos = PhotoFiles(self.output, self.photo_plan, lambda content: self.links.photo(_digest([content])))

    @property
    def include_whole(self) -> bool:
        """Whether a whole image may be shown."""
        return self.include_images and not self.include_crops_only

    def tiles(self, references: Sequence[Reference]) -> tuple[Tile, ...]:
        """Write the sheet of one concept and tell where each picture lies."""
        references = [self._allowed(reference) for reference in references]
        return tuple(
            Tile(
                **{name: getattr(reference, name) for name in _SHARED},
                crop=cuts["crop"],
                masked=cuts["masked"],
                heatmap=cuts["heatmap"],
                whole=self._whole(reference),
                frame=self._frame(reference.box),
            )
            for reference, cuts in zip(references, self._sheet(references), strict=True)
        )

    def close(self) -> None:
        """End the files that are written bit by bit; afterwards no whole image can be added."""
        self._photos.close()

    def thumbnails(self, best: Sequence[Reference | None]) -> list[SpriteSlice | None]:
        """Write the gallery sheets of one layer: one thumbnail for each channel that has a reference image."""
        cuts: list[SpriteSlice | None] = []
        best = [item and self._allowed(item) for item in best]
        for start in range(0, len(best), THUMBS_PER_SHEET):
            cuts += self._thumbnail_sheet(best[start : start + THUMBS_PER_SHEET])
        return cuts

    def copy(self, path: Path, address: str) -> bool:
        """Copy a picture to an address; False where it is missing."""
        if not path.is_file():
            return False
        target = self.output / address
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return True

    def heat(self, path: Path) -> Heat:
        """Write a stored heatmap to lay over its photo: smoothed a little, full colour from `HEAT_QUANTILE` on."""
        if not path.is_file():
            return Heat("", 1.0)
        content = path.read_bytes()
        grey, full = _smoothed(content)
        address = self.links.sheet(_digest([b"heat", _LOOKUP_KEY.encode(), repr((HEAT_BLUR, full)).encode(), content]))
        if self._is_new(address):
            self._save(colour_heatmap(_stretched(grey, full)), address)
        return Heat(address, full / 127)

    def _sheet(self, references: Sequence[Reference]) -> list[dict[str, SpriteSlice | None]]:
        """Lay out the pictures of a concept on one sheet, and return the part of each by its kind."""
        blobs: dict[str, list[bytes]] = {kind: [getattr(item, kind) for item in references] for kind in _KINDS}
        plan = _arrange(references, {kind for kind in _KINDS if any(blobs[kind])})
        if not plan.slots:
            return [dict.fromkeys(_KINDS) for _ in references]
        layout = repr((_LOOKUP_KEY, PHOTO_TILE, HEAT_TILE, plan)).encode()
        address = self.links.sheet(_digest([layout, *(blob for kind in _KINDS for blob in blobs[kind])]))
        if self._is_new(address):
            self._save(_draw(blobs, plan), address)
        used = [_used(next(filter(None, pictures), b"")) for pictures in zip(*blobs.values(), strict=True)]
        return [
            {
                kind: SpriteSlice(address, *plan.shape(kind), *plan.slots[kind][index], *used[index])
                if blobs[kind][index]
                else None
                for kind in _KINDS
            }
            for index in range(len(references))
        ]

    def _thumbnail_sheet(self, best: Sequence[Reference | None]) -> list[SpriteSlice | None]:
        heat = not self.include_images
        blobs = [(item.heatmap if heat else item.crop) if item else b"" for item in best]
        if not any(blobs):
            return [None] * len(best)
        columns = min(THUMB_COLUMNS, len(best))
        rows = -(-len(best) // columns)
        slots = [(index % columns, index // columns) for index in range(len(best))]
        address = self.links.sheet(
            _digest([b"thumbnails", repr((_LOOKUP_KEY if heat else "", THUMB, columns, rows)).encode(), *blobs])
        )
        if self._is_new(address):
            self._save(_compose(blobs, slots, (columns, rows), THUMB, heat=heat, fill=True), address)
        return [
            SpriteSlice(address, columns, rows, *slot) if blob else None
            for blob, slot in zip(blobs, slots, strict=True)
        ]

    def _whole(self, reference: Reference) -> str:
        """Write the whole image once, however many concepts show it: it is stored as it has to be shown."""
        if not self.include_whole or not reference.full:
            return ""
        return self._photos.address_of(reference.sample_index, reference.full, size_of)

    def _allowed(self, reference: Reference) -> Reference:
        """Take the pictures away that may not be shown."""
        if not self.include_images:
            return replace(reference, full=b"", crop=b"", masked=b"")
        if not self.include_crops_only:
            return reference
        box, sizes = reference.box, {self.input_size, size_of(reference.full)[::-1] if reference.full else (0, 0)}
        is_whole = (box.bottom - box.top, box.right - box.left) in sizes
        reference = replace(reference, full=b"")
        return replace(reference, crop=b"", masked=b"") if is_whole else reference

    def _frame(self, box: Box) -> str:
        height, width = self.input_size
        if not height or not width or box == (0, 0, height, width):
            return ""
        left, right = (100 * edge / width for edge in (box.left, box.right))
        top, bottom = (100 * edge / height for edge in (box.top, box.bottom))
        return f"--x:{left:.1f}%;--y:{top:.1f}%;--w:{right - left:.1f}%;--h:{bottom - top:.1f}%"

    def _is_new(self, address: str) -> bool:
        """Tell whether a picture has to be made; take it over from the previous site where it is there."""
        if address in self._written:
            return False
        self._written.add(address)
        target, known = self.output / address, self.previous / address
        target.parent.mkdir(parents=True, exist_ok=True)
        if not known.is_file() or known.stat().st_size == 0:
            self.n_made += 1
            return True
        self.n_kept += 1
        try:
            os.link(known, target)
        except OSError:  # the file system has no hard links
            shutil.copyfile(known, target)
        return False

    def _save(self, picture: Image.Image, address: str) -> None:
        # with the least effort, 0, what is transparent in a part of a sheet takes twice the bytes of all the rest
        picture.save(self.output / address, "WEBP", quality=QUALITY, method=int(picture.mode == "RGBA"))


_PHOTO_KINDS = ("crop", "masked")
_HEATS = PHOTO_TILE // HEAT_TILE
"""Heatmaps in the width and in the height of a photo."""
_KINDS = (*_PHOTO_KINDS, "heatmap")
"""What a sheet holds of a reference, all of one shape."""
_SHARED = ("ranking", "rank", "sample_index", "neuron", "score", "box")


def _smoothed(content: bytes) -> tuple[Image.Image, int]:
    """Smooth a stored heatmap, to be laid over a photo; also return the distance from zero that gets full colour."""
    grey = _open(content).convert("L").filter(ImageFilter.GaussianBlur(HEAT_BLUR))
    return grey, _level_of(grey)


def _stretched(grey: Image.Image, full: int) -> Image.Image:
    return grey.point([max(1, min(255, round(128 + (level - 128) * 127 / full))) for level in range(256)])


def full_of(heatmap: bytes) -> float:
    """Return what full colour stands for where a stored heatmap is laid over its photo, as `Heat.full`."""
    return _smoothed(heatmap)[1] / 127


def laid_over(photo: bytes, heatmap: bytes, opacity: float = 1.0) -> bytes:
    """Lay a stored heatmap over its photo, or over plain ground where there is none, as one WebP."""
    grey, full = _smoothed(heatmap)
    colours = colour_heatmap(_stretched(grey, full))
    ground = _open(photo).convert("RGBA").resize(colours.size) if photo else Image.new("RGBA", colours.size, _GROUND)
    colours.putalpha(colours.getchannel("A").point([round(level * opacity) for level in range(256)]))
    return _as_webp(Image.alpha_composite(ground, colours).convert("RGB"))


def strip(blobs: Sequence[bytes], *, heat: bool) -> bytes:
    """Put tiles side by side, the middle of each, as one WebP; heatmaps get plain ground."""
    side, gap = PHOTO_TILE, PHOTO_TILE // 16
    sheet = Image.new("RGB", (len(blobs) * (side + gap) - gap, side), "white")
    for place, blob in enumerate(blobs):
        picture = ImageOps.fit(_open(blob).convert("L" if heat else "RGB"), (side, side))
        if heat:
            ground = Image.new("RGBA", picture.size, _GROUND)
            picture = Image.alpha_composite(ground, colour_heatmap(picture)).convert("RGB")
        sheet.paste(picture, (place * (side + gap), 0))
    return _as_webp(sheet)


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height of a WebP or PNG in pixels."""
    return _open(content).size


def is_picture(content: bytes) -> bool:
    """Tell whether bytes are a whole PNG or WebP."""
    try:
        _open(content).load()
    except (StoreError, OSError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _as_webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=REPORT_QUALITY, method=4)
    return buffer.getvalue()


_GROUND = (0xF2, 0xEF, 0xE8, 0xFF)
"""What lies under a heatmap that may not show its photo."""


def _level_of(grey: Image.Image) -> int:
    """Return the distance from zero, 1 to 127, that all but the strongest pixels keep below."""
    counts = grey.histogram()
    left = (1 - HEAT_QUANTILE) * sum(counts)
    for distance in range(127, 1, -1):
        left -= counts[128 + distance] + counts[128 - distance]
        if left < 0:
            return distance
    return 1


def opacity_of(strength: float) -> float:
    """Return the opacity at which a heatmap at full strength looks as one of this strength, 0 to 1, beside others."""
    return float(strength**HEAT_GAMMA)


def colour_heatmap(grey: Image.Image) -> Image.Image:
    """Colour signed relevance by the palette, transparent at zero, so that any ground shows.

    Parameters
    ----------
    grey : 8-bit image
        128 is zero, 1 and 255 are the largest absolute relevance.
    """
    channels = [grey.point(table) for table in _LOOKUP]
    return Image.merge("RGBA", channels)


def _lookup() -> tuple[list[int], ...]:
    signed = [(value - 128) / 127 for value in range(256)]
    colours = [palette.POSITIVE if value > 0 else palette.NEGATIVE for value in signed]
    alpha = [round(255 * min(1.0, abs(value)) ** HEAT_GAMMA) for value in signed]
    return (*([colour[band] for colour in colours] for band in range(3)), alpha)


_LOOKUP = _lookup()
_LOOKUP_KEY = repr((palette.POSITIVE, palette.NEGATIVE, HEAT_GAMMA))
"""Part of a coloured sheet's address, so that one in other colours is never taken over from an earlier build."""


def _compose(
    blobs: Sequence[bytes],
    slots: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    side: int,
    *,
    heat: bool,
    fill: bool = False,
) -> Image.Image:
    """Paste pictures into their slots, each scaled so that its longer side fits, or with `fill` its middle fills it."""
    columns, rows = shape
    sheet = (
        Image.new("L", (columns * side, rows * side), 128) if heat else Image.new("RGB", (columns * side, rows * side))
    )
    for blob, (column, row) in zip(blobs, slots, strict=True):
        if blob:
            picture = _open(blob).convert(sheet.mode)
            if fill:
                sheet.paste(ImageOps.fit(picture, (side, side)), (column * side, row * side))
                continue
            if picture.width != picture.height and not heat:  # what lies beside a narrow picture must not bleed in
                sheet.paste(picture.resize((side, side)), (column * side, row * side))
            sheet.paste(_fitted(picture, side), (column * side, row * side))
    return colour_heatmap(sheet) if heat else sheet


class _Arrangement(NamedTuple):
    """Where the pictures of a concept lie on its sheet: photos on top, heatmaps of half their side below.

    Attributes
    ----------
    columns, photo_rows : int
        Tiles of photos.
    heat_rows : int
        Rows of heatmaps, in their own tiles.
    slots : dict of str to list of (int, int)
        Column and row in tiles of its own size, by kind and in the order of the references.
    """

    columns: int
    photo_rows: int
    heat_rows: int
    slots: dict[str, list[tuple[int, int]]]

    @property
    def first_heat_row(self) -> int:
        """Row of the first heatmaps in their own tiles; one above stays empty, so that no photo bleeds into them."""
        return self.photo_rows * _HEATS + 1 if self.photo_rows else 0

    def shape(self, kind: str) -> tuple[int, int]:
        """Return columns and rows of the whole sheet in tiles of that kind, the last row perhaps not a whole one."""
        rows = self.first_heat_row + self.heat_rows if self.heat_rows else self.photo_rows * _HEATS
        return (self.columns * _HEATS, rows) if kind == "heatmap" else (self.columns, -(-rows // _HEATS))


def _arrange(references: Sequence[Reference], kinds: Container[str]) -> _Arrangement:
    """Give each rank a column, and each kind of photo and each ranking in it a row; a kind not there takes no room.

    Heatmaps of one row belong to as many rankings as fit beside each other.
    """
    rankings = [name for name in RANKINGS if any(reference.ranking == name for reference in references)]
    places = [(reference.rank, rankings.index(reference.ranking)) for reference in references]
    columns = max((rank for rank, _ in places), default=0) + 1
    photo_kinds = [kind for kind in _PHOTO_KINDS if kind in kinds]
    photo_rows = len(photo_kinds) * len(rankings)
    slots = {
        kind: [(rank, above * len(rankings) + row) for rank, row in places] for above, kind in enumerate(photo_kinds)
    }
    heat_rows = -(-len(rankings) // _HEATS) if "heatmap" in kinds else 0
    plan = _Arrangement(columns, photo_rows, heat_rows, slots)
    if heat_rows:
        slots["heatmap"] = [
            (row % _HEATS * columns + rank, plan.first_heat_row + row // _HEATS) for rank, row in places
        ]
    return plan


def _draw(blobs: Mapping[str, Sequence[bytes]], plan: _Arrangement) -> Image.Image:
    """Compose a sheet as it was arranged; heatmaps alone are transparent anywhere."""
    photos = [pair for kind in _PHOTO_KINDS for pair in zip(blobs[kind], plan.slots.get(kind, ()), strict=False)]
    heats = [
        (blob, (column, row - plan.first_heat_row))
        for blob, (column, row) in zip(blobs["heatmap"], plan.slots.get("heatmap", ()), strict=False)
    ]
    sheets = []
    if photos:
        content, slots = zip(*photos, strict=True)
        sheets.append(_compose(content, slots, (plan.columns, plan.photo_rows), PHOTO_TILE, heat=False))
    if heats:
        content, slots = zip(*heats, strict=True)
        sheets.append(_compose(content, slots, (plan.columns * _HEATS, plan.heat_rows), HEAT_TILE, heat=True))
    if len(sheets) == 1:
        return sheets[0]
    top = plan.first_heat_row * HEAT_TILE
    whole = Image.new("RGBA", (sheets[0].width, top + sheets[1].height))
    whole.paste(sheets[0], (0, 0))
    whole.paste(sheets[1], (0, top))
    return whole


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)


def _used(blob: bytes) -> tuple[float, float]:
    """Return the part of a slot that a picture fills, all of it where there is none; reads its header only."""
    if not blob:
        return 1.0, 1.0
    width, height = _open(blob).size
    longer = max(width, height)
    return width / longer, height / longer


def _open(blob: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(blob), formats=("WEBP", "PNG"))
    except OSError as error:
        raise StoreError(
            "a picture in references.h5 or explanations/ is damaged. Delete that file and run the same command again."
        ) from error


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256(SHEET_VERSION)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:20]
