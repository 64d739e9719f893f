"""From a real network with two halves side by side to its pages: every share told is one of the whole."""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import load_file

from precompute.atlas.hdf5 import read_atlas
from precompute.cli import main
from precompute.config import PreprocessingConfig
from precompute.images.decoding import normalise, preprocess

SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "models" / "squeezenet1_0-imagenet.safetensors"
WNID, CLASS = "n01440764", 0
PHOTOS = sorted((SHARED / "data" / "imagenet-sample" / WNID).glob("*"))
HALVES = ("features.12.expand1x1", "features.12.expand3x3")
N_OF_HALF = 256

CONFIG = """
[dataset]
root = "photos"
classes = "imagenet"
[preprocessing]
resize = 256
crop = 224
[model]
factory = "torchvision:squeezenet1_0"
weights = {weights}
layers = ["features.12.expand*"]
[relevance]
device = "cpu"
[mining]
n_workers = 0
[references]
per_ranking = 1
heatmap_layers = []
tile = 32
[explaining]
n_photos = 1
layers = ["features.12.expand*"]
max_targets = 1
"""


def relevance_by_hand():
    """Give the logit and the relevance of all 512 channels of both halves, by the z+ rule written out in float64."""
    module = torchvision.models.squeezenet1_0()
    module.load_state_dict(load_file(WEIGHTS))
    module = module.double().eval().requires_grad_(False)
    preprocessing = PreprocessingConfig(256, 224)
    pixels = torch.from_numpy(np.asarray(preprocess(Image.open(PHOTOS[0]).convert("RGB"), preprocessing)))
    values = module.features(normalise(pixels[None], preprocessing, torch.float64))[0]
    last = module.classifier[1]
    weight, bias = last.weight[CLASS, :, 0, 0], last.bias[CLASS]
    outputs = F.relu(torch.einsum("k,khw->hw", weight, values) + bias)
    shares = values * weight.clamp(min=0)[:, None, None]
    arriving = outputs / outputs.numel() / (shares.sum(0) + bias.clamp(min=0))
    return float(outputs.mean()), (shares * arriving).sum((1, 2)).numpy()


def make_page(folder):
    """Make the atlas and site of the one photo; returns the page that explains it."""
    (folder / "photos" / WNID).mkdir(parents=True)
    shutil.copy(PHOTOS[0], folder / "photos" / WNID)
    (folder / "halves.toml").write_text(CONFIG.format(weights=json.dumps(str(WEIGHTS.resolve()))))
    assert main(["run", "--config", str(folder / "halves.toml"), "--site", str(folder / "site")]) == 0
    (page,) = (folder / "site" / "explanations").glob(f"{WNID}*.html")
    return html.unescape(page.read_text(encoding="utf-8"))


def number(pattern, text):
    return float(re.search(pattern, text)[1].replace("\u2212", "-").replace("\u00a0", ""))


@pytest.mark.skipif(
    not (WEIGHTS.exists() and PHOTOS), reason="the development photos and networks are not in ../shared"
)
def test_a_share_of_a_half_is_printed_as_one_of_the_whole(tmp_path):
    logit, relevance = relevance_by_hand()
    whole = np.abs(relevance).sum()
    page = make_page(tmp_path)
    parts = {name: page.partition(f'">{name}</a></h3>')[2].partition("</section>")[0] for name in HALVES}
    for position, (name, other) in enumerate(zip(HALVES, reversed(HALVES), strict=True)):
        own = relevance[position * N_OF_HALF : (position + 1) * N_OF_HALF]
        leader = int(np.abs(own).argmax())
        share, of_half = own[leader] / whole, own[leader] / np.abs(own).sum()
        assert abs(of_half - share) > 0.02  # else this photo could not tell one from the other
        first = parts[name].partition("</li>")[0]
        assert f"-c{leader}.html" in first
        assert number(r'<span class="number">\+([\d.]+)\u00a0%', first) == pytest.approx(100 * share, abs=0.051)
        assert f"{100 * of_half:.1f}\u00a0%" not in page
        # The halves hold their parts, and together the logit.
        assert number(r"adds up to (\S+) of the logit", parts[name]) == pytest.approx(own.sum(), abs=0.0051)
        passed = number(rf"Beside the layer, (\S+) went through {re.escape(other)}(?:_activation)?\.", parts[name])
        assert passed == pytest.approx(relevance.sum() - own.sum(), abs=0.0051)
        taken = number(r"Biases took up (\S+),", parts[name])
        assert own.sum() + passed + taken == pytest.approx(logit, abs=0.02)
        beside = 1 - np.abs(own).sum() / whole
        ran = number(r"([\d.]+)\u00a0% runs beside the layer\.", parts[name])
        assert ran == pytest.approx(100 * beside, abs=0.051)
        assert "all relevance at the layer’s depth (its own and what runs beside it)" in parts[name]
        concept = tmp_path / "site" / "concepts" / f"{name.replace('.', '-')}-c{leader}.html"
        mean = (
            html.unescape(concept.read_text("utf-8")).partition("Classes it matters to")[2].partition("</section>")[0]
        )
        assert number(r'<span class="number">([\d.]+)\u00a0%', mean) == pytest.approx(100 * share, abs=0.051)
        assert "Mean share of all relevance at the layer’s depth (its own and what runs beside it)" in mean
    assert read_atlas(tmp_path / "halves" / "atlas.h5").scores == "cut"
