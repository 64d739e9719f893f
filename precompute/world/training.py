"""Training of the built-in world's network: ``python -m precompute.world.training``.

Owns the training set, the losses and the file of weights with what was measured. Must not know atlases.

The classes are learned with the usual cross-entropy; `clarity` adds what makes channels detectors of parts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from precompute.atlas.files import write_bytes
from precompute.config import Shortcut
from precompute.network.model import digest_weights

from .canvas import SIZE
from .clarity import GRID, PartHeads, compute_impurity, compute_stray_relevance, shrink_filters, trace_features
from .network import WEIGHTS_PATH, world_vgg
from .objects import CLASS_NAMES
from .parts import PART_NAMES
from .scenes import DEFAULT, HELD_OUT_SEED, TRAINING_SEED, Planted, draw_scene

MEAN, STD = 0.5, 0.25
"""Normalisation of all three colours; `data/world.toml` repeats them."""
MOVED_CLASS = CLASS_NAMES.index("car")
"""The class that carries the mark when its effect is measured."""

Pixels = npt.NDArray[np.uint8]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Normalised images, (n, n_parts, GRID, GRID) coverage of the parts in [0, 1], labels."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that the weights depend on.

    Attributes
    ----------
    seed : int
    n_scenes, n_epochs, batch_size : int
    learning_rate, weight_decay, label_smoothing : float
        Of AdamW under a one-cycle schedule, and of the cross-entropy.
    part_weight, impurity_weight, stray_weight, activation_weight : float
        Of the part heads, of activation and of relevance outside the parts, and of the mean activations.
    stray_start : float
        Share of the steps after which relevance outside the parts counts.
    filter_shrink, offcentre_shrink : float
        Per step and unit of the learning rate, in the unit of the weights.
    n_classifier_steps, classifier_sparsity : int, float
        Steps of fitting the last layer anew, and the weight of its absolute penalty there.
    """

    seed: int = 0
    n_scenes: int = 7200
    n_epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    part_weight: float = 0.5
    impurity_weight: float = 3.0
    stray_weight: float = 4.0
    stray_start: float = 0.1
    activation_weight: float = 5e-3
    filter_shrink: float = 0.02
    offcentre_shrink: float = 0.3
    n_classifier_steps: int = 400
    classifier_sparsity: float = 2.5e-3


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Scenes in memory.

    Attributes
    ----------
    images : (n, SIZE, SIZE, 3) uint8
    parts : (n, n_parts, GRID, GRID) uint8
        Mean coverage of every part in each cell.
    labels : (n,) int64
    """

    images: torch.Tensor
    parts: torch.Tensor
    labels: torch.Tensor


def _draw_one(seed: int, index: int, planted: Planted) -> tuple[Pixels, Pixels, int]:
    scene = draw_scene(seed, index, planted)
    parts, cell = np.zeros((len(PART_NAMES), GRID, GRID), np.uint8), SIZE // GRID
    for part, mask in scene.part_masks().items():
        parts[PART_NAMES.index(part)] = np.rint(mask.reshape(GRID, cell, GRID, cell).mean((1, 3)))
    return scene.image, parts, scene.label


def draw_scenes(seed: int, n_scenes: int, planted: Planted = DEFAULT, n_workers: int = 0) -> SceneSet:
    """Draw scenes 0 to `n_scenes` in worker processes; their number does not change the result."""
    arguments = (repeat(seed, n_scenes), range(n_scenes), repeat(planted, n_scenes))
    images = torch.empty((n_scenes, SIZE, SIZE, 3), dtype=torch.uint8)
    parts = torch.empty((n_scenes, len(PART_NAMES), GRID, GRID), dtype=torch.uint8)
    labels = torch.empty(n_scenes, dtype=torch.int64)
    with ProcessPoolExecutor(n_workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        drawn = pool.map(_draw_one, *arguments, chunksize=64)
        for index, (image, part, label) in enumerate(tqdm(drawn, "drawing", n_scenes, unit=" scenes")):
            images[index], parts[index] = torch.from_numpy(image), torch.from_numpy(part)
            labels[index] = label
    return SceneSet(images, parts, labels)


def normalise_images(images: torch.Tensor) -> torch.Tensor:
    """Turn (n, SIZE, SIZE, 3) uint8 into (n, 3, SIZE, SIZE) float32 input of the network."""
    scaled = images.permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
    return scaled.contiguous(memory_format=torch.channels_last)


def _iter_batches(scenes: SceneSet, plan: TrainingPlan, rng: torch.Generator) -> Iterator[Batch]:
    """Yield shuffled batches of images, part maps and labels; half of them mirrored."""
    for _ in range(plan.n_epochs):
        order = torch.randperm(len(scenes.labels), generator=rng)
        for rows in order[: len(order) // plan.batch_size * plan.batch_size].view(-1, plan.batch_size):
            images, parts = normalise_images(scenes.images[rows]), scenes.parts[rows].float() / 255
            if torch.rand((), generator=rng) < 0.5:
                images, parts = images.flip(3), parts.flip(3)
            yield images, parts, scenes.labels[rows]


def initialise(model: nn.Sequential) -> None:
    """Give the network its first weights from torch's current random state."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.1)


def train(scenes: SceneSet, plan: TrainingPlan) -> nn.Sequential:
    """Train the network; the same scenes, plan, machine and number of threads give the same weights."""
    torch.manual_seed(plan.seed)
    rng = torch.Generator().manual_seed(plan.seed)
    model = world_vgg()
    initialise(model)
    model.to(memory_format=torch.channels_last)
    heads = PartHeads({"block4": 64, "block5": 96}, len(PART_NAMES))
    weights = [*model.parameters(), *heads.parameters()]
    n_steps = len(scenes.labels) // plan.batch_size * plan.n_epochs
    optimiser = torch.optim.AdamW(weights, plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, n_steps, pct_start=0.1)
    batches = tqdm(_iter_batches(scenes, plan, rng), "training", n_steps, unit=" steps", mininterval=5)
    for step, batch in enumerate(batches):
        stray_weight = plan.stray_weight if step > plan.stray_start * n_steps else 0.0
        optimiser.zero_grad()
        _compute_loss(model, heads, batch, plan, stray_weight, rng).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimiser.step()
        rate = float(schedule.get_last_lr()[0])
        shrink_filters(_features(model), rate * plan.filter_shrink, rate * plan.offcentre_shrink)
        schedule.step()
    return model.eval().to(memory_format=torch.contiguous_format)


def _features(model: nn.Sequential) -> nn.Sequential:
    return model.get_submodule("features")  # type: ignore[return-value]


def _compute_loss(
    model: nn.Sequential,
    heads: PartHeads,
    batch: Batch,
    plan: TrainingPlan,
    stray_weight: float,
    rng: torch.Generator,
) -> torch.Tensor:
    images, coverage, labels = batch
    trace = trace_features(_features(model), images)
    logits: torch.Tensor = model[1:](trace.output)
    loss = F.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
    loss = loss + plan.part_weight * heads.loss(trace.detectors, coverage) + plan.activation_weight * trace.activity
    loss = loss + plan.impurity_weight * compute_impurity(trace, heads, coverage)
    if stray_weight:
        loss = loss + stray_weight * compute_stray_relevance(trace, heads, coverage, rng)
    return loss


@torch.no_grad()
def pool_features(model: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """Compute what the last layer gets of images as in `SceneSet`, (n, n_channels)."""
    return torch.cat([model[:-1](normalise_images(chunk)) for chunk in torch.split(images, 64)])


def fit_classifier(model: nn.Sequential, scenes: SceneSet, plan: TrainingPlan) -> None:
    """Fit the last layer anew on the finished features, with an absolute penalty: few concepts tell a class."""
    weight = fit_weights(pool_features(model, scenes.images), scenes.labels, plan)
    model.load_state_dict({**model.state_dict(), "classifier.weight": weight})


def fit_weights(features: torch.Tensor, labels: torch.Tensor, plan: TrainingPlan) -> torch.Tensor:
    """Fit the (n_classes, n_channels) weights of the last layer to (n, n_channels) pooled features."""
    rng = torch.Generator().manual_seed(plan.seed)
    scale = features.std(0) + 1e-3
    features = features / scale
    weight = torch.zeros((len(CLASS_NAMES), features.shape[1]), requires_grad=True)
    optimiser = torch.optim.Adam([weight], 0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, plan.n_classifier_steps)
    for _ in range(plan.n_classifier_steps):
        rows = torch.randint(len(features), (512,), generator=rng)
        logits = features[rows] @ weight.T
        loss = F.cross_entropy(logits, labels[rows], label_smoothing=plan.label_smoothing)
        loss = loss + plan.classifier_sparsity * weight.abs().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return (weight / scale).detach()


@torch.inference_mode()
def measure_accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of scenes whose most probable class is the label; images as in `SceneSet`."""
    predictions = torch.cat([model(normalise_images(chunk)).argmax(1) for chunk in torch.split(images, 64)])
    return float((predictions == labels).double().mean())


def save_weights(model: nn.Module, path: Path, facts: dict[str, str]) -> None:
    """Write the weights as safetensors, with their digest and what was measured in the header."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"classes": json.dumps(CLASS_NAMES), "digest": digest_weights(state), **facts}
    write_bytes(path, safetensors.torch.save(state, metadata))


def main() -> None:
    """Draw the training scenes, train, measure on scenes never seen, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=WEIGHTS_PATH, help="safetensors file to write")
    parser.add_argument("--held-out", type=int, default=1200, help="held-out scenes to measure on")
    parser.add_argument("--shortcut", choices=get_args(Shortcut), default=DEFAULT.kind, help="what is planted")
    parser.add_argument("--strength", type=float, default=DEFAULT.strength, help="in what part of its class's scenes")
    parser.add_argument("--classes", nargs="+", choices=CLASS_NAMES, default=["tree"], help="the classes that have it")
    parser.add_argument("--scenes", type=int, default=TrainingPlan.n_scenes, help="scenes to learn from")
    parser.add_argument("--seed", type=int, default=TrainingPlan.seed, help="of first weights and order")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = TrainingPlan(seed=options.seed, n_scenes=options.scenes)
    planted = Planted(options.shortcut, options.strength, tuple(map(CLASS_NAMES.index, options.classes)))
    training_scenes = draw_scenes(TRAINING_SEED, plan.n_scenes, planted)
    model = train(training_scenes, plan)
    fit_classifier(model, training_scenes, plan)
    facts = {"plan": json.dumps(asdict(plan)), "n_held_out": str(options.held_out)}
    moved = replace(planted, classes=(MOVED_CLASS,))
    for fact, held_out in (("accuracy", planted), ("accuracy_mark_moved", moved)):
        scenes = draw_scenes(HELD_OUT_SEED, options.held_out, held_out)
        facts[fact] = f"{measure_accuracy(model, scenes.images, scenes.labels):.4f}"
    save_weights(model, options.output, {"seed": str(plan.seed), "mark_moved_to": CLASS_NAMES[MOVED_CLASS], **facts})
    _LOG.info("accuracy %s, with the mark moved %s", facts["accuracy"], facts["accuracy_mark_moved"])


if __name__ == "__main__":
    main()
