import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from precompute.config import Config, ExplainingConfig, PreprocessingConfig, RelevanceConfig
from precompute.errors import DataError, ModelError
from precompute.explanations.attribution import (
    compute_shares,
    explain_photo,
    explanation_digest,
    explanation_id,
    select_concepts,
    select_sub_concepts,
    select_targets,
)
from precompute.images.pictures import decode_heatmap
from precompute.images.places import PLACE_WORDS, locate, place_words
from precompute.records import LayerInfo
from precompute.relevance.channel_scores import SHARE_FLOOR, normalise
from precompute.relevance.cut import Split
from precompute.relevance.engine import GraphEngine
from precompute.relevance.protocol import ConditionalAttribution, LayerAttribution

SIDE = 32
LAYERS = (
    LayerInfo("block.left", "Conv2d", 6, 4, 4, inputs=("below.left", "below.right")),
    LayerInfo("block.right", "Conv2d", 3, 4, 4, inputs=("below.left", "below.right")),
)
CLASSES = ("cat", "dog", "<b>owl</b>", "eel")
CONFIG = Config(
    name="test",
    path=Path("test.toml"),
    preprocessing=PreprocessingConfig(resize=SIDE, crop=SIDE),
    relevance=RelevanceConfig(precision="float64"),
    explaining=ExplainingConfig(n_concepts=3, n_sub_concepts=2),
)


class TableEngine:
    """Relevances that are written down: what comes out must follow from them."""

    name = "table"
    layer_names = ("below.left", "below.right", "block.left", "block.right")

    def __init__(self, logits=(2.0, 1.9, -3.0, 0.0), relevance=None):
        self.table = torch.tensor([logits], dtype=torch.float64)
        self.relevance = relevance or {
            "block.left": [0.5, -2.0, 0.0, 2.0, 0.25, -0.25],
            "block.right": [0.0, 0.0, 0.0],
        }
        self.asked = []

    def logits(self, images):
        assert images.shape == (1, 3, SIDE, SIDE)
        assert images.dtype == torch.float64
        return self.table

    def attribute(self, image, target):
        layers = {
            name: LayerAttribution(
                torch.tensor(values, dtype=torch.float64),
                torch.arange(float(len(values))),
                Split(float(self.table[0, target]), sum(values), sum(map(abs, values))),
            )
            for name, values in self.relevance.items()
        }
        return torch.ones(SIDE, SIDE) * (target + 1), layers

    def attribute_concepts(self, image, target, concepts, inputs):
        self.asked.append((target, tuple(concepts), {name: tuple(value) for name, value in inputs.items()}))
        return [self._through(layer, channel) for layer, channel in concepts]

    def _through(self, layer, channel):
        heatmap = torch.zeros(SIDE, SIDE)
        heatmap[24:32, 0:8] = self.relevance[layer][channel]
        return ConditionalAttribution(
            heatmap, {"below.right": torch.tensor([3.0, -1.0]), "below.left": torch.tensor([-3.0, 1.0])}
        )


@pytest.fixture
def photo():
    pixels = np.random.default_rng(3).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def explain(photo, engine, **changes):
    arguments = {
        "engine": engine,
        "layers": LAYERS,
        "class_names": CLASSES,
        "config": CONFIG,
        "photo_name": "holiday/My cat.JPEG",
        "photo_digest": "0123456789abcdef",
        "label": "cat",
    }
    return explain_photo(photo, **(arguments | changes))


def test_the_pictures_of_a_target_share_one_scale(photo):
    """Concept 0 carries a quarter of what concept 1 does: beside it, it must look weaker."""
    explanation, pictures = explain(photo, TableEngine())
    concepts = {item.concept: item for item in explanation.targets[0].layers[0].concepts}

    def colour(key):
        shown = np.asarray(Image.open(io.BytesIO(pictures[concepts[key].overlay])).convert("RGB")).astype(int)
        return np.ptp(shown, axis=2)[26:30, 2:6].mean()

    assert colour("block.left:0") < 0.75 * colour("block.left:3")
    assert colour("block.left:3") > 80


def test_numbers_follow_from_the_table(photo):
    engine = TableEngine()
    explanation, _ = explain(photo, engine)
    assert [target.class_name for target in explanation.targets] == ["cat", "dog", "eel"]
    target = explanation.targets[0]
    assert target.logit == 2.0
    assert target.probability == pytest.approx(np.exp(2) / np.exp([2, 1.9, -3, 0]).sum(), rel=1e-12)
    layer = target.layers[0]
    assert layer.shares == pytest.approx([0.1, -0.4, 0, 0.4, 0.05, -0.05])
    assert (layer.relevance_sum, layer.relevance_absolute_sum) == (0.5, 5.0)
    assert [concept.concept for concept in layer.concepts] == ["block.left:1", "block.left:3", "block.left:0"]
    assert [concept.rank for concept in layer.concepts] == [0, 1, 2]
    assert [concept.share for concept in layer.concepts] == pytest.approx([-0.4, 0.4, 0.1])
    assert [concept.relevance for concept in layer.concepts] == [-2.0, 2.0, 0.5]
    assert [concept.activation for concept in layer.concepts] == [1.0, 3.0, 0.0]
    assert layer.coverage == pytest.approx(0.9)
    assert engine.asked[0] == (
        0,
        (("block.left", 1), ("block.left", 3), ("block.left", 0)),
        {layer.name: layer.inputs for layer in LAYERS},
    )


def test_shares_of_parallel_lower_layers_are_of_their_common_total(photo):
    explanation, _ = explain(photo, TableEngine())
    found = [(sub.concept, sub.share) for sub in explanation.targets[0].layers[0].concepts[0].sub_concepts]
    assert found == [("below.left:0", -0.375), ("below.right:0", 0.375)]


def test_a_layer_without_relevance_is_told_and_has_no_concepts(photo, caplog):
    explanation, _ = explain(photo, TableEngine())
    layer = explanation.targets[0].layers[1]
    assert layer.shares == (0.0, 0.0, 0.0)
    assert (layer.concepts, layer.coverage) == ((), 0.0)
    assert "no relevance reaches block.right" in caplog.text


def test_a_concept_that_speaks_against_is_placed_where_it_does(photo):
    explanation, _ = explain(photo, TableEngine())
    places = [concept.place for concept in explanation.targets[0].layers[0].concepts]
    assert {place.words for place in places} == {"lower left"}
    assert places[0] == places[1]


def test_pictures_are_the_files_named(photo):
    explanation, pictures = explain(photo, TableEngine())
    named = {explanation.photo}
    for target in explanation.targets:
        named |= {target.heatmap, target.overlay}
        for layer in target.layers:
            for concept in layer.concepts:
                named |= {concept.heatmap, concept.overlay}
    assert named == set(pictures)
    assert "0-block-left-1.png" in named
    for content in pictures.values():
        assert Image.open(io.BytesIO(content)).size == (SIDE, SIDE)
    concept = explanation.targets[0].layers[0].concepts[0]
    heatmap = decode_heatmap(pictures[concept.heatmap], concept.heatmap_scale)
    assert heatmap[28, 4] == pytest.approx(-2.0)
    assert heatmap[0, 0] == 0
    assert (explanation.width, explanation.height) == (SIDE, SIDE)


def test_predictions_are_the_most_probable_first(photo):
    explanation, _ = explain(photo, TableEngine(logits=(1.0, 5.0, 1.0, 1.0)))
    assert [prediction.class_index for prediction in explanation.predictions] == [1, 0, 2, 3]
    assert sum(prediction.probability for prediction in explanation.predictions) == pytest.approx(1.0)


def test_twice_the_same(photo):
    assert explain(photo, TableEngine()) == explain(np.asarray(photo), TableEngine())


def test_too_few_class_names_are_refused(photo):
    with pytest.raises(DataError, match="4 classes, the class list only 2"):
        explain(photo, TableEngine(), class_names=CLASSES[:2])


def test_relevance_that_is_not_finite_is_refused(photo):
    engine = TableEngine(relevance={"block.left": [np.nan] * 6, "block.right": [1.0, 0, 0]})
    with pytest.raises(ModelError, match=r"relevance of block\.left for class cat: 6 of 6 values are not finite"):
        explain(photo, engine)
    with pytest.raises(ModelError, match="logits"):
        explain(photo, TableEngine(logits=(np.inf, 0, 0, 0)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("folder/a photo_1.JPEG", "a-photo-1-01234567"),
        ("Käse & <b>.png", "Kase-b-01234567"),
        ("C:\\pictures\\x.y.jpg", "x-y-01234567"),
        ("写真.jpg", "photo-01234567"),
        ("../../.jpg", "photo-01234567"),
        ("n" * 200, "n" * 60 + "-01234567"),
    ],
)
def test_the_id_is_safe(name, expected):
    identifier = explanation_id(name, "0123456789abcdef")
    assert identifier == expected
    assert re.fullmatch(r"[A-Za-z0-9-]+", identifier)


def test_the_digest_follows_the_numbers_and_nothing_else():
    def digest(config=CONFIG, **changes):
        arguments = {"photo_digest": "ab", "engine_name": "zennit", "layers": LAYERS, "class_names": CLASSES}
        return explanation_digest(config=config, **(arguments | changes))

    def config(part, **changes):
        return dataclasses.replace(CONFIG, **{part: dataclasses.replace(getattr(CONFIG, part), **changes)})

    same = [config("relevance", device="cuda"), config("explaining", language="de"), config("mining", batch_size=3)]
    other = [
        config("relevance", zero_params=True),
        config("explaining", n_concepts=4),
        config("model", weights="random"),
        config("preprocessing", crop=31),
    ]
    assert {digest(variant) for variant in same} == {digest()}
    digests = [digest()] + [digest(variant) for variant in other]
    digests += [digest(photo_digest="ac"), digest(layers=LAYERS[:1]), digest(mining_digest="w")]
    assert len(set(digests)) == len(digests)


def test_shares_sum_to_one_in_absolute_value():
    relevance = np.random.default_rng(0).normal(size=512) * 1e-9
    shares = compute_shares(relevance)
    assert np.abs(shares).sum() == pytest.approx(1.0, abs=1e-12)
    assert (np.sign(shares) == np.sign(relevance)).all()


@pytest.mark.parametrize(("relevance", "mined"), [([1e-10, 0.0], 0.5), ([3.0, -1.0], 0.75)])
def test_mined_shares_differ_from_explained_ones_by_the_peers_floor_alone(relevance, mined):
    """Next to nothing is told exactly; beside any logit that a network gives the two print alike."""
    stored = normalise(torch.tensor([relevance], dtype=torch.float64))[0].numpy()
    assert stored[0] == pytest.approx(mined, rel=1e-9)
    whole = np.abs(relevance).sum()
    np.testing.assert_allclose(compute_shares(np.array(relevance)) * whole / (whole + SHARE_FLOOR), stored, rtol=1e-12)


def test_selection_is_a_total_order():
    assert select_concepts(np.array([0.1, -0.3, 0.3, 0.3, 0.0]), 3) == (1, 2, 3)
    assert select_concepts(np.array([0.0, 0.0, 1.0]), 3) == (2,)
    assert select_sub_concepts({}, 3) == ()
    assert select_sub_concepts({"low": np.zeros(4)}, 3) == ()


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.02, 0.9, 0.05, 0.03], [1, 2]),
        ([0.3, 0.3, 0.2, 0.2], [0, 1, 2]),
        ([0.01, 0.04, 0.04], [1]),
    ],
)
def test_targets_are_the_likely_classes_and_at_least_one(probabilities, expected):
    assert select_targets(np.array(probabilities), 0.05, 3) == expected


@pytest.mark.parametrize("shape", [(8, 8), (7, 12), (1, 5)])
@pytest.mark.parametrize("seed", range(3))
def test_the_box_is_the_smallest_that_holds_enough(shape, seed):
    heatmap = np.random.default_rng(seed).normal(size=shape) ** 3
    mass = np.clip(heatmap, 0, None)
    height, width = shape
    areas = [
        (bottom - top) * (right - left)
        for top in range(height)
        for bottom in range(top + 1, height + 1)
        for left in range(width)
        for right in range(left + 1, width + 1)
        if mass[top:bottom, left:right].sum() >= 0.8 * mass.sum()
    ]
    box = locate(heatmap).box
    assert mass[box.top : box.bottom, box.left : box.right].sum() >= 0.8 * mass.sum() * (1 - 1e-9)
    assert (box.bottom - box.top) * (box.right - box.left) == min(areas)


def test_a_large_heatmap_is_located_on_a_grid_of_cells():
    heatmap = np.zeros((224, 224))
    heatmap[14:28, 196:224] = 1.0
    heatmap[100, 100] = 30.0
    place = locate(heatmap)
    assert place.box == (14, 196, 28, 224)
    assert place.words == "upper right"
    assert place.area == pytest.approx(14 * 28 / 224**2)
    assert place.row == pytest.approx((21 * 392 + 100.5 * 30) / 422 / 224)


def test_even_relevance_lies_across_the_whole_image():
    place = locate(np.ones((64, 64)))
    assert place.words == "across the whole image"
    assert (place.row, place.column) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("heatmap", [np.zeros((9, 9)), -np.ones((9, 9))])
def test_no_positive_relevance_lies_nowhere(heatmap):
    place = locate(heatmap)
    assert (place.box, place.words) == ((0, 0, 9, 9), "nowhere in the image")


def test_words_come_from_the_vocabulary():
    words = {place_words(row, column, 0.1) for row in (0.0, 0.5, 1.0) for column in (0.0, 0.5, 1.0)}
    assert len(words) == 9
    assert words < set(PLACE_WORDS)


@pytest.fixture(scope="module")
def real():
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(5, 7, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(28, 4, bias=False),
    ).eval()
    return GraphEngine(module, ("0", "3"), CONFIG.relevance, (3, SIDE, SIDE), torch.device("cpu"))


def test_with_the_reference_engine_every_number_fits_every_other(photo, real):
    layers = (LayerInfo("3", "Conv2d", 7, 16, 16, inputs=("0",)),)
    config = dataclasses.replace(
        CONFIG, explaining=dataclasses.replace(CONFIG.explaining, n_concepts=7, n_sub_concepts=5)
    )
    explanation, pictures = explain(photo, real, layers=layers, config=config)
    for target in explanation.targets:
        (layer,) = target.layers
        assert sum(map(abs, layer.shares)) == pytest.approx(1.0, abs=1e-6)
        assert layer.coverage == pytest.approx(1.0, abs=1e-9)
        # Without biases nothing is absorbed: the layer's relevance is the logit, up to the rules' stabilisers.
        assert layer.relevance_sum == pytest.approx(target.logit, rel=1e-2)
        whole = decode_heatmap(pictures[target.heatmap], target.heatmap_scale)
        parts = [decode_heatmap(pictures[concept.heatmap], concept.heatmap_scale) for concept in layer.concepts]
        levels = sum(concept.heatmap_scale for concept in layer.concepts) + target.heatmap_scale
        assert np.abs(sum(parts) - whole).max() <= levels / 254 * 1.001
        for concept, part in zip(layer.concepts, parts, strict=True):
            assert concept.share * layer.relevance_absolute_sum == pytest.approx(concept.relevance)
            # Rounding to grey levels adds up like a random walk over the pixels: five deviations of it.
            rounding = 5 * SIDE / 12**0.5 * concept.heatmap_scale / 127
            assert part.sum() == pytest.approx(concept.relevance, rel=1e-2, abs=rounding)
            assert sum(abs(sub.share) for sub in concept.sub_concepts) == pytest.approx(1.0)
