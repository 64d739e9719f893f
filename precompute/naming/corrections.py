"""People correct names: a table out, and the corrected table back in.

Owns the CSV's columns and what of an old name a correction keeps. Must not know namers, models or pages.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from precompute.atlas.digests import digest_of
from precompute.atlas.files import write_text
from precompute.errors import DataError, ReplyError
from precompute.llm.text import checked_line, clean_line
from precompute.printing.spreadsheet import csv_text, unguarded
from precompute.records import Author, ConceptName, LocalName
from precompute.records.values import NameKind

from .rules import MAX_DESCRIPTION, checked_names

COLUMNS = ("concept", "name", "second_name", "description", "kind", "confidence", "author", "date", "failure", "base")
EDITABLE = ("name", "second_name", "description", "kind")
NAME_KINDS = get_args(NameKind)

_LOCAL = re.compile(r"(?P<which>name|second_name)_(?P<language>[a-z]{2,3})")
"""Columns of the names in another language, ``name_de`` and ``second_name_de``: editable, before the last one."""

_BASE = re.compile(r"[a-f][0-9a-f]{11}")


@dataclass(frozen=True)
class _Line:
    """One row of the table, with the line of the file on which it ends."""

    number: int
    cells: Mapping[str, str]


def export_names(path: Path, names: Iterable[ConceptName], languages: Iterable[str] = ()) -> None:
    """Write names as a CSV for people: UTF-8 with a byte-order mark, one row for each name, in the order given.

    Names in other languages have two columns for each language that some name has, or that `languages` lists.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe, which `import_corrections` removes. The
    last column, ``base``, is a digest of the row's editable cells: by it the import knows which rows were edited, and
    whether somebody else has corrected the name meanwhile.

    Raises
    ------
    OutputError
        No space, no permission.
    """
    listed = list(names)
    spoken = dict.fromkeys([*languages, *(local.language for name in listed for local in name.local_names)])
    local = tuple(f"{which}_{language}" for language in spoken for which in ("name", "second_name"))
    columns = (*COLUMNS[:-1], *local, COLUMNS[-1])
    write_text(path, "\ufeff" + csv_text(columns, (_row(name, columns) for name in listed), line_end="\r\n"))


def _row(name: ConceptName, columns: Iterable[str]) -> list[object]:
    stated = "" if name.stated_confidence is None else name.stated_confidence
    known = _as_read(name)
    every = vars(name) | known | {"confidence": stated, "base": _digest(known)}
    cells = (every.get(column, "") for column in columns)
    return [clean_line(cell) if isinstance(cell, str) else cell for cell in cells]


def import_corrections(
    path: Path, names: Mapping[str, ConceptName], *, author: str, date: str
) -> tuple[ConceptName, ...]:
    """Read a corrected table; a row that was not edited, or says what is known already, is no correction.

    A row was edited where its cells no longer match its ``base``; without one, where it differs from the name as it is
    now. The old namer's description and confidence are not the person's: a correction that leaves the description as
    it was has none, unless the same person wrote it, and no correction has a confidence. A corrected name leaves behind
    the names in other languages, but for those that the row corrects too: they said the same as the old one.

    Parameters
    ----------
    path : Path
        As written by `export_names`; columns may be missing (all but ``concept`` and ``name``) or in another order,
        rows may be missing, the base of a row may be empty; separated by commas, semicolons or tabs.
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
        The first thing that is wrong, with its line; also an edited row whose name has changed since the export.
        Nothing is changed then.
    """
    who = clean_line(author).removeprefix("person:").strip()
    if not who:
        raise DataError(f"cannot import {path}: a correction needs its author; say who with --author")
    corrections: dict[str, ConceptName] = {}
    for line in _read_lines(path):
        cells = {column: _read_back(cell) for column, cell in line.cells.items()}
        current = _known(path, line, cells["concept"], names)
        if current.concept in corrections:
            raise _error(path, line.number, f"concept {current.concept} comes twice", "each concept once")
        changed = _corrected(path, line, cells, current, str(Author("person", who)), date)
        if changed is not None:
            corrections[current.concept] = changed
    return tuple(corrections.values())


def _read_back(cell: str) -> str:
    return clean_line(unguarded(cell))


def _as_read(name: ConceptName) -> dict[str, str]:
    """Return the editable cells of a name as they read once they were written and read back."""
    cells = {column: clean_line(getattr(name, column)) for column in EDITABLE}
    for local in name.local_names:
        cells |= {
            f"{which}_{local.language}": clean_line(text)
            for which, text in (("name", local.name), ("second_name", local.second_name))
            if text
        }
    return cells


def _digest(cells: Mapping[str, str]) -> str:
    """Digest editable cells in 12 hexadecimal digits, the first a letter: no spreadsheet takes that for a number."""
    local = sorted((column, text) for column, text in cells.items() if _LOCAL.fullmatch(column))
    full = digest_of([*(cells[column] for column in EDITABLE), *local])
    return "abcdef"[int(full[0], 16) % 6] + full[1:12]


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
    unknown = sorted(column for column in set(columns) - set(COLUMNS) if not _LOCAL.fullmatch(column))
    if unknown:
        expected = f"some of {', '.join(COLUMNS)}, and names in other languages as name_de and second_name_de"
        raise _error(path, 1, f"the unknown column {unknown[0]!r}", expected)
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
    known = _as_read(current)
    said = {column: cells.get(column, known[column]) for column in EDITABLE}
    local = {column: text for column, text in {**known, **cells}.items() if _LOCAL.fullmatch(column)}
    said |= {column: text for column, text in local.items() if text}
    row_digest = _digest(said)
    base = _checked_base(path, line, cells.get("base", ""))
    if said == known or row_digest in (base, current.row_digest):
        return None
    if base and base != _digest(known):
        raise _outdated(path, line, current, base, _digest(known))
    _check_cells(path, line, current.concept, said)
    is_renamed = (said["name"], said["second_name"]) != (known["name"], known["second_name"])
    if is_renamed:
        said |= _checked_names(path, line, current.concept, said)
    local_names = _local_names(path, line, current, said, {} if not is_renamed else known)
    if said["description"] != known["description"]:
        said["description"] = _checked_description(path, line, current.concept, said["description"])
    elif current.author != author:
        said["description"] = ""
    name, second_name, description, kind = (said[column] for column in EDITABLE)
    return ConceptName(
        *(current.concept, name, description, author, cast("NameKind", kind)),
        second_name=second_name,
        date=date,
        row_digest=row_digest,
        language="" if is_renamed else current.language,
        local_names=local_names,
    )


def _local_names(
    path: Path, line: _Line, current: ConceptName, said: Mapping[str, str], outdated: Mapping[str, str]
) -> tuple[LocalName, ...]:
    """Read the names in other languages; those that are as in `outdated` are left out."""
    found = []
    languages = (match["language"] for column in said if (match := _LOCAL.fullmatch(column)))
    for language in dict.fromkeys(languages):
        both = {which: said.get(f"{which}_{language}", "") for which in ("name", "second_name")}
        if all(outdated.get(f"{which}_{language}", "") == text for which, text in both.items()):
            continue
        if not both["name"]:
            raise _error(path, line.number, f"a second_name_{language} without name_{language}", "both, or neither")
        checked = _checked_names(path, line, current.concept, both)
        found.append(LocalName(language, checked["name"], checked["second_name"]))
    return tuple(found)


def _checked_base(path: Path, line: _Line, base: str) -> str:
    """Return the base in lower case; refuse one that a spreadsheet or a person has changed."""
    if base and not _BASE.fullmatch(base.lower()):
        expected = "the 12 characters that were exported, or an empty cell to compare with the name as it is now"
        raise _error(path, line.number, f"the base {base[:30]!r}", expected)
    return base.lower()


def _outdated(path: Path, line: _Line, current: ConceptName, base: str, expected: str) -> DataError:
    by_person = current.by.kind == "person"
    what, who = ("corrected by", current.by.label) if by_person else ("named anew by", current.author)
    when = current.date or "an unknown date"
    return DataError(
        f"{path}, line {line.number}: the name of {current.concept} has changed since this table was exported; it was "
        f"{what} {who} on {when} and is {current.name[:60]!r} now: found the base {base}, expected {expected}. Nothing "
        "was imported: export the names again and put your corrections into the new table."
    )


def _checked_names(path: Path, line: _Line, concept: str, said: Mapping[str, str]) -> dict[str, str]:
    """Hold a person's names to the rules of a language model's: narratives print both between measured numbers."""
    try:
        name, second_name = checked_names(said["name"], said["second_name"])
    except ReplyError as error:
        found = f"{said['name'][:60]!r}" + (f" with {said['second_name'][:60]!r}" if said["second_name"] else "")
        raise _error(path, line.number, f"the name {found} for {concept}", f"another one, since {error}") from error
    return {"name": name, "second_name": second_name}


def _checked_description(path: Path, line: _Line, concept: str, said: str) -> str:
    try:
        return checked_line(said, "description", longest=MAX_DESCRIPTION)
    except ReplyError as error:
        found = f"the description {said[:60]!r} for {concept}"
        raise _error(path, line.number, found, f"another one, since {error}") from error


def _check_cells(path: Path, line: _Line, concept: str, said: Mapping[str, str]) -> None:
    if not said["name"]:
        raise _error(path, line.number, f"an empty name for {concept}", "a name; delete the row to leave it")
    if said["kind"] not in NAME_KINDS:
        raise _error(path, line.number, f"the kind {said['kind'][:30]!r}", f"one of {', '.join(NAME_KINDS)}")


def _error(path: Path, number: int, found: str, expected: str) -> DataError:
    return DataError(
        f"{path}, line {number}: found {found}, expected {expected}. Nothing was imported: put the line right and "
        "import the file again."
    )
