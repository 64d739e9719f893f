"""What the pages say of the known truth: only what holds for the network of the atlas."""

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader, write_atlas
from precompute.atlas.json_records import read_json, write_json, write_jsonl
from precompute.errors import StoreError
from precompute.progress import SilentReporter
from precompute.records import ConceptName, ConceptTruth, ShortcutTruth, TruthReport
from precompute.stages import truth as truth_module
from precompute.stages.truth import TruthStage
from precompute.world.dataset import WorldDataset
from sitegen.build import SiteOptions, build_site
from sitegen.data.catalogue import Catalogue
from sitegen.data.source import read_source
from sitegen.links import Links
from sitegen.pages import explanations
from sitegen.pages.start import choose_example

from . import site_fixture


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas") / "synthetic"
    site_fixture.write_synthetic(folder)
    return folder


def build(output, source, only=""):
    return build_site(output, source, SiteOptions("A world in parts", "What a network sees.", only=only))


@pytest.fixture(scope="module")
def site(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    build(folder, source)
    return folder


def test_the_planted_marks_concept_is_on_its_class_page_however_little_it_is_used(source, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(source, folder)
    atlas = read_source(folder).atlas
    layer = next(reversed(atlas.layers))
    channel = int(atlas.layers[layer].class_relevance[1].argmin())
    note = "Nothing here shows that this network uses it."
    shortcut = ShortcutTruth(atlas.class_names[1], f"{layer}:{channel}", 11, -0.01, note)
    write_json(folder / "truth.json", TruthReport(shortcut=shortcut))
    (folder / "names.jsonl").write_text("")
    (folder / "trust.json").unlink()
    build(tmp_path / "site", folder)
    box = (tmp_path / "site/classes/class-1.html").read_text(encoding="utf-8")
    box = box[box.index('<aside class="warning">') : box.index("</aside>")]
    assert "The planted mark" in box
    assert note in box
    assert f"-c{channel}.html" in box
    assert "rank 11 for this class" in box
    assert "shortcut" not in box
    assert "accuracy" not in (tmp_path / "site/truth.html").read_text(encoding="utf-8")
    assert "warning" not in (tmp_path / "site/index.html").read_text(encoding="utf-8")


def test_concepts_of_no_part_are_a_row_of_the_parts(source, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(source, folder)
    layer = next(reversed(read_source(folder).atlas.layers))
    concepts = {f"{layer}:1": ConceptTruth("", 0.1, 0.2, 0.0), f"{layer}:2": ConceptTruth()}
    write_json(folder / "truth.json", TruthReport(concepts=concepts))
    build(tmp_path / "site", folder)
    rows = (tmp_path / "site/truth.html").read_text(encoding="utf-8")
    assert re.search(r'no part</th><td class="number">1</td><td></td>', rows)
    page = (tmp_path / "site/concepts/features-14-c1.html").read_text(encoding="utf-8")
    assert "<dd>none</dd>" in page
    assert "Heatmap inside it" not in page


def test_the_truth_page_says_what_was_measured_and_how(site):
    page = (site / "truth.html").read_text(encoding="utf-8")
    assert "on 1,200\u00a0held-out scenes" in page
    assert "24 of 12" in page  # the fixture's figures: scored concepts of all channels
    assert "at most 2 px beside it" in page
    assert "with a mean share of 18.3" in page


def test_a_relevance_that_is_no_share_is_not_printed_as_one(source, tmp_path):
    folder = tmp_path / "atlas"
    shutil.copytree(source, folder)
    atlas = read_source(folder).atlas
    write_atlas(folder / "atlas.h5", replace(atlas, scores="raw"))
    build(tmp_path / "site", folder, only="truth.html")
    assert "with a mean relevance of 0.183" in (tmp_path / "site/truth.html").read_text(encoding="utf-8")


def test_the_start_page_counts_the_concepts_that_have_images(source, site):
    text = (site / "index.html").read_text(encoding="utf-8")
    shown = re.search(r"Every channel of every layer, (\d+) of (\d+) with images to which they were relevant", text)
    with ReferenceReader(source / "references.h5") as reader:
        relevant = [concept for concept in reader.concepts() if reader.read(concept, "relmax")]
    assert shown
    assert [int(number) for number in shown.groups()] == [len(relevant), 21]


def test_a_damaged_report_is_not_kept(source, tmp_path, monkeypatch):
    atlas, workspace = read_source(source).atlas, Workspace(tmp_path, tmp_path / "site")
    report = TruthReport(concepts={"features.14:1": ConceptTruth("wheel", 0.6)})
    monkeypatch.setattr(truth_module, "compute_truth_report", lambda *_: report)
    monkeypatch.setattr(TruthStage, "_evidence", lambda *_: [])
    stage = TruthStage(WorldDataset(12), workspace, SilentReporter())
    assert stage.run(atlas, (128, 128)) == report
    assert stage.run(atlas, (128, 128)) is None
    workspace.truth.write_text('{"layers": [')
    assert stage.run(atlas, (128, 128)) == report
    assert read_json(workspace.truth, TruthReport) == report


def test_a_damaged_report_names_the_command_that_mends_it(source, tmp_path):
    shutil.copytree(source, tmp_path / "atlas")
    (tmp_path / "atlas/truth.json").write_text('{"layers": [')
    with pytest.raises(StoreError, match=r"truth\.json is damaged: .*Run `atlas evaluate`"):
        read_source(tmp_path / "atlas")


def test_the_start_page_leads_to_the_shortcut(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert text.index("One photo, read") < text.index('<aside class="warning">') < text.index("Where to begin")
    box = text[text.index('<aside class="warning">') : text.index("</aside>")]
    assert "Most boats carry a small mark" in box
    assert 'href="classes/class-1.html"' in box
    assert 'href="concepts/features-14-c1.html"' in box
    assert "a mean share of 18.3" in box


class _Undrawn:
    def thumbnail(self, concept):
        return None


UNDRAWN = _Undrawn()


def test_the_example_is_the_explanation_that_shows_the_shortcut_most(tmp_path):
    site_fixture.write_synthetic(tmp_path, n_explanations=10)
    records = read_source(tmp_path)
    tables = {n: item.targets[0].layers[0].concepts for n, item in enumerate(records.explanations)}
    of_class = [n for n, item in enumerate(records.explanations) if item.targets[0].class_index == 1]
    assert len(of_class) == 2
    for number in of_class:  # each time the one that has the concept alone, or more of it
        concept = next(item for item in tables[number] if item.share > 0).concept
        shares = {n: sum(item.share for item in tables[n] if item.concept == concept) for n in of_class}
        shortcut = ShortcutTruth(records.atlas.class_names[1], concept, 0, 0.2, "", used=True)
        here = replace(records, truth=TruthReport(shortcut=shortcut))
        catalogue = Catalogue(here, Links(here.atlas.layers, (item.id for item in here.explanations)), UNDRAWN)
        assert choose_example(catalogue) == max(shares, key=shares.get)


@pytest.mark.parametrize("layer", ["features.7", "features.14"])
def test_a_class_is_warned_of_by_the_deepest_layer_alone(tmp_path, layer):
    """A mark of a shallower layer is flagged in its row, and no more: what the deeper one dropped decides nothing."""
    atlas = site_fixture.write_synthetic(tmp_path / "atlas", n_explanations=0)
    (tmp_path / "atlas/truth.json").unlink()
    (tmp_path / "atlas/trust.json").unlink()  # where nothing was audited, names are all there is
    marks = [ConceptName(f"{layer}:{channel}", "small badge", "", "offline", kind="mark") for channel in range(9)]
    write_jsonl(tmp_path / "atlas/names.jsonl", marks)
    build(tmp_path / "site", tmp_path / "atlas", only="classes/*")
    deepest = next(reversed(atlas.layers))
    warned = 0
    for index, number in enumerate(atlas.class_counts.tolist()):
        page = tmp_path / f"site/classes/class-{index}.html"
        if not page.exists():
            continue
        text = page.read_text(encoding="utf-8")
        means = atlas.layers[deepest].class_relevance[index] / number
        led = sorted(range(len(means)), key=lambda channel: -means[channel])[:10]
        expected = layer == deepest and any(channel < 9 and means[channel] >= 0.01 for channel in led)
        assert ("A possible shortcut" in text) is expected
        assert "named as a mark" in text
        warned += expected
    assert (warned > 0) is (layer == deepest)


def test_where_there_was_an_audit_it_alone_warns(tmp_path):
    atlas = site_fixture.write_synthetic(tmp_path / "atlas", n_explanations=0)
    (tmp_path / "atlas/truth.json").unlink()
    deepest = next(reversed(atlas.layers))
    marks = [ConceptName(f"{deepest}:{channel}", "small badge", "", "offline", kind="mark") for channel in range(9)]
    write_jsonl(tmp_path / "atlas/names.jsonl", marks)
    build_site(tmp_path / "site", tmp_path / "atlas", SiteOptions("A world in parts", "", only="[ac]*"))
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site/classes").glob("class-*.html")}
    assert [name for name, text in pages.items() if "A possible shortcut" in text] == ["class-1.html"]
    assert "audit.html" in pages["class-1.html"]
    audit = (tmp_path / "site/audit.html").read_text(encoding="utf-8")
    assert "1\N{NO-BREAK SPACE}finding" in audit
    assert "0.012" in audit
    assert "Looked at, and not warned of" in audit


@pytest.mark.parametrize(
    ("found", "flags", "said"),
    [
        (None, ["", "named as a mark"], None),
        (None, ["named as a mark", ""], "the concept that counts most, |, is named as a mark, no part of the object"),
        ([], ["named as a mark", ""], "|no part of the object; the audit found no evidence that tree leans on it"),
        (["a:1"], ["", ""], "a concept that counts, |, may be a shortcut: the audit found that tree leans on it"),
        (["a:0"], ["named as a mark", ""], "the concept that counts most, |, may be a shortcut: the audit found"),
        (["a:2"], ["", ""], None),
    ],
)
def test_an_explanation_warns_of_what_the_audit_found_and_of_a_name_as_a_name(monkeypatch, found, flags, said):
    findings = None if found is None else [SimpleNamespace(concept=concept) for concept in found]
    monkeypatch.setattr(explanations, "warned", lambda catalogue, class_index: findings)
    shares = zip(range(3), [*flags, ""], [0.5, 0.3, -0.1], strict=True)
    rows = [{"card": SimpleNamespace(key=f"a:{n}"), "flag": flag, "share": share} for n, flag, share in shares]
    target = SimpleNamespace(class_index=1, class_name="tree")
    check = explanations._check(None, SimpleNamespace(targets=(target,)), [{"reasons": rows}])
    if said is None:
        assert check is None
    else:
        before, after = said.split("|")
        assert check["before"].startswith(before)
        assert after in check["after"]
        assert bool(check["evidence"]) is (findings is not None)
