"""Contexts in, HTML out: the only module that knows Jinja.

Owns the template environment: autoescape always on, an undefined variable is an error. Must not know records.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.ext import Extension
from markupsafe import Markup

from precompute.printing import numbers, palette
from sitegen import charts, links


class _WithoutIndents(Extension):
    """Takes the indents out of the source of HTML templates, so that no page carries them.

    Text of a ``pre`` begins no line of a template.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        del filename
        return re.sub(r"(?m)^[ \t]+", "", source) if name and name.endswith(".html.j2") else source


@cache
def make_environment() -> Environment:
    """Return the environment of every fragment; MkDocs' own does not escape and is never given data."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=PackageLoader("sitegen", "templates"),
        extensions=[_WithoutIndents],
    )
    environment.filters.update(
        percent=numbers.percent,
        probability=numbers.probability,
        signed_percent=numbers.signed_percent,
        decimal=numbers.decimal,
        significant=numbers.significant,
        with_error=numbers.with_error,
        fixed=numbers.fixed,
        count=numbers.count,
        rank=numbers.rank,
        width=charts.width,
        json_of=links.json_of,
    )
    environment.globals.update(plural=numbers.plural, links=links, palette=palette)
    return environment


class Renderer:
    """Fills templates by name."""

    def __init__(self) -> None:
        self._environment = make_environment()

    def fragment(self, template: str, context: dict[str, Any]) -> str:
        """Fill one template.

        Raises
        ------
        jinja2.UndefinedError
            The template uses a variable that the context does not have.
        """
        return self._environment.get_template(template).render(context)


def script_json(value: object) -> Markup:
    """Encode data so that it can stand inside a script, inline or as a file, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # every character that HTML or JavaScript could misread is escaped by now
    return Markup(text)
