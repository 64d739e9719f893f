"""Further words for the parts of the built-in world, from WordNet, for a person to check.

``python -m benchmarks.part_synonyms --wordnet /usr/share/wordnet`` (WordNet 3.0's database files, ``data.noun`` and
``index.noun``; the Debian package is ``wordnet-base``) prints for every part the senses of its noun with their synonyms
and the nouns directly beneath. What was taken into ``PART_WORDS`` (precompute/world/parts.py) is the sense that the
drawing shows, without words that name another part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from precompute.world.parts import PART_NAMES, PART_WORDS

SINGULAR = {"battlements": "battlement", "spots": "spot", "stripes": "stripe"}


class WordNet:
    """The nouns of WordNet's database files.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        index = (folder / "index.noun").read_text(encoding="utf-8").splitlines()
        self._senses: dict[str, list[str]] = {}
        for line in index:
            if not line.startswith(" "):
                fields = line.split()
                self._senses[fields[0]] = fields[-int(fields[2]) :]
        data = (folder / "data.noun").read_text(encoding="utf-8").splitlines()
        self._sets = {line[:8]: line for line in data if not line.startswith(" ")}

    def senses(self, word: str) -> list[tuple[list[str], list[str], str]]:
        """List synonyms, the synonyms of the sets directly beneath, and the gloss of each sense."""
        found = []
        for offset in self._senses.get(word, []):
            words, pointers, gloss = self._read(offset)
            below = [word for symbol, target in pointers if symbol == "~" for word in self._read(target)[0]]
            found.append((words, below, gloss))
        return found

    def _read(self, offset: str) -> tuple[list[str], list[tuple[str, str]], str]:
        head, _, gloss = self._sets[offset].partition(" | ")
        fields = head.split()
        n_words = int(fields[3], 16)
        words = [fields[4 + 2 * index].replace("_", " ").lower() for index in range(n_words)]
        rest = fields[5 + 2 * n_words :]
        pointers = [(rest[start], rest[start + 1]) for start in range(0, len(rest) - 3, 4) if rest[start + 2] == "n"]
        return words, pointers, gloss.split(";")[0]


def main() -> None:
    """Print the candidates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, required=True)
    wordnet = WordNet(parser.parse_args().wordnet)
    for part in PART_NAMES:
        print(f"{part}: taken {', '.join(PART_WORDS.get(part, ())) or 'nothing'}")
        for words, below, gloss in wordnet.senses(SINGULAR.get(part, part)):
            print(f"    {', '.join(words)} [{', '.join(below[:40])}] {gloss}")


if __name__ == "__main__":
    main()
