"""The page of one rater of a study: one HTML file with everything in it, which asks no server for anything.

Owns what a rater sees and the file that the page hands over. Must not know what is right.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from precompute.records.studied import OPTION_LETTERS, AskedQuestion, RaterPage, StudyAnswers

from .policy import sealed_policy
from .render import Renderer, script_json

_SIGNATURES = ((b"RIFF", "webp"), (b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"))


def rater_html(page: RaterPage) -> str:
    """Write one rater's page; the same page gives the same text."""
    folder = files("sitegen") / "templates" / "rater"
    script, rules = ((folder / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    kind, version = StudyAnswers.FILE_FORMAT
    context = {
        "policy": sealed_policy(rules, [script]),
        "script": Markup(script),  # the project's own files, as they stand
        "rules": Markup(rules),
        "study": page.study,
        "rater": page.rater,
        "data": script_json({"kind": kind, "format_version": version, "study": page.study, "rater": page.rater}),
        "questions": [_question(item) for item in page.questions],
    }
    return Renderer().fragment("rater/page.html.j2", context)


def _question(item: AskedQuestion) -> dict[str, Any]:
    options: Sequence[Any] = item.texts or [[_address(picture) for picture in row] for row in item.rows]
    return {
        "kind": "name" if item.kind in ("random", "hard") else item.kind,  # which rows are hard would be a hint
        "name": item.name,
        "photo": _address(item.photo) if item.photo else "",
        "language": item.language,
        "options": list(zip(OPTION_LETTERS, options, strict=False)),
    }


def _address(picture: bytes) -> str:
    kind = next((kind for signature, kind in _SIGNATURES if picture.startswith(signature)), "webp")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
