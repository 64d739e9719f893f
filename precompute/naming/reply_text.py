"""Texts of a language model, made fit for a page and a table, or refused.

Owns what a short text of a reply may hold: one line of prose, no markup, no address, no digit. Must not know tasks.
"""

from __future__ import annotations

import re
import unicodedata

from precompute.errors import ReplyError

_MARKUP = re.compile(r"<[^>]*>|&[a-z]+;|&#\w+;|\]\(|```|`|\*\*|__|[{}]|^#{1,6} |\\[a-z]+\{", re.IGNORECASE)
_ADDRESS = re.compile(r"\b(?:https?|ftp|data|javascript|file):|\bwww\.|\b[\w.-]+@[\w-]+\.\w+", re.IGNORECASE)
_SHARE = re.compile(r"%|‰|\bper ?cent\b|\bpercentage\b", re.IGNORECASE)


def clean_line(text: str) -> str:
    """Return one line in NFC without control, format or unassigned characters and without doubled spaces."""
    spaced = re.sub(r"\s+", " ", text)
    visible = (c for c in spaced if unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cs", "Cn"})
    return re.sub(r" +", " ", unicodedata.normalize("NFC", "".join(visible))).strip()


def checked_line(text: str, field: str, *, longest: int) -> str:
    """Return a text of a reply as a clean line.

    A number in a name or description would look like a measured one, so digits are refused: counts are written out.

    Raises
    ------
    ReplyError
        Markup, an address, a digit, a share, or too long; says which field and what was found.
    """
    line = clean_line(text)
    for pattern, what in ((_MARKUP, "markup"), (_ADDRESS, "an address"), (_SHARE, "a share")):
        if match := pattern.search(line):
            raise ReplyError(f"{field} holds {what} ({match.group()[:20]!r}); write plain prose")
    if any(character.isnumeric() and not character.isalpha() for character in line):
        raise ReplyError(f"{field} holds a digit; write counts as words, and no other numbers")
    if len(line) > longest:
        raise ReplyError(f"{field} is {len(line)} characters long; at most {longest} are allowed")
    return line
