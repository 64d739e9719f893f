"""Delimited text (CSV, TSV, columns of spaces) as rows with their line numbers.

Owns the reading of such files and what is said about lines that cannot be taken apart. Must not know what the columns
mean.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from precompute.errors import DataError

DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}
"""By name, in the order in which they are tried: what is rarer in names first, spaces last."""


class Row(NamedTuple):
    """One line, taken apart; `line` counts from 1."""

    line: int
    cells: tuple[str, ...]


def read_lines(path: Path, what: str, setting: str) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not empty, with their numbers from 1.

    Parameters
    ----------
    path : Path
    what : str
        What the file is, for messages.
    setting : str
        Which setting names it, for messages.

    Raises
    ------
    DataError
        Unreadable, not UTF-8 (a byte order mark is taken off), or with bytes that belong into no text.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {what} {path}: {reason} ({setting})") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{what} {path} is UTF-16 text: save it as UTF-8 ({setting})")
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{what} {path} is a spreadsheet or an archive: export its table as CSV ({setting})")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{what} {path} is not UTF-8 text, line {line}: save it as UTF-8 ({setting})") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{what} {path}, line {line}, holds a byte of zero: it is no text file ({setting})")
    # not splitlines(): a class name may hold U+2028 and its like
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def split_rows(lines: Iterable[tuple[int, str]], delimiter: str, path: Path) -> list[Row]:
    """Take lines apart at a delimiter, quotes respected; columns that are empty in every line are left out at the end.

    Raises
    ------
    DataError
        A quote is not closed on its line.
    """
    rows = []
    for number, line in lines:
        text = " ".join(line.split()) if delimiter == " " else line
        try:
            (cells,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
        except (csv.Error, ValueError) as error:
            raise DataError(
                f"{path}, line {number}: {error}. Close every quote on its own line, and double those inside a name"
            ) from error
        rows.append(Row(number, tuple(cell.strip() for cell in cells)))
    width = max((index + 1 for row in rows for index, cell in enumerate(row.cells) if cell), default=0)
    return [Row(row.line, row.cells[:width]) for row in rows]
