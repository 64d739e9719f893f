"""Forced choice: a concept's row of held-out images among three rows of other concepts of its layer.

Owns which images make a row and which rows stand against it. Must not know who chooses, files or pages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from precompute.naming.appearance import measure
from precompute.naming.held_out import held_out_half
from precompute.records import MISSING, Concept, ConceptName, FloatArray, LayerTables, Reference

N_OTHERS = 3
"""Rows beside the concept's own: who guesses is right one time in four."""
LONGEST_ROW = 8
SHORTEST_ROW = 3
"""Fewer held-out images say too little of what they share."""
N_MEASURED = 2
"""Images of a row whose appearance is measured."""
MOST_COMPARED = 96
"""Concepts of a layer among which the nearest in appearance are looked for, drawn at random where there are more."""

Against = Literal["random", "hard"]


@dataclass(frozen=True)
class Choice:
    """One forced choice.

    Attributes
    ----------
    concept : Concept
        Whose name is tried.
    against : {"random", "hard"}
    concepts : tuple of Concept
        Whose row is which, in the order drawn.
    rows : tuple of tuple of Reference
        All of one length.
    """

    concept: Concept
    against: Against
    concepts: tuple[Concept, ...]
    rows: tuple[tuple[Reference, ...], ...]

    @property
    def right(self) -> int:
        """Place of the concept's own row."""
        return self.concepts.index(self.concept)


class Rows:
    """The rows of one layer.

    Parameters
    ----------
    tables : LayerTables
    read : callable
        Returns the rendered RelMax references of a channel; they may hold only the pictures that are shown.
    names : mapping of concept key to ConceptName
        Concepts of the same name never stand against each other: either would be right.
    image_size : (int, int)
        Height and width of the preprocessed input in pixels.
    seed : int
    """

    def __init__(
        self,
        tables: LayerTables,
        read: Callable[[int], Sequence[Reference]],
        names: Mapping[str, ConceptName],
        image_size: tuple[int, int],
        seed: int,
    ) -> None:
        self._tables, self._read, self._names = tables, read, names
        self._image_size, self._seed = image_size, seed
        self._layer = tables.info.name
        self._best_class = tables.class_relevance.argmax(axis=0)
        self._rows: dict[int, tuple[Reference, ...]] = {}
        self._looks: dict[int, FloatArray] = {}

    def row(self, channel: int) -> tuple[Reference, ...]:
        """Return a channel's held-out references on which it carried relevance, by rank; they may be too few."""
        if channel not in self._rows:
            found = held_out_half(self._read(channel))
            self._rows[channel] = tuple(item for item in found if item.score > 0)[:LONGEST_ROW]
        return self._rows[channel]

    def choose(self, channel: int, against: Against) -> Choice | None:
        """Make the forced choice of one channel; None where there are too few images or too few rows against it."""
        own = self.row(channel)
        if len(own) < SHORTEST_ROW:
            return None
        rng = random.Random(f"rows:{self._seed}:{self._layer}:{channel}:{against}")
        others = [other for other in range(self._tables.info.n_channels) if self._may_stand(channel, other)]
        rng.shuffle(others)
        if against == "hard":
            others = self._nearest(channel, others[:MOST_COMPARED])
        chosen = {channel: own}
        taken = {item.sample_index for item in own}
        for other in others:
            if len(chosen) > N_OTHERS:
                break
            free = tuple(item for item in self._strange(channel, other) if item.sample_index not in taken)
            if len(free) >= SHORTEST_ROW:
                chosen[other] = free
                taken |= {item.sample_index for item in free}
        if len(chosen) <= N_OTHERS:
            return None
        length = min(map(len, chosen.values()))
        order = rng.sample(list(chosen), len(chosen))
        rows = tuple(tuple(rng.sample(chosen[place], len(chosen[place]))[:length]) for place in order)
        concepts = tuple(Concept(self._layer, place) for place in order)
        return Choice(Concept(self._layer, channel), against, concepts, rows)

    def intrude(self, channel: int, n_own: int = 4) -> tuple[tuple[Concept, Reference], ...]:
        """Mix one image of another concept into a row; nothing where there are too few images.

        The stranger is of another class and of no sample that is among the channel's best in either ranking.
        """
        own = self.row(channel)[:n_own]
        if len(own) < SHORTEST_ROW:
            return ()
        rng = random.Random(f"intruder:{self._seed}:{self._layer}:{channel}")
        others = [other for other in range(self._tables.info.n_channels) if self._may_stand(channel, other)]
        rng.shuffle(others)
        for other in others:
            strangers = self._strange(channel, other) if self._best_class[other] != self._best_class[channel] else ()
            if strangers:
                mixed = [(item.concept, item) for item in (*own, strangers[0])]
                return tuple(rng.sample(mixed, len(mixed)))
        return ()

    def _may_stand(self, channel: int, other: int) -> bool:
        name, theirs = (self._names.get(Concept(self._layer, place).key) for place in (channel, other))
        same = name and theirs and name.is_named and name.title.casefold() == theirs.title.casefold()
        return other != channel and not same

    def _strange(self, channel: int, other: int) -> tuple[Reference, ...]:
        """Return of another channel's row what is not among the best samples of this one."""
        tables = self._tables
        known = {*tables.relmax.sample_index[:, channel].tolist(), *tables.actmax.sample_index[:, channel].tolist()}
        return tuple(item for item in self.row(other) if item.sample_index not in known - {MISSING})

    def _nearest(self, channel: int, others: Sequence[int]) -> list[int]:
        """Order others by how near their rows are in appearance; those of the same best class come last."""
        usable = [other for other in others if len(self.row(other)) >= SHORTEST_ROW]
        if not usable:
            return []
        looks = np.stack([self._look(place) for place in (channel, *usable)])
        spread = looks.std(axis=0)
        scaled = (looks - looks.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        distances = np.linalg.norm(scaled[1:] - scaled[0], axis=1)
        same = self._best_class[usable] == self._best_class[channel]
        return [usable[place] for place in np.lexsort((np.asarray(usable), distances, same)).tolist()]

    def _look(self, channel: int) -> FloatArray:
        """Describe the first images of a row by what is measured of their pixels."""
        if channel not in self._looks:
            measured = [measure(item, self._image_size) for item in self.row(channel)[:N_MEASURED]]
            vectors = [
                [*m.colours, m.brightness, m.contrast, m.fineness, abs(m.stripes), m.squareness, m.roundness]
                for m in measured
            ]
            self._looks[channel] = np.mean(np.asarray(vectors, np.float64), axis=0)
        return self._looks[channel]
