"""Records of reports: everything that a document says, in reading order, before anything is typeset.

Owns the kinds of blocks. A document holds text, numbers that are printed already, and the digests of its pictures;
whoever renders it adds nothing to what it says. Import them from `records`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from .values import Share

ReportKind = Literal["explanation", "class", "audit", "model"]
RunStyle = Literal["plain", "strong", "number", "code"]
Role = Literal["body", "lead", "note", "warning", "term"]
PictureFormat = Literal["webp", "png", "jpeg", "svg"]


@dataclass(frozen=True)
class Run:
    """A part of a line of text.

    Attributes
    ----------
    text : str
        Untrusted until escaped.
    style : {"plain", "strong", "number", "code"}
    language : str
        Code of its language where that is not the block's; else empty.
    to : str
        `Heading.id` that it leads to; empty for none.
    """

    text: str
    style: RunStyle = "plain"
    language: str = ""
    to: str = ""


Line = tuple[Run, ...]


@dataclass(frozen=True)
class Heading:
    """A heading; `level` 1 begins a section, 2 a part of one."""

    text: Line
    level: Literal[1, 2]
    id: str
    block: Literal["heading"] = "heading"


@dataclass(frozen=True)
class Words:
    """A paragraph; `language` is the code of its language where that is not the document's."""

    text: Line
    role: Role = "body"
    language: str = ""
    block: Literal["words"] = "words"


@dataclass(frozen=True)
class Listing:
    """A list of points."""

    items: tuple[Line, ...]
    block: Literal["listing"] = "listing"


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes
    ----------
    picture : str
        Key in `Document.pictures`.
    alt : str
        What it shows, for whoever does not see it; never empty. Untrusted until escaped.
    caption : tuple of Run
        Empty for none.
    width : float
        Part of the text's width; in a row, part of what the row has.
    """

    picture: str
    alt: str
    caption: Line = ()
    width: Share = 1.0
    block: Literal["figure"] = "figure"

    def __post_init__(self) -> None:
        """Refuse a picture that says nothing to whoever does not see it."""
        if not self.alt.strip():
            raise ValueError(f"the picture {self.picture!r} has no alternative text")


@dataclass(frozen=True)
class Row:
    """Figures side by side."""

    figures: tuple[Figure, ...]
    block: Literal["row"] = "row"


@dataclass(frozen=True)
class Bar:
    """A bar in a cell, as parts of the cell's width from the left; the number stands in a cell of its own.

    Attributes
    ----------
    zero, start, length : float
        Where the axis crosses, where the bar begins, how long it is.
    usual : float or None
        Where the mark of what is usual stands.
    against : bool
        It lies on the negative side.
    """

    zero: Share
    start: Share
    length: Share
    usual: Share | None = None
    against: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table: a line of text, or a bar that repeats a number beside it."""

    text: Line = ()
    bar: Bar | None = None


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first cell of a row says what the row is about.

    Attributes
    ----------
    caption : tuple of Run
    header : tuple of str
        One for each column; none is empty.
    rows : tuple of tuple of Cell
        Each as long as the header.
    widths : tuple of float
        Of the columns, in parts; 0 is as wide as its content.
    """

    caption: Line
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    widths: tuple[float, ...] = ()
    block: Literal["table"] = "table"

    def __post_init__(self) -> None:
        """Refuse a table that does not fit its header."""
        n_columns = len(self.header)
        if not all(self.header) or any(len(row) != n_columns for row in self.rows):
            raise ValueError(f"a row of the table {self.header} does not fit its header")
        if self.widths and len(self.widths) != n_columns:
            raise ValueError(f"the widths of the table {self.header} do not fit its header")


Leaf = Heading | Words | Listing | Figure | Row | Table


@dataclass(frozen=True)
class Together:
    """Blocks that stay on one page."""

    blocks: tuple[Leaf, ...]
    block: Literal["together"] = "together"


Block = Leaf | Together


@dataclass(frozen=True)
class Cover:
    """The first page.

    Attributes
    ----------
    kicker : str
        What kind of document it is.
    verdict : tuple of Run
        The finding in one line, under the title; empty for none.
    is_warning : bool
        The verdict is one to act on.
    lead : tuple of Run
        What there is to know, in a sentence or two.
    lead_language : str
        As `Words.language`.
    figures : tuple of Figure
    facts : tuple of (str, str)
        What the document is about, by whom and when: label and value.
    approval : tuple of str
        Who signs: each gets a line for name, date and signature.
    logo : str
        Key in `Document.pictures`; empty for none.
    """

    kicker: str
    verdict: Line = ()
    is_warning: bool = False
    lead: Line = ()
    lead_language: str = ""
    figures: tuple[Figure, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    approval: tuple[str, ...] = ()
    logo: str = ""


@dataclass(frozen=True)
class PictureFile:
    """A picture of a document: its format, its SHA-256 and its size in pixels."""

    format: PictureFormat
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class Document:
    """A whole report, as it is also embedded in each of its forms.

    Attributes
    ----------
    report : str
        Its kind.
    subject : str
        What it is about, within its kind: the id of an explanation, the index of a class, the name of the atlas.
    title : str
        Untrusted until escaped.
    running : str
        Short title at the head of every page.
    author : str
    language : str
        Code of the language of everything that says no other.
    date : str
        ISO date on which it was made.
    paper : {"a4", "letter"}
    cover : Cover
    blocks : tuple of Block
        In reading order.
    pictures : dict of str to PictureFile
    made_from : dict of str to str
        Digests and versions of everything that it rests on, by name.
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("report", 1)

    report: ReportKind
    subject: str
    title: str
    running: str
    author: str
    language: str
    date: str
    paper: Literal["a4", "letter"]
    cover: Cover
    blocks: tuple[Block, ...]
    pictures: dict[str, PictureFile] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)

    def headings(self) -> tuple[Heading, ...]:
        """List the headings, in reading order."""
        leaves = [leaf for item in self.blocks for leaf in (item.blocks if isinstance(item, Together) else (item,))]
        return tuple(leaf for leaf in leaves if isinstance(leaf, Heading))
