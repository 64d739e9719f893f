"""Names as records: who gave them, who wins, what they say, in which order, and as cells of a spreadsheet."""

import csv
import io

import numpy as np
import pytest

from precompute.atlas.folder import Workspace, read_names
from precompute.config import ReferencesConfig
from precompute.printing.spreadsheet import csv_text, guarded, unguarded
from precompute.records import MISSING, ConceptName, RankingTable
from precompute.records.named import Author, choose_names, says_one_of
from precompute.stages.references import plan_references
from precompute.world.truth import words_for
from sitegen.data.source import read_source
from tests.site_fixture import make_atlas, write_synthetic


def name(text, author="offline", **more):
    return ConceptName("c:0", text, "", author, **more)


@pytest.mark.parametrize(
    ("text", "kind", "label"),
    [("offline", "offline", ""), ("llm:a:b", "llm", "a:b"), ("llm", "llm", ""), ("person:Ada", "person", "Ada")],
)
def test_an_author_is_read_and_written_in_one_way(text, kind, label):
    assert Author.parse(text) == Author(kind, label)
    assert str(Author(kind, label)) == text


@pytest.mark.parametrize("text", ["", "personal-model", "recorded:x", "LLM:x"])
def test_an_author_that_nobody_can_weigh_is_refused(text):
    with pytest.raises(ValueError, match="not an author"):
        name("x", text)


def test_a_recorded_name_keeps_its_author_and_is_told_apart():
    recorded = name("round eye", "llm:claude", recorded=True)
    assert recorded.by == Author("recorded", "claude")
    assert str(recorded.by) == recorded.author
    assert "ship with the project (claude)" in recorded.by.words


ORDER = (
    name("", failure="no reply"),
    name("round", date="2026-09-09"),
    name("circle", "llm:old", recorded=True, date="2026-09-09"),
    name("wheel", "llm:m", date="2026-09-09"),
    name("tyre", "person:Ada", date="2026-01-01"),
    name("rim", "person:Bob", date="2026-03-01"),
)


@pytest.mark.parametrize("weaker", range(len(ORDER)))
def test_who_wins_does_not_depend_on_who_comes_first(weaker):
    for stronger in range(weaker + 1, len(ORDER)):
        assert choose_names([ORDER[weaker]], [ORDER[stronger]])["c:0"] is ORDER[stronger]
        assert choose_names([ORDER[stronger]], [ORDER[weaker]])["c:0"] is ORDER[stronger]


def test_among_equals_the_later_source_wins():
    first, second = name("a", "llm:m", date="2026-02-02"), name("b", "llm:m", date="2026-01-01")
    assert choose_names([first], [second])["c:0"] is second


def test_every_reader_takes_the_same_name(tmp_path):
    """Two lines for one concept: the site, scores, truth and explanations agree, whatever the order of the lines."""
    folder = tmp_path / "a"
    write_synthetic(folder, optional=False)
    key = "features.14:1"
    lines = [
        f'{{"concept":"{key}","name":"wheel","description":"","author":"llm:m"}}',
        f'{{"concept":"{key}","name":"round","description":"","author":"offline"}}',
    ]
    for order in (lines, lines[::-1]):
        Workspace(folder, tmp_path).names.write_text("\n".join(order) + "\n", encoding="utf-8")
        assert read_names(folder / "names.jsonl")[key].name == "wheel"
        assert read_source(folder).names[key].name == "wheel"


@pytest.mark.parametrize(
    ("text", "failure", "named"), [(" ", "", False), ("", "", False), ("x", "f", False), ("x", "", True)]
)
def test_whether_a_concept_is_named_is_asked_of_the_name(text, failure, named):
    assert name(text, failure=failure).is_named is named


def test_names_stay_in_the_order_of_the_atlas():
    """Forward order, not the alphabet: a classifier comes after the features."""
    keys = ["features.2:10", "features.10:0", "classifier.0:1"]
    first = [ConceptName(key, "", "", "offline", failure="none") for key in keys]
    later = [ConceptName(key, "x", "", "llm:m") for key in reversed(keys)]
    assert list(choose_names(first, later)) == keys


@pytest.mark.parametrize(
    ("first", "second", "part", "right"),
    [
        ("dark wheels at the bottom", "", "wheel", True),
        ("Wheel", "", "wheel", True),
        ("tyre", "", "wheel", True),
        ("stripes", "wheel", "wheel", True),
        ("wheelbarrow", "", "wheel", False),
        ("finish", "", "fin", False),
        ("red stripes", "", "stripes", True),
        ("a wall", "", "roof", False),
    ],
)
def test_what_a_name_says_counts_both_names(first, second, part, right):
    vocabulary = {"wheel": ("tyre",), "stripes": ("stripe",)}
    found = name(first, second_name=second)
    assert found.says(words_for(part, vocabulary)) is right
    assert says_one_of(found.title, words_for(part, vocabulary)) is right


def test_silent_entries_are_told_by_the_ranking_table():
    """A sample with a score of zero or below shows nothing of the channel; nor does an empty place."""
    samples = np.array([[0, 1, 2], [3, 4, MISSING]])
    table = RankingTable(samples, np.array([[1.0, -0.5, 0.0], [0.5, -0.7, 0.0]]), samples.copy())
    assert table.telling(8).tolist() == [[True, False, False], [True, False, False]]
    assert table.telling(1).tolist() == [[True, False, False]]


@pytest.mark.parametrize("sign", [1, -1])
def test_reference_images_and_pages_leave_out_the_same_entries(sign):
    atlas = make_atlas({"features.7": 4, "features.14": 5}, 30, untrusted=False)
    for tables in atlas.layers.values():
        tables.actmax.score[:] = sign * (np.abs(tables.actmax.score) + 1)
    planned = {(w.concept, w.ranking) for found in plan_references(atlas, ReferencesConfig()).values() for w in found}
    for layer, tables in atlas.layers.items():
        told = tables.actmax.telling(8).any(axis=0)
        assert {c.channel for c, ranking in planned if ranking == "actmax" and c.layer == layer} == set(
            np.flatnonzero(told).tolist()
        )
        assert told.any() == (sign > 0)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "\uff1d1+1",
        "+1",
        "-1",
        "@x",
        "|x",
        "%0A",
        "\tx",
        " =x",
        "'x",
        "''=x",
        "'=x",
        "plain",
        "",
        "a=b",
        "\uff0bx",
    ],
)
def test_there_is_one_guard_against_formulas_and_it_comes_off_again(text):
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not cell.lstrip(" \n").startswith(tuple("=+-@\t\r|%\uff1d\uff0b\uff0d\uff20"))
    ((back,),) = list(csv.reader(io.StringIO(csv_text(["a"], [[text]]).partition("\n")[2]))) or [[""]]
    assert unguarded(back) == text


def test_numbers_are_not_guarded():
    assert csv_text(["a"], [[-0.5]]) == "a\n-0.5\n"


def test_concepts_come_in_forward_order():
    layers = {"features.10": 2, "features.2": 3, "classifier": 1}
    keys = [concept.key for concept in make_atlas(layers, 20, untrusted=False).concepts()]
    assert keys == ["features.10:0", "features.10:1", "features.2:0", "features.2:1", "features.2:2", "classifier:0"]
