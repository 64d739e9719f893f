"""A published site is whole, checked and within its host's limits; without pictures no pixel leaves."""

import functools
import http.server
import re
import threading
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.ownership import is_whole
from precompute.cli import main
from precompute.errors import OutputError
from precompute.records import RANKINGS
from sitegen import publishing
from sitegen.build import SiteOptions
from sitegen.publishing import publish

from . import site_fixture

OPTIONS = SiteOptions("A world", "What a network sees.", name="x for y", n_gallery=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "atlas"
    return site_fixture.write_synthetic(folder, untrusted=True), folder


@pytest.fixture(scope="module")
def site(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("public") / "site"
    publish(folder, source[1], OPTIONS, "server", "/team/atlas/")
    return folder


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def translate_path(self, path):
        assert path.startswith("/team/atlas/")
        return super().translate_path(path.removeprefix("/team/atlas"))


def test_every_address_of_a_page_answers_under_a_sub_path(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}/team/atlas/"
    pages, asked = (
        ["index.html", "explanations/photo-01-abcdef.html", "concepts/features-14-c2.html", "404.html"],
        set(),
    )
    for page in pages:
        text = urllib.request.urlopen(base + page).read().decode()
        for target in re.findall(r'<[a-z][^>]*\s(?:href|src)="([^"#?]+)', text):
            address = urllib.parse.urljoin(base + page, target)
            if address.startswith(base) and address not in asked:
                asked.add(address)
                assert urllib.request.urlopen(address).status == 200
    server.shutdown()
    server.server_close()
    assert len(asked) > 40


def test_the_page_for_missing_addresses_works_at_any_depth(site):
    text = (site / "404.html").read_text(encoding="utf-8")
    found = re.findall(r'\s(?:href|src)="([^"#]+)"', text)
    assert len(found) > 5
    assert all(item.startswith(("/team/atlas/", "data:", "http")) for item in found), found
    assert "ErrorDocument 404 /team/atlas/404.html" in (site / ".htaccess").read_text()
    assert is_whole(site)


def test_a_space_gets_its_header(source, tmp_path):
    made = publish(tmp_path / "site", source[1], replace(OPTIONS, title='A "world": {{x}}'), "huggingface")
    assert made.n_files == sum(path.is_file() for path in (tmp_path / "site").rglob("*")) - 1  # the manifest
    assert made.n_bytes > 100_000
    head = (tmp_path / "site" / "README.md").read_text()
    assert head.startswith('---\ntitle: "A \\"world\\": {{x}}"\nsdk: static\n')


def test_without_pictures_no_byte_of_one_leaves(source, tmp_path):
    atlas, folder = source
    publish(tmp_path / "site", folder, replace(OPTIONS, include_images=False), "server")
    written = [path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()]
    pictures = [path.read_bytes() for path in folder.glob("explanations/*/*.webp")]
    with ReferenceReader(folder / "references.h5") as reader:
        for concept in list(atlas.concepts())[::4]:
            for ranking in RANKINGS:
                pictures += [blob for item in reader.read(concept, ranking) for blob in (item.full, item.crop)]
    assert len(set(pictures)) > 50
    parts = {blob[40:104] for blob in pictures}  # behind the head that all files of a kind share
    assert not any(part in content for content in written for part in parts)


def test_what_a_host_would_refuse_is_not_put_out(source, site, tmp_path, monkeypatch):
    for limits, told in (
        (publishing.Limits(site=1000), "bytes in all"),
        (publishing.Limits(file=1000), "largest file"),
        (publishing.Limits(files=10), "files"),
        (publishing.Limits(entries=3), "in one folder"),
    ):
        monkeypatch.setitem(publishing.HOSTS, "github", limits)
        with pytest.raises(OutputError, match=told):
            publishing._measure(site, "github")
    with pytest.raises(OutputError, match="Nothing was put out"):
        publish(tmp_path / "site", source[1], OPTIONS, "github")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_link_and_names_that_differ_in_capitals_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">x</a><a href="/c.html">y</a><script>"<a href=z>"</script>')
    with pytest.raises(OutputError, match=r"2 links .*a.html → /c.html; a.html → b.html"):
        publishing._check_links(tmp_path, "/team/")
    (tmp_path / "A.html").write_text("")
    with pytest.raises(OutputError, match="capitals alone"):
        publishing._check_names(tmp_path)


def test_a_command_publishes(source, tmp_path, capsys, monkeypatch):
    (tmp_path / "x.toml").write_text('name = "x"\n')
    monkeypatch.setattr("precompute.atlas.folder.Workspace.digest_contents", lambda self: "")
    common = ["--config", str(tmp_path / "x.toml"), "--output", str(source[1]), "--into", str(tmp_path / "site")]
    assert main(["publish", "github", *common, "--under", "atlas"]) == 0
    assert "every link leads to a file of it" in capsys.readouterr().out
    assert (tmp_path / "site" / ".nojekyll").exists()
    assert 'href="/atlas/index.html"' in (tmp_path / "site" / "404.html").read_text(encoding="utf-8")
