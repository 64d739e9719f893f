"""A synthetic atlas for the tests of the site: drawn pictures, seeded numbers, untrusted text on demand."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from precompute.atlas.hdf5 import write_atlas, write_references
from precompute.atlas.json_records import write_json, write_jsonl
from precompute.records import (
    AblationCurve,
    Atlas,
    Audit,
    Box,
    ChoiceScore,
    ClassPrototypes,
    ClassTrust,
    Concept,
    ConceptAttribution,
    ConceptName,
    ConceptScore,
    ConceptShare,
    ConceptTruth,
    CutPart,
    CutSplit,
    Explanation,
    Family,
    LayerConservation,
    LayerExplanation,
    LayerInfo,
    LayerStay,
    LayerTables,
    LayerTrust,
    LayerTruth,
    LocalName,
    ModelTruth,
    Narrative,
    NarrativeTable,
    OwnWords,
    Paragraph,
    PhotoUsual,
    Piece,
    Place,
    Prediction,
    Prototype,
    Quantity,
    RankingTable,
    ReceptiveField,
    Reference,
    Refusal,
    SampleTable,
    SanityCheck,
    ShortcutFinding,
    ShortcutTruth,
    Statement,
    SubConcept,
    TargetExplanation,
    TrustReport,
    TruthReport,
    WhatIf,
)

SIDE = 128
PHOTO_TILE = 112
UNTRUSTED = (
    """</script><script>alert("x")</script>' onmouseover=alert(1) {{ 7*7 }} & <img src=x onerror=alert(2)>\u2028"""
)
CLASSES = ("house", "sailing boat", "tree", "fish", "bird", "flower", "car", "tent")
CHOICES = (ChoiceScore("random", 2, 2), ChoiceScore("hard", 2, 1, 1))
PARTS = ("wheel", "window", "roof", "sail", "hull", "leaf", "trunk", "petal", "fin", "eye", "beak", "stripes")


def picture(seed: int, side: int = SIDE) -> Image.Image:
    """Draw a small scene: sky, ground and a few shapes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(rng.integers(150, 235, 3).tolist()))
    draw = ImageDraw.Draw(image)
    horizon = int(rng.integers(side // 2, side * 3 // 4))
    draw.rectangle((0, horizon, side, side), fill=tuple(rng.integers(70, 170, 3).tolist()))
    for _ in range(4):
        x, y, r = (int(value) for value in rng.integers((0, side // 4, 8), (side, side, 30)))
        colour = tuple(rng.integers(30, 240, 3).tolist())
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - r, y - r, x + r, y + r), fill=colour)
    return image


def heat(seed: int, width: int, height: int) -> Image.Image:
    """Draw a signed heatmap as 8-bit grey: one red hill, one weaker blue one."""
    rng = np.random.default_rng(seed + 10_000)
    ys, xs = np.mgrid[0:height, 0:width]

    def hill(strength: float) -> np.ndarray:
        cy, cx, spread = rng.uniform(0.25, 0.75) * height, rng.uniform(0.25, 0.75) * width, 0.14 * max(width, height)
        return strength * np.exp(-((ys - cy) ** 2 + (xs - cx) ** 2) / (2 * spread**2))

    signed = hill(1.0) - hill(0.4)
    return Image.fromarray(np.clip(128 + 127 * signed / np.abs(signed).max(), 0, 255).round().astype(np.uint8))


def encode(image: Image.Image, kind: str) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 80, "method": 0} if kind == "WEBP" else {}))
    return buffer.getvalue()


def untrusted_or(text: str, untrusted: bool) -> str:
    """Return the text, with an attack appended on demand."""
    return f"{text} {UNTRUSTED}" if untrusted else text


def conservation(layers: list[str], *, untrusted: bool) -> dict[str, object]:
    """Say where the relevance of two logits, 20 together, went."""
    parts = {"own": 2.5, "beside": 4.0, "biases": 13.0, "stabilisers": 0.5, "missing": 1e-15}
    return {
        "samples": [0, 1],
        "logits": 20.0,
        "operations": {untrusted_or("conv2d", untrusted): {"count": 13, "lost": 3e-15}},
        "layers": {untrusted_or(layer, untrusted): parts for layer in layers},
    }


def make_atlas(layers: dict[str, int], n_samples: int, *, untrusted: bool, seed: int = 0) -> Atlas:
    """Make tables of seeded numbers; the last channel of every layer is silent."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % len(CLASSES)
    tables = {}
    for index, (name, n_channels) in enumerate(layers.items()):
        relevance = rng.dirichlet(np.full(n_channels, 0.3), n_samples)
        activation = rng.normal(1.0, 2.0, (n_samples, n_channels))
        relevance[:, -1] = 0.0
        tables[name] = LayerTables(
            info=LayerInfo(name, "Conv2d", n_channels, 8, 8, ReceptiveField(60 + 20 * index, 16, -8)),
            relmax=_ranking(relevance, silent=True),
            actmax=_ranking(activation, silent=True),
            class_relevance=_class_sums(relevance, labels),
            class_activation=_class_sums(activation, labels),
            relevance_histogram=_histograms(relevance, (-0.5, 0.5)),
            activation_histogram=_histograms(activation, (-16, 16)),
        )
    return Atlas(
        name="synthetic",
        class_names=(*(untrusted_or(name, untrusted) for name in CLASSES), "no samples of this"),
        class_counts=np.append(np.bincount(labels, minlength=len(CLASSES)), 0).astype(np.int64),
        samples=SampleTable(
            name=tuple(untrusted_or(f"{CLASSES[k]}/{i:05d}.png", untrusted) for i, k in enumerate(labels.tolist())),
            label=labels.astype(np.int64),
            prediction=labels.astype(np.int64),
            target=labels.astype(np.int64),
            probability=rng.uniform(0.5, 1.0, n_samples),
            skipped={3: untrusted_or("not an image", untrusted)},
        ),
        relevance_edges=np.linspace(-0.5, 0.5, 257),
        activation_edges=np.linspace(-16, 16, 257),
        layers=tables,
        provenance={
            "config": {"preprocessing": {"crop": SIDE}},
            "engine": untrusted_or("zennit", untrusted),
            "logits_compared": 1234,
            "logits_off": 2e-7,
            "conservation": conservation(list(tables), untrusted=untrusted),
            "seed": seed,
            "weights": {"sha256": "ab" * 32},
        },
    )


def _ranking(scores: np.ndarray, *, silent: bool, k: int = 40) -> RankingTable:
    order = np.argsort(-scores, axis=0, kind="stable")[:k]
    best = np.take_along_axis(scores, order, axis=0)
    index, neuron = order.astype(np.int64), (order * 7 % 64).astype(np.int64)
    if silent:
        index[:, -1], neuron[:, -1], best[:, -1] = -1, -1, 0.0
    return RankingTable(index, best, neuron)


def _class_sums(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([*(scores[labels == k].sum(0) for k in range(len(CLASSES))), np.zeros(scores.shape[1])])


def _histograms(scores: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return np.stack([np.histogram(column, 256, limits)[0] for column in scores.T]).astype(np.int64)


def make_references(atlas: Atlas, per_ranking: int = 8, n_pictures: int = 60) -> Iterator[Reference]:
    """Cut reference images from a pool of drawn scenes; boxes at the border are not square."""
    scenes = [picture(seed) for seed in range(n_pictures)]
    full = [encode(scene.resize((PHOTO_TILE, PHOTO_TILE)), "WEBP") for scene in scenes]
    boxes = [Box(0, 0, SIDE, SIDE), Box(20, 30, 90, 100), Box(0, 48, 50, 128), Box(64, 0, 128, 44)]
    cuts = {}
    for scene_index, scene in enumerate(scenes):
        for box in boxes:
            crop = scene.crop((box.left, box.top, box.right, box.bottom))
            crop.thumbnail((PHOTO_TILE, PHOTO_TILE))
            grey = heat(scene_index, *crop.size)
            dimmed = Image.composite(crop, crop.point(lambda v: v // 4), grey.point(lambda v: 255 if v > 150 else 0))
            cuts[scene_index, box] = tuple(encode(*item) for item in ((crop, "WEBP"), (dimmed, "WEBP"), (grey, "PNG")))
    for layer, tables in atlas.layers.items():
        for channel in range(tables.info.n_channels):
            for ranking in ("relmax", "actmax"):
                table = tables.ranking(ranking)
                for rank in range(min(per_ranking, len(table.score))):
                    sample = int(table.sample_index[rank, channel])
                    if sample < 0:
                        continue
                    box = boxes[(sample + channel) % len(boxes)]
                    crop, dimmed, grey = cuts[sample % n_pictures, box]
                    yield Reference(
                        Concept(layer, channel), ranking, rank, sample, int(table.neuron[rank, channel]),
                        float(table.score[rank, channel]), box, full[sample % n_pictures], crop, dimmed, grey, 0.25,
                    )  # fmt: skip


def make_names(atlas: Atlas, *, untrusted: bool) -> list[ConceptName]:
    """Name every concept but the last of a layer; one by a model and mixed, one a mark, one failed."""
    names = []
    for layer, tables in atlas.layers.items():
        for channel in range(tables.info.n_channels - 1):
            part = PARTS[channel % len(PARTS)]
            key = f"{layer}:{channel}"
            names.append(
                ConceptName(
                    concept=key,
                    name=untrusted_or(f"{part} of {CLASSES[channel % len(CLASSES)]}", untrusted),
                    description=untrusted_or(
                        f"Pictures in which a {part} is seen, mostly low in the image.", untrusted
                    ),
                    author=("offline", "llm:tiny-vision", "person:Anna Berg")[channel % 3 if channel < 9 else 0],
                    kind="mark" if channel == 1 else "part",
                    confidence=0.35 + 0.05 * (channel % 9),
                    second_name=untrusted_or("spokes", untrusted) if channel % 7 == 2 else "",
                    local_names=(LocalName("de", untrusted_or("rundes Ding", untrusted)),) if channel == 1 else (),
                    common=untrusted_or("Round dark shapes.", untrusted),
                    outliers=(2,) if channel % 5 == 0 else (),
                    evidence=(untrusted_or("6 of 8 labels are the same", untrusted), "the crops are mostly brown"),
                    date="2026-01-02",
                )
            )
        names[-1] = ConceptName(
            names[-1].concept, "", "", "llm:tiny-vision", failure=untrusted_or("the reply was cut off", untrusted)
        )
    return names


def make_explanation(atlas: Atlas, number: int, *, untrusted: bool) -> Explanation:
    """Explain one photo for two classes in the last two layers."""
    rng = np.random.default_rng(number)
    classes = [number % len(CLASSES), (number + 3) % len(CLASSES)]
    probabilities = [0.871234, 0.0912]
    layers = list(atlas.layers)[-2:][::-1]
    targets = tuple(
        TargetExplanation(
            class_index=index,
            class_name=atlas.class_names[index],
            probability=probability,
            logit=9.8765 - 4 * order,
            layers=tuple(
                _layer_explanation(
                    atlas, layer, rng, f"t{order}-{position}", _cut(position, order, untrusted=untrusted)
                )
                for position, layer in enumerate(layers)
            ),
            heatmap=f"t{order}-heatmap.png",
            heatmap_scale=0.1,
            overlay=f"t{order}-overlay.webp",
            narratives=_narratives(atlas, layers[0], untrusted=untrusted),
        )
        for order, (index, probability) in enumerate(zip(classes, probabilities, strict=True))
    )
    predictions = [(classes[0], probabilities[0]), (classes[1], probabilities[1]), ((number + 5) % 8, 0.0003)]
    return Explanation(
        id=f"photo-{number:02d}-abcdef",
        photo_name=untrusted_or(f"photo {number}.jpg", untrusted),
        photo_digest="cd" * 32,
        photo="photo.webp",
        width=SIDE,
        height=SIDE,
        label=atlas.class_names[classes[number % 4 == 3]],
        predictions=tuple(Prediction(index, atlas.class_names[index], value) for index, value in predictions),
        targets=targets,
    )


def _cut(position: int, order: int, *, untrusted: bool) -> CutSplit | None:
    """Split the logit at a layer: the first has two others beside it or carries the whole; none for the second."""
    if position:
        return None
    names = ("features.15", untrusted_or("add_1", untrusted))
    beside = tuple(CutPart(name, 1.25 - 2 * number, 7.5) for number, name in enumerate(names)) if order == 0 else ()
    return CutSplit(8.4321 + 15 * (order == 0), beside, 0.4567, -0.0123)


def _layer_explanation(
    atlas: Atlas, layer: str, rng: np.random.Generator, stem: str, cut: CutSplit | None
) -> LayerExplanation:
    n_channels = atlas.layers[layer].info.n_channels
    shares = rng.dirichlet(np.full(n_channels, 0.2)) * np.where(rng.random(n_channels) < 0.15, -1, 1)
    shares *= 8.4321 / (cut.absolute if cut else 8.4321)
    order = np.argsort(-np.abs(shares), kind="stable")[:5].tolist()
    below = next(iter(atlas.layers))
    concepts = tuple(
        ConceptAttribution(
            concept=f"{layer}:{channel}",
            rank=rank,
            share=float(shares[channel]),
            relevance=float(shares[channel]) * 8.4321,
            activation=3.5,
            place=Place(Box(10, 10, 60, 60), 0.3, 0.3, 0.15, ("upper left", "centre", "lower right")[rank % 3]),
            heatmap=f"{stem}-{rank}-heatmap.png",
            heatmap_scale=0.02,
            overlay=f"{stem}-{rank}-overlay.webp",
            sub_concepts=(SubConcept(f"{below}:0", 0.1234), SubConcept(f"{below}:1", -0.0004)),
        )
        for rank, channel in enumerate(order)
    )
    return LayerExplanation(
        layer, tuple(shares.tolist()), 7.654321, 8.4321, float(np.abs(shares[order]).sum()), concepts, cut
    )


def _narratives(atlas: Atlas, layer: str, *, untrusted: bool) -> tuple[Narrative, ...]:
    name = Piece("concept", untrusted_or(f"{PARTS[0]} of {CLASSES[0]}", untrusted), concept=f"{layer}:0")
    share = Piece("number", "12.3\u00a0%", quantity=Quantity("share", (f"{layer}:0",), 0.1234))
    target = Piece("class", untrusted_or(CLASSES[0], untrusted), class_index=0)
    plain = Statement(
        (Piece("text", "It looked first at the "), name, Piece("text", ", low in the picture.")), ("lead:C1",)
    )
    more = Statement(
        (Piece("text", "It is rather sure of "), target, Piece("text", ". It did not use the background."))
    )
    foreign = replace(name, text=untrusted_or("rundes Ding", untrusted), language="de")
    leads = Statement(
        (Piece("text", f"In {layer}, "), foreign, Piece("text", " leads with a positive share.")), ("lead:C1",)
    )
    table = NarrativeTable((Piece("text", "Concepts"),), ("Concept", "Share"), (((name,), (share,)),))
    refusal = Refusal(untrusted_or("there is no fact 'xyz'", untrusted), untrusted_or('{"text": "42 %"}', untrusted), 0)
    free = Statement(
        (Piece("text", untrusted_or("What weighs most is ", untrusted)), name, Piece("text", ".")), ("lead:C1",)
    )
    own = OwnWords("llm:tiny-vision", "llm:tiny-vision", (free,), (plain,), (refusal,))
    return (
        Narrative("expert", "built-in", more, (Paragraph((leads,)), Paragraph(table=table))),
        Narrative("stakeholder", "llm:tiny-vision", more, (Paragraph((plain,)),), refusals=(refusal,), own_words=own),
    )


def write_explanation(folder: Path, explanation: Explanation, seed: int) -> None:
    """Write an explanation and its pictures as the explaining stage does."""
    pictures = folder / explanation.id
    pictures.mkdir(parents=True, exist_ok=True)
    scene = picture(seed + 500)
    (pictures / explanation.photo).write_bytes(encode(scene, "WEBP"))
    for target in explanation.targets:
        items = [target, *(item for layer in target.layers for item in layer.concepts)]
        for number, item in enumerate(items):
            grey = heat(seed * 50 + number, SIDE, SIDE)
            (pictures / item.heatmap).write_bytes(encode(grey, "PNG"))
            ground = scene.convert("L").convert("RGB")
            strength = grey.point(lambda value: max(0, value - 128))
            red = Image.composite(Image.new("RGB", scene.size, (203, 58, 42)), ground, strength)
            (pictures / item.overlay).write_bytes(encode(red, "WEBP"))
    write_json(folder / f"{explanation.id}.json", explanation)


def make_truth(atlas: Atlas, *, untrusted: bool) -> TruthReport:
    """Make truth scores for every layer and concept."""
    last = next(reversed(atlas.layers))
    return TruthReport(
        layers=tuple(LayerTruth(name, 24, 15, 0.81, 0.22, 0.57, 0.13, 0.66) for name in atlas.layers),
        concepts={
            f"{name}:{channel}": ConceptTruth(
                untrusted_or(PARTS[channel % 12], untrusted), 0.61, 0.14, 0.75, channel % 2 == 0
            )
            for name, tables in atlas.layers.items()
            for channel in range(tables.info.n_channels - 1)
        },
        model=ModelTruth(0.983, 0.412, 1200),
        shortcut=ShortcutTruth(
            atlas.class_names[1],
            f"{last}:1",
            0,
            0.1834,
            untrusted_or("Most boats carry a small mark in a corner.", untrusted),
            used=True,
        ),
    )


def make_trust(atlas: Atlas, n_explanations: int, *, untrusted: bool) -> TrustReport:
    """Make what was measured of every layer and of every explained class."""
    curves = tuple(
        AblationCurve(order, 12, (1.0, height, height / 2), height, 0.03)
        for order, height in (("most", 0.3), ("activation", 0.6), ("random", 0.8), ("least", 1.1), ("greedy", 0.2))
    )
    explained = [make_explanation(atlas, number, untrusted=untrusted) for number in range(n_explanations)]
    return TrustReport(
        counts=(0, 1, 2),
        sample=(0, 5),
        layers=tuple(
            LayerTrust(name, 12, 0.53, 0.04, 0.21, curves, 0.8, 0.06, (ClassTrust(1, 4, 0.31, 0.83, 0.5),))
            for name in atlas.layers
        ),
        audit=Audit(
            tuple(
                ShortcutFinding(
                    *(class_index, f"{next(reversed(atlas.layers))}:{channel}", 5, 3, 0.31, 5.2, 2.9),
                    *(0.46, 0.02, 0.0002, 0.0004, 0.0006, q, (1, 9)),
                )
                for class_index, channel, q in ((1, 1, 0.0123), (2, 3, 0.456))
            ),
            (next(reversed(atlas.layers)),),
            1,
            8,
        ),
        conservation=tuple(LayerConservation(name, 2, 0.91, 0.0, 0.09, 1e-6, 2e-7) for name in atlas.layers),
        sanity=tuple(
            SanityCheck(
                *(kind, n_modules, 2, 0.5, 0.02),
                tuple(LayerStay(name, 0.1, 0.02, 0.05, 0.1) for name in atlas.layers),
            )
            for kind, n_modules in (("weights", 1), ("weights", 6), ("target", 0), ("photo", 0))
        ),
        n_modules=6,
        families=tuple(Family(name, (f"{name}:0", f"{name}:1"), 0.61) for name in atlas.layers),
        prototypes=(
            ClassPrototypes(
                *(0, next(reversed(atlas.layers)), 12),
                (Prototype(9, (ConceptShare(f"{next(reversed(atlas.layers))}:0", 0.4),), (0, 8), (0, 8)),),
                (16,),
            ),
        ),
        usual=tuple(
            PhotoUsual(item.id, item.digest, target.class_index, target.layers[0].layer, 0, 1, 30)
            for item in explained
            for target in item.targets
            if target.layers
        ),
        parts={"prototypes": "digest"},
        photos=tuple(
            WhatIf(
                *(item.id, item.digest, target.class_index, layer.layer),
                tuple(concept.concept for concept in layer.concepts),
                *(target.probability, 0.1234, 0.1357, tuple(0.5 for _ in layer.concepts), 8, 0.8642, 0.7531, 0.9753),
            )
            for item in explained
            for target in item.targets
            for layer in target.layers
        ),
    )


def write_synthetic(
    folder: Path,
    *,
    layers: dict[str, int] | None = None,
    n_samples: int = 64,
    n_explanations: int = 3,
    untrusted: bool = False,
    optional: bool = True,
) -> Atlas:
    """Write a whole atlas folder; without `optional` only ``atlas.h5``."""
    folder.mkdir(parents=True, exist_ok=True)
    atlas = make_atlas(layers or {"features.7": 9, "features.14": 12}, n_samples, untrusted=untrusted)
    write_atlas(folder / "atlas.h5", atlas)
    if not optional:
        return atlas
    write_references(folder / "references.h5", make_references(atlas), {})
    names = make_names(atlas, untrusted=untrusted)
    write_jsonl(folder / "names.jsonl", names)
    scores = [
        ConceptScore(name.concept, 0.82, 0.71, 0.31, 0.3, 0.4, 0.44, 0.9, 12, 24, "offline", choices=CHOICES)
        for name in names
    ]
    write_jsonl(folder / "scores.jsonl", scores)
    for number in range(n_explanations):
        write_explanation(folder / "explanations", make_explanation(atlas, number, untrusted=untrusted), number)
    write_json(folder / "truth.json", make_truth(atlas, untrusted=untrusted))
    write_json(folder / "trust.json", make_trust(atlas, n_explanations, untrusted=untrusted))
    return atlas
