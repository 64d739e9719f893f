"""The truth stage: where a data set knows which parts its scenes show, concepts and names are scored against it.

Owns reading the references and names and writing ``truth.json``. Must not know how a score is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.json_records import write_json
from precompute.images.dataset import Dataset
from precompute.images.pictures import decode_heatmap
from precompute.printing import numbers
from precompute.progress import Reporter
from precompute.records import Atlas, ConceptName, ModelTruth, Reference, TruthReport
from precompute.world.truth import TruthEvidence, compute_truth_report

from .step import Step

TRUTH_VERSION = 3
"""Raise it when the scores are computed in another way."""


@runtime_checkable
class HasPartMasks(Protocol):
    """A data set that knows what its samples show."""

    @property
    def part_words(self) -> Mapping[str, tuple[str, ...]]:
        """Words for each part besides its own name."""
        ...

    @property
    def marked_class(self) -> int | None:
        """The class that mostly carries the planted mark; None where none is planted in one class."""
        ...

    def model_truth(self, weights_digest: str) -> ModelTruth | None:
        """Tell what is known of the network with these weights; None of any but the data set's own."""
        ...

    def part_masks(self, index: int) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Visible coverage of every part of one sample, (height, width) uint8."""
        ...


class TruthStage:
    """Scores one atlas against the truth.

    Parameters
    ----------
    dataset : Dataset
    workspace : Workspace
    reporter : Reporter
    """

    def __init__(self, dataset: Dataset, workspace: Workspace, reporter: Reporter) -> None:
        self._dataset, self._workspace, self._reporter = dataset, workspace, reporter

    def run(self, atlas: Atlas, size: tuple[int, int]) -> TruthReport | None:
        """Write ``truth.json``; returns None (and writes nothing) where nobody knows the truth.

        Parameters
        ----------
        atlas : Atlas
        size : (int, int)
            Height and width of the preprocessed input in pixels.
        """
        if not isinstance(self._dataset, HasPartMasks):
            return None
        step = Step(
            *(self._workspace, self._reporter, "truth", "atlas evaluate"),
            {"version": TRUTH_VERSION, "size": size},
            made_from=("atlas", "references", "names"),
        )
        if step.is_done():
            self._reporter.say(f"kept      {self._workspace.truth} (nothing to evaluate)")
            return None
        names = self._workspace.read_names()
        with self._reporter.track("evaluating", 1, unit="step") as advance:
            report = compute_truth_report(
                list(self._evidence(names, size)),
                self._dataset.part_masks,
                atlas,
                self._dataset.part_words,
                self._dataset.marked_class,
                self._dataset.model_truth(str(atlas.provenance.get("weights_digest", ""))),
            )
            advance(1)
        write_json(self._workspace.truth, report)
        step.finish(self._workspace.truth)
        for layer in report.layers:
            if layer.n_concepts and layer.pointing_game is not None and layer.pointing_game_shuffled is not None:
                self._reporter.say(
                    f"evaluated {layer.layer}: {layer.n_clear} of {layer.n_concepts} concepts with a clear part, "
                    f"pointing game {numbers.percent(layer.pointing_game)} "
                    f"(shuffled {numbers.percent(layer.pointing_game_shuffled)})"
                )
        return report

    def _evidence(self, names: Mapping[str, ConceptName], size: tuple[int, int]) -> Iterator[TruthEvidence]:
        with ReferenceReader(self._workspace.references) as reader:
            for concept in reader.concepts():
                references = [reference for reference in reader.read(concept, "relmax") if reference.heatmap]
                frames = [_frame(reference, size) for reference in references]
                name = names.get(concept.key)
                yield TruthEvidence(
                    concept,
                    np.stack(frames) if frames else np.zeros((0, *size), np.float32),
                    tuple(reference.sample_index for reference in references),
                    name,
                )


def _frame(reference: Reference, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Put a stored heatmap back to its place in the full frame, keeping its sum over any area."""
    box = reference.box
    height, width = box.bottom - box.top, box.right - box.left
    heatmap = decode_heatmap(reference.heatmap, reference.heatmap_scale).astype(np.float32)
    if heatmap.shape != (height, width):
        heatmap = np.asarray(Image.fromarray(heatmap).resize((width, height), Image.Resampling.BILINEAR))
    frame = np.zeros(size, np.float32)
    frame[box.top : box.bottom, box.left : box.right] = heatmap
    return frame
