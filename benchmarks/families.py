"""Families against known parts: how well the channels that an atlas joins are those that show the same part.

    python -m benchmarks.families data/world

Takes a finished atlas of the built-in world, with ``truth.json`` and ``trust.json``. A channel counts where the part
that its heatmaps cover most has at least `LEAST_MASS` of their mass. Prints, for each layer, the adjusted Rand index of
families against parts, and the mean and the largest of it with the parts shuffled among the channels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from precompute.atlas.json_records import read_json
from precompute.records import Concept, TrustReport, TruthReport
from precompute.trust.families import rand_index

LEAST_MASS = 0.3
N_SHUFFLES = 999


def compare(report: TrustReport, truth: TruthReport, layer: str, rng: np.random.Generator) -> Mapping[str, float]:
    """Compare the families of one layer with the parts of its channels."""
    clear = [
        (key, known.part)
        for key, known in truth.concepts.items()
        if Concept.parse(key).layer == layer and known.part and known.mass >= LEAST_MASS
    ]
    family_of = {key: place for place, family in enumerate(report.families) for key in family.concepts}
    alone = len(report.families)
    families = np.asarray([family_of.get(key, alone + place) for place, (key, _) in enumerate(clear)])
    parts = np.unique([part for _, part in clear], return_inverse=True)[1]
    shuffled = [rand_index(families, rng.permutation(parts)) for _ in range(N_SHUFFLES)]
    return {
        "channels": len(clear),
        "parts": len(set(parts.tolist())),
        "families": sum(family.layer == layer for family in report.families),
        "rand": rand_index(families, parts),
        "shuffled": float(np.mean(shuffled)),
        "shuffled_most": float(np.max(shuffled)),
    }


def main() -> None:
    """Print one line for each layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path, help="the output folder of a finished atlas of the world")
    folder = parser.parse_args().atlas
    report = read_json(folder / "trust.json", TrustReport, "Run `atlas trust`.")
    truth = read_json(folder / "truth.json", TruthReport, "Run `atlas evaluate`.")
    rng = np.random.default_rng(0)
    for layer in (item.layer for item in truth.layers):
        found = compare(report, truth, layer, rng)
        print(
            f"{layer}: {found['channels']:.0f} channels, {found['parts']:.0f} parts, {found['families']:.0f} families; "
            f"adjusted Rand index {found['rand']:.2f}, shuffled {found['shuffled']:.2f}, at most "
            f"{found['shuffled_most']:.2f}"
        )


if __name__ == "__main__":
    main()
