"""The chrome of the site: MkDocs Material builds one page for each section, with marks where data go.

Owns the MkDocs configuration, the marks and what is removed from Material's output. No text from records ever goes
through MkDocs, whose templates do not escape. Must not know records or Jinja contexts.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Container, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from mkdocs.commands.build import build as mkdocs_build
from mkdocs.config import load_config

from precompute.printing import palette
from sitegen.policy import inline_scripts, move_styles, policy

MARK = "@@atlas:{}@@"
_MARKS = re.compile(r"@@atlas:(title|topic|site|description|content|footer|policy|style)@@")
_VERBATIM = re.compile(r"(<(?:pre|script|textarea)\b.*?</(?:pre|script|textarea)>)", re.DOTALL)
_INDENTS = re.compile(r"\s*\n\s*")

_UNUSED = (
    "404.html",
    "sitemap.xml",
    "sitemap.xml.gz",
    "assets/javascripts/lunr",
    "assets/javascripts/workers",
    "assets/images/social",
)


@dataclass(frozen=True)
class PageFrame:
    """One built page, cut at its marks: text and names of marks take turns."""

    parts: tuple[str, ...]

    def fill(self, *, title: str, topic: str, site: str, description: str, content: str, footer: str) -> str:
        """Put values at the marks; everything but `content`, which is HTML, is escaped here."""
        content, rules = move_styles(content)
        scripts = inline_scripts("".join(self.parts[::2]) + content)
        values = {
            "title": escape(title),
            "topic": escape(topic),
            "site": escape(site),
            "description": escape(description),
            "footer": escape(footer),
            "content": content,
            "policy": policy(scripts, rules),
            "style": f"<style>{rules}</style>" if rules else "",
        }
        return "".join(values[part] if index % 2 else part for index, part in enumerate(self.parts))


def build_frames(
    output: Path, workspace: Path, entries: Mapping[str, str], handwritten: Container[str]
) -> dict[str, PageFrame]:
    """Build the chrome into `output` and return the frame of every section by its address.

    Parameters
    ----------
    output : Path
        Root of the new site; emptied by MkDocs.
    workspace : Path
        Scratch folder for the sources.
    entries : mapping of str to str
        The navigation: addresses by title, in order.
    handwritten : container of str
        Addresses whose text is a Markdown file in ``templates/handwritten``.
    """
    _write_sources(workspace, entries, handwritten)
    logging.getLogger("mkdocs").setLevel(logging.ERROR)
    mkdocs_build(load_config(**_config(output, workspace, entries)))
    for name in _UNUSED:
        _remove(output / name)
    for path in sorted(output.rglob("*.map")):
        path.unlink()
    _drop_source_map_comments(output)
    return {page: _cut(output / page) for page in entries.values()}


def _config(output: Path, workspace: Path, entries: Mapping[str, str]) -> dict[str, Any]:
    palette = [
        ("(prefers-color-scheme)", "default", "material/brightness-auto", "Switch to light mode"),
        ("(prefers-color-scheme: light)", "default", "material/weather-sunny", "Switch to dark mode"),
        ("(prefers-color-scheme: dark)", "slate", "material/weather-night", "Follow the system"),
    ]
    return {
        "config_file": str(workspace / "mkdocs.yml"),
        "site_name": MARK.format("site"),
        "docs_dir": str(workspace / "docs"),
        "site_dir": str(output.absolute()),  # MkDocs takes a relative one from the folder of its own config
        "use_directory_urls": False,
        "plugins": [],
        "nav": [{title: page.removesuffix(".html") + ".md"} for title, page in entries.items()],
        "extra_css": ["assets/atlas.css"],
        "extra_javascript": ["assets/atlas.js"],
        "extra": {"generator": False},
        "copyright": MARK.format("footer"),
        "markdown_extensions": ["toc", "tables", "attr_list", "def_list"],
        "theme": {
            "name": "material",
            "font": False,
            "custom_dir": str(workspace / "theme"),
            "favicon": "assets/favicon.svg",
            "features": ["navigation.tabs", "toc.follow"],
            "icon": {"logo": "material/map-outline"},
            "palette": [
                {
                    "media": media,
                    "scheme": scheme,
                    "primary": "custom",
                    "accent": "custom",
                    "toggle": {"icon": icon, "name": name},
                }
                for media, scheme, icon, name in palette
            ],
        },
    }


def _write_sources(workspace: Path, entries: Mapping[str, str], handwritten: Container[str]) -> None:
    """Lay out the sources of MkDocs: the handwritten pages, and a bare page with marks for every other section."""
    documents, theme = workspace / "docs", workspace / "theme"
    with as_file(files("sitegen")) as package:
        shutil.copytree(package / "templates" / "theme", theme)
        shutil.copytree(package / "assets", documents / "assets")
        style = documents / "assets" / "atlas.css"
        style.write_text(_palette_rules() + style.read_text(encoding="utf-8"), encoding="utf-8")
        (workspace / "mkdocs.yml").write_text("", encoding="utf-8")
        for page in entries.values():
            target = documents / (page.removesuffix(".html") + ".md")
            target.parent.mkdir(parents=True, exist_ok=True)
            hide = "[navigation]" if page in handwritten else "[navigation, toc]"
            body = (
                (package / "templates" / "handwritten" / target.name).read_text("utf-8") if page in handwritten else ""
            )
            target.write_text(f'---\ntitle: "{MARK.format("topic")}"\nhide: {hide}\n---\n{body}', encoding="utf-8")


def _palette_rules() -> str:
    """Write the colours of signed relevance; those of pictures (`heat`) are the same on light and dark ground."""
    light, dark = (
        f"--atlas-positive:{palette.hexadecimal(positive)};--atlas-negative:{palette.hexadecimal(negative)}"
        for positive, negative in (
            (palette.POSITIVE, palette.NEGATIVE),
            (palette.POSITIVE_ON_DARK, palette.NEGATIVE_ON_DARK),
        )
    )
    pictures = light.replace("--atlas-", "--atlas-heat-")
    return f':root,[data-md-color-scheme="default"]{{{light};{pictures}}}[data-md-color-scheme="slate"]{{{dark}}}\n'


def _cut(path: Path) -> PageFrame:
    return PageFrame(tuple(_MARKS.split(_without_indents(path.read_text(encoding="utf-8")))))


def _without_indents(html: str) -> str:
    """Take out the blank lines and indents of Material's templates, which every page would carry."""
    parts = _VERBATIM.split(html)
    return "".join(part if place % 2 else _INDENTS.sub("\n", part) for place, part in enumerate(parts))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _drop_source_map_comments(output: Path) -> None:
    """Forget the source maps that were removed, so that no browser tool asks for them."""
    for path in sorted([*output.glob("assets/**/*.min.js"), *output.glob("assets/**/*.min.css")]):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"/[/*][#@]\s*sourceMappingURL=[^\s*]+(\s*\*/)?\s*$", "", text), encoding="utf-8")
