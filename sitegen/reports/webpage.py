"""Reports as one HTML file that needs nothing else: no request, no script, every picture in it.

Owns that its policy forbids everything but its own style and pictures. What it says is in the record.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from importlib import resources

from markupsafe import Markup

from precompute.printing import palette
from sitegen.policy import move_styles, sealed_policy
from sitegen.render import Renderer, script_json

from .material import Report
from .record import record_of
from .typesetting import APPROVAL, CONTENTS, LOGO, footer_of

_TYPES = {"svg": "svg+xml"}


def html_of(report: Report) -> bytes:
    """Write a report as one HTML file."""
    document = report.document
    labels = {
        "contents": CONTENTS,
        "logo": LOGO,
        "approval": APPROVAL,
        "footer": footer_of(document.made_from, document.date),
    }
    pictures = {
        key: f"data:image/{_TYPES.get(file.format, file.format)};base64,"
        + base64.b64encode(report.pictures[key]).decode()
        for key, file in document.pictures.items()
    }
    renderer = _renderer()
    context = {"document": document, "headings": document.headings(), "pictures": pictures, "labels": labels}
    moved = move_styles(renderer.fragment("report.html.j2", context))
    style = f"{_style()}{moved.rules}"
    page = renderer.fragment(
        "report_frame.html.j2",
        {
            "document": document,
            "policy": Markup(sealed_policy(style)),
            # a policy and a style sheet of names and numbers, and fragments of this environment: escaped already
            "style": Markup(style),
            "content": Markup(moved.html),
            "record": script_json(record_of(document)),
        },
    )
    return page.encode()


@lru_cache
def _renderer() -> Renderer:
    return Renderer()


@lru_cache
def _style() -> str:
    text = (resources.files("sitegen.templates") / "report.css").read_text(encoding="utf-8")
    pair = f".for{{background:{palette.hexadecimal(palette.POSITIVE)}}}"
    return f"{text}{pair}.against{{background:{palette.hexadecimal(palette.NEGATIVE)}}}"
