"""Record names that a language model gave, so that they ship with the project.

``python -m benchmarks.record_names --names names.jsonl --folder data/world`` writes
``precompute/naming/recorded_names.jsonl`` from the names and the atlas whose concepts they are of. Raw replies are left
out: their content is in the fields.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from precompute.atlas.folder import read_names
from precompute.atlas.hdf5 import read_atlas
from precompute.naming.recorded import PATH, Recording, record_names
from precompute.naming.rules import checked_names

NOTE = (
    "Several sheets were looked at side by side and one reader saw many sheets, so the names are more uniform than "
    "those of independent calls."
)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=Path, required=True, help="names.jsonl of the namer")
    parser.add_argument("--folder", type=Path, required=True, help="finished atlas whose concepts were named")
    parser.add_argument("--seen", type=int, default=4, help="RelMax reference images on each sheet")
    given = parser.parse_args()
    atlas = read_atlas(given.folder / "atlas.h5")
    names = [name for name in read_names(given.names).values() if name.is_named]
    for name in names:
        checked_names(name.name, name.second_name)
    recording = Recording(
        author=names[0].author,
        date=names[0].date,
        weights_digest=atlas.provenance["weights_digest"],
        dataset_kind=atlas.provenance["config"]["dataset"]["kind"],
        prompt_digest=names[0].prompt_digest,
        note=NOTE,
    )
    record_names(PATH, recording, names, atlas, given.seen)
    print(f"{len(names)} names of {recording.author} in {PATH}, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
