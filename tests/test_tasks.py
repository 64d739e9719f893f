"""Networks of one logit, of several labels and of one input channel, from the config to the pages."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from precompute.atlas.hdf5 import read_atlas
from precompute.cli import main

FACTORY = """
import torch
from torch import nn

def make(n_channels=3, n_outputs=1, bias=0.0):
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(n_channels, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, n_outputs),
    )
    with torch.no_grad():
        net[7].weight.mul_(4)
        net[7].bias.add_(bias)
    return net
"""

CONFIG = """
[dataset]
root = "images"
[preprocessing]
resize = 16
crop = 16
{preprocessing}
[model]
factory = "task_nets:make"
weights = "random"
{model}
[mining]
top_k = 4
n_workers = 0
[references]
per_ranking = 2
[explaining]
n_photos = 4
max_targets = 3
"""


@pytest.fixture
def make_atlas(tmp_path):
    """Make the atlas of a config over six pictures; returns its folder, its explanations and the text of its pages."""

    def make(preprocessing: str = "", model: str = "") -> tuple[Path, list[dict[str, Any]], str]:
        (tmp_path / "task_nets.py").write_text(FACTORY)
        (tmp_path / "some.toml").write_text(CONFIG.format(preprocessing=preprocessing, model=model))
        rng = np.random.default_rng(0)
        for name in ("normal", "tumour"):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (16, 20, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / name / f"{name}{number}.png")
        assert main(["run", "--config", str(tmp_path / "some.toml"), "--site", str(tmp_path / "site")]) == 0
        folder = tmp_path / "some"
        found = [json.loads(path.read_text()) for path in sorted((folder / "explanations").glob("*.json"))]
        pages = "".join(path.read_text() for path in sorted((tmp_path / "site" / "explanations").rglob("*.html")))
        return folder, found, pages

    yield make
    sys.modules.pop("task_nets", None)


@pytest.mark.parametrize("bias", [0.0, -3.0])
def test_both_sides_of_a_single_logit_are_explained(make_atlas, bias):
    folder, explanations, pages = make_atlas(model=f'task = "binary"\narguments = {{ bias = {bias} }}')
    assert "softmax" not in pages.lower()
    assert len(explanations) == 4
    for explanation in explanations:
        assert explanation["task"] == "binary"
        sides = {target["class_name"]: target for target in explanation["targets"]}
        for target in sides.values():
            assert target["probability"] == pytest.approx(1 / (1 + math.exp(-target["logit"])), abs=1e-12)
        assert sum(item["probability"] for item in explanation["predictions"]) == pytest.approx(1, abs=1e-12)
        if len(sides) == 2:
            yes, no = sides["tumour"], sides["normal"]
            assert no["logit"] == -yes["logit"]
            for ours, theirs in zip(no["layers"], yes["layers"], strict=True):
                np.testing.assert_allclose(ours["shares"], np.negative(theirs["shares"]), atol=1e-6)
    if bias:
        assert all(explanation["predictions"][0]["class_name"] == "normal" for explanation in explanations)
        assert all(0.5 < explanation["predictions"][0]["probability"] < 1 for explanation in explanations)
    samples = read_atlas(folder / "atlas.h5").samples
    # Relevance is of the label's side; the prediction's probability is never a softmax over one value.
    assert samples.target.tolist() == [0, 0, 0, 1, 1, 1]
    assert (samples.probability < 1).all()


def test_labels_have_probabilities_of_their_own(make_atlas):
    _, explanations, _ = make_atlas(model='task = "labels"\narguments = { n_outputs = 2, bias = 1.0 }')
    several = 0
    for explanation in explanations:
        assert explanation["task"] == "labels"
        several += sum(item["probability"] for item in explanation["predictions"]) > 1.2
        for target in explanation["targets"]:
            assert target["probability"] == pytest.approx(1 / (1 + math.exp(-target["logit"])), abs=1e-12)
    assert several
    kinds = {
        fact["kind"] for explanation in explanations for target in explanation["targets"] for fact in facts(target)
    }
    assert "decision" in kinds
    assert not kinds & {"doubt", "verdict", "accuracy"}


def facts(target: dict[str, Any]) -> list[dict[str, Any]]:
    return list(target["facts"])


def test_a_network_of_one_channel_is_shown_what_it_sees(make_atlas):
    grey = 'channels = ["grey"]\nmean = [0.4]\nstd = [0.2]'
    folder, explanations, _ = make_atlas(grey, "arguments = { n_channels = 1, n_outputs = 2 }")
    photo = np.asarray(
        Image.open(folder / "explanations" / explanations[0]["id"] / explanations[0]["photo"]).convert("RGB")
    )
    # WebP stores colours at half the resolution: grey stays grey up to rounding.
    assert int(np.ptp(photo.astype(int), axis=-1).max()) <= 2
    sys.path.insert(0, str(folder.parent))
    try:
        import task_nets

        torch.manual_seed(0)
        net = task_nets.make(n_channels=1, n_outputs=2).eval()
    finally:
        sys.path.pop(0)
    for explanation in explanations:
        name = explanation["photo_name"]
        image = Image.open(io.BytesIO((folder.parent / "images" / name).read_bytes())).convert("L").crop((2, 0, 18, 16))
        with torch.inference_mode():
            logits = net((torch.from_numpy(np.asarray(image) / 255.0).float()[None, None] - 0.4) / 0.2)[0]
        for target in explanation["targets"]:
            assert target["logit"] == pytest.approx(float(logits[target["class_index"]]), abs=1e-4)
