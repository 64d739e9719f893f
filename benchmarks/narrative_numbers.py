"""Check every number in every narrative of a finished atlas against its record.

Run from the repository: ``python -m benchmarks.narrative_numbers --folder data/imagenet-sample``. It rests on the JSON
files alone: each template is cut at its placeholders, the numbers are read out of the printed text between them, and
each is compared with the value computed here from the record. Nothing of the program that wrote the text is used.
Exits 1 where a number differs, or where a text holds a number that no placeholder stands for.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

PLACEHOLDER = re.compile(r"\{([a-z_]+)(?::([CL][0-9.]+))?\}")
NUMBER = re.compile(r"(?P<bound>[<>]\s)?(?P<sign>[+\u2212-])?(?P<digits>[0-9]+(?:[.,][0-9]+)?)(?P<percent>\s%)?")
WORDS = {"class", "runner_up", "name", "layer", "place"}
COUNTS = {"channel", "rank", "n_channels", "n_concepts", "n_others", "n_carrying"}
DECIMALS = {"logit", "relevance", "relevance_sum", "activation"}
Record = dict[str, Any]


class Values:
    """The values of one target's placeholders, from its record and the names.

    Parameters
    ----------
    explanation, target : dict
        As in the JSON file.
    names : mapping of concept key to dict
    """

    def __init__(self, explanation: Record, target: Record, names: dict[str, Record]) -> None:
        self._target, self._names = target, names
        others = [p for p in explanation["predictions"] if p["class_index"] != target["class_index"]]
        self._rival = max(others, key=lambda p: (p["probability"], -p["class_index"]), default=None)
        rival_index = self._rival["class_index"] if self._rival else None
        self._rival_target = next((t for t in explanation["targets"] if t["class_index"] == rival_index), None)
        self._layers = {f"L{number}": layer for number, layer in enumerate(target["layers"], start=1)}
        shown = [c for layer in target["layers"] for c in sorted(layer["concepts"], key=lambda c: int(c["rank"]))]
        self._concepts = {f"C{number}": concept for number, concept in enumerate(shown, start=1)}

    def of(self, field: str, key: str) -> float | None:
        """Return the value of a numeric placeholder, None where the record has none."""
        if key.startswith("L"):
            return self._of_layer(field, self._layers[key])
        if key.startswith("C"):
            return self._of_sub_concept(field, key) if "." in key else self._of_concept(field, self._concepts[key])
        rival = self._rival["probability"] if self._rival else None
        values: Record = {"probability": self._target["probability"], "logit": self._target["logit"]}
        return _number(values | {"runner_up_probability": rival}, field)

    def _of_layer(self, field: str, layer: Record) -> float:
        sign = 1 if self._target["logit"] >= 0 else -1
        coverage = sum(abs(concept["share"]) for concept in layer["concepts"])
        carrying = sum(share != 0 for share in layer["shares"]) - sum(c["share"] != 0 for c in layer["concepts"])
        n_channels, n_concepts = len(layer["shares"]), len(layer["concepts"])
        values = {
            "coverage": coverage,
            "uncovered": max(0.0, 1 - coverage),
            "supporting": sum(abs(share) for share in layer["shares"] if share * sign > 0),
            "opposing": sum(abs(share) for share in layer["shares"] if share * sign < 0),
            "relevance_sum": layer["relevance_sum"],
            "n_channels": n_channels,
            "n_concepts": n_concepts,
            "n_others": n_channels - n_concepts,
            "n_carrying": carrying,
        }
        return float(values[field])

    def _of_concept(self, field: str, concept: Record) -> float | None:
        layer, channel = concept["concept"].rsplit(":", 1)
        share = next(each for each in self._target["layers"] if each["layer"] == layer)["shares"][int(channel)]
        if abs(share - concept["share"]) > 1e-12:
            raise ValueError(f"{concept['concept']}: its share differs from the layer's list")
        values = {
            "channel": int(channel),
            "rank": concept["rank"],
            "share": share,
            "magnitude": abs(share),
            "relevance": concept["relevance"],
            "activation": concept["activation"],
            "area": concept["place"]["area"],
            "runner_up_share": self._rival_share(layer, int(channel)),
            "confidence": self._names.get(concept["concept"], {}).get("confidence"),
        }
        return _number(values, field)

    def _of_sub_concept(self, field: str, key: str) -> float | None:
        parent, _, number = key.partition(".")
        below = sorted(self._concepts[parent]["sub_concepts"], key=lambda sub: (-abs(sub["share"]), sub["concept"]))
        sub = below[int(number) - 1]
        layer, channel = sub["concept"].rsplit(":", 1)
        before = [each for each in below[: int(number) - 1] if each["concept"].rsplit(":", 1)[0] == layer]
        values = {
            "channel": int(channel),
            "rank": len(before),
            "share": sub["share"],
            "magnitude": abs(sub["share"]),
            "confidence": self._names.get(sub["concept"], {}).get("confidence"),
        }
        return _number(values, field)

    def _rival_share(self, layer: str, channel: int) -> float | None:
        found = [each for each in (self._rival_target or {"layers": []})["layers"] if each["layer"] == layer]
        return found[0]["shares"][channel] if found else None


def _number(values: Record, field: str) -> float | None:
    """Look a value up; an unknown field is a fault of the narrative and raises KeyError."""
    return None if values[field] is None else float(values[field])


def agrees(match: re.Match[str], field: str, value: float) -> bool:
    """Tell whether a printed number is the value at the printed precision."""
    digits = match["digits"].replace(",", ".")
    printed = Decimal(digits) * (-1 if match["sign"] in ("\u2212", "-") else 1)
    if bool(match["percent"]) != (field not in COUNTS | DECIMALS):
        return False
    exact = Decimal(value) * (100 if match["percent"] else 1)
    if match["bound"]:
        return (exact < printed) if match["bound"][0] == "<" else (exact > printed)
    step = Decimal(1).scaleb(-len(digits.partition(".")[2])) if "." in digits else Decimal(0)
    if field in COUNTS:
        return exact == printed
    noise = Decimal("1e-6")  # of sums of shares: 0 and 100 % are printed without decimals, for exact values
    return abs(exact - printed) <= step / 2 + noise and (printed == 0 or (exact > 0) == (printed > 0))


def faults_of(statement: Record, values: Values, counts: Counter[str]) -> list[str]:
    """Compare the numbers of one statement; adds to the counts by field."""
    template, text = statement["template"].strip(), statement["text"]
    parts = [part for part in re.split(r"(\{[^{}]*\})", template) if part]
    pattern = "".join(_piece(part) for part in parts)
    found = re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL)
    if not found:
        return [f"{text!r} was not made from {template!r}"]
    numeric = [m for m in PLACEHOLDER.finditer(template) if m[1] not in WORDS]
    faults = [f"{part!r} holds a digit" for part in parts if part[0] != "{" and re.search(r"\d", part)]
    for placeholder, piece in zip(numeric, found.groups(), strict=True):
        field, value = placeholder[1], values.of(placeholder[1], placeholder[2] or "")
        match = NUMBER.fullmatch(piece)
        counts[field] += 1
        if match is None or value is None or not agrees(match, field, value):
            faults.append(f"{piece!r} in {text!r}: {placeholder[0]} is {value!r}")
    return faults


def _piece(part: str) -> str:
    placeholder = PLACEHOLDER.fullmatch(part)
    if placeholder is None:
        return re.escape(part)
    return r".+?" if placeholder[1] in WORDS else r"((?:[<>]\s)?[+\u2212-]?[0-9]+(?:[.,][0-9]+)?(?:\s%)?)"


def check(folder: Path) -> int:
    """Check one atlas folder, print the counts, and return the number of faults."""
    lines = (
        (folder / "names.jsonl").read_text(encoding="utf-8").split("\n") if (folder / "names.jsonl").exists() else []
    )
    names = {name["concept"]: name for name in map(json.loads, filter(None, lines))}
    counts, narratives, faults = Counter[str](), Counter[str](), list[str]()
    paths = sorted((folder / "explanations").glob("*.json"))
    for path in paths:
        explanation = json.loads(path.read_text(encoding="utf-8"))
        for target in explanation["targets"]:
            values = Values(explanation, target, names)
            for narrative in target["narratives"]:
                narratives[f"{narrative['audience']}, {narrative['author']}"] += 1
                for statement in narrative["statements"]:
                    faults += [f"{path.name}: {fault}" for fault in faults_of(statement, values, counts)]
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
