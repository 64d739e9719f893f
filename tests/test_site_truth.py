"""What the pages say of the known truth: only what holds for the network of the atlas."""

import re
import shutil

import pytest

from precompute.files import write_json
from precompute.records import ConceptTruth, ShortcutTruth, TruthReport
from sitegen.build import build_site
from sitegen.source import read_source

from . import site_fixture


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas") / "synthetic"
    site_fixture.write_synthetic(folder)
    return folder


def build(output, source):
    return build_site(output, source, title="A world in parts", description="What a network sees.")


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
    build(tmp_path / "site", folder)
    box = (tmp_path / "site/classes/class-1.html").read_text(encoding="utf-8")
    box = box[box.index('<aside class="warning">') : box.index("</aside>")]
    assert "The planted mark" in box
    assert note in box
    assert f"-c{channel}.html" in box
    assert "rank 11 for this class" in box
    assert "shortcut" not in box
    assert "accuracy" not in (tmp_path / "site/truth.html").read_text(encoding="utf-8")
    assert "shortcut to be found" not in (tmp_path / "site/index.html").read_text(encoding="utf-8")


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
