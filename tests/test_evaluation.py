"""Truth scores on heatmaps whose right answers are known."""

import numpy as np
import pytest

from precompute.records import (
    Atlas,
    Concept,
    ConceptName,
    ConceptTruth,
    LayerInfo,
    LayerTables,
    RankingTable,
    SampleTable,
)
from precompute.world.truth import (
    SceneMasks,
    TruthEvidence,
    compute_mass_share,
    compute_shortcut_truth,
    compute_truth,
    points_inside,
)

SIDE = 24
N_SCENES = 12


def square(top, left, size=6):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + size, left : left + size] = 255
    return mask


def wheel_place(index):
    return (index * 5) % 18, (index * 7) % 18


def part_masks(index):
    """Every scene shows a wheel somewhere and one big wall on the right; odd scenes show a flag as well."""
    top, left = wheel_place(index)
    wall = np.zeros((SIDE, SIDE), np.uint8)
    wall[:, 14:] = 255
    wheel = square(top, left)
    masks = {"wheel": wheel, "wall": np.where(wheel > 0, 0, wall).astype(np.uint8)}
    if index % 2:
        masks["flag"] = square(0, 0, 3)
    return masks


def evidence(draw, indices=(0, 1, 2, 3, 4, 5), layer="conv", channel=0, name=""):
    return TruthEvidence(
        Concept(layer, channel),
        np.stack([draw(i) for i in indices]),
        tuple(indices),
        ConceptName(f"{layer}:{channel}", name, "", "offline"),
    )


def on_wheel(index):
    return square(*wheel_place(index)).astype(float)


def test_heatmap_on_one_part_belongs_to_it():
    layers, concepts = compute_truth([evidence(on_wheel, name="dark wheels")], part_masks, range(N_SCENES), {})
    truth = concepts["conv:0"]
    assert truth.part == "wheel"
    assert truth.mass == pytest.approx(1)
    assert truth.pointing_game == 1
    assert truth.mass_shuffled < 0.4
    assert truth.name_right is True
    assert (layers[0].n_concepts, layers[0].n_clear, layers[0].names_right) == (1, 1, 1)
    assert layers[0].pointing_game_shuffled < 0.6


def test_half_of_the_mass_is_half():
    def half(index):
        heatmap = on_wheel(index)
        outside = np.argwhere(sum(mask.astype(int) for mask in part_masks(index).values()) == 0)[:36]
        heatmap[outside[:, 0], outside[:, 1]] = heatmap.max()
        return heatmap

    _, concepts = compute_truth([evidence(half)], part_masks, range(N_SCENES), {})
    assert concepts["conv:0"].mass == pytest.approx(0.5)


def test_large_part_does_not_win_by_its_area():
    """Half of the mass lies on the wheel, half evenly over the frame, most of which the wall covers."""

    def mixed(index):
        return on_wheel(index) / 255 * SIDE * SIDE / 36 + 1.0

    _, concepts = compute_truth([evidence(mixed)], part_masks, range(N_SCENES), {})
    assert concepts["conv:0"].part == "wheel"


def test_even_heatmap_is_no_better_than_shuffled():
    _, concepts = compute_truth([evidence(lambda _: np.ones((SIDE, SIDE)))], part_masks, range(N_SCENES), {})
    truth = concepts["conv:0"]
    assert abs(truth.mass - truth.mass_shuffled) < 0.06
    assert truth.mass < 0.5


def test_negative_relevance_is_no_mass():
    heatmap = -np.ones((SIDE, SIDE))
    assert compute_mass_share(heatmap, square(0, 0)) == 0
    heatmap[2, 2] = 1
    assert compute_mass_share(heatmap, square(0, 0)) == 1


def test_concept_without_mass_has_no_part_and_counts_nowhere():
    dead = evidence(lambda _: np.zeros((SIDE, SIDE)), channel=1)
    none = TruthEvidence(Concept("conv", 2), np.zeros((0, SIDE, SIDE)), ())
    layers, concepts = compute_truth([evidence(on_wheel), dead, none], part_masks, range(N_SCENES), {})
    assert layers[0].n_concepts == 1
    assert concepts["conv:1"].part == concepts["conv:2"].part == ""
    assert concepts["conv:1"].mass is None


def test_heatmaps_that_cover_no_part_give_no_part_and_count():
    def on_nothing(index):
        covered = sum(mask.astype(int) for mask in part_masks(index).values())
        return (covered == 0).astype(float)

    layers, concepts = compute_truth([evidence(on_nothing, name="a wheel")], part_masks, range(N_SCENES), {})
    truth = concepts["conv:0"]
    assert (truth.part, truth.mass, truth.name_right) == ("", 0, None)
    assert (layers[0].n_concepts, layers[0].n_clear, layers[0].mass, layers[0].names_right) == (1, 0, 0, None)


def test_scenes_without_any_part_give_no_part():
    layers, concepts = compute_truth([evidence(on_wheel)], lambda _: {}, range(N_SCENES), {})
    assert concepts["conv:0"].part == ""
    assert layers[0].n_concepts == 1


def test_layers_keep_their_order_and_seeds_their_result():
    evidences = [evidence(on_wheel, layer="b"), evidence(on_wheel, layer="a")]
    first, again = (compute_truth(evidences, part_masks, range(N_SCENES), {}, seed=3) for _ in range(2))
    assert [layer.layer for layer in first[0]] == ["b", "a"]
    assert first == again


def test_pointing_game_allows_a_small_miss():
    heatmap = np.zeros((SIDE, SIDE))
    heatmap[10, 10] = 1
    assert points_inside(heatmap, square(12, 10))
    assert not points_inside(heatmap, square(13, 10))


def test_shuffled_masks_come_from_other_scenes_that_show_the_part():
    scenes = SceneMasks(part_masks, range(N_SCENES))
    drawn = scenes.others("wheel", 3, np.random.default_rng(0))
    own = part_masks(3)["wheel"]
    assert len(drawn) == 4
    assert not any((mask == own).all() for mask in drawn)
    assert scenes.others("mast", 3, np.random.default_rng(0)) == []


def atlas_with(class_relevance):
    n_channels = class_relevance.shape[1]
    table = RankingTable(*(np.zeros((1, n_channels), dtype) for dtype in (np.int64, np.float64, np.int64)))
    counts = np.zeros((n_channels, 2), np.int64)
    tables = LayerTables(
        LayerInfo("conv", "Conv2d", n_channels, 4, 4), table, table, class_relevance, class_relevance, counts, counts
    )
    empty = np.zeros(0, np.int64)
    samples = SampleTable((), empty, empty, empty, np.zeros(0))
    edges = np.array((0.0, 0.5, 1.0))
    return Atlas("toy", ("boat", "car"), np.array((10, 20)), samples, edges, edges, {"conv": tables}, {})


def test_shortcut_is_the_concept_of_the_mark_that_carries_most():
    _, concepts = compute_truth(
        [evidence(on_wheel, channel=channel) for channel in range(3)], part_masks, range(N_SCENES), {}
    )
    truth = compute_shortcut_truth(
        atlas_with(np.array([[5.0, 1.0, 2.0], [0, 0, 0]])), {"conv:2": concepts["conv:2"]}, 0, "wheel"
    )
    assert (truth.class_name, truth.concept, truth.rank) == ("boat", "conv:2", 1)
    assert truth.mean_share == pytest.approx(0.2)


def test_missing_shortcut_is_said():
    truth = compute_shortcut_truth(atlas_with(np.ones((2, 3))), {}, 1, "wheel")
    assert truth.rank is None
    assert "no concept of conv reacts to it" in truth.note


def shortcut_of(truth, means):
    """Find the shortcut where channel 3 of four is the mark's."""
    return compute_shortcut_truth(atlas_with(np.array([means, [0, 0, 0, 0]])), {"conv:3": truth}, 0, "wheel")


def test_a_mark_that_leads_and_is_clear_was_learned():
    found = shortcut_of(ConceptTruth("wheel", 0.7), [1.0, 2.0, 3.0, 2.5])
    assert found.used
    assert "the network learned to use it as evidence" in found.note


@pytest.mark.parametrize(
    ("mass", "means", "said"),
    [
        (0.7, [3.0, 4.0, 5.0, 1.0], "at rank 3 of 4"),
        (0.2, [0.0, 0.0, 0.0, 5.0], "20\u00a0% of its heatmaps"),
        (0.7, [-3.0, -4.0, -5.0, -1.0], "at rank 0 of 4"),
    ],
)
def test_a_mark_that_the_network_hardly_uses_is_not_called_learned(mass, means, said):
    found = shortcut_of(ConceptTruth("wheel", mass), means)
    assert not found.used
    assert found.concept == "conv:3"
    assert "learned" not in found.note
    assert said in found.note


def test_a_clear_concept_of_the_mark_comes_before_a_blurred_one():
    concepts = {"conv:0": ConceptTruth("wheel", 0.1), "conv:1": ConceptTruth("wheel", 0.9)}
    found = compute_shortcut_truth(atlas_with(np.array([[5.0, 1.0], [0, 0]])), concepts, 0, "wheel")
    assert (found.concept, found.rank, found.used) == ("conv:1", 1, True)
