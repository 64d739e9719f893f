"""The evidence for names, read out of ``references.h5`` concept by concept when it is asked for.

Owns which half of a concept's references is shown, and their labels. Holds no picture, so that memory does not grow
with the atlas. Must not know namers or judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, overload

from precompute.atlas.hdf5 import ReferenceReader
from precompute.naming.held_out import held_out_half, seen_half
from precompute.naming.namer import ConceptEvidence
from precompute.records import MISSING, RANKINGS, Atlas, Concept, Reference

Half = Literal["all", "seen", "held out"]

_CHOOSE: dict[Half, Callable[[Sequence[Reference]], tuple[Reference, ...]]] = {
    "all": tuple,
    "seen": seen_half,
    "held out": held_out_half,
}


class StoredEvidence(Sequence[ConceptEvidence]):
    """What namers may rest names on, one concept at a time.

    Parameters
    ----------
    reader : ReferenceReader
        Open for as long as this is used.
    atlas : Atlas
    concepts : sequence of Concept
    half : {"all", "seen", "held out"}
        All references, those that a name is made from, or those that it is tried on.
    """

    def __init__(self, reader: ReferenceReader, atlas: Atlas, concepts: Sequence[Concept], half: Half) -> None:
        self._reader, self._atlas, self._concepts, self._half = reader, atlas, tuple(concepts), half

    def __len__(self) -> int:
        return len(self._concepts)

    @overload
    def __getitem__(self, index: int) -> ConceptEvidence: ...
    @overload
    def __getitem__(self, index: slice) -> StoredEvidence: ...
    def __getitem__(self, index: int | slice) -> ConceptEvidence | StoredEvidence:
        """Read one concept's references; a slice reads nothing yet."""
        if isinstance(index, slice):
            return StoredEvidence(self._reader, self._atlas, self._concepts[index], self._half)
        concept, choose = self._concepts[index], _CHOOSE[self._half]
        relmax, actmax = (choose(self._reader.read(concept, ranking)) for ranking in RANKINGS)
        return ConceptEvidence(
            concept, relmax, actmax, self._labels((*relmax, *actmax)), self._atlas.layers[concept.layer].info
        )

    def _labels(self, references: Iterable[Reference]) -> dict[int, str]:
        samples = {reference.sample_index for reference in references}
        targets = {index: int(self._atlas.samples.target[index]) for index in samples}
        return {index: self._atlas.class_names[target] for index, target in targets.items() if target != MISSING}
