"""Claims: typed statements about one prediction, checked against its table.

Owns what kinds of statement there are, what each needs, and every check that holds in any language. Must not know
language models, prompts or HTTP. The checks of wording, which need a lexicon, are in `wording`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from precompute.explanations.table import ConceptRow, ExplanationTable

from .language import Language
from .number_check import number_faults
from .placeholders import Placeholder, PlaceholderError, numbers_in, placeholders, prose, value
from .wording import Claim, Problem, check_language, check_wording, check_words

__all__ = ["KINDS", "Claim", "Kind", "Problem", "check", "check_claim", "number_faults", "numbers_in"]

MAX_PROSE = 400
"""Characters of one statement, placeholders aside."""


@dataclass(frozen=True)
class Kind:
    """What a statement of one kind must have.

    Attributes
    ----------
    meaning : str
        For the prompt.
    min_cites, max_cites : int
    needs : tuple of str
        At least one placeholder of these fields; empty for none.
    direction : int
        Direction that every cited concept must have; 0 for any.
    """

    meaning: str
    min_cites: int = 0
    max_cites: int = 99
    needs: tuple[str, ...] = ()
    direction: int = 0


KINDS: Mapping[str, Kind] = {
    "observation": Kind("something the table says of a concept, without for or against", 1),
    "contribution": Kind("the cited concepts have the sign of the score", 1, direction=1),
    "opposition": Kind("the cited concepts have the sign opposite to the score", 1, direction=-1),
    "no_support": Kind("none of the concepts shown has the sign of the score", 0, 0),
    "no_opposition": Kind("none of the concepts shown has the opposite sign", 0, 0),
    "no_relevance": Kind("all shares shown are zero", 0, 0),
    "comparison": Kind("the concept cited first has a larger absolute share than the other", 2, 2),
    "dominance": Kind("the concept carries more than the rest of its layer together", 1, 1),
    "location": Kind("where the cited concepts lie in the photo", 1, needs=("place", "area")),
    "composition": Kind("a concept, cited first, and its sub-concepts", 2),
    "coverage": Kind("how much of the layer the table shows", 0, 0, ("coverage", "supporting", "opposing")),
    "not_used": Kind("what the table leaves out", 0, 0, ("uncovered", "n_others", "n_carrying")),
    "conservation": Kind("the layer's relevance beside the logit", 0, 0, ("relevance_sum",)),
    "uncertainty": Kind("how sure one can be: probability", 0, 0),
    "contrast": Kind("the runner-up class beside this one", needs=("runner_up",)),
    "caveat": Kind("a limit of the method or of the names"),
}
"""Every kind of statement."""

_LAYER_NUMBERS = (
    "coverage",
    "uncovered",
    "supporting",
    "opposing",
    "relevance_sum",
    "n_concepts",
    "n_others",
    "n_carrying",
)
_CLASS_FIELDS = {"class": "class", "runner_up": "runner_up"}


def check(claims: Sequence[Claim], table: ExplanationTable, language: Language) -> list[Problem]:
    """Check a whole narrative against its table.

    Parameters
    ----------
    claims : sequence of Claim
    table : ExplanationTable
    language : Language
        Without a lexicon only the structural checks are made.

    Returns
    -------
    list of Problem
        Empty where everything may be said.
    """
    if not claims:
        return [Problem("empty", "there is no statement")]
    problems = [
        problem.at(position) for position, claim in enumerate(claims) for problem in check_claim(claim, table, language)
    ]
    if not problems:
        problems = [*_omissions(claims, table), *check_language(claims, language)]
    if not problems:
        problems = [
            problem.at(position)
            for position, claim in enumerate(claims)
            for problem in check_words(claim, table, language)
        ]
    return problems


def check_claim(claim: Claim, table: ExplanationTable, language: Language) -> list[Problem]:
    """Check one statement; the first group of checks that finds a problem ends it, as the next rest on it."""
    problems = [*_shape(claim)]
    if not problems:
        problems = [*_references(claim, table)]
    if not problems:
        problems = [*_kind(claim, table), *_attributions(claim), *check_wording(claim, table, language)]
    return problems


def _shape(claim: Claim) -> list[Problem]:
    if claim.kind not in KINDS:
        return [Problem("kind_unknown", f"there is no kind of statement {claim.kind!r}")]
    if not claim.text.strip():
        return [Problem("text_empty", "the statement has no text")]
    try:
        length = len(prose(claim.text, ""))
    except PlaceholderError as error:
        return [Problem(error.code, str(error))]
    if length > MAX_PROSE:
        return [Problem("too_long", f"the text has {length} characters, at most {MAX_PROSE} are let through")]
    return []


def _references(claim: Claim, table: ExplanationTable) -> list[Problem]:
    """Every id exists, every value exists, and what is cited is what is spoken of."""
    problems = []
    for cited in claim.cites:
        if table.concept(cited) is None:
            problems.append(Problem("concept_unknown", f"{cited!r} is not in the table"))
    used = placeholders(claim.text)
    for placeholder in used:
        try:
            value(placeholder, table)
        except PlaceholderError as error:
            problems.append(Problem(error.code, str(error)))
    mentioned = {placeholder.id for placeholder in used if placeholder.is_concept}
    if not problems:
        for concept_id in sorted(mentioned - set(claim.cites)):
            problems.append(Problem("cite_missing", f"the text speaks of {concept_id}, but does not cite it"))
        for concept_id in sorted(set(claim.cites) - mentioned):
            problems.append(Problem("cite_unused", f"{concept_id} is cited, but the text has no placeholder of it"))
        if len(set(claim.cites)) < len(claim.cites):
            problems.append(Problem("cite_twice", "a concept is cited twice"))
    return problems


def _kind(claim: Claim, table: ExplanationTable) -> list[Problem]:
    kind = KINDS[claim.kind]
    fields = {placeholder.field for placeholder in placeholders(claim.text)}
    if not kind.min_cites <= len(claim.cites) <= kind.max_cites:
        expected = str(kind.min_cites) if kind.min_cites == kind.max_cites else f"at least {kind.min_cites}"
        return [Problem("cites_count", f"a statement of kind {claim.kind!r} cites {expected} concepts")]
    if claim.kind == "contrast" and not table.runner_up:
        return [Problem("no_runner_up", "the table has no runner-up class")]
    if kind.needs and not fields.intersection(kind.needs):
        return [Problem("value_missing", f"a statement of kind {claim.kind!r} needs {{{kind.needs[0]}}}")]
    rows = [row for cited in claim.cites if (row := table.concept(cited))]
    wrong = next((row for row in rows if kind.direction and row.direction != kind.direction), None)
    if wrong:
        return [Problem("sign", f"{wrong.id} has the share {wrong.share:+.4f}, which is no {claim.kind}")]
    special = _SPECIAL.get(claim.kind)
    return special(rows, table) if special else []


def _check_comparison(rows: Sequence[ConceptRow], table: ExplanationTable) -> list[Problem]:
    larger, smaller = rows
    if smaller not in table.peers(larger):
        return [Problem("order_layers", f"shares of {larger.id} and {smaller.id} are of different totals")]
    if larger.magnitude <= smaller.magnitude:
        return [Problem("order", f"the absolute share of {larger.id} is not larger than that of {smaller.id}")]
    return []


def _check_dominance(rows: Sequence[ConceptRow], table: ExplanationTable) -> list[Problem]:
    row = rows[0]
    if row.magnitude > 0.5 and not row.parent:
        return []
    return [Problem("dominance", f"{row.id} does not carry more than the rest of its layer")]


def _check_composition(rows: Sequence[ConceptRow], table: ExplanationTable) -> list[Problem]:
    wrong = [row.id for row in rows[1:] if row.parent != rows[0].id]
    return [Problem("composition", f"{name} is not a sub-concept of {rows[0].id}") for name in wrong]


def _check_absence(direction: int) -> Callable[[Sequence[ConceptRow], ExplanationTable], list[Problem]]:
    def check_none(rows: Sequence[ConceptRow], table: ExplanationTable) -> list[Problem]:
        found = [row.id for row in table.concepts if not row.parent and row.direction == direction]
        return [Problem("sign", f"{', '.join(found)} has that sign")] if found else []

    return check_none


def _check_no_relevance(rows: Sequence[ConceptRow], table: ExplanationTable) -> list[Problem]:
    found = [row.id for row in table.concepts if not row.parent and row.share]
    return [Problem("sign", f"{', '.join(found)} carries relevance")] if found else []


_SPECIAL: Mapping[str, Callable[[Sequence[ConceptRow], ExplanationTable], list[Problem]]] = {
    "comparison": _check_comparison,
    "dominance": _check_dominance,
    "composition": _check_composition,
    "no_support": _check_absence(1),
    "no_opposition": _check_absence(-1),
    "no_relevance": _check_no_relevance,
}


def _attributions(claim: Claim) -> list[Problem]:
    """Every number stands with the name of what it belongs to, so that no reader takes it for another's."""
    used = placeholders(claim.text)
    problems = [
        Problem("number_misplaced", f"{{{item.field}:{item.id}}} speaks of a layer, the statement of concepts")
        for item in used
        if claim.cites and item.field in _LAYER_NUMBERS
    ]
    if claim.cites and claim.kind != "contrast" and {"probability", "runner_up_probability"} & {i.field for i in used}:
        problems.append(Problem("number_misplaced", "a class probability stands in a statement about concepts"))
    if claim.kind != "caveat" and any(item.field == "confidence" for item in used):
        problems.append(Problem("number_misplaced", "a namer's confidence belongs into a caveat"))
    for position, item in enumerate(used):
        problems += _misplaced(used, position, item)
    return problems


def _misplaced(used: Sequence[Placeholder], position: int, item: Placeholder) -> list[Problem]:
    problems = []
    if item.is_concept and item.field not in ("name", "layer"):
        owner = _nearest(used, position, lambda other: other.field == "name")
        if owner and owner.id != item.id:
            problems.append(
                Problem("number_misplaced", f"{{{item.field}:{item.id}}} stands with the name of {owner.id}")
            )
    if item.field in _LAYER_NUMBERS:
        owner = _nearest(used, position, lambda other: other.field == "layer")
        if owner and owner.id != item.id:
            problems.append(Problem("number_misplaced", f"{{{item.field}:{item.id}}} stands with layer {owner.id}"))
    expected = {"probability": "class", "runner_up_probability": "runner_up", "runner_up_share": "runner_up"}
    expected |= dict.fromkeys(("share", "magnitude", "relevance"), "class")
    if item.field in expected:
        owner = _nearest(used, position, lambda other: other.field in _CLASS_FIELDS)
        found = owner.field if owner else "class"
        if found != expected[item.field]:
            problems.append(
                Problem(
                    "number_misplaced", f"{{{item.field}}} is a value of {{{expected[item.field]}}}, not {{{found}}}"
                )
            )
    return problems


def _nearest(used: Sequence[Placeholder], position: int, fits: Callable[[Placeholder], bool]) -> Placeholder | None:
    before = [item for item in used[:position] if fits(item)]
    after = [item for item in used[position + 1 :] if fits(item)]
    return before[-1] if before else after[0] if after else None


def _omissions(claims: Sequence[Claim], table: ExplanationTable) -> list[Problem]:
    """Find what a narrative keeps back: how little it shows, or what speaks against the class."""
    used = [placeholder for claim in claims for placeholder in placeholders(claim.text)]
    weighed = {item.id for item in used if item.field in ("share", "magnitude", "relevance")}
    rows = [row for row in table.concepts if row.id in weighed]
    told = {item.id for item in used if item.field == "coverage"}
    problems = [
        Problem("coverage_missing", f"concepts of {layer_id} are told without {{coverage:{layer_id}}}")
        for layer_id in sorted({row.layer_id for row in rows} - told)
    ]
    for layer_id in sorted({row.layer_id for row in rows}):
        opposing = [row.id for row in table.shown(layer_id) if row.direction < 0]
        if opposing and not any(row.id in opposing for row in rows):
            problems.append(Problem("opposition_missing", f"{opposing[0]} has the opposite sign and is not told"))
    return problems
