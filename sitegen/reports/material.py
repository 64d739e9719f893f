"""What reports are made from: one atlas, the wishes of the config, and the date.

Owns the options of reports and how a finished report is held. Must not know what a report says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from precompute.records.reported import Document
from sitegen.data.catalogue import Catalogue

from .album import Pictures

STAKEHOLDER = "stakeholder"


@dataclass(frozen=True)
class ReportOptions:
    """How reports are made.

    Attributes
    ----------
    title : str
        Of whatever the reports are about, above each report's own; empty is the site's.
    author : str
        Who answers for the report.
    logo : bytes
        PNG or SVG for the cover; empty for none.
    approval : tuple of str
        Who has to sign.
    audience : str
        For whom the text of an explanation is written.
    language : str
        Code of the language of that text; empty takes the one that there is.
    paper : {"a4", "letter"}
    include_images : bool
        False leaves out every pixel of the data set.
    date : str
        ISO date of the report.
    made_from : dict of str to str
        Digests and versions of what all reports of the atlas rest on.
    """

    title: str = ""
    author: str = ""
    logo: bytes = b""
    approval: tuple[str, ...] = ()
    audience: str = STAKEHOLDER
    language: str = ""
    paper: Literal["a4", "letter"] = "a4"
    include_images: bool = True
    date: str = ""
    made_from: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """One atlas, read once for all reports."""

    catalogue: Catalogue
    pictures: Pictures
    options: ReportOptions


@dataclass(frozen=True)
class Report:
    """A document and its pictures by key, as `Document.pictures`."""

    document: Document
    pictures: dict[str, bytes]
