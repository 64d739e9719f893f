"""Wording: message files in, clauses out, and out of clauses pieces.

Owns the format of ``prompts/wording/<language>/<audience>.ftl`` and how a number, a concept, a class or a place gets
into a sentence without ever passing through a formatter: messages are formatted with marks in the places of values,
and the marks are replaced by pieces afterwards. So a name cannot change a sentence, whatever it holds. Must not know
which facts there are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable

from babel import Locale, UnknownLocaleError
from babel.lists import format_list
from fluent.runtime import FluentBundle, FluentResource
from fluent.runtime.types import FluentType
from fluent.syntax import ast

from precompute.errors import ConfigError
from precompute.llm.text import clean_line
from precompute.printing import numbers
from precompute.records import LocalName
from precompute.records.narrated import Piece, Quantity

DEFAULT_LANGUAGE = "en"
_MARK = re.compile("\ue000([0-9]+)\ue001")
_PLAIN = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*", re.UNICODE)
"""Words and what joins them: letters, blanks, hyphens and apostrophes."""


class _MarkedCount(FluentType):
    """A count: equal to its plural category where a message chooses a form, and printed as a mark."""

    def __init__(self, category: str, mark: str) -> None:
        self._category, self._mark = category, mark

    def __eq__(self, other: object) -> bool:
        return other == self._category

    def __hash__(self) -> int:
        return hash(self._category)

    def __str__(self) -> str:
        return self._mark

    def format(self, locale: Locale) -> str:
        return self._mark


Argument = str | _MarkedCount


class Slots:
    """The values of one sentence: each is held as pieces and stands in the text as a mark."""

    def __init__(self) -> None:
        self._held: list[tuple[Piece, ...]] = []

    def hold(self, *pieces: Piece) -> str:
        """Keep pieces and return the mark that stands for them."""
        self._held.append(pieces)
        return f"\ue000{len(self._held) - 1}\ue001"

    def pieces(self, text: str) -> tuple[Piece, ...]:
        """Cut a formatted text at its marks and put in what they stand for."""
        found: list[Piece] = []
        for position, part in enumerate(_MARK.split(text)):
            if position % 2:
                found += self._held[int(part)]
            elif part:
                found.append(Piece("text", part))
        return joined(found)


def joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Join neighbouring pieces of text."""
    made: list[Piece] = []
    for piece in pieces:
        if made and made[-1].kind == piece.kind == "text":
            made[-1] = Piece("text", made[-1].text + piece.text)
        elif piece.text:
            made.append(piece)
    return tuple(made)


class Wording:
    """The messages of one language for one audience.

    Parameters
    ----------
    language : str
        One of `languages()`.
    audience : str
    decimals : int
        Of percentages.
    folder : Traversable, optional
        The folder of message files; the project's own by default.

    Raises
    ------
    ConfigError
        A file is missing, or a line in it is no message; says which.
    """

    def __init__(self, language: str, audience: str, decimals: int, folder: Traversable | None = None) -> None:
        self.language, self._decimals = language, decimals
        self._locale = _locale(language)
        self._bundle = FluentBundle([language], use_isolating=False)
        digest = hashlib.sha256()
        for name in ("common", audience):
            content = _read(folder or message_folder(), language, name)
            self._bundle.add_resource(_parsed(content, f"{language}/{name}.ftl"), allow_overrides=True)
            digest.update(content.encode())
        self.digest = digest.hexdigest()
        self._articles = frozenset(str(self.format("articles", {})).split())
        self._joiners = frozenset(str(self.format("joiners", {})).split()) if self.has("joiners") else frozenset()

    def has(self, message: str) -> bool:
        """Whether there is a message of that id."""
        return self._bundle.has_message(message)

    def n_variants(self, message: str) -> int:
        """Count the variants of a message: itself and its attributes."""
        return 1 + len(self._bundle.get_message(message).attributes)

    def format(self, message: str, arguments: Mapping[str, Argument], variant: int = 0) -> str:
        """Format one variant of a message.

        Raises
        ------
        ConfigError
            There is no such message, or it uses a value that facts of its kind do not have.
        """
        if not self.has(message):
            raise ConfigError(f"the message files of language {self.language!r} have no message {message!r}: add it")
        found = self._bundle.get_message(message)
        patterns = [found.value, *found.attributes.values()]
        pattern = patterns[variant % len(patterns)]
        if pattern is None:
            raise ConfigError(f"the message {message!r} of language {self.language!r} has no text: write it")
        text, errors = self._bundle.format_pattern(pattern, dict(arguments))
        if errors:
            raise ConfigError(f"the message {message!r} of language {self.language!r} cannot be worded: {errors[0]}")
        return " ".join(str(text).split(" ")).replace(" ,", ",")

    def and_list(self, items: Sequence[str]) -> str:
        """List clauses or names in a sentence."""
        return format_list(list(items), style="standard", locale=self._locale)

    # --- values ------------------------------------------------------------------------------------------------

    def number(self, slots: Slots, quantity: Quantity) -> Argument:
        """Hold a number; a count also chooses plural forms."""
        if quantity.unit in ("count", "index"):
            mark = slots.hold(Piece("number", self.printed(quantity), quantity=quantity))
            return _MarkedCount(self._locale.plural_form(int(quantity.value)), mark)
        return slots.hold(Piece("number", self._bounded(self.printed(quantity)), quantity=quantity))

    def plural(self, number: int) -> str:
        """Return the plural category of a number that is not printed."""
        return self._locale.plural_form(number)

    def printed(self, quantity: Quantity, *, signed: bool = False) -> str:
        """Print a number; a share without its sign, unless it is asked for."""
        value, language = quantity.value, self.language
        if quantity.unit == "count":
            return numbers.count(value, language)
        if quantity.unit == "index":
            return numbers.rank(int(value))
        if quantity.unit == "score":
            return numbers.decimal(value, language)
        if quantity.unit == "activation":
            return numbers.significant(value, 4, language)
        if quantity.unit == "probability":
            return numbers.probability(value, language, self._decimals)
        return (
            numbers.signed_percent(value, language) if signed else numbers.percent(abs(value), language, self._decimals)
        )

    def _bounded(self, text: str) -> str:
        """Word a bound, such as ``< 1 %``."""
        for sign, message in (("<", "less-than"), (">", "more-than")):
            if text.startswith(sign):
                return self.format(message, {"number": text[1:].lstrip(numbers.NO_BREAK)})
        return text

    def class_name(self, slots: Slots, name: str, index: int | None) -> str:
        """Hold the name of a class; one that could be read as part of the sentence gets quotes."""
        message = "class" if self._is_plain(name) else "class-marked"
        return self._held(slots, message, {"name": Piece("class", clean_line(name), class_index=index)})

    def concept(self, slots: Slots, key: str, name: LocalName, *, again: bool = False, described: bool = False) -> str:
        """Hold a concept, with its article where the language has one.

        A description, a name in another language, and a name that could be read as part of the sentence stand in
        quotes.
        """
        if name.second_name.strip():
            return self._mixed(slots, key, name)
        if described or self.is_foreign(name) or not self._is_plain(clean_line(name.name)):
            message = "concept-described" if described else "concept-marked"
            whole = self.name_piece(key, name.name, name.language)
            return self._held(slots, f"{message}-again" if again else message, {"name": whole})
        bare = {"name": self.name_piece(key, self._bare(name.name), name.language)}
        return self._held(slots, "concept-again" if again else "concept", bare)

    def _mixed(self, slots: Slots, key: str, name: LocalName) -> str:
        both = {"name": clean_line(name.name), "second": clean_line(name.second_name)}
        are_plain = not self.is_foreign(name) and all(self._is_plain(text) for text in both.values())
        bare = {role: self._bare(text) if are_plain else text for role, text in both.items()}
        pieces = {role: self.name_piece(key, text, name.language) for role, text in bare.items()}
        return self._held(slots, "concept-mixed" if are_plain else "concept-mixed-marked", pieces)

    def table_concept(self, slots: Slots, key: str, name: LocalName) -> str:
        """Hold a concept as it stands in a table: without an article."""
        pieces = {"name": self.name_piece(key, name.name, name.language)}
        if name.second_name.strip():
            pieces["second"] = self.name_piece(key, name.second_name, name.language)
        return self._held(slots, "cell-mixed" if "second" in pieces else "cell", pieces)

    def is_foreign(self, name: LocalName) -> bool:
        """Whether a name is known to be in another language than these messages."""
        return name.language not in ("", self.language)

    def name_piece(self, key: str, text: str, language: str) -> Piece:
        """Make the piece of a concept's name; it holds its language where that is not the sentence's."""
        return Piece("concept", clean_line(text), concept=key, language="" if language == self.language else language)

    def unnamed(self, slots: Slots, key: str) -> str:
        """Hold a concept that has no name; its channel is where the name would be."""
        return self._held(slots, "concept-unnamed", {"channel": Piece("concept", key.rpartition(":")[2], concept=key)})

    def layer(self, slots: Slots, name: str) -> str:
        """Hold the path of a layer."""
        return slots.hold(Piece("layer", clean_line(name)))

    def place(self, words: str) -> str:
        """Say where, for the words of a `Place`; empty where it is nowhere."""
        message = f"place-{words.replace(' ', '-')}"
        return self.format(message, {}) if words and self.has(message) else ""

    def _is_plain(self, name: str) -> bool:
        """Whether a name cannot be read as part of the sentence: words alone, none of which joins clauses."""
        return _PLAIN.fullmatch(name) is not None and self._joiners.isdisjoint(name.casefold().split())

    def _held(self, slots: Slots, message: str, pieces: Mapping[str, Piece]) -> str:
        """Format a message around pieces and hold the whole of it."""
        inner = Slots()
        text = self.format(message, {role: inner.hold(piece) for role, piece in pieces.items()})
        return slots.hold(*inner.pieces(text))

    def _bare(self, name: str) -> str:
        first, _, rest = clean_line(name).partition(" ")
        return rest if rest and first.casefold() in self._articles else clean_line(name)


@lru_cache
def find_wording(language: str, audience: str, decimals: int) -> Wording:
    """Return the project's messages for a language such as ``de`` or ``de-CH``; English where it has none."""
    return Wording(language_of_texts(language), audience, decimals)


def language_of_texts(language: str) -> str:
    """Tell in which language texts are written where one such as ``de-CH`` is asked for."""
    known = languages()
    return next((code for code in (language, re.split("[-_]", language)[0]) if code in known), DEFAULT_LANGUAGE)


def message_folder() -> Traversable:
    """Return the folder of the project's message files."""
    return resources.files("prompts") / "wording"


def languages() -> tuple[str, ...]:
    """List the languages that have message files."""
    return tuple(sorted(item.name for item in message_folder().iterdir() if item.is_dir() and "_" not in item.name))


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        raise ConfigError(
            f"the message files of {language!r} belong to no known language: name their folder by a code such as 'de'"
        ) from error


def _read(folder: Traversable, language: str, name: str) -> str:
    path = folder / language / f"{name}.ftl"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"there is no message file {language}/{name}.ftl: write it beside those of another language"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the message file {language}/{name}.ftl is not UTF-8: save it as UTF-8") from error


def _parsed(content: str, name: str) -> ast.Resource:
    resource = FluentResource(content)
    seen: set[str] = set()
    for entry in resource.body:
        line = content.count("\n", 0, entry.span.start) + 1 if entry.span else 0
        if isinstance(entry, ast.Junk):
            problem = entry.annotations[0].message if entry.annotations else "no message"
            raise ConfigError(f"the message file {name}, line {line}, cannot be read: {problem}")
        if isinstance(entry, ast.Message):
            if entry.id.name in seen:
                raise ConfigError(f"the message file {name}, line {line}, gives {entry.id.name!r} twice: keep one")
            seen.add(entry.id.name)
    return resource
