"""Plans: which facts a text tells, in which order, and which of them stand in one sentence.

Owns what a plan is, the plan that is made without a language model, and the rules that turn any plan into one that
keeps nothing back: facts that must be told are put in at their place, relations that do not hold are dropped, nothing
is told twice. Must not know sentences, languages or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from precompute.explanations.prediction import PredictionTable
from precompute.records import Fact

from .audiences import Audience
from .facts import FACT_KINDS

Relation = Literal["also", "but", "same"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
"""How facts of one sentence stand together: in addition, in contrast, or the same thing seen by several concepts."""

MAX_FACTS_IN_SENTENCE = 2
"""Facts of different kinds in one sentence; more read like a list."""
MAX_HEADLINE = 2


@dataclass(frozen=True)
class Sentence:
    """Facts that stand together, by id, and how."""

    facts: tuple[str, ...]
    relation: Relation = "also"


@dataclass(frozen=True)
class Plan:
    """The facts of one text in their order.

    Attributes
    ----------
    headline : Sentence
    paragraphs : tuple of tuple of Sentence
    """

    headline: Sentence
    paragraphs: tuple[tuple[Sentence, ...], ...]

    def facts(self) -> list[str]:
        """List the ids of all facts in reading order."""
        sentences = [self.headline, *(item for paragraph in self.paragraphs for item in paragraph)]
        return [fact for sentence in sentences for fact in sentence.facts]

    def without(self, fact_id: str) -> Plan:
        """Leave a fact out."""
        kept = tuple(
            tuple(replace(item, facts=tuple(fact for fact in item.facts if fact != fact_id)) for item in paragraph)
            for paragraph in self.paragraphs
        )
        headline = replace(self.headline, facts=tuple(fact for fact in self.headline.facts if fact != fact_id))
        return Plan(headline, tuple(filter(None, (tuple(s for s in paragraph if s.facts) for paragraph in kept))))


@dataclass(frozen=True)
class SettledPlan:
    """A plan that may be worded.

    Attributes
    ----------
    plan : Plan
    added : tuple of str
        Facts that must be told and were not in it.
    adjusted : tuple of str
        What else was changed, in words.
    """

    plan: Plan
    added: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()


# --- without a language model ----------------------------------------------------------------------------------


def built_in_plan(facts: Sequence[Fact], table: PredictionTable, audience: Audience) -> Plan:
    """Plan a text of everything that concerns the audience, in the audience's order.

    Parameters
    ----------
    facts : sequence of Fact
        Those that concern the audience.
    table : PredictionTable
    audience : Audience
    """
    headline = _headline(facts)
    rest = [fact for fact in facts if fact.id not in headline.facts and not _is_superfluous(fact, facts, audience)]
    layers = [layer.layer for layer in table.layers] if audience.has_tables else [""]
    places = [("concepts", ""), *((part, layer) for layer in layers for part in ("concepts", "whole")), ("limits", "")]
    paragraphs: dict[tuple[str, str], list[Sentence]] = {place: [] for place in (*places[1:-1], *places)}
    for fact in _by_subject(rest, audience):
        _append(paragraphs[_paragraph_of(fact, audience)], fact, facts, audience)
    return Plan(headline, tuple(tuple(paragraphs[place]) for place in dict.fromkeys(places) if paragraphs[place]))


def _paragraph_of(fact: Fact, audience: Audience) -> tuple[str, str]:
    """Tell the part of a text, and where there are tables the layer, to which a fact belongs."""
    topic = FACT_KINDS[fact.kind].topic
    if topic == "limits" or fact.kind in ("accuracy", "other_layers"):
        return "limits", ""
    layer = fact.layer if audience.has_tables else ""
    in_whole = topic == "whole" or fact.kind in ("absent", "contrast", "shared")
    if fact.kind == "runner_up":
        return ("concepts" if audience.has_tables else "whole"), ""
    return ("whole" if in_whole else "concepts"), layer


def _headline(facts: Sequence[Fact]) -> Sentence:
    """Join the decision to what is most worth knowing of it."""
    by_kind = {fact.kind: fact for fact in sorted(facts, key=lambda fact: fact.must)}
    found = [by_kind[kind] for kind in ("verdict", "mark_leads") if kind in by_kind]
    found = [fact for fact in found if fact.must or fact.kind == "verdict"]
    second = next((fact for fact in found if fact.must), found[0] if found else None)
    if second is None:
        return Sentence(("decision",))
    return Sentence(("decision", second.id), "but" if second.polarity < 0 else "also")


def _is_superfluous(fact: Fact, facts: Sequence[Fact], audience: Audience) -> bool:
    """Leave out what only repeats another fact, and most of what could be said of single concepts."""
    if fact.must:
        return False
    leads = {key for other in facts if other.kind in ("lead", "mark") for key in other.concepts}
    if fact.kind in ("class_only", "name_band") or (fact.kind in ("usual", "other_class") and not audience.has_tables):
        return not leads.intersection(fact.concepts)
    if fact.kind in ("contrast", "shared") and not audience.has_tables:
        first = next(other for other in facts if other.kind == fact.kind)
        return fact.id != first.id
    return fact.kind == "usual" and fact.words["level"] == "same"


def _by_subject(facts: Sequence[Fact], audience: Audience) -> Iterable[Fact]:
    """Order facts as the audience reads them, but put what is said of one concept behind its first mention."""
    left = list(facts)
    while left:
        fact = left.pop(0)
        yield fact
        if fact.kind in ("lead", "mark_leads") and not audience.has_tables:
            about = [other for other in left if other.concepts == fact.concepts and other.kind in _ABOUT_ONE]
            for other in about:
                left.remove(other)
                yield other


_ABOUT_ONE = ("usual", "class_only", "other_class", "mark", "scene", "dominance")


def _append(sentences: list[Sentence], fact: Fact, facts: Sequence[Fact], audience: Audience) -> None:
    """Add a fact, to an earlier sentence where it belongs there."""
    known = {other.id: other for other in facts}
    for position, sentence in enumerate(sentences):
        if audience.group(fact) and audience.group(known[sentence.facts[-1]]) == audience.group(fact):
            sentences[position] = replace(sentence, facts=(*sentence.facts, fact.id))
            return
    if sentences and (known[sentences[-1].facts[-1]].kind, fact.kind) in _JOINED:
        sentences[-1] = replace(sentences[-1], facts=(*sentences[-1].facts, fact.id), relation="also")
    else:
        sentences.append(Sentence((fact.id,)))


_JOINED = {("usual", "class_only"), ("negative_score", "doubt"), ("concentration", "balance")}
"""Pairs of kinds that read better in one sentence."""


# --- any plan --------------------------------------------------------------------------------------------------


def settle(plan: Plan, facts: Sequence[Fact], table: PredictionTable, audience: Audience) -> SettledPlan:
    """Make of any plan one that says nothing twice, claims no relation that does not hold, and keeps nothing back.

    Parameters
    ----------
    plan : Plan
        Every id in it is one of `facts`.
    facts : sequence of Fact
        Those that concern the audience.
    table : PredictionTable
    audience : Audience
    """
    known = {fact.id: fact for fact in facts}
    adjusted: list[str] = []
    headline = _settled_headline(plan.headline, known, adjusted)
    seen = set(headline.facts)
    paragraphs: list[tuple[Sentence, ...]] = []
    for paragraph in plan.paragraphs:
        sentences: list[Sentence] = []
        for sentence in paragraph:
            fresh = tuple(dict.fromkeys(fact for fact in sentence.facts if fact in known and fact not in seen))
            if len(fresh) < len(sentence.facts):
                adjusted.append("a fact is told once")
            seen.update(fresh)
            sentences += _parted(replace(sentence, facts=fresh), known, table, audience, adjusted)
        if merged := _merged(sentences, known, audience):
            paragraphs.append(merged)
    settled = Plan(headline, tuple(paragraphs))
    missing = [fact for fact in facts if fact.must and fact.id not in seen and not _stands_in_table(fact, audience)]
    for fact in missing:
        settled = _with(settled, fact, facts, audience)
    return SettledPlan(settled, tuple(fact.id for fact in missing), tuple(dict.fromkeys(adjusted)))


def _settled_headline(headline: Sentence, known: dict[str, Fact], adjusted: list[str]) -> Sentence:
    """Let a headline be the decision, or the decision and one fact more."""
    chosen = [fact for fact in dict.fromkeys(headline.facts) if fact in known and fact != "decision"]
    fitting = [fact for fact in chosen if known[fact].kind in _HEADLINES][: MAX_HEADLINE - 1]
    if "decision" not in headline.facts or len(fitting) < len(chosen):
        adjusted.append("the headline tells the decision and at most one fact that fits beside it")
    facts = ("decision", *fitting)
    relation = headline.relation if headline.relation != "same" else "also"
    sentence = Sentence(facts, relation)
    if relation == "but" and not _is_contrast(sentence, known):
        adjusted.append("no contrast where both facts speak for the same")
        sentence = replace(sentence, relation="also")
    elif relation == "also" and len(facts) > 1 and _is_contrast(sentence, known):
        sentence = replace(sentence, relation="but")
    return sentence


_HEADLINES = ("verdict", "mark_leads", "runner_up", "doubt", "lead")


def _parted(
    sentence: Sentence, known: dict[str, Fact], table: PredictionTable, audience: Audience, adjusted: list[str]
) -> list[Sentence]:
    """Split a sentence that holds too much, and drop a relation that the values do not bear."""
    runs = list_together(sentence.facts, known, audience)
    if not runs:
        return []
    if len(runs) > MAX_FACTS_IN_SENTENCE:
        adjusted.append(f"a sentence holds at most {MAX_FACTS_IN_SENTENCE} different facts")
    parts = [runs[start : start + MAX_FACTS_IN_SENTENCE] for start in range(0, len(runs), MAX_FACTS_IN_SENTENCE)]
    made = [Sentence(tuple(fact for run in part for fact in run), sentence.relation) for part in parts]
    return [_related(part, known, table, adjusted) for part in made]


def list_together(fact_ids: Iterable[str], known: dict[str, Fact], audience: Audience) -> list[list[str]]:
    """Part facts into those that are listed together, in their order."""
    runs: list[list[str]] = []
    for fact in fact_ids:
        group = audience.group(known[fact])
        if runs and group and audience.group(known[runs[-1][-1]]) == group:
            runs[-1].append(fact)
        else:
            runs.append([fact])
    return runs


def _related(sentence: Sentence, known: dict[str, Fact], table: PredictionTable, adjusted: list[str]) -> Sentence:
    if sentence.relation == "but" and len(sentence.facts) > 1 and not _is_contrast(sentence, known):
        adjusted.append("no contrast where both facts speak for the same")
        return replace(sentence, relation="also")
    if sentence.relation == "same" and len(sentence.facts) > 1 and not _is_same(sentence, known, table):
        adjusted.append("not the same thing: neither the names nor the places agree")
        return replace(sentence, relation="also")
    return sentence


def _is_contrast(sentence: Sentence, known: dict[str, Fact]) -> bool:
    """Whether one fact speaks for trusting the class and the next against it."""
    first, last = known[sentence.facts[0]], known[sentence.facts[-1]]
    return first.polarity * last.polarity < 0


def _is_same(sentence: Sentence, known: dict[str, Fact], table: PredictionTable) -> bool:
    """Whether the concepts of all facts have one name or lie in one place."""
    keys = {key for fact in sentence.facts for key in known[fact].concepts}
    rows = [row for row in table.rows() if row.key in keys]
    if len(keys) < 2 or len(rows) < len(keys):
        return False
    names = {name.name.casefold() if (name := table.name(row.key)) else row.key for row in rows}
    return len(names) == 1 or (len({row.place for row in rows}) == 1 and bool(rows[0].place))


def _merged(sentences: Sequence[Sentence], known: dict[str, Fact], audience: Audience) -> tuple[Sentence, ...]:
    """Join neighbouring sentences whose facts can be listed together."""
    made: list[Sentence] = []
    for sentence in sentences:
        both = (*(made[-1].facts if made else ()), *sentence.facts)
        groups = {audience.group(known[fact]) for fact in both}
        if made and len(groups) == 1 and () not in groups:
            made[-1] = replace(made[-1], facts=both)
        else:
            made.append(sentence)
    return tuple(made)


def _stands_in_table(fact: Fact, audience: Audience) -> bool:
    return audience.has_tables and fact.kind in ("lead", "opposes", "mark_leads")


def _with(plan: Plan, fact: Fact, facts: Sequence[Fact], audience: Audience) -> Plan:
    """Put a fact in behind the last one that the audience reads before it."""
    order = {other.id: position for position, other in enumerate(facts)}
    if fact.kind == "decision":
        return replace(plan, headline=Sentence(("decision", *plan.headline.facts)[:MAX_HEADLINE]))
    paragraphs = [list(paragraph) for paragraph in plan.paragraphs] or [[]]
    place = (0, 0)
    for number, paragraph in enumerate(paragraphs):
        for position, sentence in enumerate(paragraph):
            if max(order[other] for other in sentence.facts) < order[fact.id]:
                place = (number, position + 1)
    paragraphs[place[0]].insert(place[1], Sentence((fact.id,)))
    known = {other.id: other for other in facts}
    merged = (_merged(paragraph, known, audience) for paragraph in paragraphs)
    return replace(plan, paragraphs=tuple(paragraph for paragraph in merged if paragraph))
