"""What is right and what is wrong about a network, its weights, the data and the preprocessing, before hours of work.

Owns the questions, in which order they are asked, and the report. Must not know how a model is built, an image decoded
or relevance computed: it asks those who do.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from precompute.atlas.evenly import spread_evenly
from precompute.config import PreprocessingConfig
from precompute.errors import AtlasError
from precompute.images.dataset import iter_batches, normalise
from precompute.images.pictures import render_reference
from precompute.inputs import Inputs
from precompute.mining.statistics import N_BINS
from precompute.network.factories import AS_BUILT
from precompute.network.heads import compute_probabilities
from precompute.printing.numbers import count, percent, plural, significant
from precompute.printing.rules import tell_rule_counts, tell_rules
from precompute.progress import Reporter
from precompute.records import MISSING, Box, ConservationProof, LogitParts
from precompute.relevance.channel_scores import choose_targets
from precompute.relevance.protocol import ReferenceRequest

N_IMAGES = 200
"""Images that the network is tried on."""
SECONDS = 15.0
"""No further batch is begun after that long: a large network is tried on fewer images."""
N_SHOWN = 10
N_PROVED = 2
"""Images on which each operation's relevance is added up, in float64."""
FEW = 5
"""Images of a class from which on its usual prediction says something."""

Mark = Literal["ok", "note", "mend"]


class Finding(NamedTuple):
    """One line of the report: ``mend`` keeps an atlas from being made or from being true."""

    mark: Mark
    text: str


@dataclass(frozen=True, eq=False)
class Trial:
    """What the network said of some images.

    Attributes
    ----------
    indices, labels : (n,) int64
        Sample indices and their classes; `MISSING` where there is no label.
    images : (n, 3, height, width) uint8
    logits : (n, n_classes) float64
    skipped : dict of int to str
        Reason by sample index.
    """

    indices: torch.Tensor
    labels: torch.Tensor
    images: torch.Tensor
    logits: torch.Tensor
    skipped: dict[int, str]

    @property
    def predictions(self) -> torch.Tensor:
        """(n,) int64: the class of the largest logit."""
        return self.logits.argmax(1)

    @property
    def known(self) -> torch.Tensor:
        """(n,) bool: there is a label."""
        return self.labels != MISSING

    @property
    def n_right(self) -> int:
        """Number of images whose prediction is their label."""
        return int((self.predictions == self.labels)[self.known].sum())


class Check:
    """Looks at everything that an atlas starts from; changes nothing.

    Parameters
    ----------
    inputs : Inputs
    reporter : Reporter
    folder : Path
        Where the atlas would go.
    """

    def __init__(self, inputs: Inputs, reporter: Reporter, folder: Path) -> None:
        self._inputs, self._reporter, self._folder = inputs, reporter, folder
        self._config = inputs.config
        self._failed: set[str] = set()

    def run(self) -> int:
        """Report on every question; returns the number of things to mend."""
        sections: tuple[tuple[str, Callable[[], Iterator[Finding]], tuple[str, ...]], ...] = (
            ("network", self._look_at_network, ()),
            ("layers", self._look_at_layers, ("network",)),
            ("data", self._look_at_data, ()),
            ("classes", self._look_at_classes, ("network", "data")),
            ("preprocessing", self._look_at_preprocessing, ()),
            ("predictions", self._look_at_predictions, ("network", "data", "classes")),
            ("relevance", self._look_at_relevance, ("network", "layers", "predictions")),
            ("cost", self._look_at_cost, ("network", "layers", "data", "predictions", "relevance")),
        )
        n_faults = 0
        for name, look, needed in sections:
            first = next((other for other in needed if other in self._failed), "")
            findings = iter([Finding("note", f"not looked at: mend the {first} first")]) if first else look()
            if first:
                self._failed.add(name)
            n_faults += sum(finding.mark == "mend" for finding in self._tell(name, findings))
        return n_faults

    def _tell(self, name: str, findings: Iterator[Finding]) -> list[Finding]:
        """Print the findings of one section as they come; an error is one too, and ends the section."""
        told = []
        self._reporter.say(name)
        try:
            for finding in findings:
                told.append(finding)
                self._reporter.say(f"  {finding.mark:<5} {finding.text}")
        except AtlasError as error:
            self._failed.add(name)
            told.append(Finding("mend", str(error)))
            self._reporter.say(f"  mend  {error}")
        return told

    # --- what is there -----------------------------------------------------------------------------------------

    def _look_at_network(self) -> Iterator[Finding]:
        model = self._inputs.model
        n_weights = sum(parameter.numel() for parameter in model.module.parameters())
        yield Finding("ok", f"{model.name} with weights {self._config.model.weights!r}: {count(n_weights)} numbers")
        for note in model.notes:
            yield Finding("note", note)
        if self._config.model.weights == "random":
            yield Finding("note", "the weights are noise: an atlas of it says nothing; name a weights file")
        kinds = {
            "classes": 'each image has one of them (softmax; `task = "labels"` if it can have several)',
            "binary": "two sides of one logit (sigmoid)",
            "labels": "an image can have several (sigmoid)",
        }
        yield Finding("ok", f"{plural(model.n_classes, 'class', 'classes')}: {kinds[model.task]}")

    def _look_at_layers(self) -> Iterator[Finding]:
        infos, chosen = self._inputs.all_layers, self._inputs.layers
        n_channels = sum(info.n_channels for info in chosen)
        how = "model.layers" if self._config.model.layers else "all convolutions, because model.layers is empty"
        yield Finding(
            "ok",
            f"{plural(len(infos), 'layer')}; mined: {plural(len(chosen), 'layer')} with "
            f"{plural(n_channels, 'channel')} "
            f"({how}): {_some([info.name for info in chosen])}",
        )
        how = "explaining.layers" if self._config.explaining.layers else "the last mined ones"
        yield Finding("ok", f"explained: {_some([info.name for info in self._inputs.explained_layers])} ({how})")

    def _look_at_data(self) -> Iterator[Finding]:
        dataset = self._inputs.dataset
        labels = dataset.labels[dataset.labels != MISSING]
        kind = self._config.dataset.kind
        yield Finding("ok", f"{plural(len(dataset), 'image')} ({kind} {self._config.dataset.root!r})")
        for note in dataset.notes:
            yield Finding("note", note)
        if not len(labels):
            yield Finding("note", "no labels: the predicted class is explained, and no accuracy can be told")
            return
        if len(labels) < len(dataset):
            yield Finding("note", f"{plural(len(dataset) - len(labels), 'image')} without a label")
        present, sizes = np.unique(labels, return_counts=True)
        few, many = int(sizes.argmin()), int(sizes.argmax())
        names = dict(enumerate(dataset.class_names))
        told = [
            f"{names.get(int(present[place]), present[place])!r} {count(int(sizes[place]))}" for place in (few, many)
        ]
        spread = (
            f"fewest {told[0]}, most {told[1]}" if sizes[few] < sizes[many] else f"{count(int(sizes[few]))} of each"
        )
        balance = f"{plural(len(present), 'class', 'classes')} with images: {spread}"
        yield Finding("note" if sizes[many] > 10 * sizes[few] else "ok", balance)

    def _look_at_classes(self) -> Iterator[Finding]:
        names = self._inputs.class_names
        dataset, model = self._inputs.dataset, self._inputs.model
        source = self._config.dataset.classes or ("the data set" if dataset.class_names else "")
        source = source or ("the weights" if model.class_names else "numbered, because nothing names them")
        yield Finding("ok", f"{len(names)} names ({source}): {_some([repr(name) for name in names])}")
        if model.task == "binary":
            yield Finding(
                "ok",
                f"label 1, {names[1]!r}, is the positive side: explained by the logit; label 0, {names[0]!r}, by minus "
                "the "
                "logit",
            )

    def _look_at_preprocessing(self) -> Iterator[Finding]:
        wanted, given = self._config.preprocessing, self._config.given or frozenset()
        told = {
            "resize": (
                f"shorter side to {wanted.resize}"
                if isinstance(wanted.resize, int)
                else f"squeezed to {wanted.resize[0]} x {wanted.resize[1]}"
            ),
            "crop": f"centre {wanted.size[0]} x {wanted.size[1]}",
            "mean": f"mean {list(wanted.mean)}",
            "std": f"std {list(wanted.std)}",
            "interpolation": wanted.interpolation,
            "value_range": f"values from {wanted.value_range[0]:g} to {wanted.value_range[1]:g}",
            "channels": f"channels {', '.join(wanted.channels)}",
        }
        yield Finding("ok", "; ".join(told.values()))
        for note in self._inputs.preprocessing_notes:
            yield Finding("ok", note)
        is_default = wanted == PreprocessingConfig()
        if is_default and not self._inputs.preprocessing_notes and not any("preprocessing." in key for key in given):
            yield Finding(
                "note",
                "this is ImageNet's usual preprocessing, taken because neither the config nor the weights say "
                "otherwise; set "
                "[preprocessing] to what the network was trained with",
            )

    # --- what the network says ---------------------------------------------------------------------------------

    def _look_at_predictions(self) -> Iterator[Finding]:
        trial = self._trial
        n = len(trial.indices)
        for index, reason in sorted(trial.skipped.items())[:3]:
            yield Finding("note", f"unusable image {self._inputs.dataset.names[index]!r}: {reason}")
        if not n:
            yield Finding("mend", "none of the images tried can be used")
            self._failed.add("predictions")
            return
        if not trial.logits.isfinite().all():
            broken = int((~trial.logits.isfinite()).any(1).sum())
            yield Finding(
                "mend", f"logits of {broken} of {plural(n, 'image')} are no finite numbers; check the weights"
            )
            self._failed.add("predictions")
            return
        yield Finding("ok", f"logits of {plural(n, 'image')} are finite, from {_range(trial.logits)}")
        yield from self._show(trial)
        yield from self._judge(trial)

    @cached_property
    def _trial(self) -> Trial:
        """Run the network on images spread evenly over the data set, as many as the time allows."""
        dataset, model = self._inputs.dataset, self._inputs.model
        mining = dataclasses.replace(self._config.mining, n_workers=0, batch_size=10, cache_images=False)
        config = dataclasses.replace(self._config, mining=mining)
        order = _interleave(spread_evenly(len(dataset), N_IMAGES))
        started = time.monotonic()
        batches, logits, skipped = [], [], {}
        with self._reporter.track("predictions", len(order), unit="img") as advance:
            for batch in iter_batches(dataset, order, config):
                skipped.update(batch.skipped)
                if len(batch.indices):
                    batches.append(batch)
                    logits.append(self._logits(batch.images, config.preprocessing))
                advance(len(batch.indices) + len(batch.skipped))
                if time.monotonic() - started > SECONDS:
                    break
        indices = torch.cat([batch.indices for batch in batches]) if batches else torch.empty(0, dtype=torch.int64)
        nothing = torch.empty(0, 3, *config.preprocessing.size)
        images = torch.cat([batch.images for batch in batches]) if batches else nothing
        rows = torch.cat(logits) if logits else torch.empty(0, model.n_classes)
        order_found = indices.argsort()
        indices = indices[order_found]
        labels = torch.from_numpy(np.asarray(dataset.labels))[indices]
        return Trial(indices, labels, images[order_found], rows[order_found], skipped)

    def _logits(self, images: torch.Tensor, preprocessing: PreprocessingConfig) -> torch.Tensor:
        module = self._inputs.model.module
        parameter = next(module.parameters(), torch.zeros(()))
        with torch.inference_mode():
            rows: torch.Tensor = module(normalise(images, preprocessing, parameter.dtype).to(parameter.device))
        return rows.double().cpu()

    def _show(self, trial: Trial) -> Iterator[Finding]:
        """Name ten images with their labels and what the network takes them for."""
        names = self._inputs.class_names
        probabilities = compute_probabilities(trial.logits, self._inputs.model.task)
        for place in spread_evenly(len(trial.indices), N_SHOWN):
            label, prediction = int(trial.labels[place]), int(trial.predictions[place])
            is_known = label != MISSING
            said = f"taken for {names[prediction]!r} ({percent(float(probabilities[place, prediction]))})"
            name = self._inputs.dataset.names[int(trial.indices[place])]
            yield Finding("ok", f"{name!r}: {f'label {label} {names[label]!r}' if is_known else 'no label'}, {said}")

    def _judge(self, trial: Trial) -> Iterator[Finding]:
        """Say how often the network is right, and what it looks like where it is not."""
        names, n = self._inputs.class_names, int(trial.known.sum())
        usual, n_usual = Counter(trial.predictions.tolist()).most_common(1)[0]
        if n_usual == len(trial.indices) > FEW:
            yield Finding("note", f"every image is taken for {names[usual]!r}: is the preprocessing that of training?")
        if not n:
            return
        right = trial.n_right
        told = f"{right} of {n} right ({percent(right / n)})"
        chance = 1 / len(names)
        by_chance = right <= n * chance + 3 * (n * chance * (1 - chance)) ** 0.5
        if self._config.model.weights in AS_BUILT[:1]:
            yield Finding("note", f"{told}, with random weights")
            return
        order = _find_order(trial, names)
        other = "" if right > n / 2 else self._find_preprocessing(trial)
        if order and right <= n / 2:
            yield Finding("mend", f"{told}: are the labels in the model's order? {order}. {_ORDER}")
        elif other:
            yield Finding("mend", f"{told}: is the preprocessing that of training? {other}")
        elif by_chance:
            yield Finding("mend", f"{told}, as many as by chance: are the labels in the model's order? {_ORDER}")
        else:
            yield Finding("ok" if right > n / 2 else "note", told)

    def _find_preprocessing(self, trial: Trial) -> str:
        """Try the usual other ways to scale colours on some images; tells the one that is clearly better."""
        places = trial.known.nonzero()[:, 0][: N_IMAGES // 4]
        images, labels = trial.images[places], trial.labels[places]
        now = int((trial.predictions[places] == labels).sum())
        best, found = 2 * now + 5, ""
        for words, preprocessing in _alternatives(self._config.preprocessing):
            rows = torch.cat([self._logits(chunk, preprocessing) for chunk in torch.split(images, 10)])
            right = int((rows.argmax(1) == labels).sum())
            if right > best:
                best = right
                found = f"With {words} {right} of {len(labels)} of these images would be right, not {now}"
        return found

    # --- what will be done -------------------------------------------------------------------------------------

    def _look_at_relevance(self) -> Iterator[Finding]:
        inputs, given = self._inputs, self._config.relevance
        rules = tell_rules(given.composite, given.rules, given.gates)
        yield Finding("ok", f"rules {rules}; convolutions and linear layers: {tell_rule_counts(inputs.rule_counts)}")
        images = normalise(self._trial.images[:N_PROVED], self._config.preprocessing)
        logits = inputs.engine.logits(images).cpu()
        off = inputs.engine.proof.deviation
        yield Finding(
            "ok", f"read as a graph, the network gives the same logits (off by {significant(off, 2)} of the largest)"
        )
        targets = choose_targets(logits, self._trial.labels[:N_PROVED], self._config.relevance.target)
        proof = ConservationProof.joined(
            [
                inputs.engine.conserve(images[row : row + 1], int(targets[row]), int(self._trial.indices[row]))
                for row in range(len(images))
            ]
        )
        for operation, found in proof.operations.items():
            yield Finding("ok", f"{operation}, {plural(found.count, 'time')}: loses {_residual(found.lost)}")
        yield Finding(
            "ok",
            f"each of {plural(proof.n_operations, 'operation')} keeps the relevance handed to it (with biases off, in "
            f"float64, at most {_residual(proof.worst[1])} lost)",
        )
        parts = proof.parts()
        for place in spread_evenly(len(parts), N_SHOWN):
            name = list(parts)[place]
            yield Finding("ok", f"{name}: of the logit {_where(parts[name])}")

    def _look_at_cost(self) -> Iterator[Finding]:
        inputs, config = self._inputs, self._config
        layers, n_images = inputs.layers, len(inputs.dataset)
        n_channels = sum(info.n_channels for info in layers)
        images = normalise(self._trial.images[:4], config.preprocessing)
        each = _time(lambda: inputs.engine.score(images, self._trial.labels[:4]), 1) / len(images)
        last = layers[-1]
        requests = [ReferenceRequest(0, last.name, channel, 0) for channel in range(min(last.n_channels, 8))]
        heatmaps = _time(lambda: inputs.engine.reference_heatmaps(images[:1], requests), 1) / len(requests)
        n_references = min(n_images, config.references.per_ranking) * 2 * n_channels
        tile = config.references.tile
        picture = np.ascontiguousarray(self._trial.images[0].numpy().transpose(1, 2, 0))
        reference = render_reference(picture, np.ones(picture.shape[:2]), Box(0, 0, *picture.shape[:2]), tile)
        size = n_references * sum(len(part) for part in reference if isinstance(part, bytes))
        size += n_channels * (2 * config.mining.top_k * 24 + 16 * inputs.model.n_classes + 16 * N_BINS)
        yield Finding(
            "ok",
            f"{plural(n_channels, 'concept')}: mining {plural(n_images, 'image')} takes about "
            f"{_duration(each * n_images)}, at "
            f"most {plural(n_references, 'reference image')} about {_duration(heatmaps * n_references)} on "
            f"{inputs.device.type}; the atlas needs at most {_bytes(size)}",
        )
        free = shutil.disk_usage(_existing(self._folder)).free
        if free < size:
            yield Finding(
                "mend", f"only {_bytes(free)} are free for {self._folder}; choose another folder with --output"
            )
        if config.llm.enabled:
            yield Finding(
                "note", f"{config.llm.model} will be asked; after mining, `atlas name --dry-run` counts calls"
            )


_ORDER = "Set dataset.classes to the model's own class list (a TSV or JSON file, or 'imagenet'), in its order"


def _find_order(trial: Trial, names: Sequence[str]) -> str:
    """See whether the images of each label are taken for one other class each; tells the first such labels."""
    usual: dict[int, tuple[int, int, int]] = {}
    for label in sorted(set(trial.labels[trial.known].tolist())):
        predictions = trial.predictions[trial.labels == label].tolist()
        if len(predictions) >= FEW:
            prediction, n_same = Counter(predictions).most_common(1)[0]
            usual[label] = prediction, n_same, len(predictions)
    others = {label: found for label, found in usual.items() if found[0] != label and 2 * found[1] > found[2]}
    if len(others) < max(2, len(usual) // 2) or len({found[0] for found in others.values()}) <= len(others) / 2:
        return ""
    return ", ".join(
        f"{n_same} of {n} of label {label} {names[label]!r} are taken for {names[prediction]!r}"
        for label, (prediction, n_same, n) in list(others.items())[:3]
    )


def _alternatives(now: PreprocessingConfig) -> Iterator[tuple[str, PreprocessingConfig]]:
    """Yield the usual ways to scale colours, in words that can be set."""
    n = len(now.channels)
    usual = PreprocessingConfig()
    choices = [((0.0,) * n, (1.0,) * n, (0.0, 1.0)), ((0.5,) * n, (0.5,) * n, (0.0, 1.0))]
    choices += [((0.0,) * n, (1.0,) * n, (0.0, 255.0))]
    choices += [(usual.mean, usual.std, (0.0, 1.0))] if now.channels == usual.channels else []
    for mean, std, values in choices:
        if (mean, std, values) != (now.mean, now.std, now.value_range):
            words = f"mean = {list(mean)}, std = {list(std)} and value_range = {list(values)}"
            yield words, dataclasses.replace(now, mean=mean, std=std, value_range=values)
    if now.channels == usual.channels:
        turned = {name: tuple(reversed(getattr(now, name))) for name in ("channels", "mean", "std")}
        yield 'channels = ["blue", "green", "red"], mean and std turned as well,', dataclasses.replace(now, **turned)  # type: ignore[arg-type]


def _interleave(order: Sequence[int]) -> list[int]:
    """Order so that the first of any number are spread as evenly as all, for a trial that ends early."""
    step = 20
    return [index for start in range(step) for index in order[start::step]]


def _time(work: Callable[[], object], n: int) -> float:
    """Return the seconds of one call, after one that warms up."""
    work()
    started = time.perf_counter()
    for _ in range(n):
        work()
    return (time.perf_counter() - started) / n


def _residual(value: float) -> str:
    return "nothing" if value == 0 else f"{significant(value, 1)} of it"


def _where(parts: LogitParts) -> str:
    """Say where the relevance of a logit went on its way down to a layer."""
    words = [f"{percent(parts.own)} arrives at the layer"]
    words += [f"{percent(parts.beside)} passes beside it"] if parts.beside else []
    words += [f"{percent(parts.biases)} went to biases, {percent(parts.stabilisers)} to stabilisers"]
    return ", ".join(words)


def _range(values: torch.Tensor) -> str:
    return f"{significant(float(values.min()))} to {significant(float(values.max()))}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{significant(seconds / 3600, 2)} h"


def _bytes(size: float) -> str:
    return f"{significant(size / 1e6, 2)} MB" if size < 1e9 else f"{significant(size / 1e9, 2)} GB"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", … {names[-1]}" if len(names) > 6 else "")
