"""People correct names: a table out, the corrected table back in, and who wins where several named one concept.

Owns the CSV's columns, its safety in spreadsheets, and the order person, language model, offline. Must not know
namers, models or pages.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .files import write_text
from .records import Concept, ConceptName
from .reply_text import clean_line

COLUMNS = ("concept", "name", "second_name", "description", "kind", "confidence", "author", "date", "failure")
EDITABLE = ("name", "second_name", "description", "kind")
KINDS = ("object", "part", "texture", "colour", "scene", "mark", "other")
PERSON = "person:"
MAX_NAME = 120
MAX_DESCRIPTION = 2000

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ESCAPED = re.compile(r"'['=+\-@\t\r|%\uff1d\uff0b\uff0d\uff20]")


@dataclass(frozen=True)
class _Line:
    """One row of the table, with the line of the file on which it ends."""

    number: int
    cells: Mapping[str, str]


def export_names(path: Path, names: Iterable[ConceptName]) -> None:
    """Write names as a CSV for people: UTF-8 with a byte-order mark, one row for each concept, by layer and channel.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe, which `import_corrections` removes.

    Raises
    ------
    OutputError
        No space, no permission.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for name in sorted(names, key=lambda name: _concept_order(name.concept)):
        cells = (str(getattr(name, column)) for column in COLUMNS)
        writer.writerow([_safe(clean_line(cell)) for cell in cells])
    write_text(path, "\ufeff" + table.getvalue())


def import_corrections(
    path: Path, names: Mapping[str, ConceptName], *, author: str, date: str
) -> tuple[ConceptName, ...]:
    """Read a corrected table; a row that says what is known already is no correction.

    Parameters
    ----------
    path : Path
        As written by `export_names`; columns may be missing (all but ``concept`` and ``name``) or in another order,
        rows may be missing; separated by commas, semicolons or tabs.
    names : mapping of concept key to ConceptName
        As they are now; a key that is not in it is an error.
    author : str
        Who corrected; the names' author becomes ``person:<author>``.
    date : str
        ISO date of the correction.

    Returns
    -------
    tuple of ConceptName
        The corrections, in the order of the file.

    Raises
    ------
    DataError
        The first thing that is wrong, with its line. Nothing is changed then.
    """
    who = clean_line(author).removeprefix(PERSON).strip()
    if not who:
        raise DataError(f"cannot import {path}: a correction needs its author; say who with --author")
    corrections: dict[str, ConceptName] = {}
    for line in _read_lines(path):
        cells = {column: clean_line(_unescaped(cell)) for column, cell in line.cells.items()}
        current = _known(path, line, cells["concept"], names)
        if current.concept in corrections:
            raise _error(path, line.number, f"concept {current.concept} comes twice", "each concept once")
        changed = _corrected(path, line, cells, current, PERSON + who, date)
        if changed is not None:
            corrections[current.concept] = changed
    return tuple(corrections.values())


def merge_names(*sources: Iterable[ConceptName]) -> dict[str, ConceptName]:
    """Choose one name for each concept.

    A person's goes before a language model's, that before the offline one; a name before a failure; among equals the
    later date, then the later source. So a correction survives every renaming, until somebody corrects it again.
    """
    chosen: dict[str, tuple[tuple[bool, int, str, int], ConceptName]] = {}
    for place, source in enumerate(sources):
        for name in source:
            weight = (not name.failure, author_weight(name.author), name.date if is_correction(name) else "", place)
            if name.concept not in chosen or weight >= chosen[name.concept][0]:
                chosen[name.concept] = (weight, name)
    keys = sorted(chosen, key=_concept_order)
    return {key: chosen[key][1] for key in keys}


def is_correction(name: ConceptName) -> bool:
    """Tell whether a person gave this name."""
    return name.author.startswith(PERSON)


def author_weight(author: str) -> int:
    """Rank authors: 2 a person, 1 a language model, 0 the offline namer."""
    if author.startswith(PERSON):
        return 2
    return 1 if author.startswith("llm:") else 0


def _concept_order(key: str) -> tuple[list[tuple[int, int, str]], int]:
    """Order keys by layer with numbers as numbers, then by channel."""
    concept = Concept.parse(key)
    parts = re.findall(r"\d+|\D+", concept.layer)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], concept.channel


def _safe(cell: str) -> str:
    return "'" + cell if cell.startswith((*_FORMULA_STARTS, "'")) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell


def _read_lines(path: Path) -> list[_Line]:
    text = _read_text(path)
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines: list[_Line] = []
    columns: list[str] = []
    try:
        for row in reader:
            if not columns:
                columns = _checked_header(path, row)
            elif any(cell.strip() for cell in row):
                if len(row) != len(columns):
                    raise _error(path, reader.line_num, f"{len(row)} cells", f"{len(columns)}, as in the header")
                lines.append(_Line(reader.line_num, dict(zip(columns, row, strict=True))))
    except csv.Error as error:
        raise _error(path, reader.line_num, str(error), "a CSV file") from error
    if not columns:
        raise _error(path, 1, "an empty file", f"a header such as {','.join(COLUMNS)}")
    return lines


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise _error(
            path, number, f"the byte 0x{content[error.start]:02x}", "UTF-8 text; save it as CSV UTF-8"
        ) from error
    if "\0" in text:
        raise _error(path, text[: text.index("\0")].count("\n") + 1, "a NUL character", "text")
    return text


def _checked_header(path: Path, row: list[str]) -> list[str]:
    columns = [cell.strip().casefold() for cell in row]
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise _error(path, 1, f"the unknown column {unknown[0]!r}", f"some of {', '.join(COLUMNS)}")
    for column in ("concept", "name"):
        if column not in columns:
            raise _error(path, 1, f"no column {column!r}", f"a header such as {','.join(COLUMNS)}")
    if len(set(columns)) != len(columns):
        raise _error(path, 1, "a column that comes twice", "each column once")
    return columns


def _known(path: Path, line: _Line, key: str, names: Mapping[str, ConceptName]) -> ConceptName:
    if key not in names:
        raise _error(path, line.number, f"the unknown concept {key[:60]!r}", "a key 'layer:channel' of this atlas")
    return names[key]


def _corrected(
    path: Path, line: _Line, cells: Mapping[str, str], current: ConceptName, author: str, date: str
) -> ConceptName | None:
    said = {column: cells.get(column, getattr(current, column)) for column in EDITABLE}
    if all(said[column] == clean_line(str(getattr(current, column))) for column in EDITABLE):
        return None
    if not said["name"]:
        raise _error(path, line.number, f"an empty name for {current.concept}", "a name; delete the row to leave it")
    for column, longest in (("name", MAX_NAME), ("second_name", MAX_NAME), ("description", MAX_DESCRIPTION)):
        if len(said[column]) > longest:
            raise _error(path, line.number, f"a {column} of {len(said[column])} characters", f"at most {longest}")
    if said["kind"] not in KINDS:
        raise _error(path, line.number, f"the kind {said['kind'][:30]!r}", f"one of {', '.join(KINDS)}")
    return ConceptName(current.concept, author=author, confidence=1.0, date=date, **said)


def _error(path: Path, number: int, found: str, expected: str) -> DataError:
    return DataError(
        f"{path}, line {number}: found {found}, expected {expected}. Nothing was imported: put the line right and "
        "import the file again."
    )
