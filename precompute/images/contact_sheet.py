"""The picture that a language model gets to see: numbered tiles of reference images on one sheet.

Owns layout, numbering and encoding. Nothing but pixels goes into it: no name, label, score or metadata. Must not know
prompts or language models.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from precompute.records import LayerInfo, Reference

from .pictures import visible_relevance

CELL = 160
SPACING = 6
HEADING = 16
BACKGROUND = (255, 255, 255)
INK = (20, 20, 20)
FRAME = (255, 214, 0)
CONTOUR = (255, 0, 190)
CONTOUR_EDGE = (0, 0, 0)
PLACE = (255, 255, 255)
QUALITY = 88
"""Of the JPEG: the one format that every server reads (llama.cpp's knows no WebP)."""


def naming_sheet(
    relmax: Sequence[Reference], actmax: Sequence[Reference], input_size: int, info: LayerInfo | None = None
) -> bytes:
    """Draw the contact sheet of one concept.

    One column for each reference image, numbered by its place in the sequence (``A0`` … for ActMax). For RelMax three
    rows: the whole image with the crop's frame and a ring where the neuron sits, the crop, and the crop again with a
    contour around what carries relevance (where there is a heatmap). For ActMax, beneath, two rows: the whole image
    with the frame, and the crop.

    Parameters
    ----------
    relmax, actmax : sequence of Reference
    input_size : int
        Side in pixels of the preprocessed input, to which `Reference.box` refers.
    info : LayerInfo, optional
        Of the concept's layer; without it no neuron's place is marked.

    Returns
    -------
    bytes
        A JPEG without metadata; the same bytes for the same references.
    """
    rows = [_framed_row(relmax, input_size, info), [_decoded(reference.crop) for reference in relmax]]
    if has_contours(relmax):
        rows.append([_contoured(reference) for reference in relmax])
    blocks = [([str(rank) for rank in range(len(relmax))], rows)]
    if actmax:
        rows = [_framed_row(actmax, input_size, info), [_decoded(reference.crop) for reference in actmax]]
        blocks.append(([f"A{rank}" for rank in range(len(actmax))], rows))
    return _draw(blocks)


def has_contours(references: Sequence[Reference]) -> bool:
    """Tell whether a sheet of these references has the row with contours."""
    return any(reference.heatmap for reference in references)


def numbered_sheet(pictures: Sequence[bytes], columns: int = 6) -> bytes:
    """Draw encoded pictures as tiles numbered from 0, row by row; a JPEG without metadata."""
    blocks = []
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        numbers = [str(start + offset) for offset in range(len(row))]
        blocks.append((numbers, [[_decoded(picture) for picture in row]]))
    return _draw(blocks)


def rows_sheet(rows: Sequence[Sequence[Reference]]) -> bytes:
    """Draw several concepts beneath each other: a row of contoured crops for each, numbered ``row.place``."""
    blocks = [
        ([f"{row}.{place}" for place in range(len(references))], [[_contoured(reference) for reference in references]])
        for row, references in enumerate(rows)
    ]
    return _draw(blocks)


def _framed_row(references: Sequence[Reference], input_size: int, info: LayerInfo | None) -> list[Image.Image]:
    return [_framed(reference, input_size, info) for reference in references]


def _framed(reference: Reference, input_size: int, info: LayerInfo | None) -> Image.Image:
    picture, box = _decoded(reference.full), reference.box
    scale = max(picture.size) / input_size
    left, top = round(box.left * scale), round(box.top * scale)
    right, bottom = round(box.right * scale) - 1, round(box.bottom * scale) - 1
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left, top, max(right, left + 2), max(bottom, top + 2)), outline=FRAME, width=2)
    if info is not None and info.receptive_field is not None and reference.neuron >= 0:
        field = info.receptive_field
        row, column = divmod(reference.neuron, info.width)
        y, x = (round(scale * (field.start + field.stride * place + field.size / 2)) for place in (row, column))
        for radius, colour in ((5, CONTOUR_EDGE), (4, PLACE), (2, CONTOUR_EDGE)):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour)
    return picture


def _contoured(reference: Reference) -> Image.Image:
    """Draw a line, bright between dark ones, around what carries relevance; all else stays as it is."""
    picture = _decoded(reference.crop)
    visible = visible_relevance(reference.heatmap, (picture.height, picture.width)) > 0
    if not visible.any():
        return picture
    shape = Image.fromarray((visible * 255).astype(np.uint8))
    wide = ImageChops.subtract(shape.filter(ImageFilter.MaxFilter(5)), shape.filter(ImageFilter.MinFilter(3)))
    thin = ImageChops.subtract(shape.filter(ImageFilter.MaxFilter(3)), shape)
    picture.paste(CONTOUR_EDGE, mask=wide)
    picture.paste(CONTOUR, mask=thin)
    return picture


def _decoded(encoded: bytes) -> Image.Image:
    """Decode a picture and fit its longer side to the tile; metadata stays behind when it is pasted."""
    with Image.open(io.BytesIO(encoded)) as picture:
        pixels = picture.convert("RGB")
    scale = CELL / max(pixels.size)
    size = (max(round(pixels.width * scale), 1), max(round(pixels.height * scale), 1))
    if size != pixels.size:
        pixels = pixels.resize(size, Image.Resampling.BILINEAR)
    return pixels


def _draw(blocks: Sequence[tuple[list[str], list[list[Image.Image]]]]) -> bytes:
    columns = max(len(numbers) for numbers, _ in blocks)
    height = sum(HEADING + len(rows) * (CELL + SPACING) + SPACING for _, rows in blocks)
    sheet = Image.new("RGB", (columns * (CELL + SPACING) + SPACING, height), BACKGROUND)
    pen, y = ImageDraw.Draw(sheet), 0
    for numbers, rows in blocks:
        for column, number in enumerate(numbers):
            place = (SPACING + column * (CELL + SPACING) + CELL // 2, y + HEADING // 2 + 1)
            pen.text(place, number, fill=INK, font=_font(), anchor="mm")
        y += HEADING
        for row in rows:
            for column, tile in enumerate(row):
                x = SPACING + column * (CELL + SPACING)
                sheet.paste(tile, (x + (CELL - tile.width) // 2, y + (CELL - tile.height) // 2))
            y += CELL + SPACING
        y += SPACING
    encoded = io.BytesIO()
    sheet.save(encoded, "JPEG", quality=QUALITY, subsampling=0)
    return encoded.getvalue()


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)
