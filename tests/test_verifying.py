"""Fifty changes to a report or to what it was made from: each is told, and told as what it is."""

import re
import shutil
import zlib
from dataclasses import replace

import pikepdf
import pytest
from PIL import Image

from precompute.atlas.hdf5 import read_atlas, write_atlas
from precompute.atlas.json_records import read_json, read_jsonl, write_json, write_jsonl
from precompute.atlas.manifest import Manifest
from precompute.errors import StoreError
from precompute.records import ConceptName, Explanation, TrustReport
from sitegen.reports.build import RENDERERS, opened
from sitegen.reports.explanation import explanation_report
from sitegen.reports.material import ReportOptions
from sitegen.reports.verifying import verify

from . import site_fixture

SUBJECT = "photo-01-abcdef"
OPTIONS = ReportOptions(
    title="A world", author="A. Officer", audience="expert", date="2026-01-02", made_from={"program": "0.1.0"}
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified") / "atlas"
    site_fixture.write_synthetic(folder)
    note(folder)
    return folder


def note(folder):
    """Note the files of a folder in its manifest, as the stages do."""
    for name in ("atlas.h5", "references.h5", "names.jsonl", "scores.jsonl", "truth.json", "trust.json"):
        Manifest(folder).finish(name.partition(".")[0], "atlas run", "", [folder / name])


@pytest.fixture(scope="module")
def reports(atlas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with opened(atlas, OPTIONS) as material:
        report = explanation_report(material, 1)
    for form, render in RENDERERS.items():
        (folder / f"report.{form}").write_bytes(render(report))
    return folder


def outcome(atlas, path, options=OPTIONS):
    with opened(atlas, options) as material:
        return verify(path, material)


def html(reports):
    return (reports / "report.html").read_text(encoding="utf-8")


def test_an_untouched_report_is_the_same(atlas, reports):
    for form in RENDERERS:
        assert outcome(atlas, reports / f"report.{form}").outcome == "same"
    later = replace(OPTIONS, date="2027-05-05")
    assert outcome(atlas, reports / "report.pdf", later).outcome == "same"


@pytest.mark.parametrize("number", range(15))
def test_a_digit_in_the_text_of_the_html(atlas, reports, tmp_path, number):
    text = html(reports)
    start, stop = text.index("<body>"), text.index('<script type="application/json"')
    places = [start + item.start() for item in re.finditer(r"\d(?=[^<>]*<)", text[start:stop])]
    place = places[number * (len(places) - 1) // 14]
    changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    (tmp_path / "x.html").write_text(changed, encoding="utf-8")
    found = outcome(atlas, tmp_path / "x.html")
    assert found.outcome == "changed"
    assert "its text was changed" in found.findings[0]


@pytest.mark.parametrize("number", range(8))
def test_a_share_in_the_record_of_the_html(atlas, reports, tmp_path, number):
    text = html(reports)
    start = text.index('<script type="application/json"')
    places = [start + item.start(1) for item in re.finditer(r'"text":"[^"]*?(\d)\.\d[^"]*%"', text[start:])]
    place = places[number * (len(places) - 1) // 7]
    (tmp_path / "x.html").write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :], "utf-8")
    found = outcome(atlas, tmp_path / "x.html")
    assert found.outcome == "changed"
    assert re.match("under “.+” it says '.+', where the atlas gives '.+'", found.findings[0])


@pytest.mark.parametrize("number", range(4))
def test_a_picture_of_the_html(atlas, reports, tmp_path, number):
    text = html(reports)
    places = [item.end() for item in re.finditer(r'src="data:image/webp;base64,', text)]
    place = places[number * (len(places) - 1) // 3] + 200
    other = "A" if text[place] != "A" else "B"
    (tmp_path / "x.html").write_text(text[:place] + other + text[place + 1 :], "utf-8")
    found = outcome(atlas, tmp_path / "x.html")
    assert (found.outcome, found.findings) == ("changed", ("a picture was changed behind its record",))


@pytest.mark.parametrize("number", range(6))
def test_a_page_of_the_pdf(atlas, reports, tmp_path, number):
    with pikepdf.open(reports / "report.pdf") as pdf:
        page = pdf.pages[number % len(pdf.pages)]
        content = page.Contents.read_bytes()
        page.Contents = pdf.make_stream(content.replace(b"Tj", b"Tj 0 Tr", 1) if number % 2 else content + b"\n")
        pdf.save(tmp_path / "x.pdf")
    found = outcome(atlas, tmp_path / "x.pdf")
    assert found.outcome == "changed"
    assert "its pages are not those that its record gives" in found.findings[0]


@pytest.mark.parametrize("number", range(3))
def test_a_share_in_the_record_of_the_pdf(atlas, reports, tmp_path, number):
    content = (reports / "report.pdf").read_bytes()
    for stream in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            text = zlib.decompress(stream[1])
        except zlib.error:
            continue
        if text.startswith(b'{\n "kind": "report"'):
            break
    places = [item.start(1) for item in re.finditer(rb'"text": "[^"]*?(\d)\.\d[^"]*%"', text)]
    place = places[number * (len(places) - 1) // 2]
    text = text[:place] + str((int(text[place : place + 1]) + 1) % 10).encode() + text[place + 1 :]
    (tmp_path / "x.pdf").write_bytes(content[: stream.start(1)] + zlib.compress(text) + content[stream.end(1) :])
    found = outcome(atlas, tmp_path / "x.pdf")
    assert found.outcome == "changed"
    assert "it says" in found.findings[0]


def rename(folder, change):
    write_jsonl(folder / "names.jsonl", [change(name) for name in read_jsonl(folder / "names.jsonl", ConceptName)])


def provenance(folder, change):
    atlas = read_atlas(folder / "atlas.h5")
    change(atlas.provenance)
    write_atlas(folder / "atlas.h5", atlas)


def explained(folder, change):
    path = folder / "explanations" / f"{SUBJECT}.json"
    write_json(path, change(read_json(path, Explanation)))


def recolour(folder, name):
    path = folder / "explanations" / SUBJECT / name
    Image.new("L" if name.endswith("png") else "RGB", (128, 128), 90).save(path)


def trusted(folder):
    report = read_json(folder / "trust.json", TrustReport)
    write_json(folder / "trust.json", replace(report, off="zero"))


CHANGES = {
    "a name": (lambda f: rename(f, lambda n: replace(n, name=n.name and "grey thing")), "other names"),
    "a description": (lambda f: rename(f, lambda n: replace(n, description=n.name and "Grey.")), "other names"),
    "a name's author": (lambda f: rename(f, lambda n: replace(n, author="person:Eve")), "other names"),
    "the weights": (lambda f: provenance(f, lambda p: p.update(weights_digest="ef" * 32)), "other weights"),
    "the settings": (lambda f: provenance(f, lambda p: p.update(config={"seed": 1})), "other settings"),
    "the seed": (lambda f: provenance(f, lambda p: p.update(seed=7)), r"other tables \(atlas.h5\)"),
    "a probability": (
        lambda f: explained(f, lambda e: replace(e, predictions=(replace(e.predictions[0], probability=0.5),))),
        "it says",
    ),
    "a label": (lambda f: explained(f, lambda e: replace(e, label="rocket")), "it says 'Right"),
    "the photo's digest": (lambda f: explained(f, lambda e: replace(e, photo_digest="99" * 32)), "another photo"),
    "the numbers' digest": (lambda f: explained(f, lambda e: replace(e, digest="98" * 32)), "other numbers"),
    "the photo's pixels": (lambda f: recolour(f, "photo.webp"), "it says 'picture"),
    "a heatmap": (lambda f: recolour(f, "t0-heatmap.png"), "it says 'picture"),
    "the trust report": (trusted, "another trust.json"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_it_was_made_from(atlas, reports, tmp_path, what):
    change, told = CHANGES[what]
    folder = tmp_path / "atlas"
    shutil.copytree(atlas, folder)
    change(folder)
    note(folder)
    for form in RENDERERS:
        found = outcome(folder, reports / f"report.{form}")
        assert found.outcome == "changed"
        assert any(re.search(told, finding) for finding in found.findings), found.findings


def test_another_version_of_the_program(atlas, reports):
    newer = replace(OPTIONS, made_from={"program": "0.2.0"})
    found = outcome(atlas, reports / "report.pdf", newer)
    assert found.outcome == "changed"
    assert "another version of the program: 0.1.0 then, 0.2.0 now" in found.findings[0]


def test_a_report_of_another_atlas_is_refused_with_the_reason(atlas, reports, tmp_path):
    shutil.copytree(atlas, tmp_path / "atlas")
    provenance(tmp_path / "atlas", lambda p: p.update(weights_digest="ef" * 32, dataset_digest="12" * 32))
    note(tmp_path / "atlas")
    found = outcome(tmp_path / "atlas", reports / "report.pdf")
    assert found.outcome == "unknown"
    assert "other weights and another data set" in found.findings[0]
    other = read_atlas(atlas / "atlas.h5")
    write_atlas(tmp_path / "atlas" / "atlas.h5", replace(other, name="elsewhere"))
    found = outcome(tmp_path / "atlas", reports / "report.html")
    assert found.findings == ("it is a report of the atlas 'synthetic', and this is 'elsewhere'",)
    (atlas / "explanations" / f"{SUBJECT}.json").rename(tmp_path / "kept.json")
    found = outcome(atlas, reports / "report.pdf")
    (tmp_path / "kept.json").rename(atlas / "explanations" / f"{SUBJECT}.json")
    assert found.outcome == "unknown"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no record"),
        (b"%PDF-1.7 nothing", "no record"),
        (b'<script type="application/json" id="record">{"kind": "report"}</script>', "changed or is damaged"),
        (b'<script type="application/json" id="record">{}</script>' * 2, "more than one record"),
    ],
)
def test_what_is_no_report_is_told(atlas, tmp_path, content, told):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(StoreError, match=told):
        outcome(atlas, tmp_path / "x")
