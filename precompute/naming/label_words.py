"""What the labels of a concept's reference images have in common, against chance.

Owns the words of class names (names, head nouns, groups of ImageNet classes) and the statistics of their agreement.
Must not know pictures, rankings or models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb, log
from pathlib import Path

MAX_P_VALUE = 0.25
"""Agreement that chance gives more often (after correction for the words tried) is not used at all; less certain
agreement lowers the confidence."""

SHORTEST_HEAD = 3
LONGEST_NAME = 40


@dataclass(frozen=True)
class Agreement:
    """A word that several labels share.

    Attributes
    ----------
    word : str
    members : tuple of int
        Positions of the labels that carry it.
    n : int
        Labels looked at.
    chance : float
        Share of the data set's samples whose label carries it.
    p_value : float
        Probability that chance alone makes a word of these labels agree as much; corrected for the words tried.
    """

    word: str
    members: tuple[int, ...]
    n: int
    chance: float
    p_value: float

    @property
    def rate(self) -> float:
        """Share of the labels that carry the word."""
        return len(self.members) / self.n

    @property
    def strength(self) -> float:
        """Agreement above chance, 0 to 1."""
        return max(0.0, (self.rate - self.chance) / (1 - self.chance)) if self.chance < 1 else 0.0

    @property
    def evidence(self) -> float:
        """Logarithm of the likelihood ratio of the rate seen against chance."""
        rate, chance = self.rate, min(max(self.chance, 1e-9), 1 - 1e-9)
        carried = rate * log(rate / chance) if rate > 0 else 0.0
        missed = (1 - rate) * log((1 - rate) / (1 - chance)) if rate < 1 else 0.0
        return self.n * (carried + missed)


class LabelWords:
    """The words of a data set's labels and how often chance draws them.

    Parameters
    ----------
    label_counts : mapping of str to int
        Samples of the data set by class name.
    """

    def __init__(self, label_counts: Mapping[str, int]) -> None:
        self._total = sum(label_counts.values())
        self._names = {display_name(label) for label in label_counts}
        self._counts: Counter[str] = Counter()
        for label, count in label_counts.items():
            for word in words_of(label):
                self._counts[word] += count

    def chance(self, word: str) -> float:
        """Give the share of samples whose label carries the word; 0 for one that no label has."""
        return self._counts[word] / self._total if self._total else 0.0

    def best(self, labels: Sequence[str], among: Iterable[int] | None = None) -> Agreement | None:
        """Find the word that agrees best, against chance.

        Parameters
        ----------
        labels : sequence of str
        among : iterable of int, optional
            Positions to look at; all of them by default.

        Returns
        -------
        Agreement or None
            None where chance explains every word. Words that half of the labels carry go before others.
        """
        positions = list(range(len(labels)) if among is None else among)
        carriers: dict[str, list[int]] = {}
        for position in positions:
            for word in words_of(labels[position]):
                carriers.setdefault(word, []).append(position)
        shared = {word: members for word, members in carriers.items() if len(members) > 1}
        found = [self._agreement(word, members, len(positions), len(shared)) for word, members in shared.items()]
        likely = [agreement for agreement in found if agreement.p_value <= MAX_P_VALUE and agreement.strength > 0]
        return min(likely, key=self._order, default=None)

    def groups(self, labels: Sequence[str]) -> tuple[Agreement | None, Agreement | None]:
        """Find the best word, and the one that most of the other labels share where the labels fall into two groups."""
        first = self.best(labels)
        if first is None or first.rate > 0.75:
            return first, None
        rest = [position for position in range(len(labels)) if position not in first.members]
        second = self.best(labels, rest)
        if second is None or second.rate < 0.6:
            return first, None
        # A word that also covers the first group is no second group, only a wider word.
        wider = sum(second.word in words_of(labels[position]) for position in first.members)
        return first, None if wider * 2 >= len(first.members) else second

    def agreement(self, word: str, labels: Sequence[str]) -> Agreement:
        """Count how many labels carry a given word."""
        members = [position for position, label in enumerate(labels) if word in words_of(label)]
        return self._agreement(word, members, len(labels), 1)

    def _order(self, found: Agreement) -> tuple[bool, float, int, str]:
        """Sort by evidence; among equals a label's own name, then narrow groups before wide ones."""
        breadth = 0 if found.word in self._names else 1 + _group_sizes()[found.word]
        return found.rate < 0.5, -found.evidence, breadth, found.word

    def _agreement(self, word: str, members: list[int], n: int, n_tried: int) -> Agreement:
        chance = self.chance(word)
        p_value = min(1.0, n_tried * binomial_tail(len(members), n, chance))
        return Agreement(word, tuple(members), n, chance, p_value)


def binomial_tail(k: int, n: int, chance: float) -> float:
    """Compute the probability of at least k hits in n draws."""
    return sum(comb(n, hits) * chance**hits * (1 - chance) ** (n - hits) for hits in range(k, n + 1))


@cache
def words_of(label: str) -> frozenset[str]:
    """Give the words that a class name stands for: its names, their head nouns and ImageNet's groups."""
    names = [name.strip().replace("_", " ") for name in label.split(",") if name.strip()]
    heads = {name.split()[-1].lower() for name in names if len(name.split()) > 1}
    nouns = {head for head in heads if len(head) >= SHORTEST_HEAD and head.replace("-", "").isalpha()}
    groups = frozenset[str]().union(*(_groups().get(name, frozenset()) for name in names))
    return frozenset(names) | nouns | groups


def display_name(label: str) -> str:
    """Give the first of a class name's synonyms, for people; a very long one is cut."""
    name = " ".join(label.split(",", maxsplit=1)[0].replace("_", " ").split())
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


@cache
def _groups() -> Mapping[str, frozenset[str]]:
    """Read the groups of ImageNet's classes; of a name that two classes share, the groups that both are in."""
    classes = [row[2] for row in _rows("images/imagenet_classes.tsv")]
    of_class: list[set[str]] = [set() for _ in classes]
    for group, ranges in _rows("naming/label_groups.tsv"):
        for part in ranges.split(","):
            first, _, last = part.partition("-")
            for index in range(int(first), int(last or first) + 1):
                of_class[index].add(group)
    groups: dict[str, frozenset[str]] = {}
    for name, found in zip(classes, of_class, strict=True):
        groups[name] = groups[name] & found if name in groups else frozenset(found)
    return groups


@cache
def _group_sizes() -> Counter[str]:
    return Counter(group for found in _groups().values() for group in found)


def _rows(file_name: str) -> list[list[str]]:
    lines = (Path(__file__).parents[1] / file_name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines[1:]]
