"""How a concept and an explanation look in a notebook: HTML in which every text is escaped and nothing is fetched.

Must not know files.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from precompute.printing.numbers import probability, signed_percent, significant

_BOX = "font-family:sans-serif;max-width:60em"


def _image(blob: bytes, alt: str, height: int) -> str:
    kind = "png" if blob.startswith(b"\x89PNG") else "webp"
    data = base64.b64encode(blob).decode()
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(alt)}" style="height:{height}px;margin:2px">'


def concept_html(
    key: str, title: str, about: str, author: str, classes: Sequence[tuple[str, float]], pictures: Sequence[bytes]
) -> str:
    """Show a concept: name, who gave it, its strongest classes with their means, its reference images."""
    shown = "".join(_image(blob, f"Reference image {rank}", 96) for rank, blob in enumerate(pictures, start=1))
    best = "; ".join(f"{escape(name)} {escape(significant(mean))}" for name, mean in classes)
    return (
        f'<div style="{_BOX}"><strong>{escape(title)}</strong> <code>{escape(key)}</code><br>{escape(about)}'
        f"{f' <em>{escape(author)}</em>' if author else ''}"
        f"{f'<br>Largest mean relevance: {best}' if best else ''}<br>{shown}</div>"
    )


def explanation_html(
    photo: str,
    label: str,
    said: tuple[str, float] | None,
    text: str,
    rows: Sequence[tuple[str, str, float]],
    pictures: Sequence[bytes],
) -> str:
    """Show an explanation: the decision, the photo with and without its heatmap, the text, the concepts' shares."""
    shown = "".join(
        _image(blob, alt, 160) for blob, alt in zip(pictures, (f"The photo {photo}", "Heatmap over it"), strict=False)
    )
    decision = f"{escape(said[0])} ({escape(probability(said[1]))})" if said else "no prediction"
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(place)}</td><td>{escape(signed_percent(share))}</td></tr>"
        for name, place, share in rows
    )
    return (
        f'<div style="{_BOX}"><strong>{decision}</strong> <code>{escape(photo)}</code>'
        f"{f' label: {escape(label)}' if label else ''}<br>{shown}<p>{escape(text)}</p>"
        f"<table><thead><tr><th>Concept</th><th>Where</th><th>Share</th></tr></thead><tbody>{body}</tbody></table></div>"
    )
