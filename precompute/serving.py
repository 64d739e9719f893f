"""A small server for looking at a site on one's own machine.

Owns which requests are answered: for this machine's names, and for files of the site's manifest only. It is no server
for the public: a site is a folder of files that any web server can carry. Must not know the pages.
"""

from __future__ import annotations

import logging
import mimetypes
import shutil
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from precompute.atlas.ownership import MANIFEST, read_manifest
from precompute.errors import AtlasError, StoreError

_LOGGER = logging.getLogger(__name__)
_NAMES = ("127.0.0.1", "localhost")
_INDEX = "index.html"


class _Server(ThreadingHTTPServer):
    request_queue_size = 512  # clients that may wait for a thread at once
    daemon_threads = True


class _Files:
    """The files of a site, by its manifest, which is read again when the site was made again."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._seen: tuple[int, int] | None = None
        self._names: frozenset[str] = frozenset()

    def find(self, address: str) -> tuple[str, Path | None]:
        """Return the address that a path of a request means, and its file; None where the site has none."""
        name = unquote(address).lstrip("/")
        name += _INDEX if not name or name.endswith("/") else ""
        names = self._current()
        if name not in names and f"{name}/{_INDEX}" in names:
            return f"{name}/", None
        path = self._site / name
        is_own = name in names and path.is_file() and path.resolve() == self._site.resolve() / name  # no link
        return name, path if is_own else None

    def _current(self) -> frozenset[str]:
        try:
            status = (self._site / MANIFEST).stat()
        except OSError:
            return frozenset()
        if self._seen != (status.st_ino, status.st_mtime_ns):
            found = read_manifest(self._site)
            self._names = frozenset(found[1]) if found else frozenset()
            self._seen = (status.st_ino, status.st_mtime_ns)
        return self._names


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30  # seconds that a silent client may hold a thread
    server_version = "atlas"
    sys_version = ""

    def __init__(self, files: _Files, *arguments: object) -> None:
        self._files = files
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with a file."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with a file's headers."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        host = self.headers.get("Host", "").lower().removesuffix(f":{self.server.server_port}")
        if host not in _NAMES:
            # a page of another name that was led to this address must not read along
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this server answers for 127.0.0.1 only")
            return
        name, path = self._files.find(urlsplit(self.path).path)
        if path is None and name.endswith("/"):
            self.send_response(HTTPStatus.MOVED_PERMANENTLY)
            self.send_header("Location", f"/{quote(name)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND, "the site has no such file")
            return
        with path.open("rb") as file:
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.send_header("Cache-Control", "no-cache")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            if with_body:
                shutil.copyfileobj(file, self.wfile)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name of the base class
        """Tell of requests with --verbose only."""
        _LOGGER.info(format, *arguments)


def make_server(site: Path, port: int) -> ThreadingHTTPServer:
    """Make the server of a site on this machine; close it after use.

    Parameters
    ----------
    site : Path
    port : int
        0 takes any that is free.

    Raises
    ------
    StoreError
        There is no site of this version of the program.
    AtlasError
        The port cannot be used.
    """
    if read_manifest(site) is None:
        raise StoreError(f"there is no site that this version of the program made in {site}: make it with `atlas run`")
    try:
        return _Server(("127.0.0.1", port), partial(_Handler, _Files(site)))
    except (OSError, OverflowError) as error:
        raise AtlasError(f"cannot serve on port {port}: {error}. Choose another with --port") from error
