"""Mining end to end on a GPU: 50,000 photos through VGG16, decoded, scored and ranked, beside zennit-crp.

    python -m benchmarks.gpu_end_to_end                                      a CUDA device; float32, then tf32
    python -m benchmarks.gpu_end_to_end --device cpu --images 16 --peer-images 4    a quick look at the same path

The development photos are repeated, and decoded each time. VGG16 has seeded random weights, and all of its 13
convolutions get both rankings. Ours is the whole command `atlas mine`, from its start to the merged file, compiling and
importing included; zennit-crp runs on fewer photos that lie in memory. "Kept" is the share of the first precision's
top entries that the second keeps, zero scores aside. The copies of one photo would fill a channel's table, so it is
measured in a run of its own over the different photos, each once, whose time does not count.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import mining
from benchmarks._contest import PHOTOS, choose_device, compete, forward_costs, make_model, print_setting, print_table
from precompute.atlas.hdf5 import read_atlas
from precompute.records import Atlas, RankingTable

CONFIG = """
name = "benchmark"
[dataset]
kind = "folders"
root = "photos"
classes = "imagenet"
follow_links = true
[preprocessing]
resize = 256
crop = {size}
[model]
factory = "torchvision:{model}"
weights = "random"
[relevance]
device = "{device}"
"""


def list_photos() -> list[Path]:
    """List the development photos."""
    return sorted(PHOTOS.glob("*/*.JPEG"))


def link_photos(folder: Path, photos: Sequence[Path], n_images: int) -> None:
    """Link photos into class folders, over and over."""
    for number in range(n_images):
        photo = photos[number % len(photos)]
        place = folder / photo.parent.name / f"{number // len(photos):06d}-{photo.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(photo)


def mine(folder: Path, photos: str, precision: str, arguments: argparse.Namespace) -> float:
    """Run `atlas mine` over the folder `photos`, into ``<photos>-<precision>``; returns seconds."""
    settings = {
        "dataset.root": f'"{photos}"',
        "relevance.precision": f'"{precision}"',
        "mining.batch_size": arguments.batch,
        "mining.n_workers": arguments.workers,
    }
    command = [sys.executable, "-m", "precompute.cli", "mine", "--config", str(folder / "benchmark.toml")]
    command += ["--output", str(folder / f"{photos}-{precision}")]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`atlas mine` ended with exit code {done.returncode}:\n{done.stdout[-2000:]}")
    return time.perf_counter() - start


def kept(found: Atlas, expected: Atlas, k: int) -> tuple[int, int]:
    """Return how many of the expected top `k` entries were found, and how many there are; zero scores aside."""
    n_kept = n_entries = 0
    for layer, tables in expected.layers.items():
        for theirs, ours in (
            (tables.relmax, found.layers[layer].relmax),
            (tables.actmax, found.layers[layer].actmax),
        ):
            for channel in range(theirs.score.shape[1]):
                wanted, there = (_samples(table, channel, k) for table in (theirs, ours))
                n_kept, n_entries = n_kept + len(wanted & there), n_entries + len(wanted)
    return n_kept, n_entries


def _samples(table: RankingTable, channel: int, k: int) -> set[int]:
    index, score = table.sample_index[:k, channel], table.score[:k, channel]
    return set(index[(score != 0) & (index >= 0)].tolist())


def parse() -> argparse.Namespace:
    """Read the arguments."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=50_000)
    arguments.add_argument("--peer-images", type=int, default=640, help="0 leaves zennit-crp out")
    arguments.add_argument("--batch", type=int, default=64)
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--precision", nargs="+", default=["float32", "tf32"])
    arguments.add_argument("--model", default="vgg16")
    arguments.add_argument("--size", type=int, default=224)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--threads", type=int, default=0, help="CPU threads of zennit-crp; 0 leaves torch's")
    chosen = arguments.parse_args()
    chosen.rounds, chosen.warm_up = 1, 0
    return chosen


def peer_speed(arguments: argparse.Namespace) -> float:
    """Measure zennit-crp's images a second."""
    given = argparse.Namespace(**vars(arguments))
    given.images, given.batch = arguments.peer_images, min(arguments.batch, 16, arguments.peer_images)
    if given.images % given.batch == 1:
        given.images += 1  # zennit-crp crashes on a last batch of one
    outcome = compete({"zennit-crp": mining.peer}, given, 1)["zennit-crp"]
    return given.images / outcome.best


def main() -> int:
    """Mine in every precision, run the peer, print the table."""
    arguments = parse()
    if choose_device(arguments.device).type == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device here: nothing was run (--device cpu --images 16 tries the path)")
        return 0
    if not PHOTOS.exists():
        print(f"{PHOTOS} is not there: this benchmark needs the development data")
        return 0
    print_setting(arguments)
    work = 3 * sum(forward_costs(make_model(arguments.model), arguments.size).values())
    photos = list_photos()
    n_distinct = min(len(photos), arguments.images)
    k = mining.n_compared(n_distinct)
    rows, atlases = [], []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        link_photos(folder / "photos", photos, arguments.images)
        link_photos(folder / "distinct", photos, n_distinct)
        device, size, model = arguments.device, arguments.size, arguments.model
        (folder / "benchmark.toml").write_text(CONFIG.format(device=device, size=size, model=model))
        for precision in arguments.precision:
            seconds = mine(folder, "photos", precision, arguments)
            mine(folder, "distinct", precision, arguments)
            atlases.append(read_atlas(folder / f"distinct-{precision}" / "atlas.h5"))
            speed = arguments.images / seconds
            n_kept, n_entries = kept(atlases[-1], atlases[0], k)
            share = f"{n_kept / max(n_entries, 1):.2%} of {n_entries}"
            rows.append([precision, arguments.images, seconds, speed, 2e-12 * work * speed, share])
    if arguments.peer_images:
        speed = peer_speed(arguments)
        seconds = arguments.images / speed
        rows.append([f"zennit-crp, from {arguments.peer_images}", arguments.images, seconds, speed, "", ""])
    print(f"{n_distinct} different photos")
    head = ["", "images", "s", "images/s", "needed TFLOP/s", f"top {k} kept, of the different photos"]
    print_table(head, [[f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row] for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
