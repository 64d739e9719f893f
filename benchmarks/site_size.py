"""The site of an atlas of VGG16's size: CPU time, memory, files, bytes; made first, again, with one name corrected.

    python -m benchmarks.site_size                        4,224 concepts, 1,000 classes, 100 explanations
    python -m benchmarks.site_size --fraction 0.05        a twentieth of the channels, to look at it
    python -m benchmarks.site_size --folder build/vgg16   keep the atlas and the site there, and take it where it is

The atlas is made of seeded numbers and drawn scenes: 50,000 samples of which every whole image is another file, 8
reference images for each ranking and concept at 224 px, names of words that people use. Each build is a process of its
own; CPU seconds are user and system, of all its processes together.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from precompute.atlas.hdf5 import write_atlas, write_references
from precompute.atlas.json_records import read_jsonl, write_jsonl
from precompute.images.classes import load_classes
from precompute.records import (
    Atlas,
    Box,
    Concept,
    ConceptName,
    LayerInfo,
    LayerTables,
    RankingTable,
    ReceptiveField,
    Reference,
    SampleTable,
)
from tests.site_fixture import encode, heat, make_explanation, picture, write_explanation

VGG16 = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
N_CLASSES, N_SAMPLES, SIDE, TOP_K, PER_RANKING, N_SCENES = 1000, 50_000, 224, 40, 8, 200
THINGS = re.findall(
    r"\w+",
    "wheel window roof sail hull leaf trunk petal fin eye beak stripes spots feather fur snout paw ear horn tail wing "
    "handle lid spout button zip collar sleeve lace sole blade chain rope net brick tile plank bark moss grass sand "
    "water sky cloud text logo badge lamp lens screen keyboard dial string drum bell plate bowl fork bread fruit berry",
)
LOOKS = re.findall(
    r"\w+",
    "round dark pale striped spotted pointed curved shiny red yellow blue green brown furry wavy ribbed arched",
)
PLACES = ("above water", "beside a window", "on grass", "against sky", "with dark rim", "near the edge", "in a row")


def make_atlas(fraction: float, rng: np.random.Generator) -> Atlas:
    """Make tables of seeded numbers; about a tenth of the channels are silent."""
    tables = {}
    names = load_classes("imagenet").names
    for place, (number, width) in enumerate(zip(NUMBERS, VGG16, strict=True)):
        n = max(2, round(width * fraction))
        means = rng.dirichlet(np.full(n, 0.05), N_CLASSES)
        means[:, rng.random(n) < 0.1] = 0
        tables[f"features.{number}"] = LayerTables(
            info=LayerInfo(f"features.{number}", "Conv2d", n, 14, 14, ReceptiveField(16 + 15 * place, 16, -8)),
            relmax=_ranking(rng, n),
            actmax=_ranking(rng, n),
            class_relevance=means * (N_SAMPLES // N_CLASSES),
            class_activation=rng.normal(1, 2, (N_CLASSES, n)),
            relevance_histogram=rng.poisson(40, (n, 256)),
            activation_histogram=rng.poisson(40, (n, 256)),
        )
    labels = np.arange(N_SAMPLES, dtype=np.int64) % N_CLASSES
    right = rng.random(N_SAMPLES) < 0.7
    return Atlas(
        name="vgg16-size",
        class_names=tuple(names),
        class_counts=np.full(N_CLASSES, N_SAMPLES // N_CLASSES, np.int64),
        samples=SampleTable(
            name=tuple(f"val/{index:08d}.JPEG" for index in range(N_SAMPLES)),
            label=labels,
            prediction=np.where(right, labels, rng.integers(0, N_CLASSES, N_SAMPLES)),
            target=labels,
            probability=rng.uniform(0.2, 1.0, N_SAMPLES),
            skipped={},
        ),
        relevance_edges=np.linspace(-0.5, 0.5, 257),
        activation_edges=np.linspace(-16, 16, 257),
        layers=tables,
        provenance={"config": {"preprocessing": {"crop": SIDE}}},
        scores="layer",
    )


def _ranking(rng: np.random.Generator, n: int) -> RankingTable:
    score = -np.sort(-rng.uniform(0.01, 0.6, (TOP_K, n)), axis=0)
    return RankingTable(rng.integers(0, N_SAMPLES, (TOP_K, n)), score, rng.integers(0, 196, (TOP_K, n)))


def make_references(atlas: Atlas) -> Iterator[Reference]:
    """Cut reference images from a pool of scenes; each sample's whole image is a file of its own."""
    scenes = [picture(seed, SIDE) for seed in range(N_SCENES)]
    whole = [encode(scene, "WEBP") for scene in scenes]
    boxes = (Box(0, 0, SIDE, SIDE), Box(40, 60, 160, 180), Box(100, 0, 220, 110))
    cuts = {}
    for seed, scene in enumerate(scenes):
        for box in boxes:
            crop = scene.crop((box.left, box.top, box.right, box.bottom))
            crop.thumbnail((112, 112))
            grey = heat(seed, *crop.size)
            dimmed = crop.point(lambda value: value // 3)
            cuts[seed, box] = tuple(encode(*item) for item in ((crop, "WEBP"), (dimmed, "WEBP"), (grey, "PNG")))
    for layer, tables in atlas.layers.items():
        for channel in range(tables.info.n_channels):
            for ranking in ("relmax", "actmax"):
                table = tables.ranking(ranking)
                for rank in range(PER_RANKING):
                    sample, score = int(table.sample_index[rank, channel]), float(table.score[rank, channel])
                    seed, box = sample % N_SCENES, boxes[(sample + channel) % len(boxes)]
                    full = whole[seed] + sample.to_bytes(4, "big")  # decoders stop before what is appended
                    yield Reference(
                        Concept(layer, channel), ranking, rank, sample, int(table.neuron[rank, channel]), score, box,
                        full, *cuts[seed, box], 0.25,
                    )  # fmt: skip


def make_names(atlas: Atlas, rng: np.random.Generator) -> Iterator[ConceptName]:
    """Name every concept as real namers do: a few words, a sentence, one in eight mixed."""
    for concept in atlas.concepts():
        look, thing, place = (str(rng.choice(words)) for words in (LOOKS, THINGS, PLACES))
        second = f"{rng.choice(LOOKS)} {rng.choice(THINGS)}" if rng.random() < 0.12 else ""
        kind = "mark" if thing in ("text", "logo", "badge") else str(rng.choice(["part", "object", "texture", "scene"]))
        yield ConceptName(
            concept.key, f"{look} {thing} {place}",
            f"A {look} {thing} is seen {place} in most of the pictures, often with a {rng.choice(LOOKS)} outline "
            f"beside a {rng.choice(THINGS)}; a few show a {rng.choice(THINGS)} instead.",
            "llm:some-model", kind=kind, confidence=float(rng.uniform(0.2, 1)), second_name=second,
            common=f"Every bright part holds a {thing}.", evidence=("most crops show it",), date="2026-01-02",
        )  # fmt: skip


def make_folder(folder: Path, fraction: float, n_explanations: int) -> None:
    """Write the atlas."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    atlas = make_atlas(fraction, rng)
    write_atlas(folder / "atlas.h5", atlas)
    write_references(folder / "references.h5", make_references(atlas), {})
    write_jsonl(folder / "names.jsonl", list(make_names(atlas, rng)))
    for number in range(n_explanations):
        item = make_explanation(atlas, number, untrusted=False)
        write_explanation(folder / "explanations", replace(item, id=f"photo-{number:03d}-abcdef"), number)


def correct_one_name(folder: Path) -> None:
    """Give the concept in the middle another name, as a person would."""
    names = read_jsonl(folder / "names.jsonl", ConceptName)
    place = len(names) // 2
    names[place] = replace(names[place], name="corrected by hand", author="person:A. Reader")
    write_jsonl(folder / "names.jsonl", names)


BUILD = """
import sys
from pathlib import Path
from sitegen.build import SiteOptions, build_site
build_site(Path(sys.argv[2]), Path(sys.argv[1]), SiteOptions(made_from="benchmark"))
"""
KEEP = """
import sys
from pathlib import Path
from precompute.atlas.digests import digest_file
from precompute.atlas.ownership import SiteMark, has_mark, is_whole
folder, site = map(Path, sys.argv[1:])
for path in sorted(folder.rglob("*")):
    path.is_file() and digest_file(path)
assert has_mark(site, SiteMark("vgg16-size", "benchmark")) and is_whole(site)
"""
"""What `atlas site` does where nothing changed: digests of all that goes in, and of all that came out."""


def run(program: str, folder: Path, site: Path) -> dict[str, float]:
    """Run a program in a process of its own; returns CPU seconds, wall seconds and peak memory in MB."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", program, str(folder), str(site)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "CPU s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall s": time.perf_counter() - start,
        "peak MB": after.ru_maxrss / 1024,
    }


def measure_site(site: Path) -> dict[str, float]:
    """Count files, bytes, the largest page and the search index."""
    files = [path for path in site.rglob("*") if path.is_file()]
    size = {path: path.stat().st_size for path in files}
    pages = {path: number for path, number in size.items() if path.suffix == ".html"}
    return {
        "files": len(files),
        "MB": sum(size.values()) / 1e6,
        "largest page kB": max(pages.values()) / 1e3,
        "search index kB": size[site / "assets/search-index.js"] / 1e3,
    }


def main() -> None:
    """Make, build three times, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="part of VGG16's channels (default: %(default)s)")
    parser.add_argument("--explanations", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="keep the atlas and the site there")
    chosen = parser.parse_args()
    with nullcontext(chosen.folder) if chosen.folder else tempfile.TemporaryDirectory() as kept:
        root = Path(kept)
        if not (root / "atlas").exists():
            make_folder(root / "atlas", chosen.fraction, chosen.explanations)
        rows = {"first": run(BUILD, root / "atlas", root / "site"), "again": run(KEEP, root / "atlas", root / "site")}
        correct_one_name(root / "atlas")
        rows["one name corrected"] = run(BUILD, root / "atlas", root / "site")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for name, row in rows.items():
            print(f"{name:20}" + "".join(f"{key} {value:10.1f}   " for key, value in row.items()))
        print("site: " + ", ".join(f"{key} {value:,.1f}" for key, value in measure_site(root / "site").items()))


if __name__ == "__main__":
    main()
