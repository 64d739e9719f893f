"""From a plan and the facts behind it to a narrative: the program words, whoever planned.

Owns what a clause may refer back to, what has been told already, the length of a text, and the tables of experts. Must
not know how a plan came about, nor HTTP.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from precompute.atlas.json_records import to_json
from precompute.explanations.prediction import ConceptRow, LayerRow, PredictionTable
from precompute.records import LocalName
from precompute.records.narrated import (
    BUILT_IN,
    Cell,
    Fact,
    Narrative,
    NarrativeTable,
    Paragraph,
    Piece,
    Quantity,
    Statement,
)
from precompute.records.reliability import is_description, measured_band

from .audiences import Audience
from .plan import Plan, Sentence, SettledPlan, built_in_plan, list_together, settle
from .wording import Argument, Slots, Wording, joined

_GROUP_MESSAGE = "{kind}-item"


def narrate(
    table: PredictionTable,
    facts: Sequence[Fact],
    audience: Audience,
    wording: Wording,
    *,
    plan: Plan | None = None,
    planner: str = BUILT_IN,
) -> Narrative:
    """Word a plan, or the built-in one.

    Parameters
    ----------
    table : PredictionTable
    facts : sequence of Fact
        Everything that was derived from the table.
    audience : Audience
    wording : Wording
        Of that audience.
    plan : Plan, optional
        Every id in it is one of the audience's facts.
    planner : str
        Recorded in the narrative.

    Returns
    -------
    Narrative
        Every must-tell fact is told, every number is told at most once, no paragraph is empty.

    Raises
    ------
    ConfigError
        A message is missing in a message file.
    """
    concerning = audience.concerns(facts, table)
    spare = built_in_plan(concerning, table, audience)
    settled = settle(plan or spare, concerning, table, audience)
    text, fitted = _fit(settled, spare if plan else None, concerning, table, audience, wording)
    headline, paragraphs = text
    if audience.has_tables:
        paragraphs = (*paragraphs, *_tables(table, wording))
    return Narrative(
        audience=audience.name,
        planner=planner,
        headline=headline,
        paragraphs=paragraphs,
        language=wording.language,
        added=settled.added,
        adjusted=(*settled.adjusted, *fitted),
        facts_digest=facts_digest(facts),
        wording_digest=wording.digest,
    )


def facts_digest(facts: Sequence[Fact]) -> str:
    """Compute the SHA-256 of everything that may be said."""
    return hashlib.sha256(to_json(list(facts)).encode()).hexdigest()


# --- length ----------------------------------------------------------------------------------------------------

Text = tuple[Statement, tuple[Paragraph, ...]]


def _fit(
    settled: SettledPlan,
    spare: Plan | None,
    facts: Sequence[Fact],
    table: PredictionTable,
    audience: Audience,
    wording: Wording,
) -> tuple[Text, list[str]]:
    """Word a plan at the audience's length: facts that may go are left out, or some of the built-in plan's put in."""
    known = {fact.id: fact for fact in facts}
    plan, notes = settled.plan, list[str]()
    fewest, most = audience.words
    text = Teller(table, known, audience, wording).tell(plan)
    while _length(text) > most and (gone := _next_to_go(plan, known, audience)):
        plan = settle(plan.without(gone), facts, table, audience).plan
        text = Teller(table, known, audience, wording).tell(plan)
        notes = ["facts were left out, for length"]
    for fact_id in spare.facts() if spare else ():
        if _length(text) >= fewest:
            break
        if fact_id not in plan.facts():
            filled = _filled(plan, known[fact_id], facts, table, audience)
            longer = Teller(table, known, audience, wording).tell(filled)
            if _length(longer) <= most:
                plan, text, notes = filled, longer, [*notes, "facts were put in, for length"]
    return text, list(dict.fromkeys(notes))


def _filled(plan: Plan, fact: Fact, facts: Sequence[Fact], table: PredictionTable, audience: Audience) -> Plan:
    """Put one more fact in at its place: as if it had to be told."""
    wanted = [replace(other, must=True) if other.id == fact.id else other for other in facts]
    return settle(plan, wanted, table, audience).plan


def _next_to_go(plan: Plan, known: dict[str, Fact], audience: Audience) -> str:
    """Choose the fact that is missed least: of the first kind that gives way, the last one told."""
    told = plan.facts()
    for kind, n_kept in audience.droppable:
        found = [fact for fact in told if known[fact].kind == kind]
        dispensable = [fact for fact in found if not known[fact].must]
        if dispensable and len(found) > n_kept:
            return dispensable[-1]
    return ""


def _length(text: Text) -> int:
    """Count the words of the sentences."""
    headline, paragraphs = text
    statements = [headline, *(item for paragraph in paragraphs for item in paragraph.statements)]
    return sum(len(statement.text.split()) for statement in statements)


# --- sentences -------------------------------------------------------------------------------------------------


@dataclass
class Teller:
    """Words one plan; keeps what a reader knows at each point.

    Attributes
    ----------
    told : set
        Name and owner of every number printed.
    called : dict
        By lower-case name the concept first called so.
    layer : str
        The layer named last in this paragraph; empty where there is none.
    subject : str
        The one concept that the last clause spoke of; empty where there is none.
    place : str
        The last place told.
    sides : set
        Sides on which a concept was told.
    used : Counter
        How often each message was used.
    """

    table: PredictionTable
    facts: dict[str, Fact]
    audience: Audience
    wording: Wording
    told: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)
    called: dict[str, str] = field(default_factory=dict)
    layer: str = ""
    subject: str = ""
    place: str = ""
    sides: set[str] = field(default_factory=set)
    used: Counter[str] = field(default_factory=Counter)

    def tell(self, plan: Plan) -> Text:
        """Word the headline and every paragraph."""
        headline = self.statement(plan.headline)
        paragraphs = []
        for sentences in plan.paragraphs:
            self.subject = self.place = self.layer = ""
            paragraphs.append(Paragraph(tuple(self.statement(sentence) for sentence in sentences)))
        return headline, tuple(paragraphs)

    def alone(self, fact: Fact) -> str:
        """Word one fact as if it were all that is said."""
        return self.statement_alone(fact.id).text

    def statement_alone(self, fact_id: str) -> Statement:
        """Word one fact as if it were all that is said, in pieces."""
        return Teller(self.table, self.facts, self.audience, self.wording).statement(Sentence((fact_id,)))

    def values(self, slots: Slots, fact: Fact) -> dict[str, str]:
        """Hold the values of a fact, by role, for prose that somebody else writes."""
        arguments = Teller(self.table, self.facts, self.audience, self.wording)._arguments(slots, fact)
        roles = [*fact.numbers, *fact.classes, *(role for role in ("concept", "place", "layer") if arguments.get(role))]
        return {role: str(arguments[role]) for role in roles}

    def statement(self, sentence: Sentence) -> Statement:
        """Word one sentence."""
        slots = Slots()
        runs = list_together(sentence.facts, self.facts, self.audience)
        clauses = [slots.hold(*self._clause([self.facts[fact] for fact in run])) for run in runs]
        text = clauses[0]
        for clause in clauses[1:]:
            text = self.wording.format(sentence.relation, {"first": text, "second": clause})
        pieces = (*slots.pieces(text), Piece("text", "."))
        return Statement(_capitalised(joined(pieces)), sentence.facts)

    def _clause(self, run: Sequence[Fact]) -> tuple[Piece, ...]:
        """Word the facts of one kind that stand together; what it tells is known from then on."""
        slots, kind = Slots(), run[0].kind
        run = sorted(run, key=lambda fact: -abs(fact.numbers["share"].value) if "share" in fact.numbers else 0)
        arguments = self._arguments(slots, run[0])
        if kind in self.audience.grouped:
            item = _GROUP_MESSAGE.format(kind=kind)
            items = []
            for fact in run:
                items.append(self.wording.format(item, self._arguments(slots, fact)))
                self._name(fact)
            arguments |= {"list": self.wording.and_list(items), "n": self.wording.plural(len(items))}
        variant = int.from_bytes(hashlib.sha256(f"{self.table.key} {kind}".encode()).digest()[:4], "big")
        pieces = slots.pieces(self.wording.format(kind, arguments, variant + self.used[kind]))
        self.used[kind] += 1
        self._remember(run, pieces)
        return pieces

    def _remember(self, run: Sequence[Fact], pieces: Sequence[Piece]) -> None:
        self.told |= {(piece.quantity.name, piece.quantity.of) for piece in pieces if piece.quantity}
        self.layer = next((piece.text for piece in reversed(pieces) if piece.kind == "layer"), self.layer)
        for fact in run:
            self._name(fact)
            if "side" in fact.words and fact.kind in ("lead", "supports", "opposes", "namesakes"):
                self.sides.add(fact.words["side"])
        keys = {key for fact in run for key in fact.concepts}
        self.subject = next(iter(keys)) if len(keys) == 1 else ""

    def _name(self, fact: Fact) -> None:
        for key in fact.concepts:
            if name := self.table.name(key):
                self.called.setdefault(name.in_language(self.wording.language).name.casefold(), key)

    # --- what messages may use ---------------------------------------------------------------------------------

    def _arguments(self, slots: Slots, fact: Fact) -> dict[str, Argument]:
        """Collect everything that a message of this fact may use; `docs/wording.md` lists it."""
        wording = self.wording
        arguments: dict[str, Argument] = dict(fact.words)
        for role, quantity in fact.numbers.items():
            is_told = (quantity.name, quantity.of) in self.told
            arguments[f"{role}_told"] = _yes(is_told)
            if not is_told or quantity.unit == "count":  # a message cannot print what it does not get
                arguments[role] = wording.number(slots, quantity)
        for role, index in fact.classes.items():
            arguments[role] = wording.class_name(slots, self.table.class_name(index), index)
        if self.table.label:
            arguments["label"] = wording.class_name(slots, self.table.label, None)
        if fact.layer:
            arguments["layer"] = wording.layer(slots, fact.layer)
            arguments["known"] = _yes(fact.layer == self.layer)
        arguments["also"] = _yes(fact.words.get("side") in self.sides)
        if fact.concepts:
            arguments |= self._concept_arguments(slots, fact)
        return arguments

    def _concept_arguments(self, slots: Slots, fact: Fact) -> dict[str, Argument]:
        concepts = [self._concept(slots, key) for key in fact.concepts]
        first = fact.concepts[0]
        name = self.table.name(first)
        words = fact.words.get("place", "")
        place, whole = self.wording.place(words), _yes("whole" in words)
        spot = concepts[0]
        if place and place != self.place:
            spot = self.wording.format("concept-placed", {"concept": concepts[0], "place": place, "whole": whole})
            self.place = place
        return {
            "concept": concepts[0],
            "spot": spot,
            "place": place,
            "again": _yes(self.subject == first),
            "pair": _yes(len(concepts) == 2),
            "list": self.wording.and_list(concepts),
            "bare": slots.hold(self._bare(fact.concepts)) if name else concepts[0],
        }

    def _bare(self, keys: Sequence[str]) -> Piece:
        """Name what several concepts are called alike: as they are in the text's language, else as they were named."""
        named = [name for key in keys if (name := self.table.name(key))]
        local = [name.in_language(self.wording.language) for name in named]
        alike = len({name.name.strip().casefold() for name in local}) == 1
        chosen = local[0] if alike else LocalName(named[0].language, named[0].name)
        return self.wording.name_piece(keys[0], chosen.name, chosen.language)

    def _concept(self, slots: Slots, key: str) -> str:
        name = self.table.name(key)
        if name is None:
            return self.wording.unnamed(slots, key)
        local = name.in_language(self.wording.language)
        again = self.called.get(local.name.casefold(), key) != key
        return self.wording.concept(slots, key, local, again=again, described=is_description(name))


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _capitalised(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Begin a sentence with a capital."""
    first = pieces[0]
    return (replace(first, text=first.text[:1].title() + first.text[1:]), *pieces[1:])


# --- tables ----------------------------------------------------------------------------------------------------


def _tables(table: PredictionTable, wording: Wording) -> Iterable[Paragraph]:
    for layer in table.layers:
        if layer.concepts:
            yield Paragraph(table=_concept_table(table, layer, wording))
        if any(row.below for row in layer.concepts):
            yield Paragraph(table=_below_table(table, layer, wording))


def _concept_table(table: PredictionTable, layer: LayerRow, wording: Wording) -> NarrativeTable:
    """Set out every number of one layer's concepts, each once; columns without a value are left out."""
    target = str(table.target.index)
    rival = str(table.runner_up.index) if table.runner_up else ""

    def cells(row: ConceptRow) -> dict[str, Cell]:
        mean = row.usual.mean if row.usual else None
        return {
            "concept": _named(table, row.key, wording),
            "channel": _number(wording, Quantity("channel", (row.key,), row.channel, "index")),
            "share": _number(wording, Quantity("share", (row.key,), row.share)),
            "rival": _number(wording, _maybe("rival_share", (row.key, rival), row.runner_up_share)),
            "mean": _number(wording, _maybe("mean_share", (row.key, target), mean)),
            "relevance": _number(wording, Quantity("relevance", (row.key,), row.relevance, "score")),
            "activation": _number(wording, Quantity("activation", (row.key,), row.activation, "activation")),
            "place": _text(wording.place(row.place)),
            "area": _number(wording, _maybe("area", (row.key,), row.area), signed=False),
            "band": _band(table, row, wording),
        }

    rows = [cells(row) for row in layer.concepts]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    slots = Slots()
    arguments: dict[str, Argument] = {"layer": wording.layer(slots, layer.layer)}
    if table.runner_up:
        arguments["runner_up"] = wording.class_name(slots, table.runner_up.name, table.runner_up.index)
    header = tuple(
        "".join(piece.text for piece in slots.pieces(wording.format(f"column-{name}", arguments))) for name in columns
    )
    caption = slots.pieces(wording.format("caption-concepts", arguments))
    return NarrativeTable(_capitalised(caption), header, tuple(tuple(row[name] for name in columns) for row in rows))


def _below_table(table: PredictionTable, layer: LayerRow, wording: Wording) -> NarrativeTable:
    """Set out what each concept's relevance was built from one layer down."""
    slots = Slots()
    caption = slots.pieces(wording.format("caption-below", {"layer": wording.layer(slots, layer.layer)}))
    rows = []
    for row in layer.concepts:
        for position, sub in enumerate(row.below):
            share = Quantity("sub_share", (row.key, sub.key), sub.share)
            above = _named(table, row.key, wording) if position == 0 else ()
            place = Piece("layer", sub.key.rpartition(":")[0])
            rows.append((above, _named(table, sub.key, wording), (place,), _number(wording, share)))
    header = tuple(wording.format(f"column-{name}", {}) for name in ("concept", "below", "layer", "share"))
    return NarrativeTable(_capitalised(caption), header, tuple(rows))


def _named(table: PredictionTable, key: str, wording: Wording) -> Cell:
    name = table.name(key)
    slots = Slots()
    return slots.pieces(
        wording.table_concept(slots, key, name.in_language(wording.language)) if name else wording.unnamed(slots, key)
    )


def _band(table: PredictionTable, row: ConceptRow, wording: Wording) -> Cell:
    """Say how many names given as confidently were right, where that was measured."""
    name = table.name(row.key)
    band = measured_band(name) if name else None
    if band is None:
        return ()
    slots = Slots()
    right = wording.number(slots, Quantity("band_names_right", (row.key,), band.n_right, "count"))
    names = wording.number(slots, Quantity("band_names", (row.key,), band.n_names, "count"))
    return slots.pieces(wording.format("cell-band", {"n_right": right, "n_names": names}))


def _maybe(name: str, of: tuple[str, ...], value: float | None) -> Quantity | None:
    return None if value is None else Quantity(name, of, value)


def _number(wording: Wording, quantity: Quantity | None, *, signed: bool = True) -> Cell:
    if quantity is None:
        return ()
    signed = signed and quantity.unit == "share"
    return (Piece("number", wording.printed(quantity, signed=signed), quantity=quantity),)


def _text(text: str) -> Cell:
    return (Piece("text", text),) if text else ()
