"""Tables for spreadsheets: the only place that writes CSV, and that makes text harmless in it.

Owns the guard against formulas and its removal. Must not know what is in a table.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

GUARD = "'"


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
    """Put an apostrophe before text, unless it begins with a letter or a digit: then no spreadsheet runs it.

    What may stand first is told, not what may not: programs differ in what they run, full-width signs and signs behind
    invisible characters included. `unguarded` takes it off.
    """
    return GUARD + cell if isinstance(cell, str) and cell and not cell[0].isalnum() else cell


def unguarded(cell: str) -> str:
    """Take off the apostrophe that `guarded` put before a text."""
    return cell[1:] if cell[:1] == GUARD and cell[1:2] and not cell[1].isalnum() else cell
