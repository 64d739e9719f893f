"""Tables for spreadsheets: the only place that writes CSV, and that makes text harmless in it.

Owns the guard against formulas and its removal. Must not know what is in a table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_STARTS = "=+\\-@\t\r|%\uff1d\uff0b\uff0d\uff20"
"""What programs take for the start of a formula or of a command: ASCII and full width, as a class of characters."""

_GUARDED = re.compile(rf"[\s']*[{_STARTS}]|'")
_GUARD = re.compile(rf"'(?={_GUARDED.pattern})")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]], *, line_end: str = "\n") -> str:
    """Write a table; text cells can never start a formula, numbers stay as they are.

    Parameters
    ----------
    columns : sequence of str
        Written by the program, so not guarded.
    rows : iterable of sequence
        Texts and numbers; each as long as `columns`.
    line_end : str
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator=line_end)
    writer.writerow(columns)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def guarded(cell: object) -> object:
    """Put an apostrophe before text that a spreadsheet would run, or that starts with one; `unguarded` takes it off."""
    return f"'{cell}" if isinstance(cell, str) and _GUARDED.match(cell) else cell


def unguarded(cell: str) -> str:
    """Take off the apostrophe that `guarded` put before a text."""
    return _GUARD.sub("", cell, count=1) if _GUARD.match(cell) else cell
