"""The server gives the files of the site to this machine, and nothing else to anybody."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from precompute.atlas.ownership import MANIFEST, SiteMark, replacing_site
from precompute.errors import StoreError
from precompute.serving import make_server

PAGES = {"index.html": "start", "concepts/index.html": "all", "concepts/a-c0.html": "one", "ä b.html": "umlaut"}


def make_site(folder, pages):
    with replacing_site(folder, SiteMark("small")) as new:
        for name, text in pages.items():
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(text)


@contextmanager
def serving(site):
    with make_server(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site(tmp_path):
    make_site(tmp_path / "site", PAGES)
    (tmp_path / "secret").write_text("secret")
    return tmp_path / "site"


def get(port, path, method="GET", **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer
    finally:
        connection.close()


def test_pages_are_found_as_their_links_say(site):
    with serving(site) as port:
        for path, text in [
            ("/", "start"),
            ("/index.html?q=wheel", "start"),
            ("/concepts/", "all"),
            ("/concepts/a-c0.html", "one"),
            ("/%C3%A4%20b.html", "umlaut"),
        ]:
            status, body, answer = get(port, path)
            assert (status, body) == (200, text)
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert get(port, "/concepts")[2].headers["Location"] == "/concepts/"
        assert get(port, "/", "HEAD")[:2] == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/.git/config",
            "/added.html",
            "/link.html",
            "/linked/secret",
            "/../secret",
            "/%2e%2e/secret",
            "//etc/passwd",
        ),
        *("/concepts/../../secret", "/concepts%2f..%2f..%2fsecret", "/%00", "/" + MANIFEST, "/\\..\\secret", "/%ff%fe"),
    ],
)
def test_only_files_of_the_site_are_given(site, path):
    (site / ".git").mkdir()
    (site / ".git/config").write_text("secret")
    (site / "added.html").write_text("secret")
    (site / "link.html").symlink_to(site.parent / "secret")
    (site / "linked").symlink_to(site.parent)
    with serving(site) as port:
        status, body, _ = get(port, path)
    assert status == 404
    assert "secret" not in body.replace("linked/secret", "")


def test_a_file_of_the_site_that_became_a_link_is_not_given(site):
    (site / "concepts/a-c0.html").unlink()
    (site / "concepts/a-c0.html").symlink_to(site.parent / "secret")
    with serving(site) as port:
        assert get(port, "/concepts/a-c0.html")[0] == 404


def test_folders_are_not_listed(site):
    (site / "concepts/index.html").unlink()
    with serving(site) as port:
        assert get(port, "/concepts/")[0] == 404
        assert get(port, "/concepts")[0] in (301, 404)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "", "0.0.0.0"]
)
def test_a_page_of_another_name_gets_nothing(site, host):
    with serving(site) as port:
        status, body, _ = get(port, "/", Host=host.format(port=port))
        assert status == 421
        assert "start" not in body
        assert get(port, "/", Host=f"LOCALHOST:{port}")[0] == 200


def test_other_methods_and_broken_requests_change_nothing(site):
    with serving(site) as port:
        for method in ("POST", "PUT", "DELETE", "PROPFIND"):
            assert get(port, "/index.html", method)[0] == 501
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"\x00\xff nonsense\r\n\r\n")
            assert b"400" in client.recv(1000)
        assert get(port, "/")[0] == 200


def test_a_site_that_is_made_again_is_served_anew(site):
    with serving(site) as port:
        assert get(port, "/new.html")[0] == 404
        make_site(site, {"index.html": "again", "new.html": "new"})
        assert get(port, "/new.html")[:2] == (200, "new")
        assert get(port, "/concepts/")[0] == 404


def test_two_hundred_clients_at_once_are_answered_beside_silent_ones(site):
    with serving(site) as port:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
        start = threading.Barrier(200)

        def client(number):
            start.wait(timeout=60)
            return get(port, f"/?{number}")[:2]

        with ThreadPoolExecutor(200) as threads:
            answers = list(threads.map(client, range(200)))
        for connection in silent:
            connection.close()
    assert answers == [(200, "start")] * 200


def test_a_folder_that_is_no_site_is_refused(tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(StoreError, match="there is no site"):
        make_server(tmp_path, 0)
