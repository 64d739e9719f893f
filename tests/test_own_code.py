"""Code of a user's own is held to what the program relies on: data sets, namers, rules of relevance."""

import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from precompute.errors import DataError, NamerError, UnsupportedModel
from precompute.images.dataset import Dataset
from precompute.naming.namer import ConceptEvidence
from precompute.naming.own import OwnNamer
from precompute.naming.rules import MAX_DESCRIPTION, MAX_NAME
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.records import Concept, ConceptName
from precompute.relevance.operations import TABLE, Absorbed, Pass, Transposed
from precompute.relevance.proof import check_conservation, measure_conservation
from tests.photo_files import open_here
from tests.test_graph import SHAPE, images, make

# --- data sets -----------------------------------------------------------------------------------------------------

DATASET = """
import numpy as np, PIL.Image
from pathlib import Path

class Own:
    notes, grey, digest = ("a note",), None, "d"
    def __init__(self, cache, n_labels=10, classes=("cat", "dog")):
        self.names = tuple(f"{n}.x" for n in range(10))
        self.labels, self.class_names, self.cache = np.arange(n_labels) % 2, tuple(classes), cache
    def __len__(self): return 10
    def stamp(self, index): return 100 + index
    def load(self, index): return PIL.Image.new("RGB", (4, 4), (index, 0, 0))

def whole(config, cache): return Own(cache)
def nameless(config, cache): return Own(cache, classes=())
def short(config, cache): return Own(cache, n_labels=9)
"""


def open_own(folder, factory, *changes):
    (folder / "own_set.py").write_text(DATASET, encoding="utf-8")
    return open_here(folder, f"dataset.kind=own_set:{factory}", *changes)


def test_a_limit_holds_for_a_format_that_does_not_read_it(tmp_path):
    found = open_own(tmp_path, "whole", "dataset.limit=4")
    assert isinstance(found, Dataset)
    assert len(found) == 4
    assert found.names == ("0.x", "2.x", "5.x", "7.x")  # spread evenly, as every other choice
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert [found.load(index).getpixel((0, 0))[0] for index in range(4)] == [0, 2, 5, 7]
    assert [found.stamp(index) for index in range(4)] == [100, 102, 105, 107]
    assert (found.class_names, found.notes) == (("cat", "dog"), ("a note",))
    whole = open_own(tmp_path, "whole")
    assert len(whole) == len(open_own(tmp_path, "whole", "dataset.limit=10")) == 10
    assert len({whole.digest, found.digest, open_own(tmp_path, "whole", "dataset.limit=5").digest}) == 3
    assert pickle.loads(pickle.dumps(found)).names == found.names


def test_a_class_list_names_the_classes_of_a_format_that_does_not(tmp_path):
    (tmp_path / "list.txt").write_text("ash\noak\n", encoding="utf-8")
    found = open_own(tmp_path, "nameless", "dataset.classes=list.txt")
    assert found.class_names == ("ash", "oak")
    assert found.digest != open_own(tmp_path, "nameless").digest


@pytest.mark.parametrize(
    ("names", "found"), [("cat\nwolf", "'dog' instead of 'wolf'"), ("cat\ndog\ncow", "2 instead of 3")]
)
def test_a_class_list_that_contradicts_a_format_is_refused(tmp_path, names, found):
    (tmp_path / "list.txt").write_text(f"{names}\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"not as dataset.classes = 'list.txt' does: {found}. Leave dataset.classes"):
        open_own(tmp_path, "whole", "dataset.classes=list.txt")
    (tmp_path / "list.txt").write_text("cat\ndog\n", encoding="utf-8")
    assert open_own(tmp_path, "whole", "dataset.classes=list.txt").class_names == ("cat", "dog")


def test_a_format_whose_counts_disagree_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"10 by len\(\), 10 by names, 9 by labels"):
        open_own(tmp_path, "short")


# --- namers --------------------------------------------------------------------------------------------------------


def name_one(**said):
    class Namer:
        def name(self, evidence):
            for item in evidence:
                yield ConceptName(item.concept.key, **{"name": "x", "description": "", "author": "offline", **said})

    evidence = [ConceptEvidence(Concept("features.2", 3), ())]
    (made,) = OwnNamer("own:make", Namer(), "2026-01-02").name(evidence)
    assert (made.concept, made.author, made.date) == ("features.2:3", "program:own:make", "2026-01-02")
    return made


def test_a_namers_name_is_kept_as_a_clean_line_and_its_numbers_in_the_description():
    made = name_one(name=" red\n stripes\u200b ", description="5 of 8 images\nshow them, 62 %.", evidence=("5 of 8",))
    assert (made.name, made.description, made.evidence) == (
        "red stripes",
        "5 of 8 images show them, 62 %.",
        ("5 of 8",),
    )
    assert made.is_named
    eight_words = "a b c d e f g h"  # kept, as where a language model has no shorter one
    assert name_one(name=eight_words).name == eight_words


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"name": "x" * (MAX_NAME + 1)}, "name is 61 characters long; at most 60 are allowed"),
        ({"name": "a b c d e f g h i"}, "name has 9 words"),
        ({"name": "wheel 42 %"}, "name holds a share"),
        ({"name": "wheel 42"}, "name holds a digit"),
        ({"name": "<b>wheel</b>"}, "name holds markup"),
        ({"name": "wheel", "second_name": "y" * 70}, "second_name is 70 characters long"),
        ({"description": "y" * (MAX_DESCRIPTION + 1)}, "description is 401 characters long"),
        ({"evidence": ("y" * 500,)}, "evidence is 500 characters long"),
    ],
)
def test_a_namers_name_that_breaks_the_rules_becomes_the_reason_why_there_is_none(said, reason):
    made = name_one(**said)
    assert not made.is_named
    assert reason in made.failure
    assert len(made.failure) < 200


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"kind": "banana"}, "kind: .*'banana'"),
        ({"confidence": 7.5}, "confidence: .*less than or equal to 1"),
        ({"confidence": math.nan}, "confidence: Input should be a valid number"),
        ({"confidence": np.float32(0.5)}, "float32"),
        ({"outliers": (-1,)}, "outliers"),
    ],
)
def test_a_namers_field_that_no_file_may_hold_is_refused_before_it_is_written(said, fault):
    with pytest.raises(NamerError, match=rf"own:make gave a wrong name for features\.2:3: .*{fault}"):
        name_one(**said)


# --- rules ---------------------------------------------------------------------------------------------------------


class Moving(Transposed):
    """Wrong for what weighs values."""


class Spilling(Pass):
    """Turns relevance round and says that a stabiliser took twice what there was."""

    def backward(self, kept, relevance):
        return (-relevance,)

    def absorb(self, kept, relevance):
        total = relevance.flatten(1).sum(1)
        return Absorbed(torch.zeros_like(total), 2 * total)


@pytest.mark.parametrize(("factor", "rule"), [(2.0, Moving), (0.5, Moving), (1.5, Spilling)])
def test_a_rule_is_not_believed_what_it_says_is_taken_up(monkeypatch, factor, rule):
    net = make(lambda net, x: F.relu(net.conv2(torch.tanh(net.conv1(x)) * factor)))
    graph = simplify(capture(net, SHAPE))
    assert "mul" in [node.operation for node in graph.nodes]
    check_conservation(measure_conservation(graph, images()))
    monkeypatch.setitem(TABLE, "mul", rule)
    measured = measure_conservation(graph, images())
    assert max(one.residual for one in measured) < 1e-9, "by its own account it loses nothing"
    with pytest.raises(UnsupportedModel, match=r"the rule of 'mul' in .* is taken up where nothing can take it"):
        check_conservation(measured)


def test_what_is_padded_may_take_relevance():
    net = make(lambda net, x: net.conv2(F.pad(torch.tanh(net.conv1(x)), (2, 2, 2, 2))))
    measured = measure_conservation(simplify(capture(net, SHAPE)), images())
    assert "pad" in [one.operation for one in measured]
    check_conservation(measured)
