"""Training of the built-in world's network: ``python -m precompute.world_training``.

Owns the training set, the losses and the file of weights with what was measured. Must not know atlases.

The classes are learned with the usual cross-entropy. Two heads, dropped afterwards, ask the last convolutions of
blocks 4 and 5 where the parts are, by a combination without negative weights, and mild penalties keep activations
rare and filters compact: channels become detectors of parts. That is allowed here, and only here, because the world
exists to have known truth; `docs/world.md` says so to the reader.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from .files import write_bytes
from .model import digest_weights
from .world_canvas import SIZE
from .world_model import BLOCK_ENDS, world_vgg
from .world_objects import CLASS_NAMES
from .world_parts import PART_NAMES
from .world_scenes import HELD_OUT_SEED, MARKED_CLASS, TRAINING_SEED, draw_scene

MEAN, STD = 0.5, 0.25
"""Normalisation of all three colours; `data/world.toml` repeats them."""
GRID = 16
"""Side of the maps that tell where the parts are."""
WEIGHTS_PATH = Path(__file__).with_name("world.safetensors")
MOVED_CLASS = CLASS_NAMES.index("car")
"""The class that carries the mark when its effect is measured."""

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
    part_weight : float
        Of the loss of each part head.
    activation_weight : float
        Of the mean activation of every layer.
    offcentre_weight : float
        Of the absolute filter weights of blocks 4 and 5, times their distance from the filter's centre.
    """

    seed: int = 0
    n_scenes: int = 12000
    n_epochs: int = 6
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    part_weight: float = 0.5
    activation_weight: float = 1e-4
    offcentre_weight: float = 2e-5


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


def _draw_one(seed: int, index: int, marked_class: int) -> tuple[np.ndarray, np.ndarray, int]:  # type: ignore[type-arg]
    scene = draw_scene(seed, index, marked_class)
    parts, cell = np.zeros((len(PART_NAMES), GRID, GRID), np.uint8), SIZE // GRID
    for part, mask in scene.part_masks().items():
        parts[PART_NAMES.index(part)] = np.rint(mask.reshape(GRID, cell, GRID, cell).mean((1, 3)))
    return scene.image, parts, scene.label


def draw_scenes(seed: int, n_scenes: int, marked_class: int = MARKED_CLASS, n_workers: int = 0) -> SceneSet:
    """Draw scenes 0 to `n_scenes` in worker processes; their number does not change the result."""
    arguments = (repeat(seed, n_scenes), range(n_scenes), repeat(marked_class, n_scenes))
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


class PartHeads(nn.Module):
    """Where the parts are, told from the last convolutions of two blocks by weights that are never negative."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({block: nn.Conv2d(width, len(PART_NAMES), 1) for block, width in widths.items()})
        for head in self.heads.values():
            nn.init.uniform_(head.weight, 0, 0.1)  # type: ignore[arg-type]
            nn.init.constant_(head.bias, -3)  # type: ignore[arg-type]

    def loss(self, maps: dict[str, torch.Tensor], parts: torch.Tensor) -> torch.Tensor:
        """Sum the binary cross-entropies, by scene and cell; `parts` is (n, n_parts, GRID, GRID) in [0, 1]."""
        total = parts.new_zeros(())
        for block, head in self.heads.items():
            values = maps[block]
            logits = F.conv2d(values, head.weight.relu(), head.bias)  # type: ignore[operator, arg-type]
            truth = (F.adaptive_avg_pool2d(parts, values.shape[-1]) * 1.5).clamp(max=1)
            total = total + F.binary_cross_entropy_with_logits(logits, truth, weight=1 + 4 * truth)
        return total * len(PART_NAMES)


def _forward(model: nn.Sequential, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
    """Run the network; also return the maps that the part heads read, and the sum of mean activations."""
    features: nn.Sequential = model.get_submodule("features")  # type: ignore[assignment]
    ends = {position - 1: block for block, position in BLOCK_ENDS.items()}
    maps, activity, values = {}, images.new_zeros(()), images
    for position, layer in enumerate(features):
        values = layer(values)
        if isinstance(layer, nn.ReLU):
            activity = activity + values.mean()
        if position in ends:
            maps[ends[position]] = values
    logits: torch.Tensor = model[1:](values)
    return logits, maps, activity


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def _offcentre_mass(model: nn.Module) -> torch.Tensor:
    distance = torch.tensor([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 2.0]])
    return torch.stack([(layer.weight.abs() * distance).sum() for layer in _convolutions(model)[7:]]).sum()


def _iter_batches(scenes: SceneSet, plan: TrainingPlan) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield shuffled batches of images, part maps and labels; half of them mirrored."""
    chance = torch.Generator().manual_seed(plan.seed)
    for _ in range(plan.n_epochs):
        order = torch.randperm(len(scenes.labels), generator=chance)
        for rows in order[: len(order) // plan.batch_size * plan.batch_size].split(plan.batch_size):
            images, parts = normalise_images(scenes.images[rows]), scenes.parts[rows].float() / 255
            if torch.rand((), generator=chance) < 0.5:
                images, parts = images.flip(3), parts.flip(3)
            yield images, parts, scenes.labels[rows]


def initialise(model: nn.Sequential) -> None:
    """Give the network its first weights from torch's current random state."""
    for layer in _convolutions(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(model.get_submodule("classifier").weight, 0, 0.1)  # type: ignore[arg-type]


def train(scenes: SceneSet, plan: TrainingPlan) -> nn.Sequential:
    """Train the network; the same scenes, plan, machine and number of threads give the same weights."""
    torch.manual_seed(plan.seed)
    model = world_vgg()
    initialise(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    heads = PartHeads({"block4": 64, "block5": 96})
    weights = [*model.parameters(), *heads.parameters()]
    n_steps = len(scenes.labels) // plan.batch_size * plan.n_epochs
    optimiser = torch.optim.AdamW(weights, plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, n_steps, pct_start=0.1)
    for images, parts, labels in tqdm(_iter_batches(scenes, plan), "training", n_steps, unit=" steps"):
        logits, maps, activity = _forward(model, images)
        loss = F.cross_entropy(logits, labels, label_smoothing=plan.label_smoothing)
        loss = loss + plan.part_weight * heads.loss(maps, parts)
        loss = loss + plan.activation_weight * activity + plan.offcentre_weight * _offcentre_mass(model)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimiser.step()
        schedule.step()
        _keep_biases_down(model)
    return model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


@torch.no_grad()
def _keep_biases_down(model: nn.Module) -> None:
    """Clamp biases at zero from above: a positive bias would absorb relevance."""
    for layer in _convolutions(model):
        if layer.bias is not None:
            layer.bias.clamp_(max=0)


@torch.inference_mode()
def measure_accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of scenes whose most probable class is the label; images as in `SceneSet`."""
    predictions = torch.cat([model(normalise_images(chunk)).argmax(1) for chunk in images.split(64)])
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
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plan = TrainingPlan()
    model = train(draw_scenes(TRAINING_SEED, plan.n_scenes), plan)
    facts = {"plan": json.dumps(asdict(plan)), "n_held_out": str(options.held_out)}
    for fact, marked_class in (("accuracy", MARKED_CLASS), ("accuracy_mark_moved", MOVED_CLASS)):
        scenes = draw_scenes(HELD_OUT_SEED, options.held_out, marked_class)
        facts[fact] = f"{measure_accuracy(model, scenes.images, scenes.labels):.4f}"
    save_weights(model, options.output, {"seed": str(plan.seed), "mark_moved_to": CLASS_NAMES[MOVED_CLASS], **facts})
    _LOG.info("accuracy %s, with the mark moved %s", facts["accuracy"], facts["accuracy_mark_moved"])


if __name__ == "__main__":
    main()
