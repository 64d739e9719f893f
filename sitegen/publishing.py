"""A site for a static host: what the host needs beside the pages, and checks that it will serve all of them.

Owns the hosts, their limits, and that nothing is put out that would break under a sub-path, on a disk that does not
tell capitals from small letters, or at the host. Must not know what is on a page.
"""

from __future__ import annotations

import gzip
import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from precompute.errors import OutputError
from precompute.printing.numbers import count
from sitegen.build import SiteOptions, build_site
from sitegen.links import MISSING_PAGE, START

Host = Literal["server", "bucket", "github", "gitlab", "huggingface"]

_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""What a page cannot say of itself; the rest of its policy stands in it."""
_COMPRESSED: frozenset[Host] = frozenset({"server", "gitlab"})
"""Hosts that send the file with ``.gz`` behind its name to whoever takes it."""
_TEXTS = {".css": "text/css", ".csv": "text/csv", ".html": "text/html", ".js": "text/javascript"} | {
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
"""Types by ending; pictures are compressed as they are."""
_LEAST_COMPRESSED = 1024
_SERVE_COMPRESSED = (
    "<IfModule mod_rewrite.c>\n<IfModule mod_headers.c>\nRewriteEngine On\n"
    "RewriteCond %{HTTP:Accept-Encoding} gzip\nRewriteCond %{REQUEST_FILENAME}.gz -f\nRewriteRule ^(.+)$ $1.gz [L]\n"
    + "".join(
        f'<FilesMatch "\\{ending}\\.gz$">\nForceType {kind}\nSetEnv no-gzip 1\nHeader set Content-Encoding gzip\n'
        "Header append Vary Accept-Encoding\n</FilesMatch>\n"
        for ending, kind in _TEXTS.items()
    )
    + "</IfModule>\n</IfModule>\n"
)
_LINK = re.compile(r'<[a-z][^>]*?\s(?:href|src)="([^"]*)"')
_REFERENCE = re.compile(r'(\s(?:href|src)=")(?!#|data:|[a-z]+:|/)([^"]*)"')
_DATA = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
MILLION = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What a host takes; 0 is no limit.

    Attributes
    ----------
    site, file : int
        Bytes.
    files, entries : int
        Files of the site, and files and folders in one folder.
    """

    site: int = 0
    file: int = 0
    files: int = 0
    entries: int = 0


HOSTS: dict[Host, Limits] = {
    "server": Limits(),
    "bucket": Limits(),
    # GitLab.com's settings; an installation of one's own may have others
    "gitlab": Limits(site=1000 * MILLION, files=200_000),
    # GitHub's documents: a published site has at most 1 GB, git takes no file above 100 MiB
    "github": Limits(site=1000 * MILLION, file=100 << 20),
    # the Hub's documents: fewer than 100,000 files in a repository and 10,000 entries in a folder, files below 20 GB
    "huggingface": Limits(file=20_000 * MILLION, files=100_000, entries=10_000),
}


@dataclass(frozen=True)
class Published:
    """What was put out: files, bytes, the most entries of one folder, and what was missing in the atlas."""

    n_files: int
    n_bytes: int
    n_entries: int
    warnings: tuple[str, ...]


def publish(output: Path, source: Path, options: SiteOptions, host: Host, under: str = "/") -> Published:
    """Make a site for a host; it appears at `output` whole and checked, or not at all.

    Parameters
    ----------
    output, source : Path
        As of `build_site`.
    options : SiteOptions
    host : {"server", "bucket", "github", "gitlab", "huggingface"}
    under : str
        Path under which the site will be served, which only the page for missing addresses has to know.

    Raises
    ------
    OutputError
        The site breaks a limit of the host, two of its files would be one on some disks, or a link leads nowhere.
    """
    measured: list[Published] = []

    def finish(folder: Path) -> None:
        _add_files(folder, host, options, under)
        _check_links(folder, under)
        if host in _COMPRESSED:
            _compress(folder)
        _check_names(folder)
        measured.append(_measure(folder, host))

    report = build_site(output, source, options, finish=finish)
    return replace(measured[0], warnings=report.warnings)


def _add_files(folder: Path, host: Host, options: SiteOptions, under: str) -> None:
    added: dict[str, str] = {}
    if host == "github":
        added[".nojekyll"] = ""  # else files that begin with an underscore are left out
    elif host == "huggingface":
        title = json.dumps(options.title or options.name, ensure_ascii=False)
        added["README.md"] = f"---\ntitle: {title}\nsdk: static\napp_file: {START}\npinned: false\n---\n"
    elif host == "server":
        lines = "".join(f"  {name}: {value}\n" for name, value in _HEADERS.items())
        added["_headers"] = f"/*\n{lines}"
        directives = "".join(f'Header always set {name} "{value}"\n' for name, value in _HEADERS.items())
        added[".htaccess"] = (
            f"ErrorDocument 404 {under}{MISSING_PAGE}\n<IfModule mod_headers.c>\n{directives}</IfModule>\n"
            f"{_SERVE_COMPRESSED}"
        )
    for name, text in added.items():
        (folder / name).write_text(text, encoding="utf-8")
    missing = folder / MISSING_PAGE
    if missing.exists():  # a host shows it at any address, from which relative links lead elsewhere
        text = _REFERENCE.sub(lambda found: f'{found[1]}{under}{found[2]}"', missing.read_text(encoding="utf-8"))
        missing.write_text(text, encoding="utf-8")


def _compress(folder: Path) -> None:
    """Lay a compressed file beside each text that is worth it; the same text gives the same bytes."""
    for path in list(_files(folder)):
        content = path.read_bytes() if path.suffix in _TEXTS else b""
        if len(content) >= _LEAST_COMPRESSED:
            packed = gzip.compress(content, 9, mtime=0)
            path.with_name(f"{path.name}.gz").write_bytes(packed)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _check_names(folder: Path) -> None:
    names = Counter(path.relative_to(folder).as_posix().casefold() for path in _files(folder))
    doubled = sorted(name for name, number in names.items() if number > 1)
    if doubled:
        raise OutputError(
            f"{count(len(doubled))} files of the site differ in capitals alone, so that some disks would merge them: "
            f"{', '.join(doubled[:5])}. Nothing was put out"
        )


def _check_links(folder: Path, under: str) -> None:
    """Refuse a site in which a link leads to no file of it; links to other sites are not followed."""
    there = {
        path.relative_to(folder).as_posix() for path in _files(folder)
    }  # asked of the disk once, not for each link
    broken = []
    for page in sorted(name for name in there if name.endswith(".html")):
        within, text = page.rpartition("/")[0], (folder / page).read_text(encoding="utf-8")
        for target in sorted(set(_LINK.findall(_DATA.sub(_head_of, text)))):
            address = unquote(unescape(target).partition("#")[0].partition("?")[0])
            if not address or re.match(r"[a-z][a-z0-9+.-]*:", address):
                continue
            is_absolute = address.startswith("/")
            found = address.removeprefix(under) if is_absolute else f"{within}/{address}"
            found = found + START if address.endswith("/") else found
            if (is_absolute and not address.startswith(under)) or _place(found) not in there:
                broken.append(f"{page} → {address}")
    if broken:
        raise OutputError(
            f"{count(len(broken))} links of the site lead nowhere under {under}: {'; '.join(broken[:5])}. Nothing was "
            "put out; please report it"
        )


def _place(address: str) -> str:
    """Return where a relative address leads, from the root; what climbs out of it is no file of the site."""
    return posixpath.normpath(address.lstrip("/"))


def _head_of(script: re.Match[str]) -> str:
    """Keep the tag of a script, whose text is no HTML."""
    return script[0].partition(">")[0] + ">"


def _measure(folder: Path, host: Host) -> Published:
    """Count what the host counts, and refuse what it would."""
    limits, files = HOSTS[host], list(_files(folder))
    sizes = [path.stat().st_size for path in files]
    entries = Counter(path.parent for path in folder.rglob("*"))
    where, n_entries = max(entries.items(), key=lambda item: (item[1], item[0].as_posix()))
    n_bytes, largest = sum(sizes), max(sizes)
    told = [
        (n_bytes, limits.site, f"it has {count(n_bytes)} bytes", "bytes in all"),
        (largest, limits.file, f"its largest file has {count(largest)} bytes", "in one"),
        (len(files), limits.files, f"it has {count(len(files))} files", "files"),
        (n_entries, limits.entries, f"its folder {where.name} has {count(n_entries)} entries", "in one folder"),
    ]
    for found, limit, said, unit in told:
        if limit and found > limit:
            raise OutputError(
                f"{host} would not take the site: {said}, at most {count(limit)} {unit} are allowed. Nothing was put "
                "out. --pictures none makes it smaller, site.n_gallery shows fewer reference images"
            )
    return Published(len(files), n_bytes, n_entries, ())
