"""Reports as PDF: the only module that knows Typst.

Owns that a PDF is tagged (PDF/UA-1), made with the fonts that come with Typst alone, and the same bytes every time.
Text is handed over as data and never as code; what the fonts do not have is shown by its number.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import typst

from precompute.printing import palette
from precompute.records.reported import PictureFile
from sitegen.pictures import size_of

from .material import Report
from .record import record_of, record_text

if TYPE_CHECKING:
    from .card import Card

TEMPLATE = "report.typ"
CARD = "card.typ"
CONTENTS = "Contents"
LOGO = "Logo"
APPROVAL = ("Approval", "Name", "Signature", "Date")
ATTACHMENT = "Everything that this report says, and the digests of what it was made from"
_SURE = re.compile(r"[\n -~\u00a0-\u017e]*")
"""Text that the fonts are known to have."""


def pdf_of(report: Report) -> bytes:
    """Typeset a report as PDF/UA-1.

    Raises
    ------
    typst.TypstError
        The report breaks a rule of the standard: an error of the program.
    """
    return bytes(_compile(report, "pdf", ["ua-1"]))


def pages_of(report: Report, ppi: float = 72) -> list[bytes]:
    """Draw the pages of the PDF as PNG."""
    found: bytes | list[bytes] = _compile(report, "png", [], ppi)
    return [found] if isinstance(found, bytes) else list(found)


def card_of(card: Card, form: Literal["png", "svg"]) -> bytes:
    """Draw a card of 1200 × 630 pixels; as SVG its letters are outlines."""
    texts = {"kicker": card.kicker, "title": card.title, "text": card.text, "footer": card.footer}
    rows = [asdict(row) | {"name": displayable(row.name), "value": displayable(row.value)} for row in card.rows]
    width, height = size_of(card.picture) if card.picture else (0, 0)
    picture = _as_svg(card.picture, PictureFile("webp", "", width, height)) if card.picture else ""
    inputs = {
        "card": json.dumps(_displayable(texts) | {"rows": rows, "picture": picture}, ensure_ascii=False),
        "colours": json.dumps({name: palette.hexadecimal(colour) for name, colour in _COLOURS.items()}),
    }
    source = (resources.files("sitegen.templates") / CARD).read_bytes()
    found = typst.compile(source, format=form, sys_inputs=inputs, ignore_system_fonts=True, ppi=72)
    return bytes(found[0] if isinstance(found, list) else found)


def _compile(report: Report, kind: Literal["pdf", "png"], standards: list[Any], ppi: float | None = None) -> Any:  # noqa: ANN401 - typst's own
    document = report.document
    shown = _displayable(record_of(document))
    drawn = {key: _as_svg(report.pictures[key], file) for key, file in document.pictures.items()}
    labels = {
        "contents": CONTENTS,
        "logo": LOGO,
        "approval": APPROVAL,
        "attachment": ATTACHMENT,
        "footer": footer_of(document.made_from, document.date),
    }
    inputs = {
        "record": json.dumps(shown, ensure_ascii=False),
        "text": record_text(document),
        "drawn": json.dumps(drawn),
        "colours": json.dumps({name: palette.hexadecimal(colour) for name, colour in _COLOURS.items()}),
        "labels": json.dumps(_displayable(labels), ensure_ascii=False),
    }
    return typst.compile(
        _template(), format=kind, sys_inputs=inputs, pdf_standards=standards, ignore_system_fonts=True, ppi=ppi
    )


_COLOURS = {"positive": palette.POSITIVE, "negative": palette.NEGATIVE}


def footer_of(made_from: Mapping[str, str], date: str) -> str:
    """Return what stands at the foot of every page: the atlas, the network and the date."""
    weights = made_from.get("weights", "")[:12]
    return " · ".join(part for part in (made_from.get("atlas", ""), weights and f"weights {weights}", date) if part)


@lru_cache
def _template() -> bytes:
    return (resources.files("sitegen.templates") / TEMPLATE).read_bytes()


def _as_svg(content: bytes, file: PictureFile) -> str:
    """Return a picture as SVG, in which it can be handed over as text."""
    if file.format == "svg":
        return content.decode()
    data = base64.b64encode(content).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {file.width} {file.height}"><image '
        f'width="{file.width}" height="{file.height}" href="data:image/{file.format};base64,{data}"/></svg>'
    )


# --- text that the fonts do not have ---------------------------------------------------------------------------------


def _displayable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return displayable(value)
    if isinstance(value, dict):
        return {key: _displayable(item) for key, item in value.items()}
    return [_displayable(item) for item in value] if isinstance(value, list | tuple) else value


def displayable(text: str) -> str:
    """Put the number of a character, such as ``[U+4E2D]``, in the place of one that no font has."""
    if _SURE.fullmatch(text):
        return text
    return "".join(character if _has(character) else f"[U+{ord(character):04X}]" for character in text)


@lru_cache(maxsize=65536)
def _has(character: str) -> bool:
    """Tell whether the fonts have a character, by setting it."""
    if _SURE.fullmatch(character):
        return True
    source = b'#set document(title: "t")\n#set text(font: "Libertinus Serif")\n#text(sys.inputs.text)'
    try:
        typst.compile(
            source, format="pdf", sys_inputs={"text": character}, pdf_standards=["ua-1"], ignore_system_fonts=True
        )
    except typst.TypstError:
        return False
    return True
