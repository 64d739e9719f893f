"""Keeps the key out of everything that is kept or shown, however a server writes it.

Nothing of a refused request's body is kept at all. What has to be kept, the text of a reply, is looked at in every
reading of it that undoes a common disguise; a text that holds a piece of the key in any of them is given up as a whole.
Must not know HTTP, files or what texts mean.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote

from .text import harmless

PIECE = 6
"""Characters of the key in a row, letters and digits only, that give it away; a shorter key is looked for whole."""
SHORTEST_SECRET = 8
"""A shorter one, such as "none" for a server of one's own, is a word that replies may hold."""

_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|pk|gsk|xai|hf)[-_]|key-(?=[\w-]*[\d*]))[A-Za-z0-9_*\-]{6,}|\bAIza[A-Za-z0-9_\-]{20,}"
    r"|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{24,}"
)
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:,\\x-]{0,3}){6,}")
_CODES = re.compile(r"(?:(?:0x|0o|\\)?[0-9A-Fa-f]{2,3}[\s,;.:]+){6,}")

_CODE = re.compile(r"(?<![0-9A-Fa-f])(?:0x|0o|\\)?([0-9A-Fa-f]{2,3})\b")


class Guard:
    """Tells whether a text holds a secret.

    Parameters
    ----------
    secret : str
        Empty where there is none.
    """

    def __init__(self, secret: str) -> None:
        letters = _bare(secret) if len(secret) >= SHORTEST_SECRET else ""
        # A key of small letters alone reads like words, which replies may hold: it is looked for whole.
        size = len(letters) if secret == secret.casefold() and letters.isalpha() else min(PIECE, len(letters))
        self._pieces = frozenset(letters[start : start + size] for start in range(len(letters) - size + 1) if size)

    def gives_away(self, text: str) -> bool:
        """Tell whether any reading of a text holds a piece of the secret."""
        return bool(self._pieces) and any(self._holds(reading) for reading in _readings(text))

    def _holds(self, reading: str) -> bool:
        bare = _bare(reading)
        return any(piece in bare for piece in self._pieces)

    def words(self, text: object, longest: int = 300) -> str:
        """Make a server's words fit for a terminal and a log; says so where they hold a key, and empty for no text."""
        if not isinstance(text, str):
            return ""
        line = " ".join(harmless(text, longest).split())
        return "(withheld: it repeats the key)" if self.gives_away(text) else _KEY_LIKE.sub("[key]", line)


def holds_key(text: str) -> bool:
    """Tell whether a text holds something that looks like a key."""
    return _KEY_LIKE.search(text) is not None


def _bare(text: str) -> str:
    """Leave letters and digits alone, in one case: what separates, doubles or decorates them is gone."""
    if text.isascii():
        return re.sub(r"[^a-z0-9]", "", text.lower())
    plain = unicodedata.normalize("NFKD", harmless(text))
    return "".join(character for character in plain if character.isalnum()).casefold()


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is, unescaped, decoded and read backwards."""
    for reading in dict.fromkeys((text, html.unescape(text), unquote(text), _unescaped(text), *_decoded(text))):
        for direction in (reading, reading[::-1]):
            yield direction
            yield codecs.encode(direction, "rot13")


def _unescaped(text: str) -> str:
    return re.sub(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))", lambda code: chr(int(code[1] or code[2], 16)), text)


def _decoded(text: str) -> Iterator[str]:
    """Yield what a text says in base64, base32, hexadecimal and character codes, each kind joined."""
    joined = re.sub(r"\s+", "", text)
    for source in dict.fromkeys((text, joined, joined[::-1])):
        tokens = [match[0].rstrip("=") for match in _ENCODED.finditer(source)]
        yield "".join(piece for token in tokens for piece in _from_base64(token))
        yield "".join(piece for token in tokens for piece in _from_base32(token))
        digits = (re.sub(r"[^0-9A-Fa-f]", "", match[0]) for match in _HEX.finditer(source))
        yield "".join(bytes.fromhex(found[: len(found) // 2 * 2]).decode("ascii", "ignore") for found in digits)
    for base in (8, 10, 16):
        codes = (_CODE.findall(match[0]) for match in _CODES.finditer(text))
        yield "".join(_character(code, base) for found in codes for code in found)


def _character(code: str, base: int) -> str:
    try:
        return chr(int(code, base))
    except (ValueError, OverflowError):
        return ""


def _from_base64(token: str) -> Iterator[str]:
    """Decode either alphabet at every alignment, so that what stands before does not matter."""
    plain = token.replace("-", "+").replace("_", "/")
    for start in range(4):
        piece = plain[start : start + (len(plain) - start) // 4 * 4]
        yield base64.b64decode(piece).decode("ascii", "ignore")


def _from_base32(token: str) -> Iterator[str]:
    plain = token.upper()
    for start in range(8):
        piece = plain[start : start + (len(plain) - start) // 8 * 8]
        with suppress(binascii.Error):
            yield base64.b32decode(piece).decode("ascii", "ignore")
