"""Holds a report against the atlas that it says it is of: the same, changed (and what), or nothing that can be told.

Owns where a file holds its record and what counts as changed. A report is made again from the atlas; what it is made
from, what it says and its bytes decide, in this order. Must not know how a report is written.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from html import unescape
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from precompute.atlas.files import unreadable
from precompute.atlas.json_records import adapter, with_header
from precompute.errors import DataError, StoreError
from precompute.records.reported import Document, Figure, Heading, Leaf, Line, Listing, Row, Table, Together, Words

from .build import RENDERERS, Form, report_of
from .material import Material, Report

MAX_SIZE = 64 << 20
MAX_RECORD = 16 << 20
N_TOLD = 6
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_BLOCK = re.compile(rb'<script type="application/json" id="record">(.*?)</script>', re.DOTALL)
_START = b'{\n "kind": "report"'

_WORDS = {
    "atlas": "another atlas",
    "program": "another version of the program",
    "program_code": "another state of the program",
    "weights": "other weights",
    "data": "another data set",
    "config": "other settings",
    "mining": "other mined tables",
    "photo": "another photo",
    "explanation": "other numbers of the explanation",
    "product:atlas": "other tables (atlas.h5)",
    "product:references": "other reference images (references.h5)",
    "product:names": "other names (names.jsonl)",
    "product:scores": "other tests of names (scores.jsonl)",
    "product:truth": "another truth.json",
    "product:trust": "another trust.json",
}
_PROGRAM = frozenset({"program", "program_code"})


@dataclass(frozen=True)
class Verdict:
    """What became of a report.

    Attributes
    ----------
    outcome : {"same", "changed", "unknown"}
    findings : tuple of str
        What is not as it would be now, or why nothing can be told.
    """

    outcome: Literal["same", "changed", "unknown"]
    findings: tuple[str, ...] = ()


def read_report(path: Path) -> tuple[Form, bytes, Document]:
    """Read a report's file and the record in it.

    Raises
    ------
    StoreError
        It cannot be read, is no report, or its record is damaged.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    form: Form = "pdf" if content.startswith(b"%PDF") else "html"
    found = [] if len(content) > MAX_SIZE else list(_records_of_pdf(content) if form == "pdf" else _in_html(content))
    if len(found) != 1:
        what = "no record of one" if not found else "more than one record"
        raise StoreError(f"{path} is not a report as `atlas report` writes it: there is {what} in it")
    try:
        whole = adapter(with_header(Document)).validate_json(found[0])
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise StoreError(f"the record in {path} was changed or is damaged: {first}. Make the report again") from error
    return form, content, Document(**{item.name: getattr(whole, item.name) for item in fields(Document)})


def _records_of_pdf(content: bytes) -> Iterator[bytes]:
    for stream in _STREAM.finditer(content):
        for text in (stream[1], _unpacked(stream[1])):
            if text.startswith(_START):
                yield text


def _unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream, MAX_RECORD)
    except zlib.error:
        return b""


def _in_html(content: bytes) -> Iterator[bytes]:
    for block in _BLOCK.finditer(content):
        yield block[1]


def verify(path: Path, material: Material) -> Verdict:
    """Hold a report against an atlas.

    Raises
    ------
    StoreError
        The file is no report, or its record is damaged.
    """
    form, content, document = read_report(path)
    material = replace(material, options=replace(material.options, date=document.date))
    name = material.catalogue.atlas.name
    if document.made_from.get("atlas") != name:
        theirs = document.made_from.get("atlas", "an atlas without a name")
        return Verdict("unknown", (f"it is a report of the atlas {theirs!r}, and this is {name!r}",))
    ours = material.options.made_from
    if all(document.made_from.get(key) != ours.get(key) for key in ("weights", "data")):
        said = f"it is a report of another atlas that is called {name!r} too: other weights and another data set"
        return Verdict("unknown", (said,))
    try:
        made = report_of(material, document.report, document.subject)
    except DataError as error:
        return Verdict("unknown", (str(error),))
    findings = [*_made_from(document, made.document), *_said(document, made.document)]
    if not findings and document != made.document:
        findings.append("its record is not the one that the atlas gives now (what stands on the cover or its pictures)")
    if not findings:
        findings += _bytes_of(form, content, made)
    if findings and all(finding.startswith(_CANNOT) for finding in findings):
        return Verdict("unknown", tuple(findings))
    return Verdict("changed", tuple(findings)) if findings else Verdict("same")


_CANNOT = "cannot tell"


def _made_from(theirs: Document, ours: Document) -> list[str]:
    """Name everything that the report rests on and that is another now."""
    found = []
    for key in sorted(theirs.made_from.keys() | ours.made_from.keys()):
        then, now = theirs.made_from.get(key, ""), ours.made_from.get(key, "")
        if then != now:
            what = _WORDS.get(key, key)
            found.append(f"it was made from {what}: {_short(then)} then, {_short(now)} now")
    return found


def _short(digest: str) -> str:
    return (f"{digest[:12]}…" if len(digest) == 64 else digest) or "none"


def _said(theirs: Document, ours: Document) -> list[str]:
    """Name the lines that the report says and the atlas does not, and the other way round, with where they stand."""
    then, now = list(_lines(theirs)), list(_lines(ours))
    if theirs.made_from != ours.made_from:  # told already: the provenance lists the same
        then, now = ([item for item in lines if item[0] != "Provenance"] for lines in (then, now))
    found = []
    matcher = difflib.SequenceMatcher(None, then, now, autojunk=False)
    for kind, start, stop, from_, to in matcher.get_opcodes():
        if kind != "equal":
            place = (then[start:stop] or now[from_:to])[0][0]
            said, would = (" / ".join(text for _, text in lines) for lines in (then[start:stop], now[from_:to]))
            found.append(f"under “{place}” it says {_quoted(said)}, where the atlas gives {_quoted(would)}")
    more = [f"and {len(found) - N_TOLD} more places"] if len(found) > N_TOLD else []
    return found[:N_TOLD] + more


def _quoted(text: str) -> str:
    return f"{text[:160]!r}" if text else "nothing"


def _lines(document: Document) -> Iterator[tuple[str, str]]:
    """List everything that a report says, each line with the section in which it stands."""
    cover = document.cover
    place = "the cover"
    head = (document.title, document.running, document.author, document.date, document.paper, document.language)
    yield from ((place, text) for text in (*head, cover.kicker, *cover.approval))
    yield from ((place, text) for text in (_text(cover.verdict), _text(cover.lead), f"warning: {cover.is_warning}"))
    yield from ((place, f"{label}: {value}") for label, value in cover.facts)
    for figure in cover.figures:
        yield from ((place, text) for text in _of_figure(figure, document))
    for block in document.blocks:
        for leaf in block.blocks if isinstance(block, Together) else (block,):
            if isinstance(leaf, Heading) and leaf.level == 1:
                place = _text(leaf.text)
            yield from ((place, text) for text in _of_leaf(leaf, document))


def _of_leaf(leaf: Leaf, document: Document) -> Iterator[str]:
    match leaf:
        case Heading() | Words():
            yield _text(leaf.text)
        case Listing():
            yield from map(_text, leaf.items)
        case Figure():
            yield from _of_figure(leaf, document)
        case Row():
            for figure in leaf.figures:
                yield from _of_figure(figure, document)
        case Table():
            yield _text(leaf.caption)
            yield " | ".join(leaf.header)
            for row in leaf.rows:
                yield " | ".join(repr(cell.bar) if cell.bar else _text(cell.text) for cell in row)


def _of_figure(figure: Figure, document: Document) -> Iterator[str]:
    file = document.pictures.get(figure.picture)
    yield f"picture {file.sha256[:16] if file else 'missing'} ({figure.alt})"
    yield _text(figure.caption)


def _text(line: Line) -> str:
    return "".join(run.text for run in line)


def _bytes_of(form: Form, content: bytes, made: Report) -> list[str]:
    """Compare the file itself with the one that its record gives."""
    expected = RENDERERS[form](made)
    if content == expected:
        return []
    if form == "pdf":
        return [
            "its pages are not those that its record gives: text, a picture or the file’s structure was changed "
            f"({_first_difference(content, expected)})"
        ]
    return _html_differences(content.decode(errors="replace"), expected.decode())


def _first_difference(content: bytes, expected: bytes) -> str:
    if len(content) != len(expected):
        return f"{len(content)} bytes, {len(expected)} are right"
    place = next(index for index, pair in enumerate(zip(content, expected, strict=True)) if pair[0] != pair[1])
    return f"from byte {place} on"


_TAG = re.compile(r"<[^>]*>")
_PICTURE = re.compile(r'src="data:[^"]*"')


def _visible(html: str) -> list[str]:
    return [line for line in map(str.strip, unescape(_TAG.sub("\n", html)).split("\n")) if line]


def _html_differences(found: str, expected: str) -> list[str]:
    """Say what of an HTML report is not what its record gives: pictures, visible text, or what nobody sees."""
    steps: dict[str, Callable[[str], list[str]]] = {"a picture": _PICTURE.findall, "its text": _visible}
    told = []
    for what, parts in steps.items():
        then, now = parts(found), parts(expected)
        if then != now:
            at = next((i for i, pair in enumerate(zip(then, now, strict=False)) if pair[0] != pair[1]), 0)
            said = f": {_quoted(then[at])}, where its record gives {_quoted(now[at])}" if what == "its text" else ""
            told.append(f"{what} was changed behind its record{said if at < min(len(then), len(now)) else ''}")
    return told or ["its markup is not what its record gives"]
