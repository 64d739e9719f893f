"""Check every number in every narrative of a finished atlas against its record.

Run from the repository: ``python -m benchmarks.narrative_numbers --folder data/imagenet-sample``. It rests on the JSON
files and the mined class sums alone: each number of a text says which quantity it is and of what; the quantity is
computed here from the record, the printed digits are read back, and the two are compared at the printed precision.
Nothing of the program that derived the facts or wrote the text is used. A text with a digit outside its numbers, or
with one number twice, counts as a fault too. Exits 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from precompute.atlas.folder import read_names
from precompute.atlas.hdf5 import read_atlas
from precompute.records import Atlas, ConceptName
from precompute.records.reliability import measured_band

Record = dict[str, Any]
NUMBER = re.compile(
    r"(?P<sign>[+\u2212])?(?P<digits>\d[\d.,\u2019\u00a0\u202f]*\d|\d)(?P<exponent>\u00a0×\u00a010[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"
)
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
BELOW = re.compile("< (?!−)|> −|less than|weniger als", re.IGNORECASE)
ABOVE = re.compile("> (?!−)|< −|more than|mehr als", re.IGNORECASE)


class Values:
    """The quantities of one target, from its record and the mined atlas.

    Parameters
    ----------
    explanation, target : dict
        As in the JSON file.
    atlas : Atlas or None
        For means by class and the accuracy of predictions.
    names : mapping of concept key to ConceptName, optional
        For how many names like theirs were right.
    """

    def __init__(
        self,
        explanation: Record,
        target: Record,
        atlas: Atlas | None = None,
        names: Mapping[str, ConceptName] | None = None,
    ) -> None:
        self._explanation, self._target, self._atlas = explanation, target, atlas
        self._names = names or {}
        self._layers = {layer["layer"]: layer for layer in target["layers"]}
        self._concepts = {c["concept"]: c for layer in target["layers"] for c in layer["concepts"]}

    def of(self, name: str, of: list[str]) -> float:
        """Compute a quantity; an unknown one is a fault of the narrative and raises KeyError."""
        return float(self._COMPUTED[name](self, *of))

    def _probability(self, index: str) -> float:
        return float(next(p["probability"] for p in self._explanation["predictions"] if str(p["class_index"]) == index))

    def _share(self, key: str, target: Record | None = None) -> float:
        layer, _, channel = key.rpartition(":")
        found = next(each for each in (target or self._target)["layers"] if each["layer"] == layer)
        return float(found["shares"][int(channel)])

    def _rival_share(self, key: str, index: str) -> float:
        return self._share(key, next(t for t in self._explanation["targets"] if str(t["class_index"]) == index))

    def _sub_share(self, key: str, below: str) -> float:
        return float(next(s["share"] for s in self._concepts[key]["sub_concepts"] if s["concept"] == below))

    def _mean_share(self, key: str, index: str) -> float:
        assert self._atlas is not None
        layer, _, channel = key.rpartition(":")
        total = self._atlas.layers[layer].class_relevance[int(index), int(channel)]
        return float(total / self._atlas.class_counts[int(index)])

    def _class_samples(self, index: str) -> float:
        assert self._atlas is not None
        return float(self._atlas.class_counts[int(index)])

    def _class_beside(self, key: str, index: str) -> tuple[int, int]:
        """Count the samples of a class whose share is known to be less than here, and to be more."""
        assert self._atlas is not None
        layer, _, channel = key.rpartition(":")
        share, large, target = self._share(key), self._atlas.layers[layer].large, self._atlas.samples.target
        found = [
            float(value) * math.copysign(1, share)
            for sample, each, value in zip(large.sample_index, large.channel, large.share, strict=True)
            if each == int(channel) and target[sample] == int(index)
        ]
        as_much = sum(value >= abs(share) - 1e-5 for value in found)
        return int(self._atlas.class_counts[int(index)]) - as_much, sum(value > abs(share) + 1e-5 for value in found)

    def _of_concept(self, key: str, field: str) -> float:
        return float(self._concepts[key][field])

    def _coverage(self, layer: str) -> float:
        return sum(abs(concept["share"]) for concept in self._layers[layer]["concepts"])

    def _own(self, layer: str) -> float:
        return sum(abs(share) for share in self._layers[layer]["shares"])

    def _side(self, layer: str, side: int) -> float:
        sign = side * math.copysign(1, self._target["logit"])
        return sum(abs(share) for share in self._layers[layer]["shares"] if share * sign > 0)

    def _half(self, layer: str) -> int:
        sizes, total, count = sorted((abs(share) for share in self._layers[layer]["shares"]), reverse=True), 0.0, 0
        while total < 0.5 - 1e-9:
            total += sizes[count]
            count += 1
        return count

    def _carrying(self, layer: str) -> int:
        found = self._layers[layer]
        return sum(1 for share in found["shares"] if share) - sum(1 for c in found["concepts"] if c["share"])

    def _names_like(self, key: str) -> tuple[int, int]:
        band = measured_band(self._names[key])
        assert band is not None
        return band.n_right, band.n_names

    def _band(self) -> tuple[float, float, int, int]:
        assert self._atlas is not None
        probability, samples = self._target["probability"], self._atlas.samples
        edges = [0.0, 0.5, 0.8, 0.95]
        least = max(edge for edge in edges if edge <= probability)
        below = next((edge for edge in edges if edge > probability), 1.0)
        rows = zip(samples.label.tolist(), samples.prediction.tolist(), samples.probability.tolist(), strict=True)
        inside = [(label, said) for label, said, p in rows if label >= 0 and least <= p and (p < below or below == 1.0)]
        return least, below, sum(label == said for label, said in inside), len(inside)

    _COMPUTED: dict[str, Callable[..., float]] = {  # noqa: RUF012 - a table of methods, never changed
        "probability": _probability,
        "logit": lambda self, _: self._target["logit"],
        "share": _share,
        "share_sum": lambda self, *keys: sum(self._share(key) for key in keys),
        "n_group": lambda _, *keys: len(keys),
        "rival_share": _rival_share,
        "sub_share": _sub_share,
        "mean_share": _mean_share,
        "class_samples": _class_samples,
        "class_less": lambda self, key, index: self._class_beside(key, index)[0],
        "class_more": lambda self, key, index: self._class_beside(key, index)[1],
        "relevance": lambda self, key: self._of_concept(key, "relevance"),
        "activation": lambda self, key: self._of_concept(key, "activation"),
        "area": lambda self, key: self._concepts[key]["place"]["area"],
        "channel": lambda _, key: int(key.rpartition(":")[2]),
        "coverage": _coverage,
        "rest": lambda self, layer: self._own(layer) - self._coverage(layer),
        "beside": lambda self, layer: 1 - self._own(layer),
        "relevance_beside": lambda self, layer: sum(p["relevance"] for p in self._layers[layer]["cut"]["beside"]),
        "relevance_biases": lambda self, layer: self._layers[layer]["cut"]["biases"],
        "relevance_stabilisers": lambda self, layer: self._layers[layer]["cut"]["stabilisers"],
        "supporting": lambda self, layer: self._side(layer, 1),
        "opposing": lambda self, layer: self._side(layer, -1),
        "relevance_sum": lambda self, layer: self._layers[layer]["relevance_sum"],
        "n_channels": lambda self, layer: len(self._layers[layer]["shares"]),
        "n_concepts": lambda self, layer: len(self._layers[layer]["concepts"]),
        "n_carrying": _carrying,
        "n_half": _half,
        "n_layers": lambda self: len(self._layers),
        "band_least": lambda self: self._band()[0],
        "band_below": lambda self: self._band()[1],
        "band_right": lambda self: self._band()[2],
        "band_samples": lambda self: self._band()[3],
        "band_names_right": lambda self, key: self._names_like(key)[0],
        "band_names": lambda self, key: self._names_like(key)[1],
    }


def agrees(text: str, quantity: Record, language: str) -> bool:
    """Tell whether a printed number is its quantity at the printed precision."""
    match, unit, value = NUMBER.search(text), quantity["unit"], quantity["value"]
    has_percent = "%" in text
    if match is None or has_percent != (unit in ("share", "probability")):
        return False
    mark = "," if language.startswith("de") else "."
    whole, _, decimals = match["digits"].partition(mark)
    printed = Decimal(f"{re.sub(r'[^0-9]', '', whole)}.{decimals or 0}")
    step = Decimal(1).scaleb(-len(decimals))
    if match["exponent"]:
        power = int(match["exponent"].split("10")[1].translate(SUPERSCRIPTS))
        printed, step = printed.scaleb(power), step.scaleb(power)
    elif unit == "activation" and not decimals:  # four significant digits
        step = Decimal(1).scaleb(max(0, len(re.sub(r"\D", "", whole)) - 4))
    exact, plain = abs(Decimal(value)) * (100 if has_percent else 1), text.replace("\u00a0", " ")
    if match["sign"] and (match["sign"] == "+") != (value > 0):
        return False
    if BELOW.match(plain):
        return 0 < exact < printed
    if ABOVE.match(plain):
        return exact > printed
    is_zero = printed == 0
    return abs(exact - printed) <= step / 2 + Decimal("1e-6") and (not is_zero or exact <= Decimal("1e-10"))


def pieces_of(narrative: Record) -> Iterator[Record]:
    """List the pieces of all sentences and tables of a narrative."""
    statements = [narrative["headline"], *(s for p in narrative["paragraphs"] for s in p["statements"])]
    yield from (piece for statement in statements for piece in statement["pieces"])
    for table in (paragraph["table"] for paragraph in narrative["paragraphs"] if paragraph["table"]):
        yield from (piece for row in table["rows"] for cell in row for piece in cell)


def faults_of(narrative: Record, values: Values, counts: Counter[str]) -> list[str]:
    """Compare the numbers of one narrative; adds to the counts by quantity."""
    faults, seen = [], Counter[tuple[str, ...]]()
    for piece in pieces_of(narrative):
        quantity = piece["quantity"]
        if quantity is None:
            if piece["kind"] == "text" and re.search(r"\d", piece["text"]):
                faults.append(f"{piece['text']!r} holds a digit that belongs to nothing")
            continue
        counts[quantity["name"]] += 1
        seen[(quantity["name"], *quantity["of"])] += quantity["unit"] != "count"
        value = values.of(quantity["name"], quantity["of"])
        is_equal = math.isclose(value, quantity["value"], rel_tol=1e-12, abs_tol=1e-12)
        if not is_equal or not agrees(piece["text"], quantity, narrative["language"]):
            faults.append(f"{piece['text']!r} stands for {quantity}, which is {value!r}")
    return faults + [f"{key} is printed {number} times" for key, number in seen.items() if number > 1]


def check(folder: Path) -> int:
    """Check one atlas folder, print the counts, and return the number of faults."""
    atlas = read_atlas(folder / "atlas.h5") if (folder / "atlas.h5").exists() else None
    counts, narratives, faults = Counter[str](), Counter[str](), list[str]()
    paths = sorted((folder / "explanations").glob("*.json"))
    names = read_names(folder / "names.jsonl")
    for path in paths:
        explanation = json.loads(path.read_text(encoding="utf-8"))
        for target in explanation["targets"]:
            values = Values(explanation, target, atlas, names)
            for narrative in target["narratives"]:
                narratives[f"{narrative['audience']}, {narrative['language']}, {narrative['planner']}"] += 1
                faults += [f"{path.name}: {fault}" for fault in faults_of(narrative, values, counts)]
    print(f"{len(paths)} photos, {narratives.total()} narratives: {dict(narratives)}")
    print(f"{counts.total()} numbers: {dict(counts.most_common())}")
    print(f"{len(faults)} numbers that differ from the record", *faults[:20], sep="\n  ")
    return len(faults) if counts else 1


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="output folder of a finished atlas")
    return 1 if check(parser.parse_args().folder) else 0


if __name__ == "__main__":
    sys.exit(main())
