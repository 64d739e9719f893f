"""Small reference images for tests and benchmarks, drawn from a seed."""

import io
import random

import numpy as np
from PIL import Image, ImageDraw

from precompute.images.pictures import encode_heatmap
from precompute.naming.namer import ConceptEvidence
from precompute.records import Box, Concept, Ranking, Reference

INPUT_SIZE = 32


def drawn_webp(seed: str, size: int = 32) -> bytes:
    """Draw a small random picture."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (size, size), tuple(rng.choices(range(256), k=3)))
    pen = ImageDraw.Draw(picture)
    for _ in range(3):
        left, top = rng.randrange(size - 6), rng.randrange(size - 6)
        pen.ellipse((left, top, left + 6, top + 6), fill=tuple(rng.choices(range(256), k=3)))
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=70, method=0)
    return encoded.getvalue()


def drawn_reference(concept: Concept, ranking: Ranking, rank: int, *, sample_index: int | None = None) -> Reference:
    """Draw one reference image."""
    seed = f"{concept.key}/{ranking}/{rank}"
    heatmap = np.zeros((16, 16))
    heatmap[4:12, 4:12] = 1.0
    png, scale = encode_heatmap(heatmap)
    return Reference(
        concept,
        ranking,
        rank,
        sample_index=rank if sample_index is None else sample_index,
        neuron=0,
        score=1.0 / (rank + 1),
        box=Box(4, 4, 20, 20),
        full=drawn_webp(seed),
        crop=drawn_webp(seed + "crop", 16),
        masked=drawn_webp(seed + "masked", 16),
        heatmap=png,
        heatmap_scale=scale,
    )


def drawn_evidence(concept: Concept, n_relmax: int = 4, n_actmax: int = 2) -> ConceptEvidence:
    """Draw what a namer sees of one concept."""
    relmax = tuple(drawn_reference(concept, "relmax", rank) for rank in range(n_relmax))
    actmax = tuple(drawn_reference(concept, "actmax", rank) for rank in range(n_actmax))
    return ConceptEvidence(concept, relmax, actmax, {0: "tabby"})
