"""The pages of samples: where every reference image leads, one page for the samples of each class.

Owns which samples have an entry, what is told of one, and where it stands. Must not know concepts' pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from precompute.records import MISSING, RANKINGS, Concept, Ranking
from precompute.records.mined import LARGE_SHARE
from sitegen.data.catalogue import Catalogue
from sitegen.data.shown_samples import class_of, shown_samples

from .page import Page

N_EXAMPLE_OF = 6
N_WRONG_SHOWN = 40


class SampleUses:
    """Which samples concept pages show as reference images, and of what.

    Attributes
    ----------
    of_sample : dict of int to list
        By sample index: concepts, rankings and ranks, the deepest layer and the best rank first.
    of_class : dict of int to list of int
        Sample indices by class; by `MISSING` those of none.
    explanations : dict of str to str
        Addresses of explanations by the name of their photo.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.of_sample: dict[int, list[tuple[Concept, Ranking, int]]] = {}
        n_samples = len(catalogue.atlas.samples.name)
        for layer, tables in reversed(catalogue.atlas.layers.items()):
            for ranking in RANKINGS:
                table = tables.ranking(ranking)
                telling = table.telling(catalogue.illustrations.n_gallery)
                for rank, channel in zip(*(axis.tolist() for axis in np.nonzero(telling)), strict=True):
                    sample = int(table.sample_index[rank, channel])
                    if sample < n_samples:
                        self.of_sample.setdefault(sample, []).append((Concept(layer, channel), ranking, rank))
        self.of_class: dict[int, list[int]] = {}
        for sample, class_index in shown_samples(catalogue.atlas, catalogue.illustrations.n_gallery).items():
            self.of_class.setdefault(class_index, []).append(sample)
        self.explanations = {
            item.photo_name: catalogue.links.explanation(item.id) for item in catalogue.source.explanations
        }


def sample_pages(catalogue: Catalogue, uses: SampleUses) -> Iterator[Page]:
    """List a page for each class that has a sample to show, and one for the samples of no class."""
    for class_index in sorted(uses.of_class):
        yield Page(
            catalogue.links.samples(class_index),
            f"Samples of {catalogue.class_name(class_index)}" if class_index >= 0 else "Samples without a class",
            "samples.html.j2",
            partial(samples_context, catalogue, class_index, uses),
        )


def sample_address(catalogue: Catalogue, sample_index: int) -> str:
    """Address of the entry of a sample that is shown as a reference image; empty where the atlas does not know it."""
    if not 0 <= sample_index < len(catalogue.atlas.samples.name):
        return ""
    return f"{catalogue.links.samples(class_of(catalogue.atlas, sample_index))}#sample-{sample_index}"


def samples_context(catalogue: Catalogue, class_index: int, uses: SampleUses) -> dict[str, Any]:
    """Gather the samples of one class, those that the network got wrong first."""
    entries = [_entry(catalogue, uses, sample) for sample in uses.of_class.get(class_index, [])]
    samples = catalogue.atlas.samples
    wrong = np.flatnonzero(
        (samples.label == class_index) & (samples.prediction != MISSING) & (samples.prediction != samples.label)
    ).tolist()
    shown = {entry["index"] for entry in entries}
    return {
        "name": catalogue.class_name(class_index) if class_index >= 0 else "",
        "class_address": catalogue.class_address(class_index),
        "entries": sorted(entries, key=lambda entry: not entry["is_wrong"]),
        "n_samples": int((samples.label == class_index).sum()) if class_index >= 0 else len(entries),
        "n_wrong": len(wrong),
        "wrong": [
            (catalogue.sample_name(index), catalogue.class_name(int(samples.prediction[index])))
            for index in wrong
            if index not in shown
        ][:N_WRONG_SHOWN],
        "has_shares": any(entry["shares"] for entry in entries),
        "least": LARGE_SHARE,
        "deepest": next(reversed(catalogue.atlas.layers), ""),
    }


def _entry(catalogue: Catalogue, uses: SampleUses, sample: int) -> dict[str, Any]:
    samples = catalogue.atlas.samples
    label, prediction = int(samples.label[sample]), int(samples.prediction[sample])
    of_sample = uses.of_sample[sample]
    concepts = list(dict.fromkeys(concept for concept, *_ in of_sample))
    name = catalogue.sample_name(sample)
    return {
        "index": sample,
        "name": name,
        "label": catalogue.class_name(label) if label != MISSING else "",
        "prediction": catalogue.class_name(prediction) if prediction != MISSING else "",
        "prediction_address": catalogue.class_address(prediction),
        "probability": float(samples.probability[sample]),
        "is_wrong": MISSING not in (label, prediction) and label != prediction,
        "picture": _whole(catalogue, of_sample, sample),
        "explanation": uses.explanations.get(name, ""),
        "shares": _large_shares(catalogue, sample),
        "target": catalogue.class_name(int(samples.target[sample])),
        "example_of": [catalogue.card(concept.key) for concept in concepts[:N_EXAMPLE_OF]],
        "n_more": max(0, len(concepts) - N_EXAMPLE_OF),
    }


def _whole(catalogue: Catalogue, of_sample: list[tuple[Concept, Ranking, int]], sample: int) -> str:
    """Address of the whole image, from the first concept that shows it."""
    for concept, *_ in of_sample:
        for tile in catalogue.illustrations.tiles(concept):
            if tile.sample_index == sample and tile.whole:
                return tile.whole
    return ""


def _large_shares(catalogue: Catalogue, sample: int) -> list[tuple[Any, float]]:
    """List the concepts of the deepest layer with a large share of this sample's relevance, the largest first."""
    layer = next(reversed(catalogue.atlas.layers), None)
    if layer is None:
        return []
    large = catalogue.atlas.layers[layer].large
    first, last = np.searchsorted(large.sample_index, (sample, sample + 1)).tolist()
    pairs = zip(large.channel[first:last].tolist(), large.share[first:last].tolist(), strict=True)
    return [
        (catalogue.card(Concept(layer, channel).key), share)
        for channel, share in sorted(pairs, key=lambda pair: (-abs(pair[1]), pair[0]))
    ]
