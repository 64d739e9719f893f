"""Reading one concept of an atlas in a notebook: seconds and memory, each in a process of its own.

    python -m benchmarks.site_size --folder build/vgg16   makes an atlas of VGG16's size: 4,224 concepts, 1,000 classes
    python -m benchmarks.reading build/vgg16/atlas

"first" is the first concept after opening, which reads the names and the list of reference images once; "next" is the
median of 50 others. Memory is the peak of the process, Python and pandas included.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

N = 50


def measure(folder: Path) -> None:
    """Read concepts and write what it took."""
    import pandas as pd  # noqa: PLC0415, F401 - importing it is not reading

    from atlas_reader import open_atlas  # noqa: PLC0415

    start = time.perf_counter()
    atlas = open_atlas(folder)
    opened = time.perf_counter() - start
    keys = [f"{layer}:{channel}" for layer, n in atlas.tables.n_channels.items() for channel in range(n)]
    chosen = [keys[len(keys) * place // (N + 1)] for place in range(N + 1)]
    spent = []
    for key in chosen:
        start = time.perf_counter()
        concept = atlas.concept(key)
        _ = concept.title, concept.class_means, concept.ranking, concept.images()
        spent.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"concepts    {len(keys)}")
    print(f"open        {opened * 1000:.1f} ms")
    print(f"first       {spent[0] * 1000:.1f} ms")
    print(f"next        {statistics.median(spent[1:]) * 1000:.1f} ms (median), {max(spent[1:]) * 1000:.1f} ms (most)")
    print(f"peak        {peak:.0f} MB")


def main() -> None:
    """Start the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path, help="folder of an atlas")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here:
        measure(chosen.atlas)
    else:
        command = [sys.executable, "-m", "benchmarks.reading", str(chosen.atlas), "--here"]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
