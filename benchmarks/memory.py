"""Peak memory of `atlas mine` over few and over many photos: it must not grow with their number.

    python -m benchmarks.memory                    1,000 and 10,000 CIFAR photos
    python -m benchmarks.memory --photos 500 1000

Each run is a process of its own. Printed are the peak resident memory of the main process, and of the largest of its
decoding processes, with everything in it, libraries included. Exits 1 where the last run's main process needs over
10 % more than the first's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._contest import DATA, print_machine, print_table

CONFIG = Path(__file__).resolve().parents[1] / "data" / "cifar10-sample.toml"
PROGRAM = """
import json, resource, sys
from precompute.cli import main
code = main(sys.argv[1:])
peaks = [resource.getrusage(who).ru_maxrss / 2**10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps(peaks))
sys.exit(code)
"""


def measure(n_photos: int, shard_size: int) -> tuple[float, float, float]:
    """Mine; returns seconds, and the peaks in MiB of the main process and of the largest process that it started."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, "mine", "--config", str(CONFIG), "--output", folder]
        command += ["--set", f"dataset.limit={n_photos}", "--set", f"mining.shard_size={shard_size}"]
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        own, largest_child = json.loads(done.stdout.splitlines()[-1])
        return time.perf_counter() - start, own, largest_child


def main() -> int:
    """Measure each number of photos."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=int, nargs="+", default=[1000, 10000])
    arguments.add_argument("--shard-size", type=int, default=2048)
    chosen = arguments.parse_args()
    if not (DATA / "cifar10-val.tar.gz").exists():
        print(f"{DATA / 'cifar10-val.tar.gz'} is not there: this benchmark needs the development data")
        return 0
    print_machine()
    found = [measure(n, chosen.shard_size) for n in chosen.photos]
    first = found[0][1]
    rows = [
        [n, f"{seconds:.0f}", f"{own:.0f}", f"{own / first:.3f}", f"{child:.0f}"]
        for n, (seconds, own, child) in zip(chosen.photos, found, strict=True)
    ]
    print_table(["photos", "s", "main process, MiB", "x first", "largest other process, MiB"], rows)
    return 0 if found[-1][1] <= 1.1 * first else 1


if __name__ == "__main__":
    sys.exit(main())
