"""What a browser may do with a page: nothing but what the page was made with.

Owns the Content-Security-Policy of every page: scripts and styles are files of the site, or stand in the page and are
named by their digest; no other server is asked for anything. Must not know what is on a page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import unescape
from typing import NamedTuple

_SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<text>.*?)</script>", re.DOTALL)
_STYLE = re.compile(r' style="([^"]*)"')
_DECLARATIONS = re.compile(r"[-a-z0-9.:;% ]*")


class Styled(NamedTuple):
    """HTML without style attributes, and the rules that took their place."""

    html: str
    rules: str


def move_styles(html: str) -> Styled:
    """Turn every style attribute, which a strict policy forbids, into a rule of one style element.

    Quotes of data are escaped in all HTML that is made here, so that a raw one always belongs to a template.

    Raises
    ------
    ValueError
        A style holds more than names and numbers.
    """
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        style = unescape(found[1])
        if not _DECLARATIONS.fullmatch(style):
            raise ValueError(f"a style attribute is {style!r}, expected names and numbers only")
        return f' data-s="{numbers.setdefault(style, len(numbers))}"'

    moved = _STYLE.sub(number, html)
    # two attributes weigh more than the class in the style sheet that sets a default
    return Styled(moved, "".join(f'[data-s="{index}"][data-s]{{{style}}}' for style, index in numbers.items()))


def inline_scripts(html: str) -> list[str]:
    """List the scripts that stand in a page; blocks of data are none."""
    found = _SCRIPT.finditer(html)
    return [item["text"] for item in found if not re.search(r"\bsrc=|application/json", item["attributes"])]


def policy(scripts: list[str], rules: str) -> str:
    """Write the policy of a page with these scripts and style rules in it."""
    script_sources = ["'self'", *dict.fromkeys(_source(script) for script in scripts)]
    style_sources = ["'self'", *([_source(rules)] if rules else [])]
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(script_sources)}",
            f"style-src {' '.join(style_sources)}",
            "img-src 'self' data:",  # the icons of the style sheet are data
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


def sealed_policy(rules: str, scripts: Sequence[str] = ()) -> str:
    """Write the policy of a file that stands alone: its own style and scripts, pictures that are data, nothing else."""
    allowed = f"script-src {' '.join(map(_source, scripts))}; " if scripts else ""
    style = f"style-src {_source(rules)}"
    return f"default-src 'none'; {allowed}{style}; img-src data:; base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
