"""How the texts of a finished atlas read: length, reading ease, and how much their sentences vary.

Run from the repository: ``python -m benchmarks.narrative_style --folder data/world``. Of each audience and language it
prints the number of texts, the median, least and most words, the median reading ease (Flesch's formula, for German
Amstad's constants; syllables as Pyphen hyphenates), the words of a sentence, and how many different openings (first
three words) the sentences have.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyphen

Record = dict[str, Any]
CONSTANTS = {"en": (206.835, 1.015, 84.6), "de": (180.0, 1.0, 58.5)}
"""Of the reading ease: a constant, and the weights of words a sentence and of syllables a word."""


def reading_ease(sentences: list[str], language: str) -> float:
    """Compute the reading ease of a text; 100 is very easy, 30 very difficult."""
    words = [word.strip(".,:;()“”„") for sentence in sentences for word in sentence.split()]
    words = [word for word in words if word]
    hyphens = pyphen.Pyphen(lang={"en": "en_US", "de": "de_DE"}[language])
    n_syllables = sum(len(hyphens.positions(word)) + 1 for word in words)
    base, per_sentence, per_word = CONSTANTS[language]
    return base - per_sentence * len(words) / len(sentences) - per_word * n_syllables / len(words)


def sentences_of(narrative: Record) -> list[str]:
    """List the sentences of a narrative, the headline first."""
    statements = [narrative["headline"], *(s for p in narrative["paragraphs"] for s in p["statements"])]
    return ["".join(piece["text"] for piece in statement["pieces"]) for statement in statements]


def row_of(texts: Iterable[list[str]], language: str) -> dict[str, float]:
    """Measure texts of one audience, each a list of sentences."""
    texts = list(texts)
    words = [sum(len(sentence.split()) for sentence in text) for text in texts]
    sentences = [sentence for text in texts for sentence in text]
    openings = {" ".join(sentence.split()[:3]) for sentence in sentences}
    return {
        "texts": len(texts),
        "words, median": statistics.median(words),
        "least": min(words),
        "most": max(words),
        "reading ease": round(statistics.median(reading_ease(text, language) for text in texts), 1),
        "words a sentence": round(sum(words) / len(sentences), 1),
        "openings": len(openings),
        "of sentences": len(sentences),
    }


def main() -> None:
    """Measure every audience and language of one atlas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="output folder of a finished atlas")
    groups = defaultdict[tuple[str, str], list[list[str]]](list)
    for path in sorted((parser.parse_args().folder / "explanations").glob("*.json")):
        for target in json.loads(path.read_text(encoding="utf-8"))["targets"]:
            for narrative in target["narratives"]:
                groups[narrative["audience"], narrative["language"]].append(sentences_of(narrative))
    for (audience, language), texts in sorted(groups.items()):
        print(audience, language, row_of(texts, language))


if __name__ == "__main__":
    main()
