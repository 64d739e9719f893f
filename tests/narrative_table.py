"""A prediction whose table has everything that narratives can speak of."""

from precompute.atlas.records import (
    Box,
    ConceptAttribution,
    ConceptName,
    Explanation,
    LayerExplanation,
    Place,
    Prediction,
    SubConcept,
    TargetExplanation,
)
from precompute.explanations.table import build_table

SHOWN = (
    # channel, share, place, sub-concepts
    (0, 0.0897, "upper left", (SubConcept("features.26:7", 0.2), SubConcept("features.26:9", -0.031))),
    (1, -0.05, "centre", ()),
    (2, 0.04, "lower right", ()),
    (4, -0.01, "centre left", ()),
    (3, 0.0002, "across the whole image", ()),
)
BELOW = ((7, 0.12, "upper left", ()), (5, 0.06, "lower left", ()))
NAMES = {
    "features.28:0": ("green scales", "object", "offline", ""),
    "features.28:1": ("white lettering", "mark", "offline", ""),
    "features.28:2": ("curled leaf", "part", "llm:model", "bird claw"),
    "features.28:4": ("round eye", "part", "person:reader", ""),
    "features.26:7": ("fine grid", "texture", "offline", ""),
    "features.1:0": ("snow field", "scene", "offline", ""),
}
CLASSES = ("chameleon", "agama", "green iguana", "tabby, tabby cat")


def concept_names():
    return {
        key: ConceptName(key, name, f"Shows {name}.", author, kind, 0.4, second)
        for key, (name, kind, author, second) in NAMES.items()
    }


def layer(name, shown, n_channels, *, relevance_sum=10.9):
    rest = 1 - sum(abs(share) for _, share, _, _ in shown)
    shares = [0.0] * n_channels
    for channel, share, _, _ in shown:
        shares[channel] = share
    others = [index for index in range(n_channels) if index not in {channel for channel, *_ in shown}]
    for index in others:
        shares[index] = rest / len(others)
    concepts = tuple(
        ConceptAttribution(
            f"{name}:{channel}", rank, share, share * 20, 33.3, Place(Box(0, 0, 80, 80), 0.2, 0.2, 0.123, place),
            "h.png", 1.0, "o.webp", below,
        )
        for rank, (channel, share, place, below) in enumerate(shown)
    )  # fmt: skip
    coverage = sum(abs(share) for _, share, _, _ in shown)
    return LayerExplanation(name, tuple(shares), relevance_sum, 20.0, coverage, concepts)


def explanation(*, logit=11.2, probability=0.83, rival=0.07, shown=SHOWN, n_channels=64, layers=None):
    layers = layers or (layer("features.28", shown, n_channels), layer("features.26", BELOW, 32))
    target = TargetExplanation(0, "chameleon", probability, logit, layers)
    other = TargetExplanation(1, "agama", rival or 0.0, 8.2, layers)
    predictions = (Prediction(0, "chameleon", probability),)
    if rival is not None:
        predictions += (Prediction(1, "agama", rival),)
    targets = (target, other) if rival is not None and rival >= 0.05 else (target,)
    return Explanation("photo-1", "photo.jpg", "d", "photo.webp", 224, 224, "", predictions, targets)


def table(names=None, **values):
    made = explanation(**values)
    return build_table(made, made.targets[0], concept_names() if names is None else names, CLASSES)
