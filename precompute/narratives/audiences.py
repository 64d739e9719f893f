"""Audiences: for whom a text is written, which facts concern them, how long and how precise it is.

A new audience is one record here and one message file for each language. Must not know sentences or language models.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from precompute.errors import ConfigError
from precompute.explanations.prediction import PredictionTable
from precompute.records import Fact


@dataclass(frozen=True)
class Audience:
    """One audience.

    Attributes
    ----------
    name : str
        As in the config and in the names of message files.
    who : str
        For whom and to what end, for whoever plans a text.
    kinds : tuple of str
        The kinds of facts that concern it, in the order in which a text goes through them.
    droppable : tuple of (str, int)
        Kinds that give way where a text would be too long, the first to go first, and how many facts of the kind stay
        at that point.
    grouped : frozenset of str
        Kinds whose facts are listed in one sentence where they stand together.
    words : tuple of int
        Fewest and most words of a text; must-tell facts may go beyond.
    decimals : int
        Of a percentage.
    has_tables : bool
        Each layer's numbers stand in a table, and sentences do without them; all layers are told.
    """

    name: str
    who: str
    kinds: tuple[str, ...]
    droppable: tuple[tuple[str, int], ...]
    grouped: frozenset[str]
    words: tuple[int, int]
    decimals: int
    has_tables: bool = False

    def group(self, fact: Fact) -> tuple[str, ...]:
        """Tell with which facts a fact can be listed: those of the same group; empty where with none."""
        if fact.kind not in self.grouped:
            return ()
        level = fact.words.get("level", "") if fact.kind == "usual" else ""
        return fact.kind, fact.layer, fact.words.get("side", ""), level

    def concerns(self, facts: Iterable[Fact], table: PredictionTable) -> tuple[Fact, ...]:
        """Choose the facts that concern the audience, in the order of `kinds`."""
        return self.of_layer(facts, table.main.layer if table.main else "")

    def of_layer(self, facts: Iterable[Fact], main: str) -> tuple[Fact, ...]:
        """Choose the facts that concern the audience where `main` is the layer that most of the score went through."""
        chosen = (fact for fact in facts if fact.kind in self.kinds)
        if not self.has_tables:
            chosen = (fact for fact in chosen if fact.layer in ("", main))
        return tuple(sorted(chosen, key=lambda fact: self.kinds.index(fact.kind)))


STAKEHOLDER = Audience(
    name="stakeholder",
    who="somebody who has to answer for the network's use and knows nothing of networks: a manager, an auditor, a "
    "customer. They want to know what was decided, on what that rests, what speaks against it, and what to be careful "
    "about.",
    kinds=(
        "decision", "verdict", "negative_score", "doubt", "mark_leads", "lead", "dominance", "supports", "namesakes",
        "same_place", "opposes", "no_opposition", "no_support", "mark", "scene", "mixed_name", "usual", "class_only",
        "other_class", "no_relevance", "absent", "contrast", "shared", "coverage", "beside", "concentration",
        "runner_up",
        "accuracy", "other_layers", "name_band", "names", "method",
    ),
    droppable=(
        ("same_place", 0), ("concentration", 0), ("shared", 0), ("supports", 3), ("opposes", 2), ("namesakes", 0),
        ("dominance", 0), ("runner_up", 0), ("scene", 0), ("contrast", 0), ("supports", 2), ("opposes", 1),
        ("accuracy", 0), ("name_band", 0), ("no_opposition", 0), ("class_only", 0), ("absent", 0), ("usual", 0),
        ("other_class", 0), ("mixed_name", 0), ("supports", 1), ("verdict", 0),
    ),
    grouped=frozenset({"supports", "opposes"}),
    words=(70, 130),
    decimals=0,
)  # fmt: skip

EXPERT = Audience(
    name="expert",
    who="a specialist who knows layer-wise relevance propagation and has the table of shares beside the text. They "
    "want what the table does not show at a glance: what is unusual, what separates the classes, where to doubt.",
    kinds=(
        "decision", "verdict", "runner_up", "negative_score", "doubt", "accuracy", "mark_leads", "lead", "dominance",
        "coverage", "beside", "concentration", "balance", "split", "layer_sum", "no_relevance", "no_opposition",
        "no_support", "usual", "class_only", "other_class", "absent", "contrast", "shared", "namesakes", "same_place",
        "mark", "scene", "mixed_name", "names", "method",
    ),
    droppable=(("same_place", 0), ("no_opposition", 0), ("shared", 0), ("lead", 0), ("dominance", 0), ("scene", 0)),
    grouped=frozenset({"usual", "class_only", "contrast", "shared", "mark", "scene", "mixed_name"}),
    words=(60, 260),
    decimals=1,
    has_tables=True,
)  # fmt: skip

AUDIENCES = {audience.name: audience for audience in (STAKEHOLDER, EXPERT)}
"""Every audience by name."""


def find_audience(name: str) -> Audience:
    """Return an audience; raises ConfigError for a name that is none."""
    if name not in AUDIENCES:
        known = ", ".join(repr(known) for known in AUDIENCES)
        raise ConfigError(f"there is no audience {name!r} in [explaining] audiences: the audiences are {known}")
    return AUDIENCES[name]
