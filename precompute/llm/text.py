"""What a text from outside may hold: the one place that makes it harmless, and that says what is refused.

`harmless` takes out what no reader can see, once, where a server's bytes come in. `clean_line` makes one line of it,
`require_plain` refuses what is more than prose in any text that a model or a person writes, and `checked_line` holds a
line to the rules of names and descriptions. Must not know tasks or records.
"""

from __future__ import annotations

import re
import unicodedata

from precompute.errors import ReplyError

IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point: what is to be shown as nothing. As the inside of a character class."""
BLANK = "\u2800"
"""The one other printed character without ink: the empty Braille cell. It reads as a space."""

_INVISIBLE = re.compile(f"[{IGNORABLE}]")
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
"""Control, format, private, surrogate and unassigned characters."""
_LAYOUT = frozenset("\n\t\r")

_MARKUP = re.compile(r"<[^>]*>|&[a-z]+;|&#\w+;|\]\(|```|`|\*\*|__|~~|[{}]|^#{1,6} |\\[a-z]+\{", re.IGNORECASE)
_ADDRESS = re.compile(r"\b(?:https?|ftp|data|javascript|file|mailto):|\bwww\.|\b[\w.-]+@[\w-]+\.\w+", re.IGNORECASE)
_SHARE = re.compile(r"%|\u2030|\u2031|\u066a|\ufe6a|\uff05|\bper ?cent\b|\bpercentage\b", re.IGNORECASE)


def harmless(text: str, longest: int | None = None) -> str:
    """Take out of a text what nobody sees: controls, lone surrogates, bidirectional marks, ignorable and blank letters.

    Line ends and tabs stay, other spaces become plain ones; the result can be written as UTF-8 and is in NFC.

    Parameters
    ----------
    text : str
    longest : int, optional
        Characters; what is beyond is cut off.
    """
    seen = (_seen(character) for character in _INVISIBLE.sub("", text if longest is None else text[: 4 * longest]))
    return unicodedata.normalize("NFC", "".join(seen))[:longest]


def _seen(character: str) -> str:
    if character in _LAYOUT or " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category[0] == "Z" or character == BLANK:
        return " "
    return "" if category in _UNSEEN else character


def clean_line(text: str) -> str:
    """Return a text as one harmless line without doubled spaces; the same text again where it is one already."""
    return re.sub(r"\s+", " ", harmless(text)).strip()


def require_plain(line: str, field: str) -> None:
    """Refuse a line that is more than prose.

    Raises
    ------
    ReplyError
        Markup, an address or a share; says which field and what was found.
    """
    for pattern, what in ((_MARKUP, "markup"), (_ADDRESS, "an address"), (_SHARE, "a share")):
        if match := pattern.search(line):
            raise ReplyError(f"{field} holds {what} ({match.group()[:20]!r}); write plain prose")


def checked_line(text: str, field: str, *, longest: int) -> str:
    """Return a text of a reply or of a person as a clean line.

    A number in a name or description would look like a measured one, so digits are refused: counts are written out.

    Raises
    ------
    ReplyError
        Markup, an address, a digit, a share, or too long; says which field and what was found.
    """
    line = clean_line(text)
    require_plain(line, field)
    if any(character.isnumeric() and not character.isalpha() for character in line):
        raise ReplyError(f"{field} holds a digit; write counts as words, and no other numbers")
    if len(line) > longest:
        raise ReplyError(f"{field} is {len(line)} characters long; at most {longest} are allowed")
    return line
