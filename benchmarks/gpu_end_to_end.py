"""Mining end to end on a GPU: 50,000 photos through VGG16, decoded, scored and ranked, beside zennit-crp.

    python -m benchmarks.gpu_end_to_end                                      a CUDA device; float32, then tf32
    python -m benchmarks.gpu_end_to_end --device cpu --images 16 --peer-images 4    a quick look at the same path

The development photos are repeated, and decoded each time. VGG16 has seeded random weights, and all of its 13
convolutions get both rankings. Ours is the whole command `atlas mine`, from its start to the merged file, compiling and
importing included; zennit-crp runs on fewer photos that lie in memory. "Kept" is the share of the first precision's
top 40 that the second keeps, zero scores aside; repeated photos tie, so the photo counts, not its copy.
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
from precompute.records import Atlas, RankingTable
from precompute.store import read_atlas

CONFIG = """
name = "benchmark"
[dataset]
kind = "folders"
root = "photos"
classes = "imagenet"
[preprocessing]
resize = 256
crop = {size}
[model]
factory = "torchvision:{model}"
weights = "random"
[relevance]
device = "{device}"
"""


def link_photos(folder: Path, n_images: int) -> int:
    """Link the development photos into class folders, over and over; returns how many different ones there are."""
    photos = sorted(PHOTOS.glob("*/*.JPEG"))
    for number in range(n_images):
        photo = photos[number % len(photos)]
        place = folder / photo.parent.name / f"{number // len(photos):06d}-{photo.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(photo)
    return len(photos)


def mine(folder: Path, precision: str, arguments: argparse.Namespace) -> float:
    """Run `atlas mine`; returns seconds."""
    settings = {
        "relevance.precision": f'"{precision}"',
        "mining.batch_size": arguments.batch,
        "mining.n_workers": arguments.workers,
    }
    command = [sys.executable, "-m", "precompute.cli", "mine", "--config", str(folder / "benchmark.toml")]
    command += ["--output", str(folder / precision)]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`atlas mine` ended with exit code {done.returncode}:\n{done.stdout[-2000:]}")
    return time.perf_counter() - start


def kept(found: Atlas, expected: Atlas) -> float:
    """Return the share of the expected top entries that were found, as photos whatever their copy."""
    names = [Path(name).parent.name + Path(name).name.partition("-")[2] for name in expected.samples.name]
    n_kept = n_entries = 0
    for layer, tables in expected.layers.items():
        for theirs, ours in (
            (tables.relmax, found.layers[layer].relmax),
            (tables.actmax, found.layers[layer].actmax),
        ):
            for channel in range(theirs.score.shape[1]):
                wanted, there = (_photos(table, channel, names) for table in (theirs, ours))
                n_kept, n_entries = n_kept + len(wanted & there), n_entries + len(wanted)
    return n_kept / max(n_entries, 1)


def _photos(table: RankingTable, channel: int, names: Sequence[str]) -> set[str]:
    used = (table.score[:, channel] != 0) & (table.sample_index[:, channel] >= 0)
    return {names[index] for index in table.sample_index[used, channel]}


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
    rows, atlases = [], []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        n_photos = link_photos(folder / "photos", arguments.images)
        device, size, model = arguments.device, arguments.size, arguments.model
        (folder / "benchmark.toml").write_text(CONFIG.format(device=device, size=size, model=model))
        for precision in arguments.precision:
            seconds = mine(folder, precision, arguments)
            atlases.append(read_atlas(folder / precision / "atlas.h5"))
            speed = arguments.images / seconds
            share = f"{kept(atlases[-1], atlases[0]):.2%}"
            rows.append([precision, arguments.images, seconds, speed, 2e-12 * work * speed, share])
    if arguments.peer_images:
        speed = peer_speed(arguments)
        seconds = arguments.images / speed
        rows.append([f"zennit-crp, from {arguments.peer_images}", arguments.images, seconds, speed, "", ""])
    print(f"{min(n_photos, arguments.images)} different photos")
    head = ["", "images", "s", "images/s", "needed TFLOP/s", "top 40 kept"]
    print_table(head, [[f"{cell:.2f}" if isinstance(cell, float) else cell for cell in row] for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
