"""Derive the table of related visual words from WordNet 3.0: `sitegen/data/related_words.tsv`.

    python docs/derive_related_words.py /usr/share/wordnet

The folder is that of Debian's package ``wordnet-base``. Taken are nouns of things that can be seen (artefacts, animals,
bodies, food, plants, shapes, substances, natural objects) that are common enough to be counted in WordNet's corpora or
occur in the names of ImageNet's classes or in the names that ship with the project, and adjectives of colour, shape,
size and surface. What WordNet does not relate, as a tyre to a wheel, is added by hand (`BESIDE`). A word's related
words are what a person might type who looks for it: synonyms, broader words for one or two steps, narrower ones, the
wholes that it is a part of and its parts.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "sitegen/data/related_words.tsv"
TEXTS = (ROOT / "precompute/images/imagenet_classes.tsv", ROOT / "precompute/naming/recorded_names.jsonl")
BESIDE = {
    "wheel": "tyre tire rim hub spoke", "spoke": "wheel", "badge": "emblem logo sticker stamp seal sign insignia",
    "stamp": "badge emblem logo seal watermark", "striped": "stripes stripy bands banded lines",
    "banded": "striped stripes bands", "line": "stripe streak edge", "wavy": "wave waves curly rippled undulating",
    "round": "circle circular disc disk ball ring sphere", "ring": "circle hoop loop round", "disc": "disk circle",
    "pointed": "sharp spiky tip triangle", "hull": "ship boat vessel keel side", "sail": "boat ship",
    "mast": "pole boat ship sail", "lamp": "light headlight lantern bulb", "headlamp": "headlight light lamp",
    "beak": "bill mouth bird", "feeler": "antenna antennae insect", "pupil": "eye", "petal": "flower blossom bloom",
    "spot": "dot dots speckle polka", "spotted": "dotted dots spots speckled", "sky": "air heaven clouds background",
    "ground": "floor earth grass soil land background", "badges": "logos", "smokestack": "chimney funnel pipe",
    "chimney": "smokestack funnel pipe", "roof": "tiles shingles house top", "fin": "wing flipper tail fish",
    "fence": "posts railing gate", "trunk": "tree bark wood log", "crown": "treetop foliage top", "knob": "handle",
    "door": "gate entrance", "star": "asterisk pentagram", "text": "letters writing caption words",
    "letter": "text writing characters", "fur": "hair hairy furry coat", "furry": "hairy fur fluffy",
}  # fmt: skip
"""Related words that WordNet lacks."""

VISUAL = {5, 6, 8, 13, 17, 18, 20, 25, 27}
"""Numbers of WordNet's files of nouns: animal, artifact, body, food, object, person, plant, shape, substance."""
SEEN = {"shape", "form", "color", "colour", "colouring", "coloring", "size", "texture", "width", "length", "height",
        "thickness", "luminosity", "lightness", "curvature", "roundness", "straightness", "smoothness", "pattern",
        "angularity", "sharpness", "chromaticity", "hue", "transparency", "fullness", "brightness"}  # fmt: skip
"""Attributes that an adjective must be of."""
TOO_BROAD = frozenset(
    re.findall(
        r"\w+",
        "abstraction amount animal appliance area artefact article artifact assistance being body causal "
        "cause chordate commodity component constituent construction container covering craniate creation "
        "creature device element entity equipment fixture food form good goods group human implement "
        "individual instrument instrumentality instrumentation item line link location mammal material matter "
        "mechanism member mortal nutrient object organism part person physical piece place placental point "
        "portion product region section segment somebody someone soul space structure stuff substance support "
        "system thing tool unit vertebrate way whole work worker",
    )
)
N_SENSES, N_RELATED = 2, 26
LIMIT = 500_000
_WORD = re.compile(r"[a-z]{3,14}")


class Synset(NamedTuple):
    """One meaning: its file, its single words and where its pointers lead, by kind."""

    file: int
    words: tuple[str, ...]
    pointers: dict[str, list[tuple[str, int]]]


def read_synsets(path: Path) -> dict[int, Synset]:
    """Read ``data.noun`` or ``data.adj``, by byte offset."""
    found = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):
            continue
        parts = line.partition(" | ")[0].split()
        n_words = int(parts[3], 16)
        words = [parts[4 + 2 * i].split("(")[0].lower() for i in range(n_words)]
        rest = parts[4 + 2 * n_words :]
        pointers: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for i in range(int(rest[0])):
            kind, offset, part, _ = rest[1 + 4 * i : 5 + 4 * i]
            pointers[kind].append((part, int(offset)))
        found[int(parts[0])] = Synset(int(parts[1]), tuple(w for w in words if _WORD.fullmatch(w)), pointers)
    return found


def read_senses(path: Path) -> Iterator[tuple[str, bool, list[int]]]:
    """Read ``index.noun`` or ``index.adj``: word, whether it was met in a corpus, its senses, the commonest first."""
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith("  "):
            parts = line.split()
            n_senses, n_pointers = int(parts[2]), int(parts[3])
            yield parts[0], int(parts[5 + n_pointers]) > 0, [int(x) for x in parts[6 + n_pointers :][:n_senses]]


def related_nouns(folder: Path, wanted: set[str]) -> dict[str, list[str]]:
    """Relate the nouns."""
    synsets = read_synsets(folder / "data.noun")
    found = {}
    for word, is_common, senses in read_senses(folder / "index.noun"):
        if not _WORD.fullmatch(word) or not (is_common or word in wanted):
            continue
        near: list[str] = []
        visual = [offset for offset in senses[: N_SENSES + 1] if synsets[offset].file in VISUAL][:N_SENSES]
        for kinds in ((), ("@",), ("%p",), ("#p",), ("~",), ("@", "@")):
            for offset in visual:
                near += reached(synsets, offset, kinds)
        kept = [other for other in dict.fromkeys(near) if other != word and other not in TOO_BROAD]
        if kept:
            found[word] = kept[:N_RELATED]
    return found


def reached(synsets: dict[int, Synset], offset: int, kinds: tuple[str, ...]) -> list[str]:
    """List the words that one kind of pointer after another leads to."""
    offsets = [offset]
    for kind in kinds:
        offsets = [to for at in offsets for part, to in synsets[at].pointers.get(kind, []) if part == "n"]
    return [word for at in offsets for word in synsets[at].words]


def related_adjectives(folder: Path) -> dict[str, list[str]]:
    """Relate the adjectives of what can be seen: synonyms, and those of the same cluster."""
    nouns, synsets = read_synsets(folder / "data.noun"), read_synsets(folder / "data.adj")

    def is_seen(synset: Synset) -> bool:
        return any(SEEN & set(nouns[to].words) for part, to in synset.pointers.get("=", []) if part == "n")

    heads = {offset for offset, synset in synsets.items() if is_seen(synset)}
    found: dict[str, list[str]] = {}
    known = {word: (is_common, senses) for word, is_common, senses in read_senses(folder / "index.adj")}
    for word, (_, senses) in known.items():
        near: list[str] = []
        for offset in senses[:N_SENSES]:
            similar = [to for _, to in synsets[offset].pointers.get("&", [])]
            if offset in heads or heads & set(similar):
                near += synsets[offset].words
                near += [other for to in similar for other in synsets[to].words]
        kept = [other for other in dict.fromkeys(near) if other != word and known.get(other, (False, []))[0]]
        if kept and _WORD.fullmatch(word):
            found[word] = kept[:N_RELATED]
    return found


def main() -> None:
    """Write the table."""
    folder = Path(sys.argv[1])
    wanted = {word for path in TEXTS for word in _WORD.findall(path.read_text(encoding="utf-8").lower())}
    nouns, adjectives = related_nouns(folder, wanted), related_adjectives(folder)
    beside = {word: near.split() for word, near in BESIDE.items()}
    table = {
        word: [near for of in (beside, adjectives, nouns) for near in of.get(word, [])]
        for word in sorted({*nouns, *adjectives, *beside})
    }
    text = "".join(f"{word}\t{' '.join(list(dict.fromkeys(near))[:N_RELATED])}\n" for word, near in table.items())
    if len(text) > LIMIT:
        sys.exit(f"the table has {len(text):,} bytes, expected at most {LIMIT:,}: lower N_RELATED")
    TABLE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{TABLE.relative_to(ROOT)}: {len(table):,} words, {len(text):,} bytes\n")


if __name__ == "__main__":
    main()
