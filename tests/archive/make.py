"""Make the archived atlas of this version: ``python -m tests.archive.make``.

Run it when a format's version was raised, and keep the archives of earlier versions.
"""

import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

from precompute.atlas.hdf5 import FORMAT_VERSION
from precompute.cli import main
from tests.small_atlas import make_small_atlas

ARCHIVE = Path(__file__).parent
N_PER_CLASS = 3
SMALLER = ("--set", "references.per_ranking=1", "--set", "explaining.n_photos=1")


def make(goal):
    """Run the small atlas and pack its output folder, without times and owners."""
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = make_small_atlas(folder, n_per_class=N_PER_CLASS)
        if main(["run", "--config", str(config), "--site", str(folder / "site"), *SMALLER]):
            sys.exit(1)
        with tarfile.open(goal, "w:xz", preset=9) as archive:
            for path in sorted((folder / "small").rglob("*")):
                if path.is_file() and path.name != ".lock":
                    entry = tarfile.TarInfo(str(path.relative_to(folder)))
                    content = path.read_bytes()
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    make(ARCHIVE / f"atlas-{FORMAT_VERSION}.tar.xz")
