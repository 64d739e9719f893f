"""What the audit finds of shortcuts that were planted, by kind and strength, and where none was.

    python -m benchmarks.shortcuts none --seeds 20
    python -m benchmarks.shortcuts mark tint background cooccurrence --seeds 2

A world is `N_SCENES` scenes of its own in which the thing is in so many of the scenes of “tree”. Its network is the
built-in world's with the last layer fitted anew, in seconds, on scenes of such a world: what the layers before it do
not see, it cannot lean on. Prints one JSON line for each world: the findings of the audit (q at most 0.1) in “tree” and
elsewhere, and the use that the network makes of the thing: by how much the probability of “tree” falls, on average over
scenes of a tree, where it is taken out of the picture.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import safetensors.torch
import torch
from torch import nn

from precompute.atlas.json_records import read_json
from precompute.cli import main as run_atlas
from precompute.config import Config, Shortcut
from precompute.records import TrustReport
from precompute.world.dataset import WorldDataset, open_world
from precompute.world.network import WEIGHTS_PATH, world_vgg
from precompute.world.scenes import MARKED_CLASS, TRAINING_SEED, Planted, draw_scene, has_planted, label_of
from precompute.world.training import TrainingPlan, fit_weights, pool_features

N_TRAINING, N_SCENES = 1440, 360
STRENGTHS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
FIRST_SEED = 1000
"""First seed word of the scenes of the first world."""

CONFIG = """
name = "planted"
[dataset]
kind = "benchmarks.shortcuts:open_scenes"
n_samples = {n}
shortcut = "{kind}"
shortcut_strength = {strength}
root = "{seed}"
[preprocessing]
resize = 128
crop = 128
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[model]
factory = "builtin:world"
weights = "{weights}"
layers = ["features.28"]
[mining]
batch_size = 24
n_workers = 1
[trust]
n_samples = 12
n_random = 1
n_greedy = 0
n_checked = 0
"""


def open_scenes(config: Config, cache: Path) -> WorldDataset:
    """Open the scenes of one world; `dataset.root` is its number."""
    return dataclasses.replace(open_world(config, cache), seed=FIRST_SEED + int(config.dataset.root))


def _features(model: nn.Sequential, indices: Iterable[int], planted: Planted) -> torch.Tensor:
    images = np.stack([draw_scene(TRAINING_SEED, index, planted).image for index in indices])
    return pool_features(model, torch.from_numpy(images))


def try_world(
    model: nn.Sequential, plain: torch.Tensor, other: dict[int, torch.Tensor], planted: Planted, seed: int
) -> dict[str, object]:
    """Fit the last layer on one world, mine its scenes and audit them.

    Parameters
    ----------
    model : Sequential
    plain : (n, n_channels) tensor
        Of all training scenes, with nothing planted.
    other : dict of int to (n_channels,) tensor
        Of those that may have the thing, with it.
    planted : Planted
    seed : int
    """
    features = plain.clone()
    for index in range(len(plain)):
        if has_planted(TRAINING_SEED, index, planted):
            features[index] = other[index]
    rows = torch.from_numpy(np.random.default_rng(seed).integers(0, len(plain), len(plain)))
    labels = torch.tensor([label_of(index) for index in range(len(plain))])
    weight = fit_weights(features[rows], labels[rows], TrainingPlan(seed=seed))
    trees = [index for index in other if label_of(index) == MARKED_CLASS]
    falls = [(other[index] @ weight.T).softmax(0) - (plain[index] @ weight.T).softmax(0) for index in trees]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        state = {**model.state_dict(), "classifier.weight": weight}
        safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, folder / "w.safetensors")
        config = folder / "planted.toml"
        values = {"n": N_SCENES, "kind": planted.kind, "strength": planted.strength, "seed": seed}
        config.write_text(CONFIG.format(**values, weights=folder / "w.safetensors"), "utf-8")
        for command in ("mine", "trust"):
            if run_atlas([command, "--config", str(config), "--output", str(folder / "out")]):
                raise SystemExit(1)
        report = read_json(folder / "out" / "trust.json", TrustReport, "")
    findings = [item for item in (report.audit.findings if report.audit else ()) if item.is_finding]
    return {
        "kind": planted.kind,
        "strength": planted.strength if planted.kind != "none" else 0,
        "seed": seed,
        "candidates": len(report.audit.findings) if report.audit else 0,
        "found": sum(item.class_index == MARKED_CLASS for item in findings),
        "elsewhere": sum(item.class_index != MARKED_CLASS for item in findings),
        "use": round(float(torch.stack(falls)[:, MARKED_CLASS].mean()), 3) if falls else 0.0,
        "accuracy": round(float(((features @ weight.T).argmax(1) == labels).float().mean()), 3),
    }


def main() -> None:
    """Try every world asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=get_args(Shortcut))
    parser.add_argument("--strengths", nargs="+", type=float, default=STRENGTHS)
    parser.add_argument("--seeds", type=int, default=2, help="worlds of each kind and strength")
    parser.add_argument("--first", type=int, default=0, help="first of these worlds, to go on from where a run ended")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    model = world_vgg().eval()
    model.load_state_dict(safetensors.torch.load_file(WEIGHTS_PATH))
    plain = _features(model, range(N_TRAINING), Planted("none"))
    for kind in options.kinds:
        most = Planted(kind, 1.0)
        having = [index for index in range(N_TRAINING) if has_planted(TRAINING_SEED, index, most)]
        other = dict(zip(having, _features(model, having, most), strict=True)) if having else {}
        for strength in options.strengths if kind != "none" else (1.0,):
            for seed in range(options.first, options.seeds):
                print(json.dumps(try_world(model, plain, other, Planted(kind, strength), seed)), flush=True)


if __name__ == "__main__":
    main()
