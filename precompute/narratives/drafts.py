"""Which sentences a table gives rise to: narratives without a language model.

Owns the choice and order of sentences for the two audiences. Must not know how values are printed, how sentences are
worded in a language, or how claims are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import Template

from precompute.explanations.table import ConceptRow, ExplanationTable, LayerRow

from .claims import Claim
from .language import Language
from .placeholders import Placeholder, printed


@dataclass(frozen=True)
class Draft:
    """The table and the language that a narrative is drafted from."""

    table: ExplanationTable
    language: Language

    def claim(self, kind: str, sentence: str, rows: Sequence[ConceptRow] = (), **slots: str) -> Claim:
        """Word one claim: `$c` becomes the id of the first row, the other slots are filled as given."""
        if rows:
            slots.setdefault("c", rows[0].id)
        return Claim(kind, self.fragment(sentence, **slots), tuple(row.id for row in rows))

    def fragment(self, sentence: str, **slots: str) -> str:
        """Fill the slots of a sentence; placeholders stay."""
        return Template(self.language.sentences[sentence]).substitute(slots)

    def items(self, sentence: str, rows: Sequence[ConceptRow]) -> str:
        """List several concepts in prose."""
        return self.language.join([self.fragment(sentence, c=row.id, where=self.where(row)) for row in rows])

    def where(self, row: ConceptRow) -> str:
        """Say where a concept lies; nothing where the table does not."""
        return self.fragment("plain_where", c=row.id) if row.place else ""

    def prints_alike(self, one: str, other: str, layer: LayerRow) -> bool:
        """Whether a field of a layer and one of the whole prediction are printed alike."""
        first = printed(Placeholder(one, layer.id), self.table, self.language)
        return first == printed(Placeholder(other), self.table, self.language)


def draft_expert(table: ExplanationTable, language: Language) -> list[Claim]:
    """Say everything that the table holds, layer by layer."""
    draft = Draft(table, language)
    claims = [draft.claim("uncertainty", "expert_prediction"), *_rival(draft, "expert")]
    if table.logit < 0:
        claims.append(draft.claim("caveat", "expert_negative"))
    for layer in table.layers:
        claims += _expert_layer(draft, layer)
    claims += _confidence(draft)
    claims += _names(draft, table.concepts)
    claims.append(draft.claim("caveat", "expert_caveat"))
    return claims


def draft_stakeholder(table: ExplanationTable, language: Language) -> list[Claim]:
    """Say in plain words what counted for the class, what against it, how sure it is, and what is left out."""
    draft = Draft(table, language)
    leads = table.runner_up_probability is None or table.probability >= table.runner_up_probability
    claims = [draft.claim("uncertainty", "plain_prediction" if leads else "plain_prediction_other")]
    claims += _rival(draft, "plain")
    if table.probability < 0.5:
        claims.append(draft.claim("uncertainty", "plain_doubt"))
    claims.append(draft.claim("uncertainty", "plain_sure"))
    main = _main_layer(table)
    shown = table.shown(main.id) if main else ()
    if main and shown:
        claims += _plain_layer(draft, main, shown)
    claims += _names(draft, shown)
    claims.append(draft.claim("caveat", "plain_caveat"))
    return claims


def _main_layer(table: ExplanationTable) -> LayerRow | None:
    """Take the layer that most of the score went through: of parallel layers the first may hold little of it."""
    carrying = [layer for layer in table.layers if any(row.share for row in table.shown(layer.id))]
    return max(carrying or table.layers, key=lambda layer: abs(layer.relevance_sum), default=None)


DRAFTS: dict[str, Callable[[ExplanationTable, Language], list[Claim]]] = {
    "expert": draft_expert,
    "stakeholder": draft_stakeholder,
}
"""By audience; any other audience gets the one for stakeholders."""


def _rival(draft: Draft, style: str) -> Iterator[Claim]:
    rival = draft.table.runner_up_probability
    if rival is not None:
        relation = "below" if draft.table.probability >= rival else "above"
        yield draft.claim("contrast", f"{style}_rival_{relation}")


def _expert_layer(draft: Draft, layer: LayerRow) -> Iterator[Claim]:
    shown = draft.table.shown(layer.id)
    number = "_only" if layer.n_channels == 1 else "_one" if layer.n_concepts == 1 else ""
    yield draft.claim("coverage", f"expert_layer{number}", l=layer.id)
    if layer.supporting or layer.opposing:
        yield draft.claim("coverage", "expert_balance", l=layer.id)
    for row in shown:
        yield _expert_concept(draft, row)
        if row.name and row.name.kind == "mark":
            yield draft.claim("observation", "mark", [row])
        yield from _sub_concepts(draft, row)
    compared = [row for row in shown if row.runner_up_share is not None]
    if compared:
        yield draft.claim("contrast", "expert_rival_shares", compared, items=draft.items("expert_rival_item", compared))
    if layer.n_channels > layer.n_concepts:
        yield draft.claim("not_used", f"expert_rest{_one_left(layer)}", l=layer.id)
    alike = draft.prints_alike("relevance_sum", "logit", layer)
    yield draft.claim("conservation", "expert_conserved" if alike else "expert_sum", l=layer.id)


def _one_left(layer: LayerRow) -> str:
    """Choose the wording for a single channel that is not described."""
    return "_one" if layer.n_channels - layer.n_concepts == 1 else ""


def _expert_concept(draft: Draft, row: ConceptRow) -> Claim:
    plain_subject = row.name is None or draft.table.has_namesake(row)
    subject = f"{{name:{row.id}}}" if plain_subject else draft.fragment("expert_subject", c=row.id)
    details = draft.fragment("expert_details", c=row.id)
    details += draft.fragment("expert_where", c=row.id) if row.place else ""
    kind, sentence = "observation", "expert_neutral"
    if draft.table.is_largest(row):
        sentence = "expert_largest"
    elif row.direction and draft.table.logit > 0:
        kind = "contribution" if row.direction > 0 else "opposition"
        sentence = "expert_supporting" if row.direction > 0 else "expert_opposing"
    return draft.claim(kind, sentence, [row], subject=subject, details=details)


def _sub_concepts(draft: Draft, row: ConceptRow) -> Iterator[Claim]:
    below = draft.table.sub_concepts(row.id)
    for layer in dict.fromkeys(sub.layer for sub in below):
        here = [sub for sub in below if sub.layer == layer and sub.share]
        if here:
            items = draft.language.join([draft.fragment(_sub_item(draft.table, sub), c=sub.id) for sub in here])
            yield draft.claim("composition", "expert_sub_concepts", [row, *here], s=here[0].id, items=items)


def _sub_item(table: ExplanationTable, row: ConceptRow) -> str:
    """Choose a wording without the channel where the name already tells it."""
    return "expert_sub_item_unnamed" if row.name is None or table.has_namesake(row) else "expert_sub_item"


def _confidence(draft: Draft) -> Iterator[Claim]:
    rows = [row for row in draft.table.concepts if not row.parent and row.name and row.name.stated_confidence]
    if rows:
        yield draft.claim("caveat", "expert_confidence", rows, items=draft.items("expert_confidence_item", rows))


def _plain_layer(draft: Draft, layer: LayerRow, shown: Sequence[ConceptRow]) -> Iterator[Claim]:
    yield draft.claim("caveat", "plain_relevance")
    if not any(row.share for row in shown):
        yield draft.claim("no_relevance", "plain_no_relevance")
        return
    if draft.table.logit < 0:
        yield draft.claim("caveat", "plain_negative")
    yield from _plain_concepts(draft, shown)
    yield draft.claim("coverage", "plain_coverage_one" if len(shown) == 1 else "plain_coverage", l=layer.id)
    if layer.n_channels > layer.n_concepts and layer.coverage < 1 - 1e-12:
        yield draft.claim("not_used", f"plain_rest{_one_left(layer)}", l=layer.id)
    if len(draft.table.layers) > 1:
        yield draft.claim("caveat", "plain_other_layers", l=layer.id)
    if shown[0].runner_up_share is not None:
        yield draft.claim("contrast", "plain_rival_share", shown[:1])
    for row in shown:
        if row.name and row.name.kind == "mark":
            yield draft.claim("observation", "mark", [row])


def _plain_concepts(draft: Draft, shown: Sequence[ConceptRow]) -> Iterator[Claim]:
    """Name the largest first, then the others by direction; signs of a negative logit are not for or against."""
    signed = draft.table.logit > 0
    first = shown[0]
    rest = {direction: [row for row in shown if row.direction == direction] for direction in (1, -1)}
    if draft.table.is_largest(first):
        yield _plain_largest(draft, first, signed=signed)
        if first.magnitude > 0.5:
            yield draft.claim("dominance", "plain_dominance", [first])
        rest = {direction: [row for row in rows if row.id != first.id] for direction, rows in rest.items()}
    for direction, kind in ((1, "contribution"), (-1, "opposition")):
        rows = rest[direction]
        if rows:
            also = "also_" if first.direction == direction and first not in rows else ""
            sentence = {1: "same", -1: "opposite"}[direction]
            if signed:
                sentence = also + {1: "supporting", -1: "opposing"}[direction]
            yield draft.claim(kind, f"plain_{sentence}", rows, items=draft.items("plain_item", rows))
        elif signed and not any(row.direction == direction and not row.parent for row in draft.table.concepts):
            absence = "no_support" if direction > 0 else "no_opposition"
            yield draft.claim(absence, f"plain_{absence}")


def _plain_largest(draft: Draft, row: ConceptRow, *, signed: bool) -> Claim:
    kinds = {1: "contribution", -1: "opposition", 0: "observation"}
    endings = {1: "_supporting", -1: "_opposing", 0: ""} if signed else {1: "_same", -1: "_opposite", 0: ""}
    sentence = "plain_largest" + endings[row.direction]
    return draft.claim(kinds[row.direction], sentence, [row], where=draft.where(row))


def _names(draft: Draft, rows: Sequence[ConceptRow]) -> Iterator[Claim]:
    """Say how the names were made; concept by concept only where they were made in different ways."""
    named = [row for row in _distinct(rows) if row.name]
    groups: dict[str, list[ConceptRow]] = {}
    for row in named:
        assert row.name is not None
        groups.setdefault(row.name.author.partition(":")[0], []).append(row)
    for author, group in sorted(groups.items()):
        maker = author if author in {"offline", "llm"} else "person"
        if len(groups) == 1:
            yield draft.claim("caveat", f"names_{maker}")
        else:
            yield draft.claim("caveat", f"names_some_{maker}", group, items=draft.items("name_item", group))
    for row in named:
        if row.name and row.name.second_name.strip():
            yield draft.claim("caveat", "names_mixed", [row])


def _distinct(rows: Sequence[ConceptRow]) -> list[ConceptRow]:
    """Keep the first row of each concept: one channel may lie below several others."""
    return list({row.concept: row for row in reversed(rows)}.values())[::-1]
