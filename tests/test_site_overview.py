"""The pages that one begins with: what the start page, a class and a gallery lead with, and what they leave out."""

import re
from dataclasses import replace
from importlib.resources import files
from typing import get_args

import pytest

from precompute.atlas.hdf5 import read_atlas, write_atlas
from precompute.atlas.json_records import read_jsonl, write_jsonl
from precompute.records import ConceptName
from precompute.records.values import NameKind
from sitegen.build import SiteOptions, build_site

from . import site_fixture


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return a function from an address to the text of its page; sample 1 is a sailing boat taken for a tree."""
    folder = tmp_path_factory.mktemp("overview")
    site_fixture.write_synthetic(folder / "atlas", n_explanations=4)
    atlas = read_atlas(folder / "atlas/atlas.h5")
    atlas.samples.prediction[1] = 2
    tables = atlas.layers["features.14"]
    tables.class_relevance[1, 5:] *= 1e-4
    write_atlas(folder / "atlas/atlas.h5", atlas)
    names = read_jsonl(folder / "atlas/names.jsonl", ConceptName)
    twin = next(name for name in names if name.concept == "features.14:3")
    kept = [name for name in names if name.concept != "features.14:4"]
    write_jsonl(folder / "atlas/names.jsonl", [*kept, replace(twin, concept="features.14:4")])
    for only in ("index.html", "classes/*", "concepts/layer_*"):
        build_site(folder / only[:3], folder / "atlas", SiteOptions(only=only))
    return lambda address: (folder / address[:3] / address).read_text(encoding="utf-8")


def words(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()


def test_the_start_page_begins_with_what_was_found(pages):
    text = pages("index.html")
    found = words(text[text.index('id="findings"') : text.index('id="example"')])
    assert "sailing boat leans on window of sailing boat" in found
    assert "falls by 46.0 % points" in found
    assert "1 of 64 labelled samples is classified wrong. 1 explained photo that it got wrong" in found
    assert "In 16 of 16 explanations the concepts named matter more than as many random ones" in found
    assert text.index('id="findings"') < text.index('id="doors"')


def test_what_the_network_got_wrong_comes_first(pages):
    text = pages("index.html")
    wrong = text[text.index('id="wrong"') :]
    assert "photo-03-abcdef" in wrong[: wrong.index("</ul>")]
    door = text[text.index('id="doors"') :]
    assert re.findall(r"explanations/photo-(\d+)-abcdef/photo", door)[0] == "03"


def test_a_class_leads_with_how_often_it_is_right_and_leaves_next_to_nothing_out(pages):
    text = pages("classes/class-1.html")
    lead = words(text[text.index('class="lead"') :].partition("</header>")[0])
    assert "Of the 8 labelled sailing boat, 7 are classified right." in lead
    assert "Taken for something else: tree 1 ( compare )." in lead
    deepest = text[text.index("layer_features-14.html") : text.index("1\u00a0shallower layer</summary>")]
    assert "&lt; 0.1" not in deepest
    assert "< 0.1" not in deepest
    assert deepest.count("<tr>") == 1 + 5
    assert "Every other concept of this layer has a mean share of less than 0.1\u00a0%" in deepest
    assert "Taken for tree: sailing boat 1 ( compare )." in words(pages("classes/class-2.html"))


def test_a_gallery_stacks_equal_names_and_offers_what_there_is(pages):
    text = pages("concepts/layer_features-14.html")
    tiles = re.findall(r'<li class="concept-tile" data-tags="([^"]*)">(.*?)</li>', text, re.DOTALL)
    twins = [tile for _, tile in tiles if "same name" in tile]
    assert len(twins) == 1
    assert {"features-14-c3.html", "features-14-c4.html"} == set(re.findall(r"features-14-c[34]\.html", twins[0]))
    assert re.findall(r'id="only-([\w-]+)"', text) == ["all", "kind-part", "kind-mark", "mixed", "unnamed"]
    assert sum("mixed" in tags.split() for tags, _ in tiles) == 2
    for value in re.findall(r'id="only-([\w-]+)"', text)[1:]:
        assert any(value in tags.split() for tags, _ in tiles)


def test_every_sample_that_a_concept_shows_has_its_entry_and_wrong_ones_come_first(pages):
    text = pages("classes/samples-1.html")
    entries = re.findall(r'id="sample-(\d+)"', text)
    assert entries[0] == "1"
    assert {int(entry) % 8 for entry in entries} == {1}
    first = words(text[text.index('id="sample-1"') :].partition("</article>")[0])
    assert "The network says tree" in first
    assert "the label is sailing boat" in first
    assert "An example of:" in first
    assert 'src="../photos/' in text
    gallery = pages("classes/class-1.html")
    assert 'href="../classes/samples-1.html"' in gallery


def test_every_choice_of_a_gallery_has_its_rule():
    style = (files("sitegen") / "assets/atlas.css").read_text(encoding="utf-8")
    for value in (*(f"kind-{kind}" for kind in get_args(NameKind)), "mixed", "unnamed"):
        assert f'(#only-{value}:checked) .concept-tile:not([data-tags~="{value}"])' in style
