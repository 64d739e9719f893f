"""Placeholders of narratives: their grammar, and the one format in which each value is printed.

Owns parsing, rendering and reading printed numbers back. Must not know which sentences are true.

Grammar: ``{field}``, ``{field:C1}``, ``{field:C1.2}`` or ``{field:L1}``; braces have no other use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from precompute.atlas import numbers
from precompute.explanations.table import ConceptRow, ExplanationTable, LayerRow

from .language import Language

Scope = Literal["all", "concept", "layer"]
Format = Literal["percent", "signed_percent", "decimal", "count", "index", "class", "name", "layer", "place"]
Value = float | int | str

_BRACES = re.compile(r"\{([^{}]*)\}|[{}]")
_CONTENT = re.compile(r"([a-z_]+)(?::(C[1-9][0-9]*(?:\.[1-9][0-9]*)?|L[1-9][0-9]*))?")
_GROUPED = r"\d{1,3}(?:[.,\u2019\u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?!\d)"
"""No number is printed with three decimals: three digits after a mark are a group."""
_NUMBER = re.compile(
    rf"(?P<bound>[<>][\u00a0 ])?(?P<sign>[+\u2212-])?(?P<digits>{_GROUPED}|\d+(?:[.,]\d+)?)(?P<percent>[\u00a0 ]%)?"
)


@dataclass(frozen=True)
class Placeholder:
    """One parsed placeholder; `id` is empty for a quantity of the whole prediction."""

    field: str
    id: str = ""

    @property
    def is_concept(self) -> bool:
        """Whether it refers to a concept."""
        return self.id.startswith("C")


@dataclass(frozen=True)
class Field:
    """What a placeholder's field means and how it is printed.

    Attributes
    ----------
    scope : {"all", "concept", "layer"}
    format : str
    meaning : str
        For the prompt.
    read : callable
        From the table or its row to the raw value; None where there is none.
    """

    scope: Scope
    format: Format
    meaning: str
    read: Callable[..., Value | None]


FIELDS: Mapping[str, tuple[Field, ...]] = {
    "class": (Field("all", "class", "the class explained", lambda table: table.class_name),),
    "probability": (Field("all", "percent", "its softmax probability", lambda table: table.probability),),
    "logit": (Field("all", "decimal", "its score before softmax", lambda table: table.logit),),
    "runner_up": (Field("all", "class", "the most probable other class", lambda table: table.runner_up or None),),
    "runner_up_probability": (
        Field("all", "percent", "the runner-up's probability", lambda table: table.runner_up_probability),
    ),
    "layer": (
        Field("layer", "layer", "the layer's module path", lambda row: row.layer),
        Field("concept", "layer", "the concept's layer", lambda row: row.layer),
    ),
    "n_channels": (Field("layer", "count", "number of channels of the layer", lambda row: row.n_channels),),
    "n_concepts": (Field("layer", "count", "number of its concepts in this table", lambda row: row.n_concepts),),
    "n_others": (Field("layer", "count", "number of its other channels", lambda row: row.n_channels - row.n_concepts),),
    "n_carrying": (
        Field("layer", "count", "number of its other channels whose share is not zero", lambda row: row.n_carrying),
    ),
    "coverage": (Field("layer", "percent", "share of the relevance that the table shows", lambda row: row.coverage),),
    "uncovered": (Field("layer", "percent", "share that it does not show", lambda row: max(0.0, 1 - row.coverage)),),
    "supporting": (Field("layer", "percent", "share with the sign of the logit", lambda row: row.supporting),),
    "opposing": (Field("layer", "percent", "share with the other sign", lambda row: row.opposing),),
    "relevance_sum": (Field("layer", "decimal", "sum of the layer's relevance", lambda row: row.relevance_sum),),
    "name": (Field("concept", "name", "the concept's name, in quotes", lambda row: row.id),),
    "channel": (Field("concept", "index", "the concept's channel", lambda row: row.channel),),
    "share": (Field("concept", "signed_percent", "signed share of the layer's relevance", lambda row: row.share),),
    "magnitude": (Field("concept", "percent", "the same without its sign", lambda row: row.magnitude),),
    "rank": (Field("concept", "index", "rank by absolute share, from 0", lambda row: row.rank),),
    "relevance": (Field("concept", "decimal", "signed relevance in units of the logit", lambda row: row.relevance),),
    "activation": (Field("concept", "decimal", "sum of the channel's output", lambda row: row.activation),),
    "place": (Field("concept", "place", "where in the photo, as a phrase", lambda row: row.place or None),),
    "area": (Field("concept", "percent", "how much of the photo that region takes up", lambda row: row.area),),
    "runner_up_share": (
        Field("concept", "signed_percent", "its share for the runner-up", lambda row: row.runner_up_share),
    ),
    "confidence": (
        Field(
            "concept", "percent", "the namer's confidence", lambda row: row.name.stated_confidence if row.name else None
        ),
    ),
}
"""Every field by name; `layer` is read from a layer or from a concept."""

_PRINTERS: dict[str, Callable[[float, str], str]] = {
    "percent": numbers.percent,
    "signed_percent": numbers.signed_percent,
    "decimal": numbers.decimal,
    "count": numbers.count,
    "index": lambda value, _: numbers.rank(int(value)),
}
NUMERIC_FORMATS = tuple(_PRINTERS)


class PlaceholderError(ValueError):
    """A placeholder cannot be used; `code` says in which way, the message says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def split(template: str) -> list[str | Placeholder]:
    """Split a template into prose and placeholders, in order.

    Raises
    ------
    PlaceholderError
        A brace without its partner, or something between braces that the grammar does not know.
    """
    parts: list[str | Placeholder] = []
    end = 0
    for match in _BRACES.finditer(template):
        content = _CONTENT.fullmatch(match[1]) if match[1] is not None else None
        if content is None:
            raise PlaceholderError("placeholder_malformed", f"{match[0]!r} is not a placeholder like {{share:C1}}")
        parts += [template[end : match.start()], Placeholder(content[1], content[2] or "")]
        end = match.end()
    return [part for part in (*parts, template[end:]) if part != ""]


def placeholders(template: str) -> list[Placeholder]:
    """List the placeholders of a template in order; raises as `split` does."""
    return [part for part in split(template) if isinstance(part, Placeholder)]


def prose(template: str, gap: str = " \u25a1 ") -> str:
    """Return the template's own words, each placeholder replaced by `gap`; raises as `split` does."""
    return "".join(part if isinstance(part, str) else gap for part in split(template))


def field_of(placeholder: Placeholder) -> Field:
    """Find the field that a placeholder means.

    Raises
    ------
    PlaceholderError
        There is no such field, or not for that kind of id.
    """
    scope = {"": "all", "C": "concept", "L": "layer"}[placeholder.id[:1]]
    known = FIELDS.get(placeholder.field)
    if known is None:
        raise PlaceholderError("placeholder_unknown", f"there is no placeholder field {placeholder.field!r}")
    for field in known:
        if field.scope == scope:
            return field
    expected = {"all": "no id", "concept": "a concept id", "layer": "a layer id"}[known[0].scope]
    raise PlaceholderError("placeholder_scope", f"the field {placeholder.field!r} takes {expected}")


def value(placeholder: Placeholder, table: ExplanationTable) -> Value:
    """Look up the raw value behind a placeholder.

    Raises
    ------
    PlaceholderError
        The field, the id or the value does not exist.
    """
    field = field_of(placeholder)
    source: ExplanationTable | ConceptRow | LayerRow | None = table
    if field.scope == "concept":
        source = table.concept(placeholder.id)
    elif field.scope == "layer":
        source = table.layer(placeholder.id)
    if source is None:
        code = "concept_unknown" if placeholder.is_concept else "layer_unknown"
        raise PlaceholderError(code, f"{placeholder.id} is not in the table")
    found = field.read(source)
    if found is None:
        where = f" for {placeholder.id}" if placeholder.id else ""
        raise PlaceholderError("value_absent", f"the table has no value of {placeholder.field!r}{where}")
    return found


def render(template: str, table: ExplanationTable, language: Language) -> str:
    """Fill the values in; the first letter becomes a capital; raises as `split` and `value` do."""
    text = "".join(
        part if isinstance(part, str) else printed(part, table, language) for part in split(template.strip())
    )
    return text[:1].upper() + text[1:]


def printed(placeholder: Placeholder, table: ExplanationTable, language: Language) -> str:
    """Return what a placeholder is replaced by; raises as `value` does."""
    found = value(placeholder, table)
    form = field_of(placeholder).format
    if form == "name":
        row = table.concept(placeholder.id)
        assert row is not None
        return name_text(row, table, language)
    if form == "class":
        return language.quote(str(found))
    if form == "place":
        return language.place(str(found))
    if form == "layer":
        return str(found)
    return _PRINTERS[form](float(found), language.code)


def name_text(row: ConceptRow, table: ExplanationTable, language: Language) -> str:
    """Return a concept's name in quotes, both names of a mixed one, or its channel where it has none.

    Where other concepts of the table have the same name the channel tells them apart.
    """
    if row.name is None:
        return language.unnamed.format(channel=row.channel, layer=row.layer)
    text = language.quote(row.name.name)
    if row.name.second_name.strip():
        text = language.mixed.format(first=text, second=language.quote(row.name.second_name))
    return language.namesake.format(name=text, channel=row.channel) if table.has_namesake(row) else text


@dataclass(frozen=True)
class PrintedNumber:
    """A number as a reader finds it.

    Attributes
    ----------
    text : str
    value : float
        With its sign; percent are divided by 100.
    half_step : float
        Half of the last printed decimal; 0 where no decimal is printed, which only exact values are.
    bound : str
        ``<`` or ``>`` where only a bound is printed, otherwise empty.
    """

    text: str
    value: float
    half_step: float
    bound: str

    def agrees(self, raw: float) -> bool:
        """Whether `raw` prints as this number."""
        if self.bound == "<":
            return raw < self.value and (self.value < 0 or raw > 0)
        if self.bound == ">":
            return raw > self.value and (self.value > 0 or raw < 0)
        return (self.value == 0 or raw * self.value > 0) and abs(raw - self.value) <= self.half_step + 2 * numbers.NOISE


def numbers_in(text: str) -> list[PrintedNumber]:
    """Read every number of a rendered text, in order; the decimal mark may be a point or a comma."""
    found = []
    for match in _NUMBER.finditer(text):
        whole, _, decimals = re.sub(r"[.,](\d{1,2})$", r";\1", match["digits"]).partition(";")
        digits, n_decimals = f"{re.sub(r'[^0-9]', '', whole)}.{decimals or 0}", len(decimals)
        scale = 0.01 if match["percent"] else 1.0
        sign = -1.0 if match["sign"] in (numbers.MINUS, "-") else 1.0
        half_step = 0.5 * 10.0**-n_decimals * scale if n_decimals else 0.0
        found.append(
            PrintedNumber(match[0], sign * float(digits) * scale, half_step, (match["bound"] or "").strip(" \u00a0"))
        )
    return found
