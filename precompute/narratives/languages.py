"""The languages that narratives can be written in.

Owns the choice of a language by its code. Must not know what is written in it.
"""

from __future__ import annotations

from dataclasses import replace

from .english import ENGLISH
from .german import GERMAN
from .language import Language

KNOWN_LANGUAGES = {language.code: language for language in (ENGLISH, GERMAN)}


def find_language(code: str) -> Language:
    """Return the language of a code such as ``de`` or ``de-CH``.

    A language that the project does not know has its own number marks, English quotes and phrases, no sentences of
    its own and no lexicon: generated narratives are then English, and of the checks only the structural ones hold.
    """
    known = KNOWN_LANGUAGES.get(code.lower().replace("_", "-").partition("-")[0])
    return known or replace(ENGLISH, code=code, list_end=", ", sentences={}, lexicon=None)
