"""Records of what is said of one prediction: facts, and sentences as pieces. Import them from `records`.

A sentence is never stored as prose alone: each number, concept, class and layer in it is a piece of its own, so that a
reader of the record knows what it belongs to without parsing a language.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .named import Author

BUILT_IN = "built-in"
"""The planner of a text that no language model planned."""

Unit = Literal["share", "probability", "score", "activation", "count", "index"]
"""A share or a probability is a fraction of 1; a score is in units of the logit; an index is a place in a list."""


@dataclass(frozen=True)
class Quantity:
    """A number of the table.

    Attributes
    ----------
    name : str
        What it measures, for example ``share`` or ``probability``; `docs/wording.md` says more.
    of : tuple of str
        The concepts (keys), layers or classes (indices as text) that it belongs to; empty for the prediction itself.
    value : float
        Signed, never rounded. A sentence prints a share without its sign, which it tells in words.
    unit : {"share", "probability", "score", "activation", "count", "index"}
    """

    name: str
    of: tuple[str, ...]
    value: float
    unit: Unit = "share"


@dataclass(frozen=True)
class Fact:
    """One thing that is true of one prediction, because the condition of its kind holds in the table.

    Attributes
    ----------
    id : str
        Unique within its target: kind and subject, for example ``supports:C2``.
    kind : str
        One of `precompute.narratives.facts.FACT_KINDS`.
    layer : str
        The layer it speaks of; empty where it speaks of the whole prediction.
    concepts : tuple of str
        Keys, in the order spoken of.
    classes : dict of str to int
        Class indices by role, for example ``runner_up``.
    numbers : dict of str to Quantity
        By role.
    words : dict of str to str
        Words of closed vocabularies by role, for example ``place`` or ``level``; never text from outside.
    must : bool
        A narrative without it would keep something back.
    polarity : int
        +1 where it speaks for trusting the class, -1 where it speaks against it, 0 where neither.
    """

    id: str
    kind: str
    layer: str = ""
    concepts: tuple[str, ...] = ()
    classes: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, Quantity] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    must: bool = False
    polarity: int = 0


@dataclass(frozen=True)
class Piece:
    """A part of a sentence.

    Attributes
    ----------
    kind : {"text", "concept", "class", "layer", "number"}
    text : str
        As printed. Of a concept, a class or a layer it is untrusted until escaped.
    concept : str
        Key; empty unless it is the name of a concept.
    class_index : int or None
        Set for the name of a class.
    quantity : Quantity or None
        Set for a number: what was printed.
    language : str
        Code of the language of a concept's name where that is known to be another than the sentence's; else empty.
    """

    kind: Literal["text", "concept", "class", "layer", "number"]
    text: str
    concept: str = ""
    class_index: int | None = None
    quantity: Quantity | None = None
    language: str = ""


@dataclass(frozen=True)
class Statement:
    """One sentence.

    Attributes
    ----------
    pieces : tuple of Piece
    facts : tuple of str
        Ids of the facts that it says.
    """

    pieces: tuple[Piece, ...]
    facts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The sentence as a reader sees it. Untrusted until escaped."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Keys of the concepts named, each once."""
        return tuple(dict.fromkeys(piece.concept for piece in self.pieces if piece.concept))


Cell = tuple[Piece, ...]


@dataclass(frozen=True)
class NarrativeTable:
    """Numbers that read better in rows than in sentences.

    Attributes
    ----------
    caption : tuple of Piece
    header : tuple of str
    rows : tuple of rows
        Each row is as long as the header; its first cell names what the row is about. A cell without pieces has no
        value.
    """

    caption: Cell
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Paragraph:
    """Sentences that belong together, and the table behind them, if there is one."""

    statements: tuple[Statement, ...] = ()
    table: NarrativeTable | None = None


@dataclass(frozen=True)
class Refusal:
    """A plan of a language model that could not be used, and why."""

    reason: str
    reply: str
    attempt: int


@dataclass(frozen=True)
class OwnWords:
    """What a language model wrote itself: checked by a model, and not true by construction.

    Attributes
    ----------
    author, checker : str
        ``llm:<model>``: who wrote the sentences, and who compared each of them with its facts.
    statements : tuple of Statement
        The sentences that passed. Their text is the model's and untrusted until escaped; numbers, names, classes,
        layers and places in it are pieces that the program put in.
    facts : tuple of Statement
        The program's own wording of each fact that a sentence names.
    refused : tuple of Refusal
        Sentences, or whole replies, that were not let through.
    prompt_digests : tuple of str
        SHA-256 of the prompt for writing and of that for checking.
    """

    author: str
    checker: str
    statements: tuple[Statement, ...]
    facts: tuple[Statement, ...]
    refused: tuple[Refusal, ...] = ()
    prompt_digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse authors that are none."""
        _ = Author.parse(self.author), Author.parse(self.checker)


@dataclass(frozen=True)
class Narrative:
    """The words of one explanation for one audience.

    Attributes
    ----------
    audience : str
    planner : str
        Who chose and ordered the facts: ``built-in`` or ``llm:<model>``. The program words them in either case.
    headline : Statement
    paragraphs : tuple of Paragraph
    language : str
    added : tuple of str
        Ids of the facts that the plan had left out and that must be told.
    adjusted : tuple of str
        What else of the plan was not followed, and why; in words.
    facts_digest, wording_digest, prompt_digest : str
        SHA-256 of the facts, of the messages and of the prompt that the words were made from; the last is empty where
        no language model was asked.
    refusals : tuple of Refusal
        Plans that could not be used; shown to the reader.
    own_words : OwnWords or None
        Only where ``explaining.own_words`` asks for it.
    """

    audience: str
    planner: str
    headline: Statement
    paragraphs: tuple[Paragraph, ...]
    language: str = "en"
    added: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    facts_digest: str = ""
    wording_digest: str = ""
    prompt_digest: str = ""
    refusals: tuple[Refusal, ...] = ()
    own_words: OwnWords | None = None

    def __post_init__(self) -> None:
        """Refuse a planner that is none."""
        _ = self.planned_by

    @property
    def planned_by(self) -> str:
        """The language model that chose and ordered the facts; empty for the built-in plan. Untrusted until escaped."""
        return "" if self.planner == BUILT_IN else Author.parse(self.planner).label

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Every sentence in reading order, the headline first."""
        return (self.headline, *(item for paragraph in self.paragraphs for item in paragraph.statements))
