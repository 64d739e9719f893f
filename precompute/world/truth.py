"""Truth scores: how well concepts match the parts that are known to be in the scenes.

Owns the comparison of reference heatmaps with part masks, of names with parts, and the search for the planted
shortcut; pure functions over records. Must not know pages, models, files or how masks are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from precompute.records import (
    Atlas,
    Concept,
    ConceptName,
    ConceptTruth,
    LayerTruth,
    ModelTruth,
    ShortcutTruth,
    TruthReport,
)

Mask = npt.NDArray[np.uint8]
PartMasks = Callable[[int], Mapping[str, Mask]]
"""Gives the visible coverage, (height, width) uint8, of every part of the scene with this sample_index."""

CLEAR_MASS = 0.5
"""A concept has a clear part where at least this share of its heatmap mass lies inside the part."""
POINTING_TOLERANCE = 2
"""Pixels that the strongest pixel may miss the mask by: about the blur of the first layer's rule."""
N_LEADING = 3
"""A network uses the mark where its concept is among this many first ones of the class."""
N_COMPARED = 6
"""The parts that a concept's heatmaps cover most are compared with shuffled masks, the others are not."""
N_SHUFFLES = 4
"""Masks of other scenes that every reference is compared with."""


@dataclass(frozen=True, eq=False)
class TruthEvidence:
    """What a concept is judged by.

    Attributes
    ----------
    concept : Concept
    heatmaps : (n_references, height, width) float
        Signed, not normalised, each in the full frame of its scene.
    sample_indices : tuple of int
        The scene of each heatmap.
    name : ConceptName or None
        What a namer called the concept; None where nobody did.
    """

    concept: Concept
    heatmaps: npt.NDArray[np.floating]
    sample_indices: tuple[int, ...]
    name: ConceptName | None = None


class SceneMasks:
    """The masks of all scenes, and which scenes show a part.

    Parameters
    ----------
    part_masks : callable
    sample_indices : iterable of int
        Scenes to know, in any order.
    """

    def __init__(self, part_masks: PartMasks, sample_indices: Iterable[int]) -> None:
        self._masks = {index: dict(part_masks(index)) for index in sorted(set(sample_indices))}
        self._showing: dict[str, list[int]] = {}
        for index, masks in self._masks.items():
            for part in masks:
                self._showing.setdefault(part, []).append(index)

    def of(self, sample_index: int) -> Mapping[str, Mask]:
        """Return the masks of one scene by part."""
        return self._masks[sample_index]

    def others(self, part: str, sample_index: int, rng: np.random.Generator) -> list[Mask]:
        """Draw masks of the part from other scenes, at most `N_SHUFFLES`, without repetition."""
        showing = [index for index in self._showing.get(part, ()) if index != sample_index]
        drawn = rng.permutation(len(showing))[:N_SHUFFLES]
        return [self._masks[showing[position]][part] for position in drawn]


def compute_mass_share(heatmap: npt.NDArray[np.floating], mask: Mask) -> float:
    """Share of the positive heatmap mass inside a mask, 0 to 1; 0 where nothing is positive."""
    positive = np.maximum(heatmap, 0)
    total = float(positive.sum())
    return float((positive * mask).sum()) / 255 / total if total > 0 else 0.0


def points_inside(heatmap: npt.NDArray[np.floating], mask: Mask, tolerance: int = POINTING_TOLERANCE) -> bool:
    """Tell whether the strongest pixel (the first among equals) lies in the mask, or within `tolerance` pixels."""
    row, column = (int(place) for place in np.unravel_index(int(heatmap.argmax()), heatmap.shape))
    top, left = max(row - tolerance, 0), max(column - tolerance, 0)
    return bool((mask[top : row + tolerance + 1, left : column + tolerance + 1] >= 128).any())


def words_for(part: str, vocabulary: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the words that say a part: its own name and the world's further ones."""
    return (part, *vocabulary.get(part, ()))


@dataclass(frozen=True)
class _PartScore:
    part: str = ""
    mass: float = 0.0
    mass_shuffled: float = 0.0
    pointing: float = 0.0
    pointing_shuffled: float = 0.0

    @property
    def gain(self) -> float:
        return self.mass - self.mass_shuffled


def _score_part(evidence: TruthEvidence, part: str, scenes: SceneMasks, seed: int) -> _PartScore:
    rng = np.random.default_rng((seed, *part.encode(), evidence.concept.channel, *evidence.concept.layer.encode()))
    mass, pointing, mass_shuffled, pointing_shuffled = [], [], [], []
    for heatmap, index in zip(evidence.heatmaps, evidence.sample_indices, strict=True):
        mask = scenes.of(index).get(part)
        mass.append(0.0 if mask is None else compute_mass_share(heatmap, mask))
        pointing.append(mask is not None and points_inside(heatmap, mask))
        others = scenes.others(part, index, rng)
        mass_shuffled += [compute_mass_share(heatmap, other) for other in others]
        pointing_shuffled += [points_inside(heatmap, other) for other in others]
    return _PartScore(part, *(_mean(values) for values in (mass, mass_shuffled, pointing, pointing_shuffled)))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _best_part(evidence: TruthEvidence, scenes: SceneMasks, seed: int) -> _PartScore | None:
    """Find the part that the heatmaps cover most beyond what its size and usual place explain.

    Its name is empty where even the best is covered no more than by masks of other scenes.
    """
    if not len(evidence.heatmaps) or not (np.asarray(evidence.heatmaps) > 0).any():
        return None
    covered: dict[str, float] = {}
    for heatmap, index in zip(evidence.heatmaps, evidence.sample_indices, strict=True):
        for part, mask in scenes.of(index).items():
            covered[part] = covered.get(part, 0.0) + compute_mass_share(heatmap, mask)
    likely = sorted(covered, key=lambda part: (-covered[part], part))[:N_COMPARED]
    scores = [_score_part(evidence, part, scenes, seed) for part in likely]
    best = min(scores, key=lambda score: (-score.gain, score.part), default=_PartScore())
    return best if best.gain > 0 else replace(best, part="")


def compute_truth(
    evidences: Sequence[TruthEvidence],
    part_masks: PartMasks,
    sample_indices: Iterable[int],
    vocabulary: Mapping[str, Sequence[str]],
    seed: int = 0,
) -> tuple[tuple[LayerTruth, ...], dict[str, ConceptTruth]]:
    """Score concepts against the parts.

    Parameters
    ----------
    evidences : sequence of TruthEvidence
        Layers are reported in the order in which they appear.
    part_masks : callable
    sample_indices : iterable of int
        Scenes to draw shuffled masks from; those of the evidences are added.
    vocabulary : mapping of part to words
        Further words for a part, from the world itself.
    seed : int
        Of the shuffling.

    Returns
    -------
    layers : tuple of LayerTruth
    concepts : dict of str to ConceptTruth
        By concept key. A concept without positive heatmap mass has no part, and counts in no layer; one whose
        heatmaps cover no part more than shuffled masks has no part either, and counts.
    """
    used = {index for evidence in evidences for index in evidence.sample_indices}
    scenes = SceneMasks(part_masks, used.union(sample_indices))
    by_layer: dict[str, list[tuple[_PartScore, ConceptTruth]]] = {}
    concepts: dict[str, ConceptTruth] = {}
    for evidence in evidences:
        rows = by_layer.setdefault(evidence.concept.layer, [])
        score = _best_part(evidence, scenes, seed)
        truth = _concept_truth(evidence, score, vocabulary)
        concepts[evidence.concept.key] = truth
        if score is not None:
            rows.append((score, truth))
    return tuple(_layer_truth(layer, rows) for layer, rows in by_layer.items()), concepts


def _concept_truth(
    evidence: TruthEvidence, score: _PartScore | None, vocabulary: Mapping[str, Sequence[str]]
) -> ConceptTruth:
    if score is None:
        return ConceptTruth()
    name = evidence.name
    right = name.says(words_for(score.part, vocabulary)) if name and name.is_named and score.part else None
    return ConceptTruth(score.part, score.mass, score.mass_shuffled, score.pointing, right)


def _layer_truth(layer: str, rows: Sequence[tuple[_PartScore, ConceptTruth]]) -> LayerTruth:
    if not rows:
        return LayerTruth(layer)
    scores = [score for score, _ in rows]
    named = [float(truth.name_right) for _, truth in rows if truth.name_right is not None]
    return LayerTruth(
        layer,
        n_concepts=len(rows),
        n_clear=sum(_is_clear(truth) for _, truth in rows),
        pointing_game=_mean([score.pointing for score in scores]),
        pointing_game_shuffled=_mean([score.pointing_shuffled for score in scores]),
        mass=_mean([score.mass for score in scores]),
        mass_shuffled=_mean([score.mass_shuffled for score in scores]),
        names_right=_mean(named) if named else None,
    )


def compute_shortcut_truth(
    atlas: Atlas, concepts: Mapping[str, ConceptTruth], class_index: int, mark: str = "watermark"
) -> ShortcutTruth:
    """Find the concept of the planted mark in the last mined layer.

    Parameters
    ----------
    atlas : Atlas
        Where its scores are normalised, a mean over a class is a mean share.
    concepts : mapping of key to ConceptTruth
    class_index : int
        The class that mostly carries the mark.
    mark : str
        Its name among the parts.

    Returns
    -------
    ShortcutTruth
        Of the concepts of the mark, those that show it clearly before all others, the one that carries most for the
        class; the note says whether the network uses it, and so where there is none.
    """
    layer, class_name = next(reversed(atlas.layers)), atlas.class_names[class_index]
    means = atlas.layers[layer].class_relevance[class_index] / max(int(atlas.class_counts[class_index]), 1)
    order = [Concept(layer, channel) for channel in np.argsort(-means, kind="stable").tolist()]
    marks = [concept for concept in order if concepts.get(concept.key, ConceptTruth()).part == mark]
    planted = f"Most scenes of the class “{class_name}” carry a {mark} that has nothing to do with it"
    if not marks:
        return ShortcutTruth(class_name, note=f"{planted}, but no concept of {layer} reacts to it.")
    concept = min(marks, key=lambda concept: not _is_clear(concepts[concept.key]))
    truth, rank, mean = concepts[concept.key], order.index(concept), float(means[concept.channel])
    if _is_clear(truth) and rank < N_LEADING and mean > 0:
        note = f"{planted}; the network learned to use it as evidence."
        return ShortcutTruth(class_name, concept.key, rank, mean, note, used=True)
    note = (
        f"{planted}. Nothing here shows that this network uses it: of its concepts {concept.key} is nearest to the "
        f"{mark}, has {100 * (truth.mass or 0):.0f}\u00a0% of its heatmaps on it and is at rank {rank} of "
        f"{len(order)} for the class."
    )
    return ShortcutTruth(class_name, concept.key, rank, mean, note)


def _is_clear(truth: ConceptTruth) -> bool:
    return bool(truth.part) and (truth.mass or 0) >= CLEAR_MASS


def compute_truth_report(
    evidences: Sequence[TruthEvidence],
    part_masks: PartMasks,
    atlas: Atlas,
    vocabulary: Mapping[str, Sequence[str]],
    class_index: int | None,
    model: ModelTruth | None = None,
) -> TruthReport:
    """Score everything that the world knows the truth about; see `compute_truth` and `compute_shortcut_truth`."""
    mined = [index for index in range(len(atlas.samples.name)) if index not in atlas.samples.skipped]
    seed = int(atlas.provenance.get("seed", 0))
    layers, concepts = compute_truth(evidences, part_masks, mined, vocabulary, seed)
    shortcut = None if class_index is None else compute_shortcut_truth(atlas, concepts, class_index)
    return TruthReport(layers, concepts, model, shortcut)
