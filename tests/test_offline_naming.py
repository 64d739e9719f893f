import re

import numpy as np
import pytest
from PIL import Image

from precompute.images.pictures import render_reference
from precompute.images.places import PLACES
from precompute.naming.appearance import COLOURS, classify_colours, measure, stripe_direction
from precompute.naming.label_words import LabelWords, binomial_tail, display_name, words_of
from precompute.naming.namer import ConceptEvidence
from precompute.naming.offline import MAX_PHRASE, Looks, OfflineNamer
from precompute.naming.rules import MAX_NAME
from precompute.naming.traits import CORNER, SHAPES
from precompute.narratives.looks import find_looks
from precompute.narratives.wording import languages
from precompute.records import Box, Concept, Reference

SIDE = 96
CONCEPT = Concept("features.9", 3)
COUNTS = dict.fromkeys(("cat", "bucket", "daisy", "volcano", "pizza", "violin", "laptop", "barn", "knot", "goose"), 10)
VARIED = tuple(COUNTS)


def plain(colour):
    """A photo of one colour, grainless."""
    return np.full((SIDE, SIDE, 3), colour, dtype=np.uint8)


def blotches(seed):
    """A photo of soft blotches of all colours: neither one colour nor one texture."""
    palette = np.array([(10, 10, 10), (245, 245, 245), (220, 20, 30), (240, 220, 40), (30, 150, 40), (40, 70, 220)])
    coarse = np.random.default_rng(seed).choice(palette, (24, 24)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def striped(angle):
    """Stripes that run at the angle, in degrees counter-clockwise from level."""
    rows, columns = np.indices((SIDE, SIDE))
    radians = np.deg2rad(angle)
    phase = -rows * np.cos(radians) - columns * np.sin(radians)
    return np.repeat((127 + 100 * np.sin(phase * 0.7))[..., None], 3, axis=2).astype(np.uint8)


def reference(photo, rank, box, score=1.0, ranking="relmax"):
    heatmap = np.zeros((SIDE, SIDE))
    heatmap[box.top : box.bottom, box.left : box.right] = 1.0
    pictures = render_reference(photo, heatmap, box, 112)
    sample_index = rank if ranking == "relmax" else 100 + rank
    return Reference(CONCEPT, ranking, rank, sample_index, 0, score, *pictures)


def scattered(rank, side=48):
    rng = np.random.default_rng(rank)
    top, left = (int(value) for value in rng.integers(0, SIDE - side + 1, 2))
    return Box(top, left, top + side, left + side)


def evidence(photos, labels, boxes=None, actmax_labels=()):
    boxes = boxes or [scattered(rank) for rank in range(len(photos))]
    relmax = tuple(reference(photo, rank, box) for rank, (photo, box) in enumerate(zip(photos, boxes, strict=True)))
    actmax = tuple(reference(photos[0], rank, boxes[0], ranking="actmax") for rank in range(len(actmax_labels)))
    known = {rank: label for rank, label in enumerate(labels) if label}
    known |= {100 + rank: label for rank, label in enumerate(actmax_labels)}
    return ConceptEvidence(CONCEPT, relmax, actmax, known)


def name(item, counts=COUNTS):
    (named,) = OfflineNamer(counts, (SIDE, SIDE)).name([item])
    assert named.author == "offline"
    assert named.concept == CONCEPT.key
    assert 0 < named.confidence <= 0.95
    assert len(named.name.split()) <= MAX_PHRASE
    assert len(named.name) <= MAX_NAME
    assert named.evidence
    return named


MIXED = [blotches(seed) for seed in range(8)]


@pytest.mark.parametrize(
    ("labels", "counts", "expected"),
    [
        (["cat"] * 7 + ["bucket"], COUNTS, "mostly in cat photos"),
        (
            ["Boston bull, Boston terrier", "Irish terrier", "Tibetan terrier", "silky terrier"],
            dict.fromkeys(["Boston bull, Boston terrier", "Irish terrier", "Tibetan terrier", "silky terrier"], 1)
            | {f"thing {index}": 1 for index in range(60)},
            "mostly in terrier photos",
        ),
        (
            ["minivan", "cab", "racer", "Model T"],
            dict.fromkeys(["minivan", "cab", "racer", "Model T"], 1) | {f"x{index}": 1 for index in range(60)},
            "mostly in car photos",
        ),
        (["cat"] * 4 + ["violin"] * 4, COUNTS, "mostly in cat and violin photos"),
    ],
)
def test_labels_say_in_which_photos_and_never_what_is_seen(labels, counts, expected):
    """A class is context: without a common look there is no name, however well the labels agree."""
    named = name(evidence(MIXED[: len(labels)], labels), counts)
    assert named.name == f"no common look, {expected}"
    assert (named.kind, named.second_name) == ("other", "")
    assert named.confidence == 0.05


def test_labels_are_counted_among_the_figures():
    assert (
        "7 of 8 are labelled cat; chance would give 0.80." in name(evidence(MIXED, ["cat"] * 7 + ["bucket"])).evidence
    )


@pytest.mark.parametrize("side", [24, 48, 96])
@pytest.mark.parametrize("rgb", [(200, 20, 20), (20, 40, 200), (128, 128, 128)])
def test_a_class_never_stands_for_a_part(side, rgb):
    boxes = [scattered(rank, side=side) for rank in range(8)]
    found = name(evidence([plain(rgb)] * 8, ["cat"] * 8, boxes))
    seen, _, context = found.name.partition(", mostly in ")
    assert "cat" not in seen
    assert context == "cat photos"
    assert found.kind in {"colour", "texture", "mark"}


def disc(rank, side=SIDE, radius=14):
    """Draw a dark disc on a light ground."""
    rows, columns = np.mgrid[0:side, 0:side]
    inside = np.hypot(rows - side / 2, columns - side / 2) < radius
    return np.where(inside[..., None], 40, 200 + rank).repeat(3, axis=2).astype(np.uint8)


def spokes(rank, side=SIDE):
    """Draw dark and light sectors around the middle."""
    rows, columns = np.mgrid[0:side, 0:side]
    angle = np.arctan2(rows - side / 2, columns - side / 2)
    return np.where(np.sin(12 * angle + rank)[..., None] > 0, 40, 200).repeat(3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(("draw", "words"), [(disc, "round spot"), (spokes, "rays from a centre")])
def test_shapes_around_a_centre_are_told(draw, words):
    boxes = [Box(20, 20, 76, 76)] * 8
    found = name(evidence([draw(rank) for rank in range(8)], ["cat"] * 8, boxes))
    assert words in found.name
    assert found.name.endswith(", mostly in cat photos")
    assert found.kind in {"colour", "texture"}


def test_agreement_that_chance_explains_is_not_told():
    counts = {"cat": 90, "violin": 10}
    named = name(evidence(MIXED, ["cat"] * 7 + ["violin"]), counts)
    assert (named.name, named.kind, named.confidence) == ("no common look", "other", 0.05)
    assert "The labels share no word beyond chance." in named.evidence


def test_the_other_ranking_raises_or_lowers_the_confidence():
    red = [plain((200, 20, 20))] * 8
    agreeing = name(evidence(red, ["cat"] * 8, actmax_labels=["cat"] * 4))
    differing = name(evidence(red, ["cat"] * 8, actmax_labels=VARIED[1:5]))
    assert agreeing.confidence > differing.confidence
    assert "ActMax references: 0 of 4 are labelled cat." in differing.evidence


def test_colour_names_what_the_labels_do_not():
    named = name(evidence([plain((30, 160, 40))] * 8, VARIED[:8]))
    assert (named.name.split()[0], named.kind) == ("green", "colour")
    assert any(sentence.startswith("Green: 100\u00a0% of the visible pixels") for sentence in named.evidence)


@pytest.mark.parametrize(("angle", "words"), [(0, "horizontal"), (90, "vertical"), (45, "diagonal"), (135, "diagonal")])
def test_stripes_are_named_by_their_direction(angle, words):
    named = name(evidence([striped(angle)] * 8, VARIED[:8]))
    assert f"{words} edges" in named.name
    assert named.kind == "texture"


def test_stripes_of_many_directions_are_parallel():
    named = name(evidence([striped(angle) for angle in range(0, 180, 23)], VARIED[:8]))
    assert "parallel edges" in named.name


def test_a_small_area_at_one_place_is_a_mark_while_labels_vary():
    boxes = [Box(70 + rank % 3, 72, 88 + rank % 3, 90) for rank in range(8)]
    named = name(evidence(MIXED, VARIED[:8], boxes))
    assert (named.name, named.kind) == ("small mark at lower right", "mark")
    assert named.confidence > 0.8


def test_a_small_area_in_any_corner_is_a_mark_even_of_one_class():
    corners = [(0, 0), (0, 78), (78, 0), (78, 78)] * 2
    boxes = [Box(top, left, top + 18, left + 18) for top, left in corners]
    named = name(evidence(MIXED, ["cat"] * 8, boxes))
    assert (named.name, named.kind) == ("small mark in a corner", "mark")
    assert "8 of 8 are labelled cat; chance would give 0.80." in named.evidence


def test_an_empty_corner_is_no_mark():
    boxes = [Box(78, 78, 96, 96)] * 8
    named = name(evidence([plain((130, 130, 130))] * 8, VARIED[:8], boxes))
    assert named.kind != "mark"
    assert any("8 of 8 lie in: lower right" in sentence for sentence in named.evidence)


def test_a_centred_object_is_no_mark():
    boxes = [Box(39, 39, 57, 57)] * 8
    assert name(evidence(MIXED, VARIED[:8], boxes)).kind != "mark"


@pytest.mark.parametrize(("top", "left", "words"), [(0, 40, "at the top"), (60, 0, "in the lower left")])
def test_the_same_part_of_most_photos_is_told_with_what_is_seen_there(top, left, words):
    boxes = [*([Box(top, left, top + 36, left + 36)] * 7), Box(0, 60, 36, 96)]
    assert name(evidence([plain((20, 40, 200))] * 8, VARIED[:8], boxes)).name.startswith(f"blue smooth area {words}")


@pytest.mark.parametrize("n", [3, 8])
def test_neither_few_photos_nor_the_middle_nor_different_places_tell_a_place(n):
    photos = [plain((20, 40, 200))] * n
    boxes = [Box(0, 0, 36, 36)] * n if n < 4 else None
    assert name(evidence(photos, [""] * n, boxes), {}).name == "blue smooth area"
    assert name(evidence(photos, [""] * n, [Box(30, 30, 66, 66)] * n), {}).name == "blue smooth area"


def test_without_labels_looks_remain():
    named = name(evidence([plain((20, 40, 200))] * 3, [""] * 3), {})
    assert named.name == "blue smooth area"
    assert "The reference images have no labels." in named.evidence


def test_nothing_is_named_without_references():
    (named,) = OfflineNamer().name([ConceptEvidence(CONCEPT, (), (), {})])
    assert named.failure == "no reference images to name it from"
    assert (named.name, named.author) == ("", "offline")


def test_a_reference_without_a_heatmap_is_measured_around_its_centre():
    pictures = render_reference(plain((200, 20, 20)), None, Box(20, 20, 60, 60), 112)
    found = measure(Reference(CONCEPT, "relmax", 0, 0, 0, 1.0, *pictures), (SIDE, SIDE))
    assert found.colours[COLOURS.index("red")] == pytest.approx(1.0)
    assert (found.row, found.column) == pytest.approx((40 / SIDE, 40 / SIDE))


def test_twice_the_same_and_independent_of_the_other_concepts():
    items = [evidence(MIXED, ["cat"] * 8), evidence([plain((30, 160, 40))] * 8, VARIED[:8])]
    namer = OfflineNamer(COUNTS, (SIDE, SIDE), date="2026-01-01")
    both = list(namer.name(items))
    assert both == [next(namer.name([item])) for item in items]
    assert {named.date for named in both} == {"2026-01-01"}


def test_long_and_untrusted_labels_keep_the_limits():
    labels = ["<script>alert('x')</script> " + "long " * 40] * 8
    counts = {labels[0]: 8, "cat": 90}
    named = name(evidence(MIXED, labels), counts)
    assert "script" not in named.name


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((5, 5, 5), "black"),
        ((128, 128, 128), "grey"),
        ((250, 250, 248), "white"),
        ((210, 20, 30), "red"),
        ((250, 140, 10), "orange"),
        ((120, 75, 35), "brown"),
        ((245, 225, 40), "yellow"),
        ((40, 140, 50), "green"),
        ((40, 80, 200), "blue"),
        ((120, 40, 160), "purple"),
        ((250, 150, 180), "pink"),
    ],
)
def test_the_basic_colour_terms(rgb, expected):
    assert COLOURS[classify_colours(np.array([[rgb]], dtype=np.uint8))[0, 0]] == expected


def test_the_direction_of_stripes_is_along_them():
    assert stripe_direction(np.exp(2j * np.deg2rad(88))) == "vertical"
    assert stripe_direction(np.exp(2j * np.deg2rad(-3))) == "horizontal"
    assert stripe_direction(np.exp(2j * np.deg2rad(50))) == "rising"
    for angle, direction in ((0, "horizontal"), (45, "rising"), (90, "vertical"), (135, "falling")):
        found = measure(reference(striped(angle), 0, Box(8, 8, 88, 88)), (SIDE, SIDE))
        assert stripe_direction(found.stripes) == direction
        assert abs(found.stripes) > 0.8


def test_words_of_a_label():
    assert {"Boston bull", "Boston terrier", "terrier", "bull"} <= words_of("Boston bull, Boston terrier")
    assert words_of("crane") == {"crane"}  # a bird and a machine: no group holds for both
    assert {"bird", "animal", "duck bill"} & words_of("drake") == {"bird", "animal"}
    assert display_name("  old_mill , windmill") == "old mill"


def test_every_group_names_classes_that_exist():
    from precompute.naming.label_words import _groups

    groups = _groups()
    assert len(groups) >= 998
    assert groups["pug"] >= {"dog", "mammal", "animal"}
    assert sum("dog" in found for found in groups.values()) == 118
    assert all(re.fullmatch(r"[a-z ]+", group) for found in groups.values() for group in found)


def test_chance_is_counted_over_samples():
    words = LabelWords({"Irish terrier": 3, "silky terrier": 1, "barn": 4})
    assert words.chance("terrier") == 0.5
    assert words.chance("no such word") == 0.0


def test_the_tail_of_the_binomial():
    assert binomial_tail(0, 5, 0.3) == pytest.approx(1.0)
    assert binomial_tail(2, 2, 0.5) == pytest.approx(0.25)
    assert binomial_tail(1, 3, 0.5) == pytest.approx(0.875)


def test_a_description_is_given_in_the_language_of_the_texts_too():
    striped_photos = evidence([striped(0)] * 8, ["cat"] * 8)
    (english,) = OfflineNamer(COUNTS).name([striped_photos])
    (both,) = OfflineNamer(COUNTS, phrasebook=find_looks("de-CH")).name([striped_photos])
    assert english.name == both.name == "black and grey horizontal edges, mostly in cat photos"
    assert not english.local_names
    assert both.in_language("de").name == "schwarze und graue waagerechte Kanten, meist bei cat"
    (mark,) = OfflineNamer(COUNTS, phrasebook=find_looks("de")).name(
        [evidence([blotches(rank) for rank in range(8)], VARIED[:8], [Box(80, 80, 92, 92)] * 8)]
    )
    assert (mark.name, mark.in_language("de").name) == ("small mark at lower right", "kleines Zeichen rechts unten")
    hostile = Looks(("red", "pink"), "round spot", "upper left", classes=("{ $phrase } <b>", "tree"))
    assert find_looks("de").phrase(hostile) == (
        "roter und rosafarbener runder Fleck links oben, meist bei { $phrase } <b> und tree"
    )


@pytest.mark.parametrize("language", languages())
def test_every_term_can_be_said_in_every_language(language):
    phrasebook = find_looks(language)
    if phrasebook is None:
        assert language == "en"
        return
    said = {phrasebook.phrase(Looks((colour,), shape)) for colour in COLOURS for shape in SHAPES}
    assert len(said) == len(COLOURS) * len(SHAPES)
    assert len({phrasebook.phrase(Looks(mark=place)) for place in (CORNER, *PLACES)}) == 1 + len(PLACES)
    assert phrasebook.phrase(Looks())
