"""What every stage starts from: the data set, the model, its layers, the engine, and their digests.

Owns opening them once and only when asked, and checking that they fit together. Must not know the stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch

from precompute.atlas.digests import digest_of
from precompute.atlas.hdf5 import FORMAT_VERSION
from precompute.config import Config
from precompute.errors import DataError
from precompute.images.dataset import Dataset, open_dataset
from precompute.llm.text import clean_line
from precompute.mining.tables import MINING_VERSION, Tables
from precompute.network.factories import BuiltinNetwork
from precompute.network.graph import Graph
from precompute.network.layers import Layer, find_layers, name_values, select_layers
from precompute.network.model import LoadedModel, load_model
from precompute.network.preprocessing import take_preprocessing
from precompute.provenance import config_digest
from precompute.records import MISSING, LayerInfo
from precompute.relevance.assignment import Assignment, assign
from precompute.relevance.choice import choose_device, make_engine, read_graph
from precompute.relevance.cut import find_cut
from precompute.relevance.engine import GraphEngine, describe
from precompute.world.network import WEIGHTS_PATH, world_vgg

BUILTIN_NETWORKS = {"world": BuiltinNetwork(world_vgg, WEIGHTS_PATH)}
"""What ``builtin:<name>`` may name in a config."""

REFERENCES_VERSION = 2
"""Raise it when other reference images are rendered from the same tables and config."""


class Inputs:
    """The inputs of one config, opened when first asked for.

    Parameters
    ----------
    config : Config
        What it leaves open of the preprocessing is taken from the model, where that is known.
    cache : Path
        The folder for what can be made again (`Workspace.cache`).
    """

    def __init__(self, config: Config, cache: Path) -> None:
        self.config, self.preprocessing_notes = take_preprocessing(config)
        self.cache = cache

    @cached_property
    def dataset(self) -> Dataset:
        """The data set; raises DataError where it cannot be opened."""
        if self.config.dataset.kind == "world":
            # Imported here because drawing needs libraries that no other kind does.
            from precompute.world.dataset import open_world  # noqa: PLC0415

            return open_world(self.config, self.cache)
        return open_dataset(self.config, self.cache)

    @cached_property
    def model(self) -> LoadedModel:
        """The model; raises ModelError where it cannot be built."""
        return load_model(self.config, BUILTIN_NETWORKS)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how the model was loaded and where its preprocessing comes from."""
        return (*self.model.notes, *self.preprocessing_notes)

    @cached_property
    def graph(self) -> Graph:
        """The model as the graph of its operations; raises UnsupportedModel where it cannot be read as one."""
        return read_graph(self.config, self.model)

    @cached_property
    def all_layers(self) -> tuple[LayerInfo, ...]:
        """Every layer that relevance reaches, in forward order."""
        return self._describe(self._found.values())

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers that the config selects; raises ModelError for a pattern that matches nothing."""
        selected = select_layers(tuple(self._found.values()), self.config.model.layers)
        return self._describe(selected if self.config.model.layers else (*selected, *self._whole_behind(selected[-1])))

    @cached_property
    def explained_layers(self) -> tuple[LayerInfo, ...]:
        """The layers that explanations speak of; by default the last mined one that carries the whole.

        Where none does, the last mined one and those parallel to it.
        """
        if not self.config.explaining.layers:
            whole = [info for info in self.layers if not info.beside]
            last = self.layers[-1]
            if whole and (whole[-1] is last or not last.inputs):
                return (whole[-1],)
            return tuple(info for info in self.layers if info.inputs == last.inputs) if last.inputs else (last,)
        return select_layers(self.layers, self.config.explaining.layers)

    @cached_property
    def engine(self) -> GraphEngine:
        """The relevance engine over the selected layers."""
        return make_engine(self.config, self.model, self.graph, tuple(info.name for info in self.layers))

    @cached_property
    def _rules(self) -> Assignment:
        """The rule of each operation; raises UnsupportedModel where one has none."""
        given = self.config.relevance
        return assign(self.graph, composite=given.composite, rules=given.rules, gates=given.gates, name=self.model.name)

    @property
    def rule_counts(self) -> dict[str, int]:
        """How many convolutions and linear layers have each rule."""
        return self._rules.count_rules()

    @cached_property
    def _found(self) -> dict[str, Layer]:
        return self._rules.reached(find_layers(self.graph))

    def _describe(self, layers: Iterable[Layer]) -> tuple[LayerInfo, ...]:
        chosen = {layer.name for layer in layers}
        ordered = {name: layer for name, layer in self._found.items() if name in chosen}
        return describe(self._rules, ordered, name_values(self._found))

    def _whole_behind(self, last: Layer) -> tuple[Layer, ...]:
        """Find the first block or operation behind a layer that carries the whole, where the layer does not.

        The sum or the concatenation that its branch ends in: what a share of it is a share of needs no telling.
        """
        steps = tuple(zip(self._rules.graph.nodes, self._rules.rules, strict=True))
        cut = find_cut(steps, self._rules.flowing, last)
        if cut.is_whole:
            return ()
        names = name_values(self._found)
        for node in self.graph.nodes:
            layer = self._found.get(names.get(node.name, ""))
            framed = layer is not None and node.name in cut.behind and len(node.shape) == 3
            if layer is not None and framed and find_cut(steps, self._rules.flowing, layer).is_whole:
                return (layer,)
        return ()

    @cached_property
    def device(self) -> torch.device:
        """Where the engine computes."""
        return choose_device(self.config.relevance.device)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The name of every output of the model, each another.

        Raises
        ------
        DataError
            The class list is not as long as the model's output, or a label lies beyond it.
        """
        n_classes = self.model.n_classes
        names = self.dataset.class_names or self.model.class_names
        if not names:
            two_sides = ("negative", "positive") if self.model.task == "binary" else ()
            names = two_sides or tuple(f"class {index}" for index in range(n_classes))
        if len(names) != n_classes:
            raise DataError(
                f"the model {self.model.name} has {n_classes} classes, but the data set names {len(names)}. Set "
                "dataset.classes to the model's own class list (a TSV or JSON file, or 'imagenet'), in its order"
            )
        largest = int(self.dataset.labels.max(initial=MISSING))
        if largest >= n_classes:
            raise DataError(
                f"the data set has label {largest}, but the model {self.model.name} has {n_classes} classes"
            )
        return tell_classes_apart(names)

    @cached_property
    def tables(self) -> Tables:
        """What is mined for."""
        return Tables(
            layers=self.layers,
            class_names=self.class_names,
            top_k=self.config.mining.top_k,
            normalised=self.config.relevance.normalised,
            scores=self.config.relevance.scores,
            task=self.model.task,
        )

    @cached_property
    def mining_digest(self) -> str:
        """SHA-256 of everything that the mined tables depend on."""
        sections = config_digest(self.config, "dataset", "preprocessing", "model", "relevance", "mining")
        sources = (self.dataset.digest, self.model.weights_digest, self.class_names, GraphEngine.name)
        return digest_of([FORMAT_VERSION, MINING_VERSION, sections, *sources])

    @cached_property
    def references_digest(self) -> str:
        """SHA-256 of everything that the reference images depend on."""
        return digest_of(
            [FORMAT_VERSION, REFERENCES_VERSION, self.mining_digest, config_digest(self.config, "references")]
        )


def tell_classes_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Give every class a name that can be read and that no other has: those without, or with a twin, get their index.

    Names are how records and texts speak of classes: with two called alike, a wrong answer would read as right.

    Examples: ``("crane", "goose", "crane")`` gives ``("crane (class 0)", "goose", "crane (class 2)")``.
    """
    shown = [clean_line(name) for name in names]
    counts = Counter(shown)

    def told_apart(index: int) -> str:
        if not shown[index]:
            return f"class {index}"
        return names[index] if counts[shown[index]] == 1 else f"{names[index]} (class {index})"

    return tuple(told_apart(index) for index in range(len(names)))
