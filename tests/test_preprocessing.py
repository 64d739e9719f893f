"""What a config leaves open of the preprocessing comes from the model's own weights, and is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torchvision

from precompute.atlas.hdf5 import ReferenceReader, read_atlas
from precompute.cli import main
from precompute.config import load_config
from precompute.inputs import Inputs
from precompute.network.preprocessing import take_preprocessing
from tests.small_atlas import make_small_atlas

USUAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def write(folder: Path, model: str, preprocessing: str = "") -> Path:
    path = folder / "some.toml"
    path.write_text(f"[model]\n{model}\n[preprocessing]\n{preprocessing}\n")
    return path


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet50", "IMAGENET1K_V2"), ("efficientnet_b3", "IMAGENET1K_V1"), ("inception_v3", "IMAGENET1K_V1"),
        ("efficientnet_v2_s", "IMAGENET1K_V1"), ("mobilenet_v3_large", "MobileNet_V3_Large_Weights.IMAGENET1K_V2"),
    ],
)  # fmt: skip
def test_torchvisions_weights_bring_their_preprocessing(tmp_path, name, weights):
    config, notes = take_preprocessing(
        load_config(write(tmp_path, f'factory = "torchvision:{name}"\nweights = "{weights}"'))
    )
    preset = torchvision.models.get_model_weights(name)[weights.rpartition(".")[2]].transforms()
    found = config.preprocessing
    assert (found.resize, found.crop) == (preset.resize_size[0], preset.crop_size[0])
    assert (list(found.mean), list(found.std)) == (preset.mean, preset.std)
    assert found.interpolation == preset.interpolation.value
    assert f"resize {found.resize}, crop {found.crop}" in notes[0]
    assert weights.rpartition(".")[2] in notes[0]


def test_what_the_config_gives_stands(tmp_path):
    model = 'factory = "torchvision:resnet50"\nweights = "IMAGENET1K_V2"'
    path = write(tmp_path, model, "crop = 200\nmean = [0.5, 0.5, 0.5]")
    config, notes = take_preprocessing(load_config(path, ["preprocessing.std=[0.5,0.5,0.5]"]))
    assert (config.preprocessing.crop, config.preprocessing.resize) == (200, 232)
    assert config.preprocessing.mean == config.preprocessing.std == (0.5, 0.5, 0.5)
    assert notes == (
        "preprocessing of torchvision's ResNet50_Weights.IMAGENET1K_V2: resize 232, interpolation bilinear",
    )
    full = 'resize = 256\ncrop = 224\nmean = [0,0,0]\nstd = [1,1,1]\ninterpolation = "nearest"'
    complete = load_config(write(tmp_path, model, full))
    assert take_preprocessing(complete) == (complete, ())


@pytest.mark.parametrize("weights", ["random", "weights.pt"])
def test_a_file_says_nothing_of_preprocessing(tmp_path, weights):
    config = load_config(write(tmp_path, f'factory = "torchvision:resnet50"\nweights = "{weights}"'))
    assert take_preprocessing(config) == (config, ())


def test_timms_configuration_counts_as_in_its_own_evaluation(tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed; `pip install timm`")
    for name in ("efficientnet_b1.ft_in1k", "resnet50.a1_in1k", "tf_efficientnet_lite0", "inception_v3"):
        config, notes = take_preprocessing(load_config(write(tmp_path, f'factory = "timm:{name}"\nweights = "random"')))
        wanted = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        transform = timm.data.create_transform(**wanted)
        found = config.preprocessing
        assert (found.mean, found.std) == (tuple(wanted["mean"]), tuple(wanted["std"]))
        assert found.resize == transform.transforms[0].size
        assert (found.crop, found.crop) == tuple(transform.transforms[1].size)
        assert found.interpolation == wanted["interpolation"]
        assert "timm" in notes[0]
    grey = 'factory = "timm:resnet50"\nweights = "random"\narguments = { in_chans = 1 }'
    assert take_preprocessing(load_config(write(tmp_path, grey)))[1] == ()


def test_every_stage_starts_from_what_was_taken(tmp_path):
    path = write(tmp_path, 'factory = "torchvision:efficientnet_b3"\nweights = "IMAGENET1K_V1"')
    assert Inputs(load_config(path), tmp_path).config.preprocessing.crop == 300


def test_a_rectangle_is_one_from_the_tables_to_the_pages(tmp_path, monkeypatch):
    """Height and width are never one number, or mixed up: in tables, references, photos and frames."""
    monkeypatch.chdir(tmp_path)
    config = make_small_atlas(tmp_path, n_per_class=4)
    rectangle = ["--set", "preprocessing.resize=[20, 44]", "--set", "preprocessing.crop=[16, 40]"]
    assert main(["run", "--config", str(config), *rectangle, "--output", "made", "--site", "site"]) == 0
    first = next(iter(read_atlas(tmp_path / "made" / "atlas.h5").layers.values())).info
    assert (first.height, first.width) == (16, 40)
    with ReferenceReader(tmp_path / "made" / "references.h5") as reader:
        boxes = [row.box for concept in reader.concepts() for row in reader.read(concept, "relmax")]
    assert max(box.bottom for box in boxes) == 16
    assert max(box.right for box in boxes) == 40
    explained = json.loads(next((tmp_path / "made" / "explanations").glob("*.json")).read_text())
    assert (explained["height"], explained["width"]) == (16, 40)
