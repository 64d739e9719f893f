"""Reports: a PDF that a screen reader can read, an HTML file that needs nothing else, and both say the record."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pikepdf
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image

from precompute.atlas.json_records import read_json
from precompute.cli import main
from precompute.errors import ConfigError, DataError
from precompute.records.reported import Document, Figure, Row, Table, Together
from sitegen.reports.build import opened, read_logo, report_of, reports
from sitegen.reports.classes import class_index_of
from sitegen.reports.explanation import explanation_report
from sitegen.reports.material import ReportOptions
from sitegen.reports.model import markdown_of
from sitegen.reports.typesetting import displayable, pages_of, pdf_of
from sitegen.reports.webpage import html_of

from . import site_fixture
from .pdf_reading import structure
from .test_signing import pem

OPTIONS = ReportOptions(
    title="A world", author="A. Officer", approval=("Owner", "Risk"), audience="expert", date="2026-01-02"
)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "untrusted"])
def atlas(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    site_fixture.write_synthetic(folder, untrusted=request.param)
    return folder


SUBJECTS = {"explanation": "photo-01-abcdef", "class": "1", "audit": "", "model": ""}


@pytest.fixture(scope="module", params=SUBJECTS)
def report(atlas, request):
    with opened(atlas, OPTIONS) as material:
        return report_of(material, request.param, SUBJECTS[request.param])


@pytest.fixture(scope="module")
def pdf(report):
    with pikepdf.open(io.BytesIO(pdf_of(report))) as opened_pdf:
        yield opened_pdf


@pytest.fixture(scope="module")
def reading(pdf):
    return structure(pdf)


def leaves(document):
    for block in document.blocks:
        yield from block.blocks if isinstance(block, Together) else (block,)


def figures(document):
    yield from document.cover.figures
    for leaf in leaves(document):
        if isinstance(leaf, Figure):
            yield leaf
        elif isinstance(leaf, Row):
            yield from leaf.figures


def lines(document):
    """List every line of text of the body in reading order, as the fonts can show it."""
    for leaf in leaves(document):
        match leaf.block:
            case "heading" | "words":
                yield leaf.text
            case "listing":
                yield from leaf.items
            case "table":
                yield leaf.caption
                yield from (cell.text for row in leaf.rows for cell in row)
            case "figure":
                yield leaf.caption
            case "row":
                yield from (figure.caption for figure in leaf.figures)


def bare(text):
    return re.sub(r"\s+", "", text)


def test_the_pdf_is_tagged_and_says_what_it_is(pdf, report):
    assert pdf.Root.MarkInfo.Marked
    assert str(pdf.Root.Lang) == "en"
    assert pdf.Root.ViewerPreferences.DisplayDocTitle
    assert str(pdf.docinfo.Title) == displayable(report.document.title)
    assert str(pdf.docinfo.Author) == "A. Officer"
    with pdf.open_metadata() as metadata:
        assert metadata["pdfuaid:part"] == "1"


def test_every_picture_is_told_and_every_header_has_its_column(reading, report):
    found = [displayable(item.alt) for item in figures(report.document)]
    assert len(found) >= 2
    assert [item.alt for item in reading.walk() if item.tag == "/Figure"] == found
    heads = [item for item in reading.walk() if item.tag == "/TH"]
    assert {item.scope for item in heads} == {"/Column"}
    headers = [name for leaf in leaves(report.document) if isinstance(leaf, Table) for name in leaf.header]
    told = [bare(item.text) for item in heads][4:]  # behind those of the approval
    assert told == [bare(displayable(name)) for name in headers]


def test_it_is_read_in_the_order_of_the_record(reading, report):
    text, place = bare(reading.text), 0
    told = [report.document.title, "Contents"]
    told += ["".join(run.text for run in line) for line in lines(report.document)]
    for item in told:
        expected = bare(displayable(item))
        found = text.find(expected, place)
        assert found >= 0, item
        place = found + len(expected)


def test_headings_are_bookmarks_and_contents_are_links(pdf, report):
    wanted = ["".join(run.text for run in item.text) for item in report.document.headings()]
    with pdf.open_outline() as outline:
        found = [title for item in outline.root for title in (item.title, *(part.title for part in item.children))]
    assert [bare(title) for title in found] == [bare(displayable(title)) for title in wanted]
    n_sections = sum(item.level == 1 for item in report.document.headings())
    links = [item for item in pdf.pages[1].get("/Annots", []) if item.Subtype == "/Link"]
    assert len(links) == n_sections


def test_the_record_is_in_both_forms_and_reads_back_strictly(pdf, report, tmp_path):
    embedded = pdf.attachments["record.json"].get_file().read_bytes()
    html = html_of(report).decode()
    (found,) = re.findall(r'<script type="application/json" id="record">(.*?)</script>', html, re.DOTALL)
    assert json.loads(found) == json.loads(embedded)
    (tmp_path / "record.json").write_bytes(embedded)
    assert read_json(tmp_path / "record.json", Document) == report.document
    for key, file in report.document.pictures.items():
        assert hashlib.sha256(report.pictures[key]).hexdigest() == file.sha256


def test_two_runs_give_the_same_bytes(atlas, report):
    with opened(atlas, OPTIONS) as material:
        again = report_of(material, report.document.report, SUBJECTS[report.document.report])
    assert pdf_of(again) == pdf_of(report)
    assert html_of(again) == html_of(report)


def test_no_page_is_more_than_half_empty_but_the_last(report):
    pages = [np.asarray(Image.open(io.BytesIO(page)).convert("L")) for page in pages_of(report, 40)]
    assert len(pages) > 2
    for number, page in enumerate(pages[:-1], start=1):
        body = page[: round(0.93 * len(page))]  # without the foot
        inked = np.flatnonzero((body < 200).any(axis=1))
        assert inked[-1] > len(page) / 2, number


def test_the_html_asks_for_nothing_and_runs_nothing(report):
    text = html_of(report).decode()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', text)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert re.findall(r"<script(?! type=\"application/json\")", text) == []
    assert not re.search(r'\s(style|on[a-z]+)="', text)
    assert set(re.findall(r'(?:src|href)="(data|#|.)', text)) <= {"data", "#"}
    assert all(alt.strip() for alt in re.findall(r'<img [^>]*alt="([^"]*)"', text))
    assert len(text) < 3_000_000


def test_without_pictures_no_pixel_of_the_data_set_is_in_it(atlas):
    with opened(atlas, replace(OPTIONS, include_images=False)) as material:
        found = explanation_report(material, 0)
    with opened(atlas, OPTIONS) as material:
        shown = explanation_report(material, 0)
    photo = (atlas / "explanations/photo-00-abcdef/photo.webp").read_bytes()
    assert base64.b64encode(photo) in b"".join(shown.pictures.values())
    assert base64.b64encode(photo) not in b"".join(found.pictures.values())
    # nothing but the palette's two colours on plain ground: no grey, green or dark pixel of a photo
    for content in (content for content in found.pictures.values() if not content.startswith(b"<svg")):
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
        assert pixels.max(axis=2).min() > 80


def test_a_model_card_is_markdown_too(atlas):
    with opened(atlas, OPTIONS) as material:
        text = markdown_of(report_of(material, "model", "")).decode()
    _, header, body = text.split("---\n", 2)
    assert "pipeline_tag: image-classification" in header
    assert [line for line in body.splitlines() if line.startswith("# ")] == ["# Model card: A world"]
    assert "## Risks and limitations" in body
    assert not re.search(r"(?<!\\)<|(?<!\\)\[|(?<!\\)`", body)  # untrusted text stays text
    for table in re.findall(r"(?m)(?:^\|.*\n)+", body):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_a_class_is_found_by_name_index_or_first_synonym(atlas):
    with opened(atlas, OPTIONS) as material:
        names = [material.catalogue.class_name(index) for index in (0, 1)]
        assert [class_index_of(material, name) for name in (*names, "1")] == [0, 1, 1]
        with pytest.raises(DataError, match="no class"):
            class_index_of(material, "hous")


def test_characters_that_no_font_has_are_told_by_number():
    assert displayable("Straße − 5\u00a0% ▲ Ж") == "Straße − 5\u00a0% ▲ Ж"
    assert displayable("中\x07") == "[U+4E2D][U+0007]"


def test_what_is_asked_for_in_vain_is_told(atlas, tmp_path):
    with opened(atlas, OPTIONS) as material, pytest.raises(DataError, match="no explained photo"):
        next(reports(material, "explanation", ["no.jpg"], tmp_path / "reports"))
    with opened(atlas, replace(OPTIONS, audience="press")) as material, pytest.raises(ConfigError, match="expert"):
        explanation_report(material, 0)
    (tmp_path / "logo.png").write_text("<svg/>")
    with pytest.raises(ConfigError, match="no PNG or WebP"):
        read_logo(tmp_path / "logo.png")
    assert not (tmp_path / "reports").exists()


def test_a_command_writes_the_reports_of_photos_by_file_name_or_id(atlas, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767312000")
    (tmp_path / "x.toml").write_text('name = "x"\n[report]\naudience = "expert"\npaper = "letter"\n')
    # the folder of the fixture has no manifest: what a run would have checked is not what is tried here
    monkeypatch.setattr("precompute.atlas.folder.Workspace.digest_contents", lambda self: "")
    common = ["--config", str(tmp_path / "x.toml"), "--output", str(atlas), "--into", str(tmp_path / "reports")]
    assert main(["report", "explanation", *common, "photo-01-abcdef", "--form", "pdf"]) == 0
    (path,) = capsys.readouterr().out.splitlines()
    assert path == str(tmp_path / "reports" / "explanation-photo-01-abcdef.pdf")
    with pikepdf.open(path) as made:
        assert [round(float(edge)) for edge in made.pages[0].MediaBox][2:] == [612, 792]
    assert [item.name for item in (tmp_path / "reports").glob("e*")] == ["explanation-photo-01-abcdef.pdf"]
    assert main(["verify", *common[:4], path]) == 0
    assert [told.split()[0] for told in capsys.readouterr().out.splitlines()] == ["unsigned", "same"]
    (tmp_path / "key.pem").write_bytes(pem(Ed25519PrivateKey.from_private_bytes(bytes(32))))
    signing = ["--form", "pdf", "--sign-with", str(tmp_path / "key.pem")]
    assert main(["report", "explanation", *common, "photo-01-abcdef", *signing]) == 0
    assert capsys.readouterr().out.splitlines() == [path, f"{path}.sig"]
    assert main(["verify", *common[:4], path]) == 0
    assert [told.split()[0] for told in capsys.readouterr().out.splitlines()] == ["signed", "same"]
    assert main(["verify", *common[:4], "--set", "report.author='Eve'", path]) == 1
    assert "where the atlas gives 'Eve'" in capsys.readouterr().out
    assert main(["report", "explanation", *common, "photo-99"]) == 1
    assert "photo-99" in capsys.readouterr().err


def test_a_class_report_tells_the_ways_in_which_the_class_is_decided(atlas):
    with opened(atlas, OPTIONS) as material:
        index = material.catalogue.source.trust.prototypes[0].class_index
        way = material.catalogue.source.trust.prototypes[0]
        report = report_of(material, "class", str(index))
        named = [material.catalogue.sample_name(item) for item in (*way.prototypes[0].typical, *way.outliers)]
    (ways,) = [item for item in report.document.headings() if item.id == "ways"]
    after = report.document.blocks[report.document.blocks.index(ways) + 1]
    assert len(after.rows) == len(way.prototypes)
    text = "".join(
        run.text
        for item in leaves(report.document)
        if item.block in ("words", "table")
        for part in ([item.text] if item.block == "words" else [c.text for r in item.rows for c in r])
        for run in part
    )
    assert named
    assert all(name in text for name in named)
