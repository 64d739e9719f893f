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
from torch import nn

from precompute.atlas.digests import digest_of
from precompute.atlas.folder import Workspace, read_names
from precompute.atlas.json_records import read_json, write_json
from precompute.explanations.attribution import prepare_photo
from precompute.images.dataset import iter_batches, normalise
from precompute.inputs import Inputs
from precompute.printing import numbers
from precompute.progress import Reporter
from precompute.records import (
    Atlas,
    Audit,
    ClassPrototypes,
    Concept,
    Explanation,
    IntArray,
    LayerInfo,
    LayerTrust,
    OffValue,
    PhotoUsual,
    ShortcutFinding,
    TrustReport,
    WhatIf,
)
from precompute.relevance.choice import input_dtype, make_engine, read_graph
from precompute.relevance.intervention import OffValues, mean_values
from precompute.relevance.protocol import BatchScores, Engine
from precompute.trust.ablation import (
    COUNTS,
    Ablation,
    NamedConcepts,
    SampleScores,
    count_passes,
    measure_layer,
    try_explanation,
)
from precompute.trust.families import find_families
from precompute.trust.prototypes import find_prototypes, photo_record
from precompute.trust.sanity import attribute_all, check_weights, compare, conservation, modules_from_top
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

TRUST_VERSION = 2
"""Raise it when a figure is computed in another way."""
MOST_IMAGES = 256
"""Preprocessed images that the audit keeps at most before it begins anew."""


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
        self._read: dict[int, torch.Tensor] = {}
        self._off_values: dict[str, Mapping[OffValue, OffValues]] = {}

    def run(self, atlas: Atlas) -> TrustReport | None:
        """Write ``trust.json``, each part as soon as it is there; returns None where nothing is to be measured."""
        settings = self._config.trust
        if not settings.n_samples:
            return None
        explained = list(self._explanations.at_hand())
        named = read_names(self._workspace.names).items() if self._workspace.names.exists() else ()
        names = {key: name.name for key, name in named if name.is_named}
        parts = self._digests(atlas, [item for item, _ in explained], names)
        path = self._workspace.trust
        sources = ("atlas", "names") if named else ("atlas",)
        step = Step(*(self._workspace, self._reporter, "trust", "atlas trust"), {"parts": parts}, made_from=sources)
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
            "sanity": lambda found: self._sanity(atlas, found),
            "families": lambda found: dataclasses.replace(
                found, families=tuple(item for layer in atlas.layers for item in find_families(atlas, layer, names))
            ),
            "prototypes": lambda found: self._prototypes(atlas, [item for item, _ in explained], found),
        }
        for name, make in makers.items():
            if report.parts.get(name) != parts[name]:
                made = make(report)
                noted = {**made.parts, name: parts[name]}  # in one order, whichever part was made last
                report = dataclasses.replace(made, parts={key: noted[key] for key in makers if key in noted})
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

    def _digests(self, atlas: Atlas, explained: Sequence[Explanation], names: Mapping[str, str]) -> dict[str, str]:
        """Return the digest of everything that each part is made from."""
        common = [TRUST_VERSION, self._inputs.mining_digest, dataclasses.asdict(self._config.trust)]
        return {
            "shares": digest_of([*common, list(atlas.layers), [info.name for info in self._inputs.explained_layers]]),
            "audit": digest_of([*common, [info.name for info in self._inputs.explained_layers]]),
            "photos": digest_of([*common, [[item.id, item.digest] for item in explained]]),
            "sanity": digest_of([*common, list(atlas.layers)]),
            "families": digest_of([TRUST_VERSION, self._inputs.mining_digest, sorted(names.items())]),
            "prototypes": digest_of(
                [
                    *(TRUST_VERSION, self._inputs.mining_digest, [info.name for info in self._inputs.explained_layers]),
                    [[item.id, item.digest] for item in explained],
                ]
            ),
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
        engine, wanted = self._inputs.engine, candidate.samples.tolist()
        known = self._images(wanted)
        if any(index not in known for index in wanted):
            return None  # a sample that was mined cannot be read any more
        scored, opened = [], []
        for start in range(0, len(wanted), self._config.mining.batch_size):
            images = torch.stack([known[index] for index in wanted[start : start + self._config.mining.batch_size]])
            scored.append(engine.score(images, torch.full((len(images),), candidate.class_index)).layers[info.name])
            opened.append(engine.intervene(images, info.name))
        ablation = Ablation(opened, self._values(atlas, info.name)[self._config.trust.off], self._config.model.task)
        off = np.zeros((len(wanted), info.n_channels), np.bool_)
        off[:, candidate.concept.channel] = True
        before, after = ablation.before()[1], ablation.without(off)[1]
        return judge(
            candidate,
            torch.cat([item.relevance for item in scored]).double().cpu().numpy(),
            torch.cat([item.relevance_neuron for item in scored]).cpu().numpy(),
            info.width,
            (before - after)[:, candidate.class_index],
            rng,
            (before.argmax(1) == candidate.class_index, after.argmax(1) == candidate.class_index),
        )

    def _images(self, wanted: Sequence[int]) -> Mapping[int, torch.Tensor]:
        """Load samples, preprocessed; those of the last candidates are kept, as candidates of one class share them."""
        if len(self._read) > MOST_IMAGES:
            self._read.clear()
        dtype = input_dtype(self._config.relevance)
        for batch in iter_batches(self._inputs.dataset, [at for at in wanted if at not in self._read], self._config):
            if len(batch.indices):
                images = normalise(batch.images, self._config.preprocessing, dtype)
                self._read.update(zip(batch.indices.tolist(), images, strict=True))
        return self._read

    # --- what should not stay ----------------------------------------------------------------------------------

    def _sanity(self, atlas: Atlas, found: TrustReport) -> TrustReport:
        """Follow the logit of a few images, and compare with random weights, another class and another photo."""
        sample, settings = self._sample(atlas), self._config.trust
        n = min(settings.n_checked, len(sample.indices))
        if n < 1:
            return dataclasses.replace(found, conservation=(), sanity=(), n_modules=0)
        engine, module = self._inputs.engine, self._inputs.model.module
        places = [place * len(sample.indices) // n for place in range(n)]
        images, targets = torch.cat(sample.images)[places], sample.targets[places].tolist()
        known = attribute_all(engine, images, targets)
        logits = engine.logits(images).double().cpu().numpy()
        order = np.argsort(-logits, axis=1, kind="stable")
        second = [int(row[row != target][0]) for row, target in zip(order, targets, strict=True) if len(row) > 1]
        checks = check_weights(
            *(module, self._rebuilt, images, targets, known),
            n_depths=settings.n_depths,
            seed=int(digest_of([self._config.seed, "sanity"])[:8], 16),
        )
        if len(second) == n:
            checks.append(compare("target", known, attribute_all(engine, images, second)))
        if n > 1:
            checks.append(compare("photo", known, [*known[1:], known[0]]))
        return dataclasses.replace(
            found,
            conservation=conservation(known),
            sanity=tuple(checks),
            n_modules=len(modules_from_top(module, images[:1])),
        )

    def _rebuilt(self, module: nn.Module) -> Engine:
        model = dataclasses.replace(self._inputs.model, module=module)
        layers = tuple(info.name for info in self._inputs.layers)
        return make_engine(self._config, model, read_graph(self._config, model), layers)

    # --- prototypes --------------------------------------------------------------------------------------------

    def _prototypes(self, atlas: Atlas, explained: Sequence[Explanation], found: TrustReport) -> TrustReport:
        """Find the ways in which classes are decided, and how usual each explained photo is; not of raw scores."""
        prototypes, usual = list[ClassPrototypes](), list[PhotoUsual]()
        for info in self._inputs.explained_layers:
            if atlas.scores == "raw" or info.name not in atlas.layers:
                continue
            models, records = find_prototypes(atlas, info.name, self._rng("prototypes", info.name))
            prototypes += records
            usual += [
                photo_record(
                    *(models[target.class_index], info.name, np.asarray(layer.shares)),
                    explanation=item.id,
                    numbers=item.digest,
                    class_index=target.class_index,
                )
                for item in explained
                for target in item.targets
                for layer in target.layers
                if layer.layer == info.name
                and target.class_index in models
                and item.predictions[0].class_index == target.class_index
            ]
        return dataclasses.replace(found, prototypes=tuple(prototypes), usual=tuple(usual))

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
            explaining = {info.name for info in self._inputs.explained_layers}
            for info in self._inputs.layers:
                n_greedy = settings.n_greedy * (info.name in explaining)
                passes += count_passes(
                    info.n_channels, n_samples=settings.n_samples, n_random=settings.n_random, n_greedy=n_greedy
                )
        if kept.parts.get("photos") != parts["photos"]:
            named = [layer for item, _ in explained for target in item.targets for layer in target.layers]
            passes += sum(len(layer.concepts) + 2 + settings.n_random for layer in named)
        n_attributed = settings.n_checked * (2 + settings.n_depths) * (kept.parts.get("sanity") != parts["sanity"])
        self._reporter.say(
            f"trust     {numbers.plural(settings.n_samples, 'image')} of the data set, at most "
            f"{numbers.count(passes)} passes from a layer to the logits (trust.n_samples sets how many); at most "
            f"{MOST_WITH + MOST_WITHOUT} images for each candidate of the audit; {numbers.count(n_attributed)} "
            "attributions for comparison with random weights and another class (trust.n_checked, trust.n_depths)"
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
