"""What a name may be, whoever gives it: a few words about what is seen, and nothing that reads as a measurement.

Owns the rules for names that language models reply, that people type and that a user's own program gives. Must not
know replies, tables or files.
"""

from __future__ import annotations

import re

from precompute.errors import ReplyError
from precompute.llm.text import checked_line, clean_line

MAX_WORDS = 5
MAX_WORDS_KEPT = 8
"""A reply's name between the two is asked for shorter, and kept where no shorter one comes."""
MAX_NAME = 60
MAX_DESCRIPTION = 400


class LongNameError(ReplyError):
    """A name that is right but for its length; `names` holds the cleaned name and second name."""

    def __init__(self, reason: str, names: tuple[str, str]) -> None:
        super().__init__(reason)
        self.names = names


_JARGON = re.compile(
    r"\b(relevance|activations?|relmax|actmax|heat ?maps?|neurons?|contact sheet|reference images?)\b", re.IGNORECASE
)


def checked_names(name: str, second_name: str) -> tuple[str, str]:
    """Return a name and a second name as clean lines; the second is empty where there is only one.

    Raises
    ------
    ReplyError
        An empty name, a second that repeats it, too many words or characters, a digit, a share, braces or other
        markup, an address, or talk of the network; says which of the two names and what was found.
    """
    first = _checked_name(name, "name")
    if not first:
        raise ReplyError("name is empty")
    second = _checked_name(second_name, "second_name")
    if second.casefold() == first.casefold():
        raise ReplyError("second_name repeats name; leave it empty where the images form one group")
    if long := max((first, second), key=lambda name: len(name.split())):
        n_words = len(long.split())
        if n_words > MAX_WORDS:
            which = "name" if long == first else "second_name"
            raise LongNameError(f"{which} has {n_words} words; at most {MAX_WORDS} are allowed", (first, second))
    return first, second


def kept_names(name: str, second_name: str) -> tuple[str, str]:
    """Return names as `checked_names` does, and long ones as they are: for names that are not asked for again.

    Raises
    ------
    ReplyError
        As `checked_names`, but for their length in words.
    """
    try:
        return checked_names(name, second_name)
    except LongNameError as error:
        return error.names


def checked_measurement(text: str, field_name: str) -> str:
    """Return what a program says of its measurements as a clean line; unlike a guesser's words it may hold numbers.

    Raises
    ------
    ReplyError
        It is too long.
    """
    line = clean_line(text)
    if len(line) > MAX_DESCRIPTION:
        raise ReplyError(f"{field_name} is {len(line)} characters long; at most {MAX_DESCRIPTION} are allowed")
    return line


def _checked_name(text: str, field_name: str) -> str:
    name = checked_line(text, field_name, longest=MAX_NAME).strip(" .\"'“”")
    if len(name.split()) > MAX_WORDS_KEPT:
        raise ReplyError(f"{field_name} has {len(name.split())} words; at most {MAX_WORDS} are allowed")
    if match := _JARGON.search(name):
        raise ReplyError(f"{field_name} speaks of the sheet or the network ({match.group()!r}), not of what is seen")
    return name
