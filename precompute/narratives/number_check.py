"""Whether the numbers that a reader finds in a narrative are the table's, at the printed precision.

Owns the way back from a rendered text to raw values. It does not use the printing of `placeholders`, so that a fault
there is found here. Must not know what may be claimed.
"""

from __future__ import annotations

import re
import unicodedata

from precompute.atlas.records import Narrative, Statement
from precompute.explanations.table import ExplanationTable

from .language import Language
from .placeholders import (
    NUMERIC_FORMATS,
    Placeholder,
    PlaceholderError,
    field_of,
    name_text,
    numbers_in,
    split,
    value,
)

_NUMBER = "([<>+\u2212\u00a0\u202f\u2019\\d.,%]+)"


def number_faults(narrative: Narrative, table: ExplanationTable, language: Language) -> list[str]:
    """Compare every number of a narrative with the table.

    The text is cut along the template; each piece is read as a number and compared with the raw value; nothing else
    may hold a digit.

    Returns
    -------
    list of str
        One sentence for each number that differs or has no value; empty where all agree.
    """
    return [fault for statement in narrative.statements for fault in _faults(statement, table, language)]


def _faults(statement: Statement, table: ExplanationTable, language: Language) -> list[str]:
    try:
        parts = split(statement.template.strip())
        pattern = "".join(_piece(part, table, language) for part in parts)
    except PlaceholderError as error:
        return [f"{statement.template!r}: {error}"]
    found = re.fullmatch(pattern, statement.text, re.IGNORECASE)
    if found is None:
        return [f"{statement.text!r} was not made from {statement.template!r} and this table"]
    faults = [f"{part!r} holds a digit" for part in parts if isinstance(part, str) and _holds_digit(part)]
    numeric = [part for part in parts if isinstance(part, Placeholder) and _is_numeric(part)]
    for placeholder, piece in zip(numeric, found.groups(), strict=True):
        faults += _fault(placeholder, piece, table)
    return faults


def _piece(part: str | Placeholder, table: ExplanationTable, language: Language) -> str:
    """Make a pattern: words literally, a number as a group, all other values as they have to read."""
    if isinstance(part, str):
        return re.escape(part)
    return _NUMBER if _is_numeric(part) else re.escape(_words(part, table, language))


def _is_numeric(placeholder: Placeholder) -> bool:
    return field_of(placeholder).format in NUMERIC_FORMATS


def _fault(placeholder: Placeholder, piece: str, table: ExplanationTable) -> list[str]:
    raw, form = value(placeholder, table), field_of(placeholder).format
    numbers = numbers_in(piece)
    if len(numbers) != 1 or numbers[0].text != piece or piece.endswith("%") != form.endswith("percent"):
        return [f"{piece!r} is not one number of the format {form}"]
    if not numbers[0].agrees(float(raw)):
        return [f"{piece!r} does not print {raw!r}, the {placeholder.field} of {placeholder.id or 'the prediction'}"]
    return []


def _words(placeholder: Placeholder, table: ExplanationTable, language: Language) -> str:
    raw, form, row = str(value(placeholder, table)), field_of(placeholder).format, table.concept(placeholder.id)
    if form == "name" and row:
        return name_text(row, table, language)
    if form == "class":
        return language.quote(raw)
    return language.place(raw) if form == "place" else raw


def _holds_digit(text: str) -> bool:
    return any(unicodedata.category(char) in ("Nd", "Nl", "No") for char in text)
