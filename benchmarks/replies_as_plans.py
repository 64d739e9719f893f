"""Turn what a real model once wrote freely into plans, by the kinds of its statements and what they cite.

Run from the repository: ``python -m benchmarks.replies_as_plans``. The replies (``../shared/data/real-replies``) are of
an earlier prompt, under which a model wrote sentences with placeholders, each with a kind and the concepts cited; 9 of
its 22 narratives passed the checks of that time at the first try. Here each table is rebuilt from its request, its
facts are derived, and the first reply becomes a plan: the same things, told in the same order. Prints how many plans
are realised at the first try, and how many statements have a fact that says the same.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from precompute.explanations.prediction import build_prediction
from precompute.narratives.audiences import find_audience
from precompute.narratives.facts import derive_facts
from precompute.narratives.planner import Commission
from precompute.narratives.wording import find_wording
from precompute.records import (
    Box,
    ConceptAttribution,
    ConceptName,
    Explanation,
    LayerExplanation,
    Place,
    Prediction,
    TargetExplanation,
)

REPLIES = Path(__file__).parents[2] / "shared/data/real-replies/explaining.jsonl"
_PLACES = {
    "in the upper left": "upper left", "in the upper centre": "upper centre", "in the upper right": "upper right",
    "left of the centre": "centre left", "in the centre": "centre", "right of the centre": "centre right",
    "in the lower left": "lower left", "in the lower centre": "lower centre", "in the lower right": "lower right",
    "over the whole photo": "across the whole image",
}  # fmt: skip
_KINDS = {
    "uncertainty": ("decision",),
    "coverage": ("coverage",),
    "not_used": ("coverage",),
    "conservation": ("layer_sum",),
    "dominance": ("dominance", "lead"),
    "caveat": ("mark", "mixed_name", "names", "method"),
    "contrast": ("contrast", "shared", "runner_up"),
    "contribution": ("mark", "lead", "supports"),
    "observation": ("mark", "lead", "supports", "opposes"),
    "comparison": ("lead", "supports", "opposes"),
    "location": ("lead", "supports", "opposes"),
    "opposition": ("lead", "opposes"),
}
"""Kinds of fact that say what a statement of one kind said, the nearest first."""


def read_replies() -> Iterator[tuple[Commission, str, set[str]]]:
    """Yield, for each narrative, what it is worded from, the reply as a plan, and the facts that the plan names."""
    for line in REPLIES.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if not record["repeat"]:
            asked = commission_of(record)
            sentences = [facts_of(statement, asked) for statement in json.loads(record["reply"])["statements"]]
            codes = {fact.id: code for code, fact in asked.menu().items()}
            told = [facts for facts in sentences if facts]
            yield asked, _plan(told, codes), {fact for facts in told for fact in facts}


def _plan(told: list[list[str]], codes: dict[str, str]) -> str:
    def sentence(facts: list[str]) -> dict[str, Any]:
        return {"facts": [codes[fact] for fact in facts], "relation": "also"}

    plan = {"reasoning": "", "headline": sentence(["decision"]), "left_out": []}
    body = [sentence(facts) for facts in told if facts != ["decision"]]
    return json.dumps({**plan, "paragraphs": [{"sentences": body}]})


def facts_of(statement: dict[str, Any], asked: Commission) -> list[str]:
    """List the ids of the facts that say what a statement said."""
    menu = {fact.id: fact for fact in asked.menu().values()}
    keys = {row.id: row.key for row in asked.table.rows()}
    kinds = _KINDS[statement["kind"]]
    if not statement["cites"]:
        found = [fact.id for kind in kinds for fact in menu.values() if fact.kind == kind and len(fact.concepts) == 0]
        return found[:1]
    facts = []
    for cited in statement["cites"]:
        about = [
            fact.id for kind in kinds for fact in menu.values() if fact.kind == kind and keys[cited] in fact.concepts
        ]
        facts += about[:1]
    return facts


def commission_of(record: dict[str, Any]) -> Commission:
    """Rebuild the table of a request; shares that it did not hold are spread over the other channels."""
    explanation, names = _explanation(record["user"])
    table = build_prediction(explanation, explanation.targets[0], names)
    audience = find_audience(record["audience"])
    wording = find_wording("en", audience.name, audience.decimals)
    return Commission(table, derive_facts(table), audience, wording)


def _explanation(user: str) -> tuple[Explanation, dict[str, ConceptName]]:
    head = dict(re.findall(r"^- \{(\w+)\} = (.*)$", user, re.MULTILINE))
    layer = dict(re.findall(r"\{(\w+):L1\} = ([^;]+);", user))
    rows = [_row(line) for line in user.splitlines() if re.match(r"- C\d+,", line)]
    n_channels = int(layer["n_channels"])
    shares = [0.0] * n_channels
    for row in rows:
        shares[int(row["channel"])] = _number(row["share"])
    others = [index for index, share in enumerate(shares) if not share][: int(layer["n_carrying"])]
    rest = 1 - sum(map(abs, shares))
    for index in others:
        shares[index] = rest / len(others)
    key = {row["id"]: f"{layer['layer']}:{row['channel']}" for row in rows}
    concepts = tuple(
        ConceptAttribution(
            key[row["id"]],
            int(row["rank"]),
            _number(row["share"]),
            _number(row["relevance"]),
            _number(row["activation"]),
            Place(Box(0, 0, 8, 8), 0.5, 0.5, _number(row["area"]), _PLACES[row["place"]]),
            "h.png",
            1.0,
            "o.webp",
        )
        for row in rows
    )
    explained = LayerExplanation(
        layer["layer"], tuple(shares), _number(layer["relevance_sum"]), 1.0, _number(layer["coverage"]), concepts
    )
    probability, target = _number(head["probability"]), head["class"].strip("“”")
    predictions = (Prediction(0, target, probability),)
    if "runner_up" in head:
        second = Prediction(1, head["runner_up"].strip("“”"), _number(head["runner_up_probability"]))
        predictions = (*predictions, second)
    made = TargetExplanation(0, target, probability, _number(head["logit"]), (explained,))
    explanation = Explanation("real", "a.png", "d", "photo.webp", 8, 8, "", predictions, (made,))
    names = {
        key[row["id"]]: ConceptName(key[row["id"]], row["title"], "", "llm:claude", row["kind"], 0.5) for row in rows
    }
    return explanation, names


def _row(line: str) -> dict[str, str]:
    found = dict(re.findall(r"\{(\w+):C\d+\} = ([^;]+);", line))
    title = re.search(r"“([^”]*)”", found["name"])
    kind = re.search(r"kind (\w+)", line)
    return {
        **found,
        "id": line[2:].partition(",")[0],
        "title": title[1] if title else "unnamed",
        "kind": kind[1] if kind else "other",
    }


def _number(text: str) -> float:
    """Read a printed number; a bound counts as its value."""
    plain = text.replace("\u00a0", "").replace("\u2212", "-").replace(" ", "").lstrip("<>")
    return float(plain.rstrip("%")) / (100 if plain.endswith("%") else 1)


def main() -> int:
    """Realise every plan and print the counts."""
    n_realised = n_told = n_planned = 0
    found = list(read_replies())
    for asked, reply, wanted in found:
        narrative = asked.narrate(asked.read(reply), "llm:claude")
        told = {fact for statement in narrative.statements for fact in statement.facts}
        n_realised, n_told, n_planned = n_realised + 1, n_told + len(wanted & told), n_planned + len(wanted)
    print(f"{n_realised} of {len(found)} narratives realised at the first try")
    print(f"{n_told} of {n_planned} facts planned are told; the others stand in a table or gave way for length")
    return 0


if __name__ == "__main__":
    sys.exit(main())
