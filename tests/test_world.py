"""The built-in world: the same scenes everywhere, masks that are true, and a network that knows them."""

import dataclasses
import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from precompute.config import Config, DatasetConfig
from precompute.errors import DataError
from precompute.network.model import digest_weights
from precompute.world import objects as world_objects
from precompute.world import parts as world_parts
from precompute.world.canvas import SIZE, Canvas, box, colour, rasterise
from precompute.world.dataset import WorldDataset, open_world
from precompute.world.network import world_vgg
from precompute.world.objects import CLASS_NAMES, CLASSES
from precompute.world.parts import PART_NAMES, Stage
from precompute.world.scenes import HELD_OUT_SEED, MARKED_CLASS, TRAINING_SEED, Planted, draw_scene, has_planted

WEIGHTS = Path(world_objects.__file__).with_name("world.safetensors")


def open_small(n_samples=24):
    return open_world(Config("world", Path("world.toml"), dataset=DatasetConfig("world", n_samples=n_samples)), Path())


def draw_pixels(index):
    return draw_scene(5, index).image


def blank_stage():
    canvas = Canvas(np.ones((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE), np.float32), -1.0)
    return Stage(canvas, np.random.default_rng(0), np.array((64.0, 64.0)), np.eye(2) * 60)


def test_scene_depends_on_seed_and_index_alone():
    forward = [draw_pixels(index) for index in range(6)]
    backward = [draw_pixels(index) for index in reversed(range(6))]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        elsewhere = list(pool.map(draw_pixels, range(6)))
    for first, second, third in zip(forward, reversed(backward), elsewhere, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)


def test_scenes_differ_between_seeds_and_indices():
    pictures = {
        draw_scene(seed, index).image.tobytes() for seed in (TRAINING_SEED, HELD_OUT_SEED) for index in range(24)
    }
    assert len(pictures) == 48


def test_masks_hold_visible_pixels_only():
    for index in range(24):
        masks = draw_scene(5, index).part_masks()
        assert set(masks) <= set(PART_NAMES)
        assert all(mask.dtype == np.uint8 and mask.shape == (SIZE, SIZE) for mask in masks.values())
        assert all(mask.max() >= 128 for mask in masks.values())
        assert np.sum([mask.astype(int) for mask in masks.values()], axis=0).max() <= 255


def test_what_is_painted_over_is_not_in_a_mask():
    stage = blank_stage()
    stage.paint(box(-1, -1, 1, 1), colour("ff0000"), "wall")
    stage.paint(box(0, -1, 1, 1), colour("00ff00"), "door")
    stage.paint(box(-1, -1, -0.5, 1), colour("0000ff"))
    masks = stage.canvas.part_masks()
    assert masks["wall"][64, 64 - 45] == 0
    assert masks["wall"][64, 64 - 15] == 255
    assert masks["wall"][64, 64 + 30] == 0
    assert masks["door"][64, 64 + 30] == 255


def test_glaze_hides_nothing():
    stage = blank_stage()
    stage.paint(box(-1, -1, 1, 1), colour("ff0000"), "wall")
    stage.paint(box(-1, -1, 1, 1), colour("ffffff"), opacity=0.5)
    assert stage.canvas.part_masks()["wall"][64, 64] == 255


def test_coverage_is_cut_off_at_the_frame():
    cover = rasterise(box(-20, -20, 10, 10))
    assert cover is not None
    assert cover.values[:9, :9].min() == 1
    assert rasterise(box(200, 200, 220, 220)) is None


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.name)
def test_every_class_shows_several_parts(kind):
    stage = blank_stage()
    kind.draw(stage.at(0, 0 if kind.flies else 0.5))
    assert len(stage.canvas.part_masks()) >= 2


@pytest.fixture(scope="module")
def many():
    return [draw_scene(5, index) for index in range(360)]


def test_most_parts_are_shared_between_classes_or_with_clutter(many):
    shown = {}
    for scene in many:
        for part in scene.part_masks():
            shown.setdefault(part, set()).add(scene.label)
    assert set(shown) == set(PART_NAMES)
    assert sum(len(labels) >= 2 for labels in shown.values()) >= 16


def test_mark_is_planted_in_one_class_and_can_be_moved(many):
    share = np.array([[scene.marked for scene in many if scene.label == label] for label in range(len(CLASSES))]).mean(
        1
    )
    assert share[MARKED_CLASS] > 0.65
    assert np.delete(share, MARKED_CLASS).max() < 0.15
    for scene in many[:36]:
        assert ("watermark" in scene.part_masks()) == scene.marked
    moved, back = draw_scene(5, MARKED_CLASS, Planted(classes=())), draw_scene(5, MARKED_CLASS)
    differing = (moved.image != back.image).any(axis=2)
    assert not moved.marked
    assert differing.mean() < 0.05


def test_data_set_follows_the_protocol():
    scenes = open_small()
    assert len(scenes) == len(scenes.names) == len(scenes.labels) == 24
    assert len(set(scenes.names)) == 24
    np.testing.assert_array_equal(np.bincount(scenes.labels), [2] * len(CLASS_NAMES))
    for index in (0, 7, 23):
        assert scenes.names[index].split("/")[0] == scenes.class_names[scenes.labels[index]]
    image = scenes.load(7)
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    copy = pickle.loads(pickle.dumps(scenes))
    np.testing.assert_array_equal(np.asarray(copy.load(7)), np.asarray(image))
    assert copy.digest == scenes.digest != open_small(36).digest
    assert set(scenes.part_words) <= set(scenes.part_names)


def test_data_set_gives_the_masks_of_its_own_scenes():
    scenes = open_small()
    for index in range(0, 24, 5):
        scene_number = int(scenes.names[index].split("/")[1].removesuffix(".png"))
        expected = draw_scene(HELD_OUT_SEED, scene_number)
        np.testing.assert_array_equal(np.asarray(scenes.load(index)), expected.image)
        assert scenes.is_marked(index) == expected.marked
        for part, mask in scenes.part_masks(index).items():
            np.testing.assert_array_equal(mask, expected.part_masks()[part])


def test_too_few_scenes_are_refused():
    with pytest.raises(DataError, match="n_samples is 3"):
        open_small(3)


def test_parts_are_listed_once_in_order():
    assert list(PART_NAMES) == sorted(set(PART_NAMES))
    assert set(world_parts.PART_WORDS) <= set(PART_NAMES)


@pytest.fixture(scope="module")
def trained():
    with safetensors.safe_open(WEIGHTS, "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model = world_vgg().eval()
    model.load_state_dict(state)
    return model, metadata


def test_weights_are_what_their_header_says(trained):
    model, metadata = trained
    assert digest_weights(model.state_dict()) == metadata["digest"]
    assert json.loads(metadata["classes"]) == list(CLASS_NAMES)
    assert WEIGHTS.stat().st_size <= 5_000_000
    assert float(metadata["accuracy"]) >= 0.97
    truth = open_small().model_truth(metadata["digest"])
    assert (truth.accuracy, truth.accuracy_mark_moved) == (
        float(metadata["accuracy"]),
        float(metadata["accuracy_mark_moved"]),
    )
    assert truth.n_held_out == int(metadata["n_held_out"])


def test_nothing_is_told_of_other_weights():
    torch.manual_seed(0)
    assert open_small().model_truth(digest_weights(world_vgg().state_dict())) is None


def test_network_absorbs_no_relevance(trained):
    model, _ = trained
    biases = [tensor for name, tensor in model.named_parameters() if name.endswith("bias")]
    assert all((bias <= 0).all() for bias in biases)


def test_network_knows_scenes_that_it_never_saw(trained):
    model, _ = trained
    scenes = WorldDataset(240)
    images = torch.from_numpy(np.stack([np.asarray(scenes.load(index)) for index in range(240)]))
    with torch.inference_mode():
        logits = torch.cat([model(((part.permute(0, 3, 1, 2) / 255) - 0.5) / 0.25) for part in images.split(40)])
    assert (logits.argmax(1).numpy() == scenes.labels).mean() >= 0.95
    assert 1 < logits.max(1).values.mean() < 30


@pytest.mark.parametrize("kind", ["tint", "background", "cooccurrence"])
def test_what_is_planted_changes_nothing_else_of_a_scene(kind):
    index = next(at for at in range(MARKED_CLASS, 240, 12) if not draw_scene(5, at, Planted("none")).marked)
    plain, full = draw_scene(5, index, Planted("none")), draw_scene(5, index, Planted(kind, 1.0))
    differing = (plain.image != full.image).any(axis=2)
    bare, planted = plain.part_masks(), full.part_masks()
    assert full.marked
    assert not plain.marked
    if kind == "tint":
        assert differing.mean() > 0.95
        assert bare.keys() == planted.keys()
        assert all((bare[part] == planted[part]).all() for part in bare)
    else:
        assert 0.001 < differing.mean() < 0.4
        foliage = bare["foliage"] > 250
        assert not differing[foliage].any() or kind == "cooccurrence"
    assert ("wheel" in planted) == (kind == "cooccurrence" or "wheel" in bare)
    assert "watermark" not in planted


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_as_many_scenes_have_it_as_its_strength_says(strength):
    planted = Planted("tint", strength, (1, MARKED_CLASS))
    has = np.array([has_planted(5, index, planted) for index in range(12 * 400)]).reshape(400, 12).mean(0)
    expected = np.where(np.isin(np.arange(12), planted.classes), strength, 0.02)
    assert np.abs(has - expected).max() < 0.08
    assert not any(has_planted(5, index, Planted("none", strength)) for index in range(400))
    with_mark = [draw_scene(5, index, dataclasses.replace(planted, kind="mark")).marked for index in range(24)]
    assert with_mark == [has_planted(5, index, planted) for index in range(24)]


def test_the_default_world_has_the_digest_that_it_had_before_other_worlds():
    scenes = open_small(720)
    assert scenes.digest == "0eb703bb446c1df74f579fa5375d65f8b8135dddfefcba5abedf94aa0ea13106"
    assert scenes.marked_class == MARKED_CLASS
    others = [
        {"shortcut": "none"},
        {"shortcut": "tint"},
        {"shortcut_strength": 0.5},
        {"shortcut_classes": ("tree", "car")},
    ]
    digests = {
        open_world(Config("world", Path("w"), dataset=DatasetConfig("world", n_samples=720, **other)), Path()).digest
        for other in others
    }
    assert len({scenes.digest, *digests}) == 5


@pytest.mark.parametrize(
    ("classes", "expected"), [(("trees",), "'trees'.*did you mean"), (("tree", "tree"), "twice"), (("ox",), "'ox'")]
)
def test_a_class_that_there_is_not_is_told(classes, expected):
    config = Config("world", Path("w.toml"), dataset=DatasetConfig("world", shortcut_classes=classes))
    with pytest.raises(DataError, match=f"w.toml: dataset.shortcut_classes has {expected}"):
        open_world(config, Path())
