"""The wording of claims: digits, numerals, sign, order, place, causes, names and markup in free prose.

Owns the lexical checks. Where a language has no lexicon (any but English and German) only those of characters, digits
and markup and of typed names hold. Must not know which kinds of claims there are, language models or prompts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from precompute.explanations.table import ConceptRow, ExplanationTable

from .characters import GAP, character_faults
from .language import Language, place_tokens
from .languages import KNOWN_LANGUAGES
from .placeholders import NUMERIC_FORMATS, Placeholder, field_of, printed, prose, split
from .plain_words import strip_phrases, unknown_words
from .typed_names import typed_names, words_of

_ROMAN = re.compile(r"(?<![\w.])[IVXLCDM]{2,}(?!\w)")
_ABSENCE_KINDS = ("no_support", "no_opposition", "no_relevance")


@dataclass(frozen=True)
class Claim:
    """One statement before it is rendered.

    Attributes
    ----------
    kind : str
        One of `claims.KINDS`.
    text : str
        Prose with placeholders.
    cites : tuple of str
        Local ids of the concepts it is about.
    """

    kind: str
    text: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Why a claim cannot be let through.

    Attributes
    ----------
    code : str
        Stable.
    message : str
        One sentence, for the author of the claim and for readers.
    position : int
        Of the statement in the narrative, from 0; -1 for the narrative as a whole.
    """

    code: str
    message: str
    position: int = -1

    def at(self, position: int) -> Problem:
        """Return the same problem at a position."""
        return replace(self, position=position)

    def __str__(self) -> str:
        where = f"statement {self.position}: " if self.position >= 0 else ""
        return f"{self.code}: {where}{self.message}"


@dataclass(frozen=True)
class Prose:
    """What the patterns look at.

    Attributes
    ----------
    text : str
        Placeholders replaced by `GAP`.
    gaps : tuple of (int, Placeholder)
        Position of each in `text`.
    """

    claim: Claim
    rows: tuple[ConceptRow, ...]
    table: ExplanationTable
    language: Language
    text: str
    gaps: tuple[tuple[int, Placeholder], ...]


def check_wording(claim: Claim, table: ExplanationTable, language: Language) -> list[Problem]:
    """Check the free prose of one claim whose placeholders and citations are known to be right."""
    seen = _prose(claim, table, language)
    problems = [*_characters(seen), *_names(seen)]
    if language.lexicon:
        checks = (
            _numerals,
            _quantities,
            _bounds,
            _measures,
            _causes,
            _minds,
            _certainties,
            _ranks,
            _signs,
            _order,
            _places,
            _areas,
            _negated_values,
            _marks,
        )
        problems += [problem for find in checks for problem in find(seen)]
    return problems


def check_words(claim: Claim, table: ExplanationTable, language: Language) -> list[Problem]:
    """Check that the prose of one claim, in which no other fault was found, keeps to the language's list of words."""
    if language.lexicon is None:
        return []
    seen = _prose(claim, table, language)
    if _relates_without_direction(seen):
        return [Problem("sign_unclear", "a class beside a concept needs a word for the direction")]
    unknown = unknown_words(seen.text, seen.rows, seen.table, seen.language)
    if unknown:
        listed = ", ".join(map(repr, dict.fromkeys(unknown)))
        return [Problem("word_unknown", f"{listed}: not on the list of words; say it in plainer ones")]
    return []


def _relates_without_direction(seen: Prose) -> bool:
    """Whether a concept is set beside the class, as in "is part of {class}", and no word for a direction is checked."""
    lexicon = seen.language.lexicon
    assert lexicon
    is_class = any(gap.field == "class" for _, gap in seen.gaps) or _find(seen, lexicon.class_words)
    directed = _find(seen, lexicon.supporting) or _find(seen, lexicon.opposing)
    return bool(seen.rows and is_class and not directed and seen.claim.kind != "contrast")


def check_language(claims: Sequence[Claim], language: Language) -> list[Problem]:
    """Check by small frequent words that a narrative is in the language asked for."""
    words = [word for claim in claims for word in words_of(prose(claim.text))]
    counts = {
        code: sum(word in known.lexicon.function_words for word in words)
        for code, known in KNOWN_LANGUAGES.items()
        if known.lexicon
    }
    likely = max(counts, key=lambda code: counts[code])
    if counts[likely] >= 3 and likely != language.code and counts[likely] > 2 * counts.get(language.code, 0):
        return [Problem("language", f"the text is in {likely!r}, asked for was {language.code!r}")]
    return []


def _prose(claim: Claim, table: ExplanationTable, language: Language) -> Prose:
    text, gaps = "", []
    for part in split(claim.text):
        if isinstance(part, Placeholder):
            gaps.append((len(text), part))
            text += GAP
        else:
            text += unicodedata.normalize("NFKC", part) if part.isprintable() else part
    rows = tuple(row for cited in claim.cites if (row := table.concept(cited)))
    return Prose(claim, rows, table, language, text, tuple(gaps))


@lru_cache(maxsize=512)
def _pattern(alternatives: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w])(?:{'|'.join(alternatives)})(?!\w)", re.IGNORECASE)


def _find(seen: Prose, alternatives: tuple[str, ...]) -> re.Match[str] | None:
    return _pattern(alternatives).search(seen.text)


# --- characters, numbers ---------------------------------------------------------------------------------------


def _characters(seen: Prose) -> Iterator[Problem]:
    numeric = {position for position, gap in seen.gaps if field_of(gap).format in NUMERIC_FORMATS}
    typed = "".join(part for part in split(seen.claim.text) if isinstance(part, str))
    for code, message in character_faults(seen.text, typed, numeric, latin=seen.language.lexicon is not None):
        yield Problem(code, message)


def _numerals(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    found = _find(seen, seen.language.lexicon.numerals) or _ROMAN.search(seen.text)
    if found:
        yield Problem("numeral", f"{found[0]!r} is a number in words: numbers are put in by placeholders only")


def _quantities(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    found = _find(seen, seen.language.lexicon.quantities)
    if found and seen.claim.kind not in _ABSENCE_KINDS:
        yield Problem("quantity", f"{found[0]!r} is an amount that no entry of the table backs")


def _bounds(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    numeric = {position for position, gap in seen.gaps if field_of(gap).format in NUMERIC_FORMATS}
    for found in _pattern(seen.language.lexicon.bounds).finditer(seen.text):
        following = re.compile(rf"\s*{GAP}").match(seen.text, found.end())
        if following and following.end() - 1 in numeric:
            yield Problem("bound", f"{found[0]!r} makes a bound of a value that is given as it is")


def _measures(seen: Prose) -> Iterator[Problem]:
    """Find words for a measure beside a value of another one."""
    assert seen.language.lexicon
    fields = {position: gap.field for position, gap in seen.gaps if field_of(gap).format in NUMERIC_FORMATS}
    for pattern, allowed in seen.language.lexicon.measures.items():
        for found in re.finditer(rf"(?<!\w){pattern}", seen.text, re.IGNORECASE):
            position = found.start() + (found[0].rindex(GAP) if not found[0].startswith(GAP) else 0)
            field = fields.get(position, "")
            if field and field not in allowed:
                words = found[0].replace(GAP, "\u2026")
                yield Problem("number_misplaced", f"{{{field}}} is no value for {words!r}")


# --- what relevance does not carry -----------------------------------------------------------------------------


def _causes(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    found = _find(seen, seen.language.lexicon.causes)
    if found:
        yield Problem("causal", f"{found[0]!r} claims a cause or a need; relevance only says how a score was divided")


def _minds(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    found = _find(seen, seen.language.lexicon.minds)
    if found:
        yield Problem("mind", f"{found[0]!r} speaks of the network as of somebody who thinks or looks")


def _certainties(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    found = _find(seen, seen.language.lexicon.certainties) or _class_said(seen)
    if not found and seen.claim.kind in ("uncertainty", "contrast"):
        found = _find(seen, seen.language.lexicon.negations)
    if found:
        yield Problem(
            "certainty", f"{found[0]!r} claims to know what is true; the table has the network's figures only"
        )


def _class_said(seen: Prose) -> re.Match[str] | None:
    """Find a sentence such as "this is a {class}", which says that the class is right."""
    assert seen.language.lexicon
    classes = {position for position, gap in seen.gaps if field_of(gap).format == "class"}
    found = _pattern(seen.language.lexicon.assertions).finditer(seen.text)
    return next((match for match in found if match.end() - 1 in classes), None)


# --- rank, sign, order -----------------------------------------------------------------------------------------


def _ranks(seen: Prose) -> Iterator[Problem]:
    lexicon = seen.language.lexicon
    assert lexicon
    lowest = _find(seen, lexicon.lowest)
    if lowest:
        yield Problem("rank", f"{lowest[0]!r}: the table holds the strongest concepts only, none is known to be last")
    for found in _pattern(lexicon.superlatives).finditer(seen.text):
        if len(seen.rows) != 1:
            yield Problem("rank", f"{found[0]!r} has to be said of exactly one cited concept")
        elif not seen.table.is_largest(seen.rows[0], _direction_after(seen, found.end())):
            yield Problem("rank", f"{found[0]!r} is not true of {seen.rows[0].id}, which has rank {seen.rows[0].rank}")


def _direction_after(seen: Prose, end: int) -> int:
    """Tell whether a superlative is limited to one direction, as in "the largest share against the class"."""
    assert seen.language.lexicon
    start = re.compile(r"[\s\w]{0,14}?\b").match(seen.text, end)
    near = seen.text[end : (start.end() if start else end) + 24]
    if _pattern(seen.language.lexicon.opposing).search(near):
        return -1
    return 1 if _pattern(seen.language.lexicon.supporting).search(near) else 0


def _signs(seen: Prose) -> Iterator[Problem]:
    """Words for a direction agree with the signs; without a concept they stand in general statements only."""
    lexicon = seen.language.lexicon
    assert lexicon
    patterns = {1: lexicon.supporting, -1: lexicon.opposing}
    words = {direction: match for direction, words in patterns.items() if (match := _find(seen, words))}
    if not seen.rows and seen.claim.kind in (*_ABSENCE_KINDS, "caveat", "coverage"):
        yield from _general_signs(seen, words)
        return
    if not words:
        return
    direction, match = next(iter(words.items()))
    negation = next((found for word in words.values() if (found := _negation(seen, word.start()))), "")
    if not seen.rows:
        yield Problem("sign_unclear", f"{match[0]!r} is said of no cited concept")
    elif len(words) > 1:
        yield Problem("sign_mixed", f"{words[1][0]!r} and {words[-1][0]!r} in one statement: make two of it")
    elif negation:
        yield Problem("negation", f"{negation!r} before {match[0]!r}: say the direction without a negation")
    elif seen.claim.kind == "contrast":
        yield Problem("sign_unclear", f"{match[0]!r} in a contrast of classes: give the shares alone")
    elif seen.table.logit <= 0 and not re.search(r"logit|score|wert", match[0], re.IGNORECASE):
        yield Problem("sign_of_negative_score", f"{match[0]!r}: under a negative score no share is for or against")
    else:
        wrong = next((row for row in seen.rows if row.direction != direction), None)
        if wrong and seen.claim.kind != "composition":
            yield Problem("sign", f"{match[0]!r} contradicts the share {wrong.share:+.4f} of {wrong.id}")


def _general_signs(seen: Prose, words: Mapping[int, re.Match[str]]) -> Iterator[Problem]:
    """Words for a direction in a statement about no single concept: about none of them, a layer, or the method."""
    lexicon, kind = seen.language.lexicon, seen.claim.kind
    assert lexicon
    fields = [gap.field for _, gap in seen.gaps]
    if kind in _ABSENCE_KINDS:
        said = {"no_support": {1}, "no_opposition": {-1}, "no_relevance": set()}[kind]
        if set(words) - said or not _find(seen, lexicon.negations):
            yield Problem("absence", f"a statement of kind {kind!r} says that none of the concepts shown does so")
        elif words and seen.table.logit <= 0 and not re.search(r"logit|score|wert", seen.text, re.IGNORECASE):
            yield Problem("sign_of_negative_score", "under a negative score no share is for or against")
    elif kind == "coverage" and words:
        told = [{"supporting": 1, "opposing": -1}[field] for field in fields if field in ("supporting", "opposing")]
        in_order = sorted(words, key=lambda direction: words[direction].start())
        if not told:
            yield Problem("sign_unclear", f"{words[in_order[0]][0]!r} is said of no cited concept")
        elif [direction for direction in told if direction in words] != in_order:
            yield Problem("sign", f"{words[in_order[0]][0]!r} stands with the share of the other sign")
    elif kind == "caveat" and words and "class" in fields and (seen.table.logit > 0 or 1 in words):
        yield Problem("sign_unclear", f"{next(iter(words.values()))[0]!r} is said of no cited concept")


def _negation(seen: Prose, position: int) -> str:
    assert seen.language.lexicon
    before = re.findall(rf"[\w'\u2019{GAP}]+", seen.text[:position])[-3:]
    found = _pattern(seen.language.lexicon.negations).search(" ".join(before))
    return found[0] if found else ""


def _order(seen: Prose) -> Iterator[Problem]:
    lexicon = seen.language.lexicon
    assert lexicon
    if seen.claim.kind == "dominance":
        return
    for relation, patterns in ((1, lexicon.more), (-1, lexicon.less), (0, lexicon.equal)):
        for found in _pattern(patterns).finditer(seen.text):
            end = found.end() - found[0].endswith(GAP)
            before = [gap for position, gap in seen.gaps if position < end]
            after = [gap for position, gap in seen.gaps if position >= end]
            if not relation and seen.claim.kind == "conservation":
                yield from _conserved(seen, found[0])
            else:
                yield from _compared(seen, found[0], relation, _subject(reversed(before)), _subject(after))


def _conserved(seen: Prose, words: str) -> Iterator[Problem]:
    """Find a sum of relevance that is called equal to the logit and is printed otherwise."""
    logit = printed(Placeholder("logit"), seen.table, seen.language)
    sums = [printed(gap, seen.table, seen.language) for _, gap in seen.gaps if gap.field == "relevance_sum"]
    if any(total != logit for total in sums):
        yield Problem("order", f"{words!r}: the layer's relevance does not sum to the logit as printed")


def _subject(gaps: Iterable[Placeholder]) -> str:
    """Name what the nearest placeholder belongs to: a concept's id, ``class`` or ``runner_up``."""
    for gap in gaps:
        if gap.is_concept:
            return gap.id
        if gap.field in ("class", "probability", "runner_up", "runner_up_probability"):
            return "runner_up" if gap.field.startswith("runner_up") else "class"
    return ""


def _compared(seen: Prose, words: str, relation: int, left: str, right: str) -> Iterator[Problem]:
    assert seen.language.lexicon
    first, second = seen.table.concept(left), seen.table.concept(right)
    if _find(seen, seen.language.lexicon.other_measures):
        yield Problem("order_unclear", f"{words!r}: shares alone can be compared")
    elif first and second:
        if second.id == first.id or second not in seen.table.peers(first):
            yield Problem("order_layers", f"shares of {left} and {right} are of different totals")
        elif _sign(first.magnitude - second.magnitude) != relation:
            yield Problem("order", f"{words!r} between {left} and {right} contradicts their shares")
    elif {left, right} == {"class", "runner_up"} and seen.table.runner_up_probability is not None:
        difference = seen.table.probability - seen.table.runner_up_probability
        if _sign(difference if left == "class" else -difference) != relation:
            yield Problem("order", f"{words!r} contradicts the probabilities of the classes")
    elif first and right == "runner_up" and first.runner_up_share is not None:
        if _sign(first.magnitude - abs(first.runner_up_share)) != relation:
            yield Problem("order", f"{words!r} contradicts the shares of {left} for the classes")
    else:
        yield Problem("order_unclear", f"{words!r}: a comparison stands between placeholders of what is compared")


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)


# --- places ----------------------------------------------------------------------------------------------------


def _places(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    for pattern, token in seen.language.lexicon.places.items():
        for found in _pattern((pattern,)).finditer(seen.text):
            where = next((row for row in seen.rows if token not in place_tokens(row.place)), None)
            if not token or not seen.rows:
                yield Problem("place", f"{found[0]!r} is a place that the table does not give")
            elif where:
                yield Problem(
                    "place", f"{found[0]!r} contradicts the place of {where.id}, {where.place or 'unknown'!r}"
                )
            elif _negation(seen, found.start()):
                yield Problem("negation", f"a negation before {found[0]!r}: say where it is")


def _negated_values(seen: Prose) -> Iterator[Problem]:
    """Find a negation beside a value or place of a cited concept: what is given is so."""
    assert seen.language.lexicon
    given = [gap for _, gap in seen.gaps if gap.is_concept]
    rest = strip_phrases(seen.text, seen.rows, seen.table, seen.language)
    found = _pattern(seen.language.lexicon.negations).search(rest)
    if given and found and seen.claim.kind not in ("caveat", *_ABSENCE_KINDS):
        yield Problem("negation", f"{found[0]!r} beside a value of the table: say what is so")


def _areas(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    if any(gap.field == "area" for _, gap in seen.gaps) and not _find(seen, seen.language.lexicon.photo_words):
        yield Problem("number_misplaced", "{area} is a part of the photo, and the text does not say so")


def _marks(seen: Prose) -> Iterator[Problem]:
    assert seen.language.lexicon
    found = _find(seen, seen.language.lexicon.mark_words)
    other = next((row for row in seen.rows if not row.name or row.name.kind != "mark"), None)
    if found and other:
        yield Problem("mark", f"{found[0]!r} is said of {other.id}, which is not named as a mark")


# --- names -----------------------------------------------------------------------------------------------------


def _names(seen: Prose) -> Iterator[Problem]:
    """Find names and classes that were typed."""
    for phrase, owner in typed_names(seen.text, seen.table, seen.language.code):
        yield _typed(seen, phrase, owner)


def _typed(seen: Prose, phrase: str, owner: str) -> Problem:
    if owner == "class":
        return Problem("class_typed", f"{phrase!r} is a class: put it in by {{class}} or {{runner_up}}")
    if owner == "other class":
        return Problem("class_other", f"{phrase!r} is neither the class explained nor the runner-up")
    if owner == "other name":
        return Problem("name_absent", f"{phrase!r} names a concept that is not in the table")
    if owner in seen.claim.cites:
        return Problem("name_typed", f"{phrase!r} is a name: put it in by {{name:{owner}}}")
    return Problem("name_of_other", f"{phrase!r} is the name of {owner}, which the statement does not cite")
