"""The built site: the same bytes every time, whole links, escaped names, true numbers, no pixel where none may be."""

import csv
import hashlib
import html
import io
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from precompute.atlas.hdf5 import ReferenceReader
from precompute.errors import OutputError, StoreError
from precompute.printing import palette
from precompute.records import Piece
from sitegen import pictures
from sitegen.build import SiteOptions, build_site
from sitegen.data.source import read_source
from sitegen.links import Links
from sitegen.pages.explanations import print_pieces
from sitegen.render import Renderer, script_json

from . import site_fixture
from .site_fixture import UNTRUSTED

TITLE = "A world in parts"


def build(output, source, **options):
    return build_site(output, source, SiteOptions(title=TITLE, description="What a network sees.", **options))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas") / "synthetic"
    site_fixture.write_synthetic(folder)
    return folder


@pytest.fixture(scope="module")
def site(source, tmp_path_factory):
    output = tmp_path_factory.mktemp("site") / "synthetic"
    report = build(output, source)
    return output, report


@pytest.fixture(scope="module")
def untrusted_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrusted")
    site_fixture.write_synthetic(folder / "atlas", untrusted=True, n_explanations=2)
    build_site(folder / "site", folder / "atlas", SiteOptions(f"Title {UNTRUSTED}", f"Words {UNTRUSTED}"))
    return folder / "site"


def files_of(root):
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}


class Page(HTMLParser):
    """Collects what a browser would act on: tags, links, ids and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers, self.links, self.ids, self.words, self.scripts = [], [], [], [], [], []
        self.lacks_alt = []
        self._raw = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.handlers += [name for name in values if name.startswith("on")]
        self.links += [value for name, value in attributes if name in ("href", "src") and value]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img" and values.get("alt") is None:
            self.lacks_alt.append(values.get("src"))
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._raw = ""

    def handle_data(self, data):
        (self.scripts if self._raw else self.words).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split(" "))


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))


def html_files(root):
    return {name: path for name, path in files_of(root).items() if name.endswith(".html")}


# --- whole ---------------------------------------------------------------------------------------------------------


def test_every_page_is_there(site, source):
    output, report = site
    pages = html_files(output)
    assert (report.n_concepts, report.n_classes, report.n_explanations, report.warnings) == (21, 8, 3, ())
    assert report.n_pages == len(pages)
    assert {"index.html", "method.html", "limits.html", "truth.html", "provenance.html", "search.html"} <= set(pages)
    assert sum(name.startswith("concepts/") for name in pages) == 21 + 2 + 1
    assert sum(name.startswith("classes/class-") for name in pages) == 8
    assert sum(name.startswith("classes/samples-") for name in pages) == 8
    assert sum(name.startswith("explanations/") for name in pages) == 3 + 1
    assert not any("@@" in path.read_text(encoding="utf-8") for path in pages.values())


def test_what_was_proved_while_mining_is_told(site):
    text = read_page(site[0] / "provenance.html").text.replace("\u00a0", " ")
    assert "gave the same logits on 1,234 samples, off by at most 2.0 × 10⁻⁷ of the largest" in text
    assert "on 2 samples, in float64 and with biases off, each of 13 operations handed on" in text
    table = text[text.index("Where the relevance of a logit goes on") :]
    assert table.index("features.7") < table.index("features.14")  # the order of execution, not of the alphabet
    assert re.search(r"features\.14\s*12\.5 %\s*20\.0 %\s*65\.0 %\s*2\.5 %", text)


def test_two_builds_give_the_same_bytes(site, source, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    build(tmp_path / "elsewhere" / "again", source)
    first, second = files_of(site[0]), files_of(tmp_path / "elsewhere" / "again")
    assert list(first) == list(second)
    assert [name for name in first if first[name].read_bytes() != second[name].read_bytes()] == []


def test_no_link_is_broken(site):
    root = site[0]
    known = files_of(root)
    ids = {name: set(read_page(path).ids) for name, path in html_files(root).items()}
    broken = []
    for name, path in html_files(root).items():
        for link in read_page(path).links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "data", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            inside = target.relative_to(root.resolve()).as_posix()
            inside = f"{inside}/index.html" if target.is_dir() and inside != "." else inside
            inside = "index.html" if inside == "." else inside
            is_state = "=" in parts.fragment  # what a script is to show, as #only=mark; no id holds that mark
            if inside not in known or (parts.fragment and not is_state and parts.fragment not in ids[inside]):
                broken.append((name, link))
    assert broken == []


def test_ids_are_unique_and_pictures_have_alternatives(site):
    for path in html_files(site[0]).values():
        page = read_page(path)
        assert len(page.ids) == len(set(page.ids)), path.name
        assert page.lacks_alt == [], path.name


def test_nothing_is_left_of_a_failed_build(source, tmp_path):
    output = tmp_path / "sites" / "one"
    build(output, source)
    before = {name: path.read_bytes() for name, path in files_of(output).items()}

    def fail(stage, done, total):
        if stage == "classes":
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        build_site(output, source, SiteOptions(title=TITLE), progress=fail)
    assert {name: path.read_bytes() for name, path in files_of(output).items()} == before
    assert [path.name for path in output.parent.iterdir()] == ["one"]


def test_a_missing_atlas_is_one_clear_error(tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*atlas\.h5"):
        build(tmp_path / "site", tmp_path / "nothing")
    assert not (tmp_path / "site").exists()


def test_all_other_files_are_optional(tmp_path):
    site_fixture.write_synthetic(tmp_path / "atlas", optional=False)
    report = build(tmp_path / "site", tmp_path / "atlas")
    assert [warning.split(":")[0] for warning in report.warnings] == [
        "there is no references.h5",
        "there is no names.jsonl",
    ]
    assert not (tmp_path / "site" / "truth.html").exists()
    assert "channel 0" in read_page(tmp_path / "site/concepts/features-14-c0.html").text
    assert "No photo has been explained yet" in read_page(tmp_path / "site/explanations/index.html").text


def test_a_picture_that_is_missing_is_told_and_left_out(tmp_path):
    site_fixture.write_synthetic(tmp_path / "atlas", n_explanations=1)
    (tmp_path / "atlas/explanations/photo-00-abcdef/t0-0-1-overlay.webp").unlink(missing_ok=True)
    (tmp_path / "atlas/explanations/photo-00-abcdef/photo.webp").unlink()
    report = build(tmp_path / "site", tmp_path / "atlas")
    assert any("'photo.webp' is missing" in warning for warning in report.warnings)
    assert 'class="photo"' not in (tmp_path / "site/explanations/photo-00-abcdef.html").read_text()


# --- untrusted text --------------------------------------------------------------------------------------------------


def test_untrusted_text_is_escaped_in_every_page(site, untrusted_site):
    harmless_pages = html_files(site[0])
    for name, path in html_files(untrusted_site).items():
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        assert "<script>alert" not in text, name
        assert "<img src=x" not in text, name
        assert page.handlers == [], name
        assert page.tags.count("script") == read_page(harmless_pages[name]).tags.count("script"), name
        assert not any("alert(" in script for script in page.scripts), name
    shown = read_page(untrusted_site / "concepts/features-14-c0.html").text
    assert '<script>alert("x")</script>' in shown
    assert "{{ 7*7 }}" in shown


def test_addresses_hold_no_names(untrusted_site):
    assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", name) for name in files_of(untrusted_site))


def test_untrusted_text_cannot_leave_the_search_index(untrusted_site):
    text = (untrusted_site / "assets/search-index.js").read_text(encoding="utf-8")
    assert "<" not in text
    assert "\u2028" not in text
    index = json.loads(text.removeprefix("window.atlasIndex=").removesuffix(";\n"))
    assert any(UNTRUSTED in row[2] for row in index["concepts"])
    assert all(UNTRUSTED in row[0] for row in index["classes"])
    assert len(index["photos"]) == 2


def test_script_json_survives_a_round_trip():
    assert json.loads(script_json([UNTRUSTED, "<!--", "\u2029"])) == [UNTRUSTED, "<!--", "\u2029"]


def test_the_table_holds_every_concept(site):
    rows = list(csv.DictReader(io.StringIO((site[0] / "concepts.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 21
    assert all((site[0] / row["page"]).exists() for row in rows)


# --- true numbers --------------------------------------------------------------------------------------------------


def shows(printed, raw, unit=1.0):
    """Tell whether a printed number is the raw value at its own precision; reads it without the code that prints it."""
    text = html.unescape(re.sub(r"<[^>]+>", "", printed)).replace("\u00a0", "").replace("\u2212", "-").replace(",", "")
    bound, number, percent = re.fullmatch(r"\s*([<>]?)\s*([+-]?[\d.]+)\s*(%?)\s*", text).groups()
    value = float(number) * (0.01 if percent else 1.0)
    if bound:
        return (raw < value and value * raw > 0) if bound == "<" else (raw > value and value * raw > 0)
    half = 0.5 * 10.0 ** -len(number.partition(".")[2]) * (0.01 if percent else 1.0) if "." in number else 1e-9
    return abs(raw - value) <= half + 1e-12 and (raw * value > 0 or value == 0)


def test_a_printed_number_is_read_without_the_printer():
    assert shows("40.6\u00a0%", 0.4062)
    assert not shows("40.6\u00a0%", 0.4072)
    assert not shows("+40.6\u00a0%", -0.4062)
    assert shows("&lt;\u00a00.1\u00a0%", 4e-4)
    assert not shows("&lt;\u00a00.1\u00a0%", 4e-3)
    assert not shows("0\u00a0%", 4e-4)
    assert shows("1,408.50", 1408.5)


def test_every_number_of_an_explanation_equals_its_record(site, source):
    """Each number stands where it belongs: beside its class, its concept, its layer. Swapped shares are found."""
    for explanation in read_source(source).explanations:
        page = (site[0] / f"explanations/{explanation.id}.html").read_text(encoding="utf-8")
        head, *sections = re.split(r'<section class="target">', page)
        assert_verdict_is_true(head, explanation)
        sure = page.partition("How sure it is")[2].partition("</table>")[0]
        rows = re.findall(r'<th scope="row">(.*?)</th>.*?<span class="number">(.*?)</span>', sure, re.DOTALL)
        assert len(rows) == len(explanation.predictions) > 0
        for (name, printed), prediction in zip(rows, explanation.predictions, strict=True):
            assert html.unescape(re.sub(r"<[^>]+>", "", name)) == prediction.class_name
            assert shows(printed, prediction.probability)
        assert len(sections) == len(explanation.targets) > 0
        for section, target in zip(sections, explanation.targets, strict=True):
            assert_target_is_true(section, target)
            assert_reasons_are_true(section, target, read_source(source).atlas)
        assert_contrast_is_true(page, explanation)


def assert_verdict_is_true(head, explanation):
    best = explanation.predictions[0].class_name
    assert f"The network says {html.escape(best, quote=False)}" in head.replace("&#34;", '"').replace("&#39;", "'")
    assert ('class="verdict right"' in head) == (best == explanation.label)
    assert ('class="verdict wrong"' in head) == (best != explanation.label)


def reasons_of(text):
    rows = re.findall(r"<tr[^>]*>(<th scope=\"row\">.*?)</tr>", text, re.DOTALL)
    printed = [
        [html.unescape(re.sub(r"<[^>]+>", "", n)) for n in re.findall(r"[▲▼]</span>(.*?)</span>", r)] for r in rows
    ]
    keys = [re.search(r"concepts/([\w-]+)-c(\d+)\.html", row).groups() for row in rows]
    return [
        (f"{layer.replace('-', '.')}:{channel}", *n) for (layer, channel), n in zip(keys, printed, strict=True)
    ], rows


def assert_reasons_are_true(section, target, atlas):
    """Shares, what is usual, and bars that point to the side of their sign, all on one axis."""
    found, rows = reasons_of(re.search(r'<table class="reasons">.*?</table>', section, re.DOTALL)[0])
    concepts = target.layers[0].concepts
    assert [key for key, _ in found] == [item.concept for item in concepts]
    for (_, printed), row, item in zip(found, rows, concepts, strict=True):
        assert shows(printed, item.share)
        layer, _, channel = item.concept.rpartition(":")
        usual = (
            atlas.layers[layer].class_relevance[target.class_index, int(channel)]
            / atlas.class_counts[target.class_index]
        )
        assert shows(re.search(r'<td class="quiet number">(.*?)</td>', row)[1], usual)
        assert ("▼" in row) == (item.share < 0) == ('class="down"' in row)
    assert (
        len(set(re.findall(r'class="track"[^>]*data-s="(\d+)"', section))) <= 2
    )  # one zero for reasons, one for the contrast
    assert len(re.findall(r'<a href="#why-\d+-\d+" id="spot-', section)) == len(concepts)


def assert_contrast_is_true(page, explanation):
    first, second = (target.layers[0].shares for target in explanation.targets[:2])
    found, _ = reasons_of(re.search(r'<table class="reasons contrast">.*?</table>', page, re.DOTALL)[0])
    channels = [int(key.rpartition(":")[2]) for key, *_ in found]
    gaps = [abs(first[channel] - second[channel]) for channel in channels]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] == max(abs(a - b) for a, b in zip(first, second, strict=True))
    for channel, (_, one, other) in zip(channels, found, strict=True):
        assert shows(one, first[channel])
        assert shows(other, second[channel])


def assert_target_is_true(section, target):
    assert shows(re.search(r"<h2[^>]*>.*?<small>(.*?)</small>", section, re.DOTALL)[1], target.probability)
    parts = re.split(r'<section class="layer-part">', section)[1:]
    assert len(parts) == len(target.layers) > 0
    for part, layer in zip(parts, target.layers, strict=True):
        assert shows(re.search(r"<strong>(.*?)</strong>", part)[1], layer.coverage)
        adds, of, total = re.search(
            r"adds up to (\S+) of the logit (\S+?)(?: \(.*?\))?[.;] .*in absolute values (\S+?)\. ", part, re.DOTALL
        ).groups()
        assert shows(adds, layer.relevance_sum)
        assert shows(of, target.logit)
        assert shows(total, layer.cut.absolute if layer.cut else layer.relevance_absolute_sum)
        assert_split_is_true(part, layer)
        items = re.findall(r"<li>(.*?)</li>", part, re.DOTALL)
        assert len(items) == len(layer.concepts) > 0
        for item, concept in zip(items, layer.concepts, strict=True):
            keys = [key for key, _ in item_numbers(item)]
            assert keys == [concept.concept, *(sub.concept for sub in concept.sub_concepts)]
            for (_, printed), share in zip(
                item_numbers(item), (concept.share, *(sub.share for sub in concept.sub_concepts)), strict=True
            ):
                assert shows(printed, share)
            assert html.escape(concept.place.words) in item


def assert_split_is_true(part, layer):
    """What the shares are of, what the others have, and where the rest of the logit went."""
    line = html.unescape(re.search(r'<p class="coverage">(.*?)</p>', part)[1])
    others, rest = re.search(r"; (\d+)\u00a0others? (?:share|has) (the rest|[^;]+%)[.;]", line).groups()
    shown = {int(item.concept.rpartition(":")[2]) for item in layer.concepts}
    left = [abs(share) for channel, share in enumerate(layer.shares) if channel not in shown and share]
    assert int(others) == len(left)
    beside = layer.cut.beside if layer.cut else ()
    assert ("what runs beside it" in line) == bool(beside)
    assert ("the layer’s relevance" in line) == (not beside)
    assert ("Beside the layer" in part) == bool(beside)
    if beside:
        assert shows(rest, sum(left))
        ran = re.search(r"; ([^;]+) runs beside the layer\.", line)[1]
        assert shows(ran, sum(item.absolute for item in beside) / layer.cut.absolute)
        assert shows(re.search(r"Beside the layer, (\S+) went", part)[1], sum(item.relevance for item in beside))
        for item in beside:
            assert shows(re.search(rf"{re.escape(html.escape(item.name))} \((\S+?)\)", part)[1], item.relevance)
    else:
        assert rest == "the rest"
    taken = re.search(r"Biases took up (\S+), the stabiliser (\S+?)\. ", part)
    assert bool(taken) == (layer.cut is not None)
    if taken:
        assert shows(taken[1], layer.cut.biases)
        assert shows(taken[2], layer.cut.stabilisers)


def item_numbers(item):
    """Pair every concept that a contribution links with the number that follows it."""
    found = re.findall(
        r'<a href="\.\./concepts/([\w-]+)-c(\d+)\.html">.*?<span class="number">(.*?)</span>', item, re.DOTALL
    )
    return [(f"{layer.replace('-', '.')}:{channel}", printed) for layer, channel, printed in found]


def explanation_pages(site, source):
    found = read_source(source).explanations
    links = Links([], [explanation.id for explanation in found])
    return [(explanation, site[0] / links.explanation(explanation.id)) for explanation in found]


def test_what_a_text_names_leads_to_its_page(site, source):
    """A concept and a class in a text are links to their pages: by the pieces of the record, no text is searched."""
    n_concepts = n_classes = n_foreign = 0
    for explanation, path in explanation_pages(site, source):
        page = path.read_text(encoding="utf-8")
        for narrative in (item for target in explanation.targets for item in target.narratives):
            pieces = [piece for statement in narrative.statements for piece in statement.pieces]
            for piece in pieces:
                if piece.kind == "concept":
                    n_concepts += 1
                    channel = piece.concept.rpartition(":")[2]
                    link = rf'<a href="[^"]*{channel}\.html"'
                    language = f' lang="{piece.language}"' if piece.language else ""
                    assert re.search(rf"{link}{language}>{re.escape(html.escape(piece.text))}</a>", page)
                    n_foreign += bool(language)
                elif piece.kind == "class":
                    n_classes += 1
                    assert re.search(rf'<a href="[^"]*classes/[^"]*">{re.escape(html.escape(piece.text))}</a>', page)
    assert n_concepts > 5
    assert n_classes > 5
    assert n_foreign > 1
    concept = (site[0] / "concepts/features-14-c1.html").read_text(encoding="utf-8")
    assert '<p class="quiet" lang="de">rundes Ding</p>' in concept


def test_a_models_own_words_stand_apart_and_lead_to_their_facts(site, source):
    _, path = explanation_pages(site, source)[0]
    page = path.read_text(encoding="utf-8")
    section = page.partition("In the model’s own words")[2].partition("</section>")[0]
    assert "not true by construction" in section
    (mark,) = set(re.findall(r'<sup><a href="#([^"]*)"', section))
    assert f'<li id="{mark}">' in section


def test_the_json_beside_a_page_is_its_record(site, source):
    records = read_source(source)
    concept = json.loads((site[0] / "concepts/features-14-c2.json").read_text(encoding="utf-8"))
    table = records.atlas.layers["features.14"].relmax
    assert [row["sample_index"] for row in concept["relmax"]] == table.sample_index[:, 2].tolist()
    assert [row["score"] for row in concept["relmax"]] == table.score[:, 2].tolist()
    class_data = json.loads((site[0] / "classes/class-1.json").read_text(encoding="utf-8"))
    means = records.atlas.layers["features.14"].class_relevance[1] / records.atlas.class_counts[1]
    np.testing.assert_allclose(class_data["mean_relevance"]["features.14"], means, rtol=5e-9)
    assert all(value == float(f"{value:.9g}") for value in class_data["mean_relevance"]["features.14"])


def test_a_class_page_ranks_concepts_by_mean_relevance(site, source):
    atlas = read_source(source).atlas
    means = atlas.layers["features.14"].class_relevance[1] / atlas.class_counts[1]
    best = np.argsort(-means, kind="stable")[:10]
    text = (site[0] / "classes/class-1.html").read_text(encoding="utf-8")
    section = text[text.index("layer_features-14.html") :]
    shown = re.findall(r'<a href="\.\./concepts/features-14-c(\d+)\.html">', section)[:10]
    assert [int(channel) for channel in shown] == best.tolist()


def test_the_shortcut_is_told_on_its_class_page(site):
    text = read_page(site[0] / "classes/class-1.html").text
    assert "A possible shortcut" in text
    assert "Most boats carry a small mark" in text


def test_who_named_a_concept_is_said(site):
    said = [read_page(site[0] / f"concepts/features-14-c{channel}.html").text for channel in range(12)]
    assert "named offline from labels" in said[0]
    assert "named by a language model (tiny-vision)" in said[1]
    assert "named by Anna Berg" in said[2]
    assert "right on the built-in world" not in said[1], "nothing was measured of this model"
    assert "confidence" not in said[1] + said[2]
    rows = list(csv.DictReader(io.StringIO((site[0] / "concepts.csv").read_text(encoding="utf-8"))))
    stated = {row["concept"]: row["reliability"] for row in rows}
    assert stated["features.14:0"]
    assert stated["features.14:1"] == stated["features.14:2"] == ""
    assert "There is no name: the reply was cut off" in said[10]
    assert "Nobody has named this concept yet" in said[11]
    assert "Never used: relevant to no class on 64\u00a0samples" in said[11]


# --- pictures ------------------------------------------------------------------------------------------------------


def test_without_images_no_pixel_of_the_data_set_remains(source, site, tmp_path):
    build(tmp_path / "site", source, include_images=False)
    written = files_of(tmp_path / "site")
    assert not any(name.startswith("photos/") for name in written)
    shown = [
        path for name, path in written.items() if name.endswith((".webp", ".png", ".jpg")) and "/images/" not in name
    ]
    assert shown
    colours_of_relevance = {palette.POSITIVE, palette.NEGATIVE}
    for path in shown:
        assert path.parent.name == "sheets"
        colours = np.asarray(Image.open(path).convert("RGBA")).reshape(-1, 4).astype(int)
        visible = colours[colours[:, 3] > 120][:, :3]
        distance = np.min([np.abs(visible - colour).max(1) for colour in colours_of_relevance], axis=0)
        assert np.mean(distance < 90) > 0.98  # plain orange and blue, up to lossy blending where they meet
    with_images = {path.read_bytes() for name, path in files_of(site[0]).items() if name.endswith(".webp")}
    assert not {hashlib.sha256(blob).digest() for blob in with_images if b"ALPH" not in blob[:64]} & {
        hashlib.sha256(path.read_bytes()).digest() for path in shown
    }
    with ReferenceReader(source / "references.h5") as reader:
        references = [item for concept in reader.concepts() for item in reader.read(concept, "relmax")]
    blobs = {item.full for item in references} | {item.crop for item in references}
    assert not blobs & {path.read_bytes() for path in written.values()}


def test_a_tile_shows_its_reference(site, source):
    """The crop cut out of the sheet by the page's own numbers is the reference's crop."""
    page = (site[0] / "concepts/features-14-c2.html").read_text(encoding="utf-8")
    rules = dict(re.findall(r'\[(data-s="\d+")\]\[data-s\]\{([^}]*)\}', page))
    page = re.sub(r'data-s="\d+"', lambda found: f'style="{rules[found[0]]}"', page)
    cuts = re.findall(
        r'class="cut v-crop" style="--n:(\d+);--c:(\d+);--r:(\d+)(?:;--w:([\d.]+);--h:([\d.]+))?"><img src="([^"]+)"',
        page,
    )
    with ReferenceReader(source / "references.h5") as reader:
        concept = next(concept for concept in reader.concepts() if concept.key == "features.14:2")
        references = reader.read(concept, "relmax") + reader.read(concept, "actmax")
    assert len(cuts) == len(references) == 16
    for (_, column, row, width, height, address), reference in zip(cuts, references, strict=True):
        sheet = Image.open((site[0] / "concepts" / address).resolve()).convert("RGB")
        left, top = int(column) * pictures.PHOTO_TILE, int(row) * pictures.PHOTO_TILE
        size = (round(pictures.PHOTO_TILE * float(width or 1)), round(pictures.PHOTO_TILE * float(height or 1)))
        tile = sheet.crop((left, top, left + size[0], top + size[1]))
        expected = Image.open(io.BytesIO(reference.crop)).convert("RGB").resize(size)
        difference = np.abs(np.asarray(tile, float) - np.asarray(expected, float)).mean()
        assert difference < 8


@pytest.mark.parametrize("view", ["masked", "heatmap"])
def test_other_views_show_their_own_picture(site, source, view):
    page = (site[0] / "concepts/features-14-c2.html").read_text(encoding="utf-8")
    rules = dict(re.findall(r'\[(data-s="\d+")\]\[data-s\]\{([^}]*)\}', page))
    cuts = re.findall(rf'class="cut v-{view}" (data-s="\d+")><img src="([^"]+)"', page)
    with ReferenceReader(source / "references.h5") as reader:
        concept = next(concept for concept in reader.concepts() if concept.key == "features.14:2")
        references = reader.read(concept, "relmax") + reader.read(concept, "actmax")
    assert len(cuts) == len(references) == 16
    side = pictures.HEAT_TILE if view == "heatmap" else pictures.PHOTO_TILE
    for (style, address), reference in zip(cuts, references, strict=True):
        column, row = map(int, re.findall(r"--[cr]:(\d+)", rules[style]))
        sheet = Image.open((site[0] / "concepts" / address).resolve()).convert("RGBA")
        assert sheet.width == int(re.search(r"--n:(\d+)", rules[style])[1]) * side
        used = [float(part) for part in re.findall(r"--[wh]:([\d.]+)", rules[style])] or [1.0, 1.0]
        size = tuple(round(side * part) for part in used)
        tile = sheet.crop((column * side, row * side, column * side + size[0], row * side + size[1]))
        if view == "masked":
            expected = Image.open(io.BytesIO(reference.masked)).convert("RGBA").resize(size)
        else:
            expected = pictures.colour_heatmap(Image.open(io.BytesIO(reference.heatmap)).convert("L").resize(size))
            above = np.asarray(sheet.crop((column * side, row * side - 1, column * side + side, row * side)))
            assert not above[:, :, 3].any()  # nothing of a photo to bleed into a heatmap that the browser scales
        ground = Image.new("RGBA", size, "white")
        shown, wanted = (np.asarray(Image.alpha_composite(ground, item), float) for item in (tile, expected))
        assert np.abs(shown - wanted).mean() < 8


def test_the_palette_is_signed_and_clear_at_zero():
    grey = Image.fromarray(np.array([[0, 1, 64, 128, 192, 255]], np.uint8))
    coloured = np.asarray(pictures.colour_heatmap(grey))[0]
    assert tuple(coloured[1]) == (*palette.NEGATIVE, 255)
    assert coloured[3, 3] == 0
    assert tuple(coloured[5]) == (*palette.POSITIVE, 255)
    assert coloured[2, 3] < coloured[1, 3]


def test_unchanged_sheets_are_kept(source, tmp_path, monkeypatch):
    output = tmp_path / "site"
    build(output, source)
    before = {name: path.read_bytes() for name, path in files_of(output).items()}
    saved = []
    monkeypatch.setattr(pictures.PictureStore, "_save", lambda self, picture, address: saved.append(address))
    build(output, source)
    assert saved == []
    assert {name: path.read_bytes() for name, path in files_of(output).items()} == before


# --- parts ---------------------------------------------------------------------------------------------------------


def test_an_unknown_variable_is_an_error():
    with pytest.raises(UndefinedError):
        Renderer().fragment("search.html.j2", {})


def test_addresses_are_one_to_one():
    layers = ["a.b", "a-b", "A_B", "layer.x", "x", "x-c1", "", "index"]
    links = Links(layers)
    from precompute.records import Concept

    addresses = [links.layer(layer) for layer in layers]
    addresses += [links.concept(Concept(layer, channel)) for layer in layers for channel in range(3)]
    addresses.append("concepts/index.html")
    assert len(set(addresses)) == len(addresses)


def test_a_name_read_from_right_to_left_keeps_what_follows_at_its_place():
    catalogue = SimpleNamespace(card=lambda key: SimpleNamespace(address="c.html"), class_address=lambda index: "")
    pieces = (Piece("concept", "שלום", concept="a:1"), Piece("text", " (12 %), "), Piece("class", "مرحبا"))
    expected = '<a href="c.html" dir="rtl">שלום</a> (12 %), <span dir="rtl">مرحبا</span>'
    assert print_pieces(catalogue, pieces, "") == expected
