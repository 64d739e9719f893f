"""What the test server answers: plausible replies for each task, and each of them spoiled in every way."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any

FAULTS = (
    "429",
    "500",
    "503",
    "hang",
    "cut",
    "invalid_json",
    "truncated_json",
    "wrong_schema",
    "refusal",
    "wrong_ids",
    "wrong_numbers",
    "html",
    "megabyte",
)
"""In a script or with a rate. `cut` breaks the connection in the middle of the body; `invalid_json`, `truncated_json`,
`wrong_schema`, `wrong_ids` and `wrong_numbers` are whole answers of HTTP with a bad text of the model in them."""

Answer = Callable[[dict[str, Any]], Any]

_WORDS = (
    "round",
    "curved",
    "striped",
    "dotted",
    "shiny",
    "narrow",
    "broad",
    "dark",
    "pale",
    "rough",
    "smooth",
    "woven",
)
_NOUNS = ("edge", "stripe", "rim", "fur", "leaf", "sky", "water", "window", "corner", "arch", "fabric", "wire", "sand")


def sha256(value: Any) -> str:
    """Digest a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def pictures(body: Mapping[str, Any]) -> list[str]:
    """Collect the data URLs of a chat completion request."""
    found = []
    for message in body["messages"]:
        if isinstance(message["content"], list):
            found += [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    return found


def texts(body: Mapping[str, Any]) -> list[str]:
    """Collect the texts of a chat completion request."""
    found = []
    for message in body["messages"]:
        parts = message["content"]
        found += [parts] if isinstance(parts, str) else [part["text"] for part in parts if part["type"] == "text"]
    return found


def task_of(body: Mapping[str, Any]) -> str:
    """Tell the task by the schema's name, or by the schema's keys in the prompt."""
    schema = body.get("response_format", {}).get("json_schema")
    if schema:
        return str(schema["name"])
    text = "\n".join(texts(body))
    for word, task in (("left_out", "planning"), ("says_more", "own_words_check"), ("sentences", "own_words")):
        if f'"{word}"' in text:
            return task
    if '"row"' in text and '"differences"' not in text:
        return "choosing"
    return "naming" if '"second_name"' in text else "scoring" if '"probability"' in text else "unknown"


def plausible_answer(body: dict[str, Any]) -> Any:
    """Answer as an obedient model that sees nothing: a name, a probability or a plan, from the request's digest."""
    if task_of(body) == "planning":
        return plausible_plan(texts(body))
    if task_of(body) == "own_words":
        return plausible_sentences(texts(body))
    if task_of(body) == "own_words_check":
        return {"reasoning": "", "says_more": False, "what": ""}
    rng = random.Random(sha256(pictures(body)))
    if task_of(body) == "scoring":
        numbers = sorted({int(n) for n in re.findall(r"\btiles? (?:0 to )?(\d+)", "\n".join(texts(body)))} or {0})
        return {"tiles": [{"number": n, "probability": rng.random()} for n in range(max(numbers) + 1)]}
    if task_of(body) in ("choosing", "telling_apart"):
        return _about_rows(body, rng)
    word, noun = rng.choice(_WORDS), rng.choice(_NOUNS)
    local = {"local_name": f"{word}es Ding", "local_second_name": ""} if _asks_for("local_name", body) else {}
    return {
        "name": f"{word} {noun}",
        "description": f"A {word} {noun} fills most of the crops.",
        "kind": rng.choice(("object", "part", "texture", "colour", "scene")),
        "common": f"Every crop shows a {word} {noun}.",
        "outliers": [],
        "confidence": round(rng.random(), 2),
        "second_name": "",
        **local,
    }


def _about_rows(body: dict[str, Any], rng: random.Random) -> Any:
    asked = "\n".join(texts(body))
    if task_of(body) == "choosing":
        return {"row": rng.randrange(int(re.search(r"sheet has (\d+) rows", asked)[1]))}
    name, n_rows = re.search(r'The name: "(.*)"\. The sheet has (\d+) rows', asked).groups()
    return {"differences": "None.", "names": [{"row": row, "name": name} for row in range(int(n_rows))]}


def _asks_for(field: str, body: Mapping[str, Any]) -> bool:
    return f"`{field}` (" in "\n".join(texts(body))


def plausible_plan(asked: list[str]) -> Any:
    """Plan as a model that reads the codes alone: what must be told, and some of the rest, in any order."""
    facts = re.findall(r"^- ([a-z]{3})( \(must be told\))?: ", "\n".join(asked), re.MULTILINE)
    rng = random.Random(sha256(asked))
    chosen = [code for code, must in facts if must or rng.random() < 0.3]
    sentences = [{"facts": [code], "relation": rng.choice(("also", "but", "same"))} for code in chosen]
    middle = len(sentences) // 2
    return {
        "reasoning": "First what must be told.",
        "headline": sentences[0],
        "paragraphs": [{"sentences": sentences[1:middle]}, {"sentences": sentences[middle:]}],
        "left_out": [code for code, _ in facts if code not in chosen],
    }


def plausible_sentences(asked: list[str]) -> Any:
    """Write one sentence for each of the first facts that have a value."""
    facts = re.findall(r"^- ([a-z]{3}): .*; values (\{[^}]*\})", "\n".join(asked), re.MULTILINE)
    sentences = [{"text": f"Of note is {value}.", "facts": [code]} for code, value in facts[:4]]
    return {"reasoning": "", "sentences": sentences}


def spoiled(answer: Any, fault: str) -> str:
    """Write an answer as the given fault of the model."""
    text = json.dumps(answer)
    if fault == "invalid_json":
        return "Sure! Here is what I see: " + text.replace('"', "'")
    if fault == "truncated_json":
        return text[: max(len(text) * 2 // 3, 1)]
    if fault == "wrong_schema":
        return json.dumps({"label": "something", "score": "high"})
    if fault == "wrong_ids":
        return json.dumps(_replaced(answer, ids=True))
    if fault == "wrong_numbers":
        return json.dumps(_replaced(answer, ids=False))
    return text


def _replaced(value: Any, *, ids: bool) -> Any:
    if isinstance(value, dict):
        unknown = {"outliers": [9999], "facts": ["zzzz"]} if ids else {}
        return {key: unknown.get(key, _replaced(v, ids=ids)) for key, v in value.items()}
    if isinstance(value, list):
        return [_replaced(v, ids=ids) for v in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 9999 if ids == isinstance(value, int) else value
    return value
