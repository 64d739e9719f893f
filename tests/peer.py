"""zennit-crp itself, as the oracle of the tests: the same photos, models and layers through its own classes."""

import contextlib
import copy
import io
import warnings

import numpy as np
import torch
from crp.attribution import CondAttribution
from crp.concepts import ChannelConcept
from crp.visualization import FeatureVisualization
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer


class ListDataset(torch.utils.data.Dataset):
    """Preprocessed images and their labels, as zennit-crp wants a data set."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


def composite(residual=False):
    """Build EpsilonPlusFlat; the canonizers go by keyword, by position they bind elsewhere in later versions."""
    return EpsilonPlusFlat(canonizers=[ResNetCanonizer() if residual else SequentialMergeBatchNorm()])


def with_exact_norms(module):
    """Copy a module with the eps of its norms inside their variance, where it has no part left to play.

    zennit 0.5 leaves it in the norm that it merges, which changes relevance by about half of eps for each.
    """
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.running_var += part.eps
            part.eps = 0.0
    return module


def attribution(module):
    """Wrap a module for conditional attributions."""
    return CondAttribution(module)


def run(module, images, labels, layer_names, path, *, batch_size=4, abs_norm=True, max_target="sum", residual=False):
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
        visualization.run(composite(residual), 0, len(images), batch_size, 10**6)
    return visualization


def table(visualization, layer_name, ranking):
    """Read one ranking as (sample_index, score, neuron) arrays of shape (k, n_channels)."""
    folder = (visualization.RelMax if ranking == "relmax" else visualization.ActMax).PATH
    return tuple(np.load(folder / f"{layer_name}_{part}.npy") for part in ("data", "rel", "rf"))


def reference_heatmaps(visualization, layer_name, channel, *, n, rf, ranking="relmax", residual=False):
    """Compute get_max_reference's heatmaps of one channel, shape (n, height, width)."""
    mode = "relevance" if ranking == "relmax" else "activation"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = visualization.get_max_reference(
            channel, layer_name, mode, (0, n), composite=composite(residual), rf=rf, plot_fn=None
        )
    return found[channel][1]
