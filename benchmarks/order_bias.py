"""How far the order of the menu shows in the plans that a language model made of it.

Run from the repository: ``python -m benchmarks.order_bias --folder <finished atlas planned by a language model>``. The
facts of a menu stand in an order that says nothing, so the order in which a plan tells them should not follow it. For
each text the rank correlation between place on the menu and place in the text is computed (1: told as listed, 0: no
bias, -1: reversed), and how many of the facts that a plan was free to leave out were told, by thirds of the menu. It
rests on the JSON files alone. Exits 1 where no text was planned by a language model.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from precompute.atlas.json_records import read_json
from precompute.narratives.audiences import find_audience
from precompute.narratives.planner import menu_of
from precompute.narratives.realiser import BUILT_IN
from precompute.records import Explanation, Fact, Narrative, TargetExplanation

FEWEST = 4
"""Facts of a text that say something of an order."""


@dataclass(frozen=True)
class Order:
    """One text: facts by place on the menu.

    Attributes
    ----------
    places : tuple of float
        Of the facts told, in the order told; 0 is the first of the menu, 1 the last.
    free : tuple of (float, bool)
        Place of every fact that need not be told, and whether it was.
    """

    places: tuple[float, ...]
    free: tuple[tuple[float, bool], ...]


def order_of(menu: Sequence[Fact], narrative: Narrative) -> Order:
    """Compare a text with the menu that it was planned from; what the program put in is left out."""
    place = {fact.id: position / max(len(menu) - 1, 1) for position, fact in enumerate(menu)}
    told = [fact for statement in narrative.statements for fact in statement.facts if fact not in narrative.added]
    free = tuple((place[fact.id], fact.id in told) for fact in menu if not fact.must)
    return Order(tuple(place[fact] for fact in told if fact in place and fact != "decision"), free)


def rank_correlation(places: Sequence[float]) -> float:
    """Compute Spearman's correlation of different values with their order."""
    n, ordered = len(places), sorted(places)
    squares = sum((ordered.index(place) - position) ** 2 for position, place in enumerate(places))
    return 1 - 6 * squares / (n * (n * n - 1))


def bias_of(orders: Iterable[Order]) -> dict[str, float | int | str]:
    """Sum up texts: mean correlation with its standard error, and shares told by thirds of the menu."""
    orders = list(orders)
    found = [rank_correlation(order.places) for order in orders if len(order.places) >= FEWEST]
    thirds: list[list[bool]] = [[], [], []]
    for order in orders:
        for place, told in order.free:
            thirds[min(int(3 * place), 2)].append(told)
    error = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return {
        "texts": len(found),
        "correlation": round(statistics.mean(found), 3) if found else math.nan,
        "standard error": round(error, 3),
        "told of the first, second and last third": ", ".join(f"{sum(third)}/{len(third)}" for third in thirds),
    }


def orders_in(folder: Path) -> Iterable[Order]:
    """List the texts of a finished atlas that a language model planned."""
    for path in sorted((folder / "explanations").glob("*.json")):
        explanation = read_json(path, Explanation)
        for target in explanation.targets:
            for narrative in target.narratives:
                if narrative.planner != BUILT_IN:
                    key = f"{explanation.id} {target.class_index} {narrative.audience}"
                    yield order_of(list(menu_of(_concerning(target, narrative.audience), key).values()), narrative)


def _concerning(target: TargetExplanation, audience: str) -> Sequence[Fact]:
    carrying = [layer for layer in target.layers if any(concept.share for concept in layer.concepts)]
    main = max(carrying or target.layers, key=lambda layer: abs(layer.relevance_sum), default=None)
    return find_audience(audience).of_layer(target.facts, main.layer if main else "")


def main() -> int:
    """Measure one atlas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="output folder of a finished atlas")
    orders = list(orders_in(parser.parse_args().folder))
    print(bias_of(orders) if orders else "no text of this atlas was planned by a language model")
    return 0 if orders else 1


if __name__ == "__main__":
    sys.exit(main())
