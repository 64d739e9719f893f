"""Descriptions of measurements in the language of the texts.

Owns how colours, shapes, places and classes become a phrase, by the messages of
``prompts/wording/<language>/looks.ftl``. Must not know how they were measured.
"""

from __future__ import annotations

from precompute.llm.text import clean_line
from precompute.naming.offline import Looks
from precompute.records.narrated import Piece

from .wording import DEFAULT_LANGUAGE, Slots, Wording, language_of_texts, message_folder

FILE = "looks"


class LookWording:
    """The phrasebook of one language, for the offline namer.

    Parameters
    ----------
    language : str
        One that has a message file for it.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._wording = Wording(language, FILE, decimals=1)

    def phrase(self, looks: Looks) -> str:
        """Return the description, in the middle of a sentence.

        Parameters
        ----------
        looks : Looks

        Raises
        ------
        ConfigError
            The messages lack one of its terms; names it.
        """
        wording, slots = self._wording, Slots()
        if looks.mark:
            text = wording.format("mark", {"place": self._term("mark-place", looks.mark)})
        elif not looks.shape:
            text = wording.format("no-look", {})
        else:
            form = wording.format(f"form-{_id(looks.shape)}", {})
            colours = [wording.format(f"colour-{_id(colour)}", {"form": form}) for colour in looks.colours]
            given = {"shape": self._term("shape", looks.shape), "colours": wording.and_list(colours)}
            text = wording.format("look", {**given, "place": wording.place(looks.place)})
        if looks.classes:
            classes = [slots.hold(Piece("class", clean_line(name))) for name in looks.classes]
            text = wording.format("mostly", {"phrase": text, "classes": wording.and_list(classes)})
        return " ".join("".join(piece.text for piece in slots.pieces(text)).split())

    def _term(self, kind: str, term: str) -> str:
        return self._wording.format(f"{kind}-{_id(term)}", {})


def find_looks(language: str) -> LookWording | None:
    """Return the phrasebook for texts in a language such as ``de-CH``; None for English and where there is no file."""
    code = language_of_texts(language)
    if code == DEFAULT_LANGUAGE or not (message_folder() / code / f"{FILE}.ftl").is_file():
        return None
    return LookWording(code)


def _id(term: str) -> str:
    return term.replace(" ", "-")
