"""Reports of 100 explained photos in one run, as PDF and HTML, on one core: seconds each, and memory on the way.

    atlas run --config data/world.toml --set explaining.n_photos=100 --output build/world100 --site build/world100-site
    OMP_NUM_THREADS=1 python -m benchmarks.reports build/world100

Memory is what the process holds after so many reports: Typst keeps what it may need again, up to a bound of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from sitegen.reports.build import opened, reports
from sitegen.reports.material import ReportOptions

TOLD = (1, 10, 20, 40, 60, 80, 100)


def held() -> float:
    """Return what this process holds in memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Make the reports and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path, help="folder of an atlas with explained photos")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    options = ReportOptions(title="A benchmark", date="2026-01-02")
    spent, memory = [], {}
    with tempfile.TemporaryDirectory() as folder, opened(chosen.atlas, options) as material:
        start = time.perf_counter()
        for number, _ in enumerate(reports(material, "explanation", (), Path(folder) / "reports"), start=1):
            spent.append(time.perf_counter() - start)
            memory[number] = held()
            start = time.perf_counter()
    print(f"reports     {len(spent)}, PDF and HTML each")
    print(f"first       {spent[0]:.2f} s")
    print(f"others      {statistics.median(spent[1:]):.2f} s (median), {max(spent[1:]):.2f} s (most)")
    print("memory      " + ", ".join(f"{memory[n]:.0f} MB after {n}" for n in TOLD if n in memory))


if __name__ == "__main__":
    main()
