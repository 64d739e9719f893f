"""zennit-crp itself, as what the engine is compared with: the same photos, model and layers through its own classes.

Owns every call of zennit and zennit-crp. Must not know configs, folders or our engine.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.visualization import FeatureVisualization
from torch import nn
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, EpsilonPlusFlat
from zennit.rules import Epsilon, Flat, ZPlus
from zennit.torchvision import ResNetCanonizer

from precompute.records import Ranking

RULES = {"epsilon": Epsilon, "zplus": ZPlus, "flat": Flat}
COMPOSITES = {"EpsilonPlusFlat": EpsilonPlusFlat, "EpsilonPlus": EpsilonPlus}


class ListDataset(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Preprocessed images and their labels, as zennit-crp wants a data set."""

    def __init__(self, images: torch.Tensor, labels: Any) -> None:  # noqa: ANN401 - a tensor or an array
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return one image and its label."""
        return self.images[index], int(self.labels[index])


def composite(
    residual: bool = False,
    *,
    name: str = "EpsilonPlusFlat",
    rules: Mapping[str, str] | None = None,
) -> Any:  # noqa: ANN401 - zennit has no types
    """Build a composite, with other rules for the modules that `rules` name.

    The canonizers go by keyword, by position they bind elsewhere in later versions.
    """
    made = COMPOSITES[name](canonizers=[ResNetCanonizer() if residual else SequentialMergeBatchNorm()])
    usual, others = made.module_map, {module: RULES[rule]() for module, rule in (rules or {}).items()}

    def chosen(context: dict[str, Any], module_name: str, module: nn.Module) -> Any:  # noqa: ANN401
        found = usual(context, module_name, module)  # called in any case: it counts which layer is the first
        return others.get(module_name, found)

    made.module_map = chosen
    return made


def with_exact_norms(module: nn.Module) -> nn.Module:
    """Copy a module with the eps of its norms inside their variance, where it has no part left to play.

    zennit 0.5 leaves it in the norm that it merges, which changes relevance by about half of eps for each.
    """
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
            part.running_var += part.eps
            part.eps = 0.0
    return module


def attribution(module: nn.Module) -> Any:  # noqa: ANN401
    """Wrap a module for conditional attributions."""
    return CondAttribution(module)


def run(  # noqa: PLR0913 - the peer's own arguments
    module: nn.Module,
    images: torch.Tensor,
    labels: Any,  # noqa: ANN401
    layer_names: Sequence[str],
    path: Path,
    *,
    batch_size: int = 4,
    abs_norm: bool = True,
    max_target: str = "sum",
    residual: bool = False,
    made: Any = None,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Mine with zennit-crp's FeatureVisualization.run; returns the object, its tables lie under `path`."""
    layer_map = {name: ChannelConcept() for name in layer_names}
    visualization = FeatureVisualization(
        attribution(module),
        ListDataset(images, labels),
        layer_map,
        max_target=max_target,
        abs_norm=abs_norm,
        path=str(path),
    )
    # a last batch of one sample crashes it, so the caller's batch size must divide
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        visualization.run(made or composite(residual), 0, len(images), batch_size, 10**6)
    return visualization


def table(visualization: Any, layer_name: str, ranking: Ranking) -> tuple[Any, Any, Any]:  # noqa: ANN401
    """Read one ranking as (sample_index, score, neuron) arrays of shape (k, n_channels)."""
    folder = (visualization.RelMax if ranking == "relmax" else visualization.ActMax).PATH
    samples, scores, neurons = (np.load(folder / f"{layer_name}_{part}.npy") for part in ("data", "rel", "rf"))
    return samples, scores, neurons


def reference_heatmaps(
    visualization: Any,  # noqa: ANN401
    layer_name: str,
    channel: int,
    *,
    n: int,
    rf: bool,
    ranking: Ranking = "relmax",
    residual: bool = False,
    made: Any = None,  # noqa: ANN401
) -> torch.Tensor:
    """Compute get_max_reference's heatmaps of one channel, shape (n, height, width)."""
    mode = "relevance" if ranking == "relmax" else "activation"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = visualization.get_max_reference(
            channel, layer_name, mode, (0, n), composite=made or composite(residual), rf=rf, plot_fn=None
        )
    heatmaps: torch.Tensor = found[channel][1]
    return heatmaps
