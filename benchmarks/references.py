"""Reference heatmaps against zennit-crp: single neurons of channels spread evenly over the convolutions.

    python -m benchmarks.references                                    64 channels, 8 references each
    python -m benchmarks.references --distinct                         every reference on a photo of its own
    python -m benchmarks.references --size 96 --channels 8 --peer-channels 4

The peer renders `--peer-channels` of the channels, spread evenly (0: all of them); its time for a whole layer is then
taken as proportional to the layer's channels. Every heatmap that it renders is compared with ours.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.visualization import FeatureVisualization
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat

from benchmarks._contest import (
    choose_device,
    compete,
    conv_names,
    make_images,
    make_model,
    parser,
    print_setting,
    print_table,
)
from precompute.config import RelevanceConfig
from precompute.relevance.engine import GraphEngine
from precompute.relevance.protocol import ReferenceRequest

Result = tuple[dict[str, float], dict[tuple[str, int], np.ndarray]]


def choose_channels(arguments: argparse.Namespace, n_channels: int) -> list[tuple[str, int]]:
    """Spread channels evenly over the layers, and over each layer's channels."""
    module = make_model(arguments.model)
    parts, names = dict(module.named_modules()), conv_names(module)
    layers = [names[int((i + 0.5) * len(names) / n_channels)] for i in range(n_channels)]
    chosen = []
    for name, n in Counter(layers).items():
        chosen += [(name, int((i + 0.5) * parts[name].out_channels / n)) for i in range(n)]
    return chosen


def peer_channels(arguments: argparse.Namespace, chosen: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Take the peer's part of the channels: at least one of every layer, spread evenly."""
    n = arguments.peer_channels or len(chosen)
    first = list({name: (name, channel) for name, channel in reversed(chosen)}.values())[::-1]
    rest = [concept for concept in chosen if concept not in first]
    return first + rest[: max(0, n - len(first))]


def plan(arguments: argparse.Namespace) -> tuple[torch.Tensor, dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]]:
    """Choose each channel's references: its best photos by activation, or photos that no other channel has."""
    chosen = choose_channels(arguments, arguments.channels)
    module, n = make_model(arguments.model), arguments.references
    images = make_images(len(chosen) * n if arguments.distinct else arguments.images, arguments.size)
    names = conv_names(module)
    shape = (3, arguments.size, arguments.size)
    engine = GraphEngine(module, names, RelevanceConfig(), shape, torch.device("cpu"))
    parts = [
        engine.score(images[i : i + 8], torch.zeros(len(images[i : i + 8]), dtype=torch.int64))
        for i in range(0, len(images), 8)
    ]
    references = {}
    for place, (name, channel) in enumerate(chosen):
        score = torch.cat([part.layers[name].activation[:, channel] for part in parts])
        neuron = torch.cat([part.layers[name].activation_neuron[:, channel] for part in parts])
        best = torch.arange(place * n, (place + 1) * n) if arguments.distinct else score.argsort(descending=True)[:n]
        references[name, channel] = (best.numpy(), neuron[best].numpy())
    return images, references


def peer(arguments: argparse.Namespace, task: str) -> Callable[[], Result]:
    """Render with zennit-crp's get_max_reference(rf=True)."""
    device = choose_device(arguments.device)
    images, references = torch.load(task, weights_only=False)
    module = make_model(arguments.model).to(device)
    data = [(image, 0) for image in images]
    chosen = peer_channels(arguments, list(references))
    composite = EpsilonPlusFlat(canonizers=[SequentialMergeBatchNorm()])

    def play() -> Result:
        warnings.simplefilter("ignore")
        seconds: Counter[str] = Counter()
        heatmaps = {}
        with tempfile.TemporaryDirectory() as folder:
            layer_map = {name: ChannelConcept() for name in conv_names(module)}
            found = FeatureVisualization(CondAttribution(module), data, layer_map, path=folder)
            for name, channel in chosen:
                samples, neurons = (np.repeat(v[:, None], channel + 1, 1) for v in references[name, channel])
                for part, table in (("data", samples), ("rf", neurons), ("rel", np.zeros(samples.shape))):
                    np.save(found.RelMax.PATH / f"{name}_{part}.npy", table)
                start = time.perf_counter()
                shown = found.get_max_reference(
                    channel, name, "relevance", (0, len(samples)), composite, rf=True, plot_fn=None
                )
                seconds[name] += (time.perf_counter() - start) / sum(layer == name for layer, _ in chosen)
                heatmaps[name, channel] = shown[channel][1].cpu().numpy()
        return dict(seconds), heatmaps

    return play


def ours(arguments: argparse.Namespace, task: str, precision: str) -> Callable[[], Result]:
    """Render with the engine: photos in chunks, all requests of a chunk together."""
    images, references = torch.load(task, weights_only=False)
    shape = (3, arguments.size, arguments.size)
    module = make_model(arguments.model)
    device, names = choose_device(arguments.device), conv_names(module)
    engine = GraphEngine(module, names, RelevanceConfig(precision=precision), shape, device)
    wanted = [
        ((name, channel), rank, int(image), int(neuron))
        for (name, channel), (samples, neurons) in references.items()
        for rank, (image, neuron) in enumerate(zip(samples, neurons, strict=True))
    ]
    keep = set(peer_channels(arguments, list(references)))

    def play() -> Result:
        heatmaps = {key: np.zeros((arguments.references, *shape[1:])) for key in keep}
        for start in range(0, len(images), arguments.chunk):
            part = [w for w in wanted if start <= w[2] < start + arguments.chunk]
            requests = [ReferenceRequest(image - start, *key, neuron) for key, _, image, neuron in part]
            if not requests:
                continue
            found = engine.reference_heatmaps(images[start : start + arguments.chunk], requests).cpu().numpy()
            for (key, rank, _, _), heatmap in zip(part, found, strict=True):
                if key in keep:
                    heatmaps[key][rank] = heatmap
        return {}, heatmaps

    return play


def main() -> None:
    """Run the contest and print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--channels", type=int, default=64)
    arguments.add_argument("--references", type=int, default=8)
    arguments.add_argument("--images", type=int, default=64, help="photos that the references are chosen from")
    arguments.add_argument("--distinct", action="store_true", help="one reference for each photo")
    arguments.add_argument("--chunk", type=int, default=64, help="photos handed over together")
    arguments.add_argument("--peer-channels", type=int, default=13)
    arguments = arguments.parse_args()
    print_setting(arguments)
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        torch.save(plan(arguments), file.name)
        contestants: dict[str, Callable[..., Callable[[], Any]]] = {}
        if not arguments.no_peer:
            contestants["zennit-crp"] = functools.partial(peer, task=file.name)
        for name in arguments.precision:
            contestants[name] = functools.partial(ours, task=file.name, precision=name)
        outcomes = compete(contestants, arguments, arguments.rounds)
    n_heatmaps, layers = arguments.channels * arguments.references, choose_channels(arguments, arguments.channels)
    counts = Counter(name for name, _ in layers)
    baseline, rows = None, []
    for name, outcome in outcomes.items():
        by_layer, heatmaps = outcome.result
        seconds = sum(by_layer[layer] * n for layer, n in counts.items()) if by_layer else outcome.best
        baseline = baseline or (seconds, heatmaps)
        off = [np.abs(heatmaps[key] - theirs).max() / np.abs(theirs).max() for key, theirs in baseline[1].items()]
        row = [name, f"{n_heatmaps / seconds:.2f}", f"{1e3 * seconds / n_heatmaps:.0f}", f"{baseline[0] / seconds:.1f}"]
        rows.append([*row, f"{outcome.memory:.2f}", f"{np.median(off):.1e} / {max(off):.1e}"])
    print_table(["", "heatmaps/s", "ms each", "x baseline", "peak GiB", "off: median / largest"], rows)


if __name__ == "__main__":
    main()
