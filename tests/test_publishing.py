"""A published site is whole, checked and within its host's limits; without pictures no pixel leaves."""

import functools
import gzip
import http.server
import re
import threading
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from precompute.atlas import hdf5
from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.ownership import is_whole
from precompute.cli import main
from precompute.errors import DataError, OutputError
from precompute.records import RANKINGS, Narrative, NarrativeTable, Paragraph, Piece, Statement
from sitegen import publishing
from sitegen.build import SiteOptions
from sitegen.data.redaction import redacted
from sitegen.data.source import read_source
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


MARK = "zqx"
"""Stands in every name and label of the data, and in nothing else."""


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """Make an atlas in which all that names the data can be told from all else."""
    folder = tmp_path_factory.mktemp("named") / "atlas"
    atlas = site_fixture.write_synthetic(folder, untrusted=False)
    names = tuple(f"{MARK}dir/{MARK}-{index}.jpg" for index in range(len(atlas.samples.name)))
    provenance = atlas.provenance | {
        "config": {"dataset": {"root": f"/{MARK}", "limit": 3}, "relevance": {"activation": "max", "x": [MARK]}},
        "dataset_digest": MARK,
    }
    hdf5.write_atlas(
        folder / "atlas.h5",
        replace(
            atlas,
            class_names=tuple(f"{MARK} {name}" for name in atlas.class_names),
            samples=replace(atlas.samples, name=names, skipped={3: f"cannot decode {MARK}.jpg"}),
            provenance=provenance,
        ),
    )
    told = re.compile("|".join(sorted((*site_fixture.CLASSES, *site_fixture.PARTS), key=len, reverse=True)))
    for path in [*folder.glob("explanations/*.json"), folder / "names.jsonl", folder / "truth.json"]:
        text = path.read_text(encoding="utf-8").replace("photo ", f"{MARK} photo ")
        path.write_text(told.sub(lambda found: f"{MARK} {found[0]}", text), encoding="utf-8")
    return folder


def _texts(site):
    """List every file's name and content, the compressed ones as they are unpacked."""
    for path in sorted(site.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path.relative_to(site).as_posix(), gzip.decompress(content) if path.suffix == ".gz" else content


@pytest.mark.parametrize("host", ["server", "github"])
def test_private_leaves_no_name_of_the_data_anywhere(named, tmp_path, host):
    publish(tmp_path / "open", named, replace(OPTIONS, include_images=False), host)
    publish(tmp_path / "site", named, replace(OPTIONS, include_images=False, private=True), host)
    told = [name for name, content in _texts(tmp_path / "open") if MARK in content.decode("latin-1").casefold()]
    assert {name.rpartition(".")[2] for name in told} >= {"html", "json", "csv", "js"}  # the check can fail
    ids = [path.stem for path in named.glob("explanations/*.json")]
    for name, content in _texts(tmp_path / "site"):
        text = content.decode("latin-1").casefold()
        assert MARK not in text, name
        assert MARK not in name
        assert not any(item in text or item in name for item in ids), name
    page = (tmp_path / "site" / "explanations" / "photo-0001.html").read_text(encoding="utf-8")
    assert "numbers stand for file names and labels" in page
    assert "class 0" in (tmp_path / "site" / "classes" / "index.html").read_text(encoding="utf-8")


def test_what_is_published_of_a_private_atlas_keeps_its_numbers(named):
    source = read_source(named)
    kept = redacted(source)
    assert kept.atlas.layers is source.atlas.layers
    assert kept.atlas.provenance["config"] == {"relevance": {"activation": "max", "x": []}}
    for before, after in zip(source.explanations, kept.explanations, strict=True):
        assert [item.probability for item in before.predictions] == [item.probability for item in after.predictions]
        assert [item.layers for item in before.targets] == [item.layers for item in after.targets]
        assert kept.pictures_of(after) == source.pictures_of(before)
    assert redacted(source).explanations == kept.explanations


def test_a_heading_of_a_table_and_an_older_name_in_a_sentence_are_replaced_too(named):
    source = read_source(named)
    item = source.explanations[0]
    target, key = item.targets[0], next(iter(source.names))
    label = source.atlas.class_names[1]
    table = NarrativeTable(
        (Piece("text", "What counts for "), Piece("class", label, class_index=1)), ("Concept", f"For {label}"), ()
    )
    text = Statement((Piece("concept", f"{MARK} of before", key), Piece("text", " leads.")))
    changed = replace(target, narratives=(Narrative("expert", "built-in", text, (Paragraph((text,), table),)),))
    source = replace(source, explanations=(replace(item, targets=(changed,)),))
    narrative = redacted(source).explanations[0].targets[0].narratives[0]
    assert narrative.paragraphs[0].table.header == ("Concept", "class 1")
    assert MARK not in repr(narrative)
    assert narrative.headline.text == f"channel {key.rpartition(':')[2]} leads."


@pytest.mark.parametrize(
    ("label", "name", "kept"),
    [
        ("butterfly", "wings of butterflies", False),
        ("sailing boat", "Boats", False),
        ("7", "seven", True),
        ("a", "a dark rim", False),
        ("狗", "黑狗", False),
        ("car", "scarf", True),
    ],
)
def test_a_name_that_shares_a_word_with_a_label_is_not_published(named, label, name, kept):
    source = read_source(named)
    key, record = next((key, item) for key, item in source.names.items() if item.is_named)
    record = replace(record, name=name, author="llm:x", second_name="", local_names=(), description=f"It is {label}.")
    atlas = replace(source.atlas, class_names=(label, *source.atlas.class_names[1:]))
    found = redacted(replace(source, atlas=atlas, names={key: record})).names[key]
    assert found.is_named == kept
    assert found.description == ""


def test_of_crops_no_whole_image_leaves(source, tmp_path):
    atlas, folder = source
    publish(tmp_path / "site", folder, replace(OPTIONS, include_crops_only=True, private=True), "bucket")
    written = [content for _, content in _texts(tmp_path / "site")]
    whole = [path.read_bytes() for path in folder.glob("explanations/*/photo.webp")]
    with ReferenceReader(folder / "references.h5") as reader:
        for concept in list(atlas.concepts())[::4]:
            whole += [item.full for ranking in RANKINGS for item in reader.read(concept, ranking)]
    assert len(set(whole)) > 20
    parts = {blob[40:104] for blob in whole}
    assert not any(part in content for content in written for part in parts)
    assert list((tmp_path / "site" / "sheets").iterdir())


def test_of_chosen_photos_no_other_is_explained(source, tmp_path):
    chosen = read_source(source[1]).explanations[1]
    publish(tmp_path / "site", source[1], replace(OPTIONS, photos=(chosen.photo_name,)), "github")
    pages = sorted(path.name for path in (tmp_path / "site" / "explanations").glob("*.html"))
    assert pages == sorted(["index.html", f"{chosen.id}.html"])
    with pytest.raises(DataError, match="no explained photo"):
        publish(tmp_path / "other", source[1], replace(OPTIONS, photos=("nowhere.jpg",)), "github")
    assert not (tmp_path / "other").exists()


def test_a_compressed_file_holds_what_lies_beside_it(site):
    packed = list(site.rglob("*.gz"))
    assert {path.name.split(".")[-2] for path in packed} >= {"html", "js", "css", "json"}
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()
    assert "Content-Encoding gzip" in (site / ".htaccess").read_text()


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
