"""`atlas check`: what is right is told, what is wrong is found, and nothing is changed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from precompute.cli import main

FACTORY = """
import torch
from torch import nn

def colours(order=(2, 1, 0), scale=10.0, lead=0.0, n_classes=3):
    '''Tell colours by the largest mean: output i is for colour order[i] of red, green, blue.'''
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, n_classes))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[0].bias.zero_()
        net[4].weight.copy_(scale * torch.eye(3)[list(order)])
        net[4].bias.copy_(torch.tensor([lead, 0.0, 0.0])[:n_classes])
    return net

def reddish():
    net = colours(order=(0,), n_classes=1)
    with torch.no_grad():
        net[4].weight.copy_(torch.tensor([[10.0, -10.0, -10.0]]))
    return net

class Endless(nn.Module):
    def forward(self, x):
        return x / (x - x)

def broken():
    return nn.Sequential(colours(), Endless())
"""

CONFIG = """
[dataset]
root = "images"
[preprocessing]
resize = 16
crop = 16
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[model]
factory = "colour_nets:colours"
weights = "factory"
"""

COLOURS = {"blue": (30, 40, 220), "green": (40, 210, 30), "red": (220, 30, 50)}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours") / "images"
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(np.array(colour) + rng.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{number}.png")
    return folder


@pytest.fixture
def folder(tmp_path, images):
    (tmp_path / "mine.toml").write_text(CONFIG)
    (tmp_path / "colour_nets.py").write_text(FACTORY)
    (tmp_path / "images").symlink_to(images)
    yield tmp_path
    sys.modules.pop("colour_nets", None)


def check(folder: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> tuple[int, str, str]:
    before = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    arguments = ["check", "--config", str(folder / "mine.toml")]
    code = main([*arguments, *(part for override in overrides for part in ("--set", override))])
    assert before == sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    told = capsys.readouterr()
    return code, told.out.replace("\u00a0", " ").replace("\u202f", " "), told.err


def test_what_is_right_is_told(folder, capsys):
    code, out, _ = check(folder, capsys)
    assert code == 0
    assert "mend " not in out
    lines = out.splitlines()
    sections = [line for line in lines if not line.startswith("  ")]
    assert sections[:-1] == [
        "network",
        "layers",
        "data",
        "classes",
        "preprocessing",
        "predictions",
        "relevance",
        "cost",
    ]
    assert sections[-1] == "nothing to mend: `atlas run` makes the atlas"
    for part in (
        "colour_nets:colours with weights 'factory': 24 numbers",
        "mined: 1 layer with 3 channels (all convolutions, because model.layers is empty): 0",
        "36 images (folders 'images')",
        "3 classes with images: 12 of each",
        "3 names (the data set): 'blue', 'green', 'red'",
        "shorter side to 16; centre 16 x 16; mean [0.5, 0.5, 0.5]",
        "logits of 36 images are finite",
        "36 of 36 right (100 %)",
        "read as a graph, the network gives the same logits",
        "ok    conv2d, 1 time: loses",
        "operations keeps the relevance handed to it (with biases off, in float64",
        "0: of the logit ",
        "% arrives at the layer, ",
        "3 concepts: mining 36 images takes about",
    ):
        assert part in out
    shown = [line for line in lines if ".png'" in line]
    assert len(shown) == 10
    assert any("'red/" in line and "label 2 'red', taken for 'red'" in line for line in shown)


def test_labels_in_another_order_are_found(folder, capsys):
    code, out, err = check(folder, capsys, "model.arguments={ order = [0, 2, 1] }")
    assert code == 1
    assert "mend  0 of 36 right (0 %): are the labels in the model's order? " in out
    assert "12 of 12 of label 0 'blue' are taken for 'green'" in out
    assert "Set dataset.classes to the model's own class list" in out
    assert "one thing is to mend" in err
    # The advice followed: what the network calls its outputs, in its order.
    (folder / "images.json").write_text('["red", "blue", "green"]')
    code, out, _ = check(folder, capsys, "model.arguments={ order = [0, 2, 1] }", "dataset.classes=images.json")
    assert code == 0
    assert "36 of 36 right" in out


def test_another_preprocessing_than_that_of_training_is_found(folder, capsys):
    bytes_wanted = "model.arguments={ scale = 1.0, lead = 80.0 }"
    code, out, _ = check(folder, capsys, bytes_wanted)
    assert code == 1
    assert "note  every image is taken for 'blue': is the preprocessing that of training?" in out
    assert "mend  12 of 36 right (33.3 %): is the preprocessing that of training? " in out
    advice = re.search(
        r"With mean = (.*), std = (.*) and value_range = (.*) 36 of 36 of these images would be right", out
    )
    keys = ("mean", "std", "value_range")
    settings = [f"preprocessing.{key}={value}" for key, value in zip(keys, advice.groups(), strict=True)]
    code, out, _ = check(folder, capsys, bytes_wanted, *settings)
    assert code == 0
    assert "36 of 36 right" in out


def test_one_fault_does_not_hide_another(folder, capsys):
    code, out, err = check(folder, capsys, "model.weights=none.pt", "dataset.root=nowhere")
    assert code == 1
    assert "none.pt: No such file" in out
    assert "nowhere" in out
    assert out.count("not looked at: mend the ") == 5
    assert "2 things are to mend" in err


def test_what_cannot_be_explained_is_found_before_mining(folder, capsys):
    code, out, _ = check(folder, capsys, "model.factory=colour_nets:broken")
    assert code == 1
    assert "mend  logits of 36 of 36 images are no finite numbers" in out
    code, out, _ = check(folder, capsys, "model.layers=['conv7']")
    assert code == 1
    assert "mend  no layer matches 'conv7'" in out
    assert "36 of 36 right" in out


def test_the_sides_of_a_single_logit_are_named(folder, capsys):
    code, out, _ = check(folder, capsys, "model.factory=colour_nets:reddish")
    assert code == 1
    assert '`task = "binary"`' in out
    (folder / "two.json").write_text('["other", "red"]')
    (folder / "list.txt").write_text(
        "\n".join(f"{name}/{name}{number}.png {int(name == 'red')}" for name in COLOURS for number in range(12))
    )
    flat = ["dataset.kind=flat", "dataset.ground_truth=list.txt", "dataset.classes=two.json"]
    code, out, _ = check(folder, capsys, "model.factory=colour_nets:reddish", "model.task=binary", *flat)
    assert code == 0
    assert "2 classes: two sides of one logit (sigmoid)" in out
    assert "label 1, 'red', is the positive side: explained by the logit; label 0, 'other', by minus the logit" in out
    assert "36 of 36 right" in out


def test_images_without_labels_and_unusable_ones_are_notes(folder, capsys, tmp_path):
    other = tmp_path / "some"
    other.mkdir()
    Image.new("RGB", (20, 20), COLOURS["red"]).save(other / "a.png")
    (other / "b.png").write_bytes(b"no image")
    code, out, _ = check(folder, capsys, "dataset.kind=unlabelled", "dataset.root=some")
    assert code == 0
    assert "note  no labels: the predicted class is explained, and no accuracy can be told" in out
    assert "note  unusable image 'b.png': not an image" in out
    assert "'a.png': no label, taken for 'class 2'" in out


def test_random_weights_are_told_and_no_fault(folder, capsys):
    code, out, _ = check(folder, capsys, "model.weights=random", "model.arguments={ order = [0, 2, 1] }")
    assert code == 0
    assert "the weights are noise" in out
    assert "with random weights" in out


def test_the_usual_preprocessing_is_told_where_nothing_says_otherwise(folder, capsys):
    (folder / "mine.toml").write_text(
        CONFIG.partition("[preprocessing]")[0] + "[model]" + CONFIG.partition("[model]")[2]
    )
    _, out, _ = check(folder, capsys)
    assert (
        "this is ImageNet's usual preprocessing, taken because neither the config nor the weights say otherwise" in out
    )
