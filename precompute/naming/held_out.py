"""Which reference images a name is made from, and on which others it is tried.

Owns the split of a concept's references into seen and held-out ones and the choice of negatives. Pure; must not know
names, judges or files.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from precompute.atlas.evenly import spread_evenly
from precompute.records import MISSING, Concept, FloatArray, LayerTables, Reference

MAX_SEEN = 8


@dataclass(frozen=True)
class Trial:
    """What one concept's name is tried on.

    Attributes
    ----------
    concept : Concept
    positives : tuple of Reference
        Held-out references of the concept.
    negatives : tuple of Reference
        References of other concepts, on samples that are in neither ranking of this one; hard ones first.
    n_hard : int
        How many of the negatives come from the most similar channels.
    """

    concept: Concept
    positives: tuple[Reference, ...]
    negatives: tuple[Reference, ...]
    n_hard: int


def seen_half(references: Sequence[Reference], max_seen: int = MAX_SEEN) -> tuple[Reference, ...]:
    """Return the references that naming may see: the best half by rank, at most `max_seen`."""
    ordered = sorted(references, key=lambda reference: reference.rank)
    return tuple(ordered[: min((len(ordered) + 1) // 2, max_seen)])


def held_out_half(references: Sequence[Reference], max_seen: int = MAX_SEEN) -> tuple[Reference, ...]:
    """Return the references that naming does not see: all ranks after `seen_half`."""
    ordered = sorted(references, key=lambda reference: reference.rank)
    return tuple(ordered[len(seen_half(ordered, max_seen)) :])


def _pick_evenly(references: Sequence[Reference], n: int) -> tuple[Reference, ...]:
    """Pick up to `n` references, spread evenly over their order."""
    return tuple(references[place] for place in spread_evenly(len(references), n))


def choose_positives(
    relmax: Sequence[Reference], actmax: Sequence[Reference], n: int, max_seen: int = MAX_SEEN
) -> tuple[Reference, ...]:
    """Choose held-out positives: later RelMax ranks, then ActMax ones at even quantiles; no sample twice or seen.

    Parameters
    ----------
    relmax, actmax : sequence of Reference
        All rendered references of the concept.
    n : int
        At most so many; half of them RelMax where there are enough.
    """
    seen = {r.sample_index for r in (*seen_half(relmax, max_seen), *seen_half(actmax, max_seen))}
    later = [r for r in held_out_half(relmax, max_seen) if r.sample_index not in seen]
    taken = {r.sample_index for r in later}
    quantiles = [r for r in held_out_half(actmax, max_seen) if r.sample_index not in seen | taken]
    n_quantiles = min(len(quantiles), max(n // 2, n - len(later)))
    return _pick_evenly(later, n - n_quantiles) + _pick_evenly(quantiles, n_quantiles)


def similar_channels(tables: LayerTables) -> FloatArray:
    """Compute the (n_channels, n_channels) cosine similarity of the channels' relevance by class.

    Channels that matter for the same classes fire in the same surroundings: their references are the hard negatives.
    """
    profiles = tables.class_relevance.T.astype(np.float64)
    norms = np.linalg.norm(profiles, axis=1, keepdims=True)
    unit = np.divide(profiles, norms, out=np.zeros_like(profiles), where=norms > 0)
    similarity: FloatArray = unit @ unit.T
    return similarity


def choose_negatives(
    concept: Concept,
    tables: LayerTables,
    similarity: FloatArray,
    references: Mapping[int, Sequence[Reference]],
    n: int,
    seed: int = 0,
) -> tuple[tuple[Reference, ...], int]:
    """Choose negatives: half hard (from the most similar channels), half random, no sample twice.

    A sample that is among the concept's own best in either ranking is never a negative.

    Parameters
    ----------
    tables : LayerTables
        Of the concept's layer.
    similarity : (n_channels, n_channels) float64
        By `similar_channels`.
    references : mapping of channel to sequence of Reference
        Rendered references of the layer.
    n : int

    Returns
    -------
    negatives : tuple of Reference
        Hard ones first.
    n_hard : int
    """
    own = set(tables.relmax.sample_index[:, concept.channel].tolist())
    taken = (own | set(tables.actmax.sample_index[:, concept.channel].tolist())) - {MISSING}
    others = [channel for channel in sorted(references) if channel != concept.channel]
    nearest = sorted(others, key=lambda channel: (-similarity[concept.channel, channel], channel))
    hard = _one_of_each(nearest, references, taken, n // 2)
    taken |= {reference.sample_index for reference in hard}
    shuffled = random.Random(f"{seed}:{concept.key}").sample(others, len(others))
    return hard + _one_of_each(shuffled, references, taken, n - len(hard)), len(hard)


def _one_of_each(
    channels: Sequence[int], references: Mapping[int, Sequence[Reference]], taken: set[int], n: int
) -> tuple[Reference, ...]:
    chosen: list[Reference] = []
    taken = set(taken)
    for channel in channels:
        if len(chosen) == n:
            break
        free = next((r for r in references[channel] if r.sample_index not in taken), None)
        if free is not None:
            chosen.append(free)
            taken.add(free.sample_index)
    return tuple(chosen)
