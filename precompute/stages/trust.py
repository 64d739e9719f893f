"""The trust stage: what is measured of an atlas's shares, on the network itself, into ``trust.json``.

Owns which images are measured, what is done already (part by part), and what the work costs. Must not know how a figure
is computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import PIL.Image
import torch

from precompute.atlas.digests import digest_of
from precompute.atlas.folder import Workspace
from precompute.atlas.json_records import read_json, write_json
from precompute.explanations.attribution import prepare_photo
from precompute.images.dataset import iter_batches, normalise
from precompute.inputs import Inputs
from precompute.printing import numbers
from precompute.progress import Reporter
from precompute.records import (
    Atlas,
    Audit,
    Concept,
    Explanation,
    IntArray,
    LayerInfo,
    LayerTrust,
    OffValue,
    ShortcutFinding,
    TrustReport,
    WhatIf,
)
from precompute.relevance.choice import input_dtype
from precompute.relevance.intervention import OffValues, mean_values
from precompute.relevance.protocol import BatchScores
from precompute.trust.ablation import (
    COUNTS,
    Ablation,
    NamedConcepts,
    SampleScores,
    counts_of,
    measure_layer,
    try_explanation,
)
from precompute.trust.shortcuts import (
    LEAST_WITH,
    LEAST_WITHOUT,
    MOST_WITH,
    MOST_WITHOUT,
    Candidate,
    correct,
    find_candidates,
    judge,
)
from precompute.trust.statistics import spread_over_classes

from .explanations import ExplanationStage
from .step import Step

TRUST_VERSION = 1
"""Raise it when a figure is computed in another way."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The images that are measured, preprocessed, in batches.

    Attributes
    ----------
    indices : (n,) int64
        Positions in the data set.
    targets : (n,) int64
        The predicted classes.
    images : list of tensor
        Normalised.
    """

    indices: IntArray
    targets: IntArray
    images: list[torch.Tensor]

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """List the batches with the targets of each."""
        start = 0
        for images in self.images:
            yield images, torch.from_numpy(self.targets[start : start + len(images)])
            start += len(images)


class TrustStage:
    """Measures one atlas.

    Parameters
    ----------
    inputs : Inputs
    workspace : Workspace
    reporter : Reporter
    explanations : ExplanationStage
        Knows the photos that are explained.
    """

    def __init__(
        self, inputs: Inputs, workspace: Workspace, reporter: Reporter, explanations: ExplanationStage
    ) -> None:
        self._inputs, self._workspace, self._reporter = inputs, workspace, reporter
        self._explanations, self._config = explanations, inputs.config
        self._off_values: dict[str, Mapping[OffValue, OffValues]] = {}

    def run(self, atlas: Atlas) -> TrustReport | None:
        """Write ``trust.json``, each part as soon as it is there; returns None where nothing is to be measured."""
        settings = self._config.trust
        if not settings.n_samples:
            return None
        explained = list(self._explanations.at_hand())
        parts = self._digests(atlas, [item for item, _ in explained])
        path = self._workspace.trust
        step = Step(*(self._workspace, self._reporter, "trust", "atlas trust"), {"parts": parts}, made_from=("atlas",))
        if step.is_done():
            self._reporter.say(f"kept      {path} (nothing to measure)")
            return None
        report = self._read_kept(parts)
        self._tell_cost(parts, report, explained)
        makers: dict[str, Callable[[TrustReport], TrustReport]] = {
            "shares": lambda found: dataclasses.replace(
                found, sample=tuple(int(index) for index in self._sample(atlas).indices), layers=self._layers(atlas)
            ),
            "audit": lambda found: dataclasses.replace(found, audit=self._audit(atlas)),
            "photos": lambda found: dataclasses.replace(found, photos=self._photos(atlas, explained)),
        }
        for name, make in makers.items():
            if report.parts.get(name) != parts[name]:
                made = make(report)
                report = dataclasses.replace(made, parts={**made.parts, name: parts[name]})
                write_json(path, report)
                step.begin(path)
        write_json(path, report)
        step.finish(path)
        self._tell(report)
        return report

    def _read_kept(self, parts: Mapping[str, str]) -> TrustReport:
        """Read what an earlier run left of the parts that are still right."""
        empty = TrustReport(off=self._config.trust.off, counts=COUNTS)
        if not self._workspace.manifest.is_whole("trust"):
            return empty
        kept = read_json(self._workspace.trust, TrustReport, "Delete it and run `atlas trust` again.")
        if kept.off != empty.off or kept.counts != empty.counts:
            return empty
        right = {name: digest for name, digest in kept.parts.items() if parts.get(name) == digest}
        return dataclasses.replace(kept, parts=right)

    def _digests(self, atlas: Atlas, explained: Sequence[Explanation]) -> dict[str, str]:
        """Return the digest of everything that each part is made from."""
        common = [TRUST_VERSION, self._inputs.mining_digest, dataclasses.asdict(self._config.trust)]
        return {
            "shares": digest_of([*common, list(atlas.layers), [info.name for info in self._inputs.explained_layers]]),
            "audit": digest_of([*common, [info.name for info in self._inputs.explained_layers]]),
            "photos": digest_of([*common, [[item.id, item.digest] for item in explained]]),
        }

    # --- the sample --------------------------------------------------------------------------------------------

    def _sample(self, atlas: Atlas) -> Sample:
        return self._loaded(atlas)

    @cached_property
    def _held(self) -> dict[str, Sample]:
        return {}

    def _loaded(self, atlas: Atlas) -> Sample:
        """Load the sample once."""
        if "sample" not in self._held:
            chosen = spread_over_classes(atlas.samples.prediction, self._config.trust.n_samples)
            indices, images = [], []
            dtype = input_dtype(self._config.relevance)
            for batch in iter_batches(self._inputs.dataset, chosen, self._config):
                if len(batch.indices):
                    indices += batch.indices.tolist()
                    images.append(normalise(batch.images, self._config.preprocessing, dtype))
            found = np.asarray(indices, np.int64)
            self._held["sample"] = Sample(found, atlas.samples.prediction[found], images)
        return self._held["sample"]

    @cached_property
    def _scores(self) -> list[BatchScores]:
        return [self._inputs.engine.score(images, targets) for images, targets in self._held["sample"].batches()]

    def _values(self, atlas: Atlas, layer: str) -> Mapping[OffValue, OffValues]:
        """Return what the channels of a layer are set to when they are off, of both kinds."""
        if layer not in self._off_values:
            opened = [self._inputs.engine.intervene(images, layer) for images, _ in self._sample(atlas).batches()]
            self._off_values[layer] = {"mean": mean_values([item.sums() for item in opened]), "zero": opened[0].zero()}
        return self._off_values[layer]

    # --- shares ------------------------------------------------------------------------------------------------

    def _layers(self, atlas: Atlas) -> tuple[LayerTrust, ...]:
        sample = self._sample(atlas)
        if not len(sample.indices):
            return ()
        explained = {info.name for info in self._inputs.explained_layers}
        found = []
        with self._reporter.track("trust", len(atlas.layers), unit="layer") as advance:
            for layer in atlas.layers:
                found.append(self._layer(atlas, layer, n_greedy=self._config.trust.n_greedy * (layer in explained)))
                advance(1)
        return tuple(found)

    def _layer(self, atlas: Atlas, layer: str, *, n_greedy: int) -> LayerTrust:
        sample = self._sample(atlas)
        opened = [self._inputs.engine.intervene(images, layer) for images, _ in sample.batches()]
        value = self._values(atlas, layer)[self._config.trust.off]
        scored = [scores.layers[layer] for scores in self._scores]
        scores = SampleScores(
            sample.targets,
            torch.cat([item.relevance for item in scored]).double().cpu().numpy(),
            torch.cat([item.activation for item in scored]).double().cpu().numpy(),
        )
        return measure_layer(
            layer,
            Ablation(opened, value, self._config.model.task),
            scores,
            self._rng("shares", layer),
            n_random=self._config.trust.n_random,
            n_greedy=n_greedy,
        )

    def _rng(self, *purpose: str) -> np.random.Generator:
        return np.random.default_rng(int(digest_of([self._config.seed, *purpose])[:16], 16))

    # --- the audit ---------------------------------------------------------------------------------------------

    def _audit(self, atlas: Atlas) -> Audit | None:
        """Look for shortcuts in the layers that are explained; None where scores are no shares."""
        if atlas.scores == "raw" or not len(self._sample(atlas).indices):
            return None
        layers = [info for info in self._inputs.explained_layers if info.name in atlas.layers]
        rng = self._rng("audit")
        found = [
            self._judged(atlas, info, candidate, rng)
            for info in layers
            for candidate in find_candidates(atlas, info.name, rng)
        ]
        counts = atlas.class_counts[atlas.class_counts > 0]
        return Audit(
            findings=correct([finding for finding in found if finding is not None]),
            layers=tuple(info.name for info in layers),
            n_small=int((counts < LEAST_WITH + LEAST_WITHOUT).sum()),
            n_classes=len(counts),
        )

    def _judged(
        self, atlas: Atlas, info: LayerInfo, candidate: Candidate, rng: np.random.Generator
    ) -> ShortcutFinding | None:
        engine, dtype = self._inputs.engine, input_dtype(self._config.relevance)
        scored, opened, used = [], [], list[int]()
        for batch in iter_batches(self._inputs.dataset, candidate.samples.tolist(), self._config):
            if len(batch.indices):
                images = normalise(batch.images, self._config.preprocessing, dtype)
                scored.append(engine.score(images, torch.full((len(images),), candidate.class_index)).layers[info.name])
                opened.append(engine.intervene(images, info.name))
                used += batch.indices.tolist()
        if set(used) != set(candidate.samples.tolist()):
            return None  # a sample that was mined cannot be read any more
        ablation = Ablation(opened, self._values(atlas, info.name)[self._config.trust.off], self._config.model.task)
        off = np.zeros((len(used), info.n_channels), np.bool_)
        off[:, candidate.concept.channel] = True
        before, after = ablation.before()[1], ablation.without(off)[1]
        return judge(
            candidate,
            torch.cat([item.relevance for item in scored]).double().cpu().numpy(),
            torch.cat([item.relevance_neuron for item in scored]).cpu().numpy(),
            info.width,
            (before - after)[:, candidate.class_index],
            rng,
        )

    # --- photos ------------------------------------------------------------------------------------------------

    def _photos(self, atlas: Atlas, explained: Sequence[tuple[Explanation, PIL.Image.Image]]) -> tuple[WhatIf, ...]:
        if not len(self._sample(atlas).indices):
            return ()
        found = []
        for explanation, image in explained:
            tensor = prepare_photo(image, self._config).tensor
            for target in explanation.targets:
                for layer in target.layers:
                    if not layer.concepts:
                        continue
                    named = NamedConcepts(
                        explanation=explanation.id,
                        numbers=explanation.digest,
                        class_index=target.class_index,
                        layer=layer.layer,
                        channels=tuple(Concept.parse(item.concept).channel for item in layer.concepts),
                        shares=layer.shares,
                    )
                    found.append(
                        try_explanation(
                            named,
                            self._values(atlas, layer.layer),
                            self._config.trust.off,
                            self._inputs.engine.intervene(tensor, layer.layer),
                            self._rng("photo", explanation.id, str(target.class_index), layer.layer),
                            n_random=self._config.trust.n_random,
                            task=self._config.model.task,
                        )
                    )
        return tuple(found)

    # --- what is told ------------------------------------------------------------------------------------------

    def _tell_cost(
        self, parts: Mapping[str, str], kept: TrustReport, explained: Sequence[tuple[Explanation, PIL.Image.Image]]
    ) -> None:
        """Say how many passes are to come: one through the whole network, or from a layer to the end."""
        settings, passes = self._config.trust, 0
        if kept.parts.get("shares") != parts["shares"]:
            for info in self._inputs.layers:
                steps = len(counts_of(info.n_channels)) - 1
                passes += settings.n_samples * ((3 + settings.n_random) * steps + min(info.n_channels, 96))
        if kept.parts.get("photos") != parts["photos"]:
            named = [layer for item, _ in explained for target in item.targets for layer in target.layers]
            passes += sum(len(layer.concepts) + 2 + settings.n_random for layer in named)
        self._reporter.say(
            f"trust     {numbers.plural(settings.n_samples, 'image')} of the data set, at most "
            f"{numbers.count(passes)} passes from a layer to the logits (trust.n_samples sets how many); at most "
            f"{MOST_WITH + MOST_WITHOUT} images for each candidate of the audit"
        )

    def _tell(self, report: TrustReport) -> None:
        for finding in report.audit.findings if report.audit else ():
            if finding.is_finding:
                name = self._inputs.class_names[finding.class_index]
                self._reporter.say(
                    f"audit     {name!r} may lean on a shortcut: {finding.concept} (q = {finding.q:.3f})"
                )
        for layer in report.layers:
            most, random = layer.curve("most"), layer.curve("random")
            if most is None or random is None or layer.correlation is None:
                continue
            self._reporter.say(
                f"measured  {layer.layer}: rank correlation of share and drop {numbers.fixed(layer.correlation)} "
                f"(activation {numbers.fixed(layer.activation_correlation)}); area by share "
                f"{numbers.fixed(most.area)}, random {numbers.fixed(random.area)}"
            )
