"""Why one photo got its classes: true shares, heatmaps, places and sub-concepts of its strongest concepts.

Owns the numbers and pictures of one explanation; the words are added later. Knows the engine through its interface
only; must not know files, language models or pages.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from precompute.atlas.digests import digest_of
from precompute.config import WITHOUT_EFFECT_ON_NUMBERS, Config, effective
from precompute.errors import DataError, ModelError
from precompute.images.decoding import normalise, preprocess
from precompute.images.pictures import Rgb, encode_heatmap, encode_webp, overlay, overlay_scale
from precompute.images.places import locate
from precompute.network.heads import compute_probabilities
from precompute.records import (
    Concept,
    ConceptAttribution,
    CutPart,
    CutSplit,
    Explanation,
    FloatArray,
    LayerExplanation,
    LayerInfo,
    Prediction,
    SubConcept,
    TargetExplanation,
)
from precompute.relevance.choice import input_dtype
from precompute.relevance.cut import Split
from precompute.relevance.protocol import ConditionalAttribution, Engine, LayerAttribution

log = logging.getLogger(__name__)

PICTURE_SIDE = 448
N_PREDICTIONS = 5


class Photo(NamedTuple):
    """A preprocessed photo: what people see, and what the model gets."""

    rgb: Rgb
    tensor: torch.Tensor


class Drawn(NamedTuple):
    """File names of a heatmap and its overlay, and the heatmap's scale."""

    heatmap: str
    scale: float
    overlay: str


@dataclass(frozen=True, eq=False)
class ExplainedLayer:
    """One layer's numbers before its concepts are looked at one by one.

    Attributes
    ----------
    info : LayerInfo
    relevance, shares : (n_channels,) float64
        Signed; relevance in units of the logit.
    activation : (n_channels,) float64
        As `RelevanceConfig.activation` says, not divided.
    top : tuple of int
        The channels explained, by rank.
    split : Split
        Of the logit, over the cut that the shares are of.
    """

    info: LayerInfo
    relevance: FloatArray
    shares: FloatArray
    activation: FloatArray
    top: tuple[int, ...]
    split: Split


def explain_photo(  # noqa: PLR0913 - what is known of the photo and of the model, each named at the call
    image: Image.Image | Rgb,
    *,
    engine: Engine,
    layers: Sequence[LayerInfo],
    class_names: Sequence[str],
    config: Config,
    photo_name: str,
    photo_digest: str,
    label: str,
    mining_digest: str = "",
) -> tuple[Explanation, dict[str, bytes]]:
    """Explain every likely class of one photo, without the words.

    Parameters
    ----------
    image : PIL image or (height, width, 3) uint8
        Decoded, upright, RGB; not yet preprocessed.
    engine : Engine
    layers : sequence of LayerInfo
        The layers explained, the main one first.
    class_names : sequence of str
        By class index.
    config : Config
    photo_name : str
        Path or name for people; its last part makes the id.
    photo_digest : str
        SHA-256 of the file.
    label : str
        Class name of the ground truth; empty where unknown.
    mining_digest : str
        SHA-256 of everything that the mined tables depend on; a part of `Explanation.digest`.

    Returns
    -------
    explanation : Explanation
        Without narratives.
    pictures : dict of str to bytes
        By the file names that the explanation refers to.

    Raises
    ------
    DataError
        There are fewer class names than classes.
    ModelError
        Logits or relevances are not finite.
    """
    photo = prepare_photo(image, config)
    logits = _finite(engine.logits(photo.tensor)[0], f"logits of {photo_name}")
    if len(class_names) < len(logits):
        raise DataError(
            f"the model has {len(logits)} classes, the class list only {len(class_names)} names. "
            "Give a class list of the model in the config, [dataset] classes."
        )
    probabilities = compute_probabilities(torch.from_numpy(logits), config.model.task).numpy()
    pictures = {"photo.webp": encode_webp(photo.rgb, quality=85, method=4)}
    targets = tuple(
        _explain_target(
            photo,
            engine,
            layers,
            config,
            pictures,
            (index, class_names[index], float(probabilities[index]), float(logits[index])),
        )
        for index in select_targets(probabilities, config.explaining.min_probability, config.explaining.max_targets)
    )
    height, width = photo.rgb.shape[:2]
    explanation = Explanation(
        id=explanation_id(photo_name, photo_digest),
        photo_name=photo_name,
        photo_digest=photo_digest,
        photo="photo.webp",
        width=width,
        height=height,
        label=label,
        predictions=tuple(
            Prediction(index, class_names[index], float(probabilities[index]))
            for index in descending(probabilities)[:N_PREDICTIONS]
        ),
        targets=targets,
        task=config.model.task,
        digest=explanation_digest(photo_digest, config, engine.name, layers, class_names, mining_digest),
    )
    return explanation, pictures


def explanation_id(photo_name: str, photo_digest: str) -> str:
    """Make the stable key of an explanation: slug of the file name, "-", first 8 digits of the digest."""
    stem = re.sub(r"\.[^./\\]*$", "", re.split(r"[/\\]", photo_name)[-1])
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", ascii_stem)[:60].strip("-")
    return f"{slug or 'photo'}-{photo_digest[:8]}"


def explanation_digest(
    photo_digest: str,
    config: Config,
    engine_name: str,
    layers: Sequence[LayerInfo],
    class_names: Sequence[str],
    mining_digest: str = "",
) -> str:
    """Compute the SHA-256 of everything that the numbers of an explanation depend on.

    Parameters
    ----------
    photo_digest : str
    config : Config
        Preprocessing, model, relevance and explaining count, but for what has no effect on numbers.
    engine_name : str
    layers : sequence of LayerInfo
    class_names : sequence of str
    mining_digest : str
        SHA-256 of everything that the mined tables depend on, weights and data among it.
    """
    sections = ("preprocessing", "model", "relevance", "explaining")
    content = {
        **effective(config, *sections, without=WITHOUT_EFFECT_ON_NUMBERS),
        "photo": photo_digest,
        "engine": engine_name,
        "layers": [asdict(layer) for layer in layers],
        "classes": list(class_names),
        "foundation": mining_digest,  # the word stays, as every explanation made so far has it in its digest
    }
    return digest_of(content)


def descending(values: FloatArray) -> list[int]:
    """Order positions by value, largest first, the lower position first among equals."""
    return [int(index) for index in np.argsort(-values, kind="stable")]


def select_targets(probabilities: FloatArray, min_probability: float, max_targets: int) -> list[int]:
    """Choose the classes to explain: the likely ones, at least the most likely, at most `max_targets`."""
    order = descending(probabilities)
    likely = [index for index in order if probabilities[index] >= min_probability]
    return (likely or order)[: max(1, max_targets if likely else 1)]


def compute_shares(relevance: FloatArray, whole: float | None = None) -> FloatArray:
    """Divide signed channel relevances by `whole`, by default their own absolute sum; all 0 where that is 0.

    Exact, so that what a page adds up adds up; mined scores have zennit-crp's floor under the division
    (`relevance.channel_scores`), which is 1e-10 beside a logit.
    """
    total = np.abs(relevance).sum() if whole is None else whole
    return np.asarray(relevance / total) if total > 0 else np.zeros_like(relevance)


def select_concepts(shares: FloatArray, n_concepts: int) -> tuple[int, ...]:
    """Choose channels by absolute share, the lower channel first among equals; those without any share never."""
    return tuple(channel for channel in descending(np.abs(shares))[:n_concepts] if shares[channel] != 0)


def select_sub_concepts(lower_relevance: Mapping[str, FloatArray], n_sub_concepts: int) -> tuple[SubConcept, ...]:
    """Choose the lower-layer concepts that carried a concept's relevance.

    Parallel input layers count as one lower layer: a share is of the absolute relevance that reached all of them, so
    that the shares of parallel layers can be compared and sum to 1 together.

    Parameters
    ----------
    lower_relevance : mapping of layer name to (n_channels,) float64
        In the order that decides among equals.
    n_sub_concepts : int
    """
    if not lower_relevance:
        return ()
    concepts = [Concept(layer, channel) for layer, values in lower_relevance.items() for channel in range(len(values))]
    shares = compute_shares(np.concatenate(list(lower_relevance.values())))
    return tuple(
        SubConcept(concepts[position].key, float(shares[position]))
        for position in select_concepts(shares, n_sub_concepts)
    )


def prepare_photo(image: Image.Image | Rgb, config: Config) -> Photo:
    """Preprocess a decoded image as the model wants it."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    pixels = np.asarray(preprocess(picture, config.preprocessing))
    tensor = normalise(torch.from_numpy(pixels)[None], config.preprocessing, input_dtype(config.relevance))
    return Photo(np.ascontiguousarray(pixels.transpose(1, 2, 0)), tensor)


def _finite(values: torch.Tensor, what: str) -> FloatArray:
    array = values.detach().to("cpu", torch.float64).numpy()
    if not np.isfinite(array).all():
        raise ModelError(
            f"{what}: {int((~np.isfinite(array)).sum())} of {array.size} values are not finite. "
            'Check the weights and the preprocessing, or set [relevance] precision = "float64".'
        )
    return array


def _explain_target(
    photo: Photo,
    engine: Engine,
    layers: Sequence[LayerInfo],
    config: Config,
    pictures: dict[str, bytes],
    target: tuple[int, str, float, float],
) -> TargetExplanation:
    class_index, class_name, probability, logit = target
    heatmap, attributions = engine.attribute(photo.tensor, class_index)
    drawn = _draw(photo, _finite(heatmap, f"heatmap of class {class_name}"), str(class_index), pictures)
    explained = [
        _explain_layer(layer, attributions[layer.name], config.explaining.n_concepts, class_name) for layer in layers
    ]
    concepts = [(layer.info.name, channel) for layer in explained for channel in layer.top]
    conditional = (
        engine.attribute_concepts(photo.tensor, class_index, concepts, {layer.name: layer.inputs for layer in layers})
        if concepts
        else []
    )
    found = dict(zip(concepts, conditional, strict=True))
    # One scale for all concepts of a target: what is weak for it looks weak, and pictures can be compared.
    scale = max((overlay_scale(_finite(item.heatmap, "heatmap")) for item in conditional), default=0.0)
    return TargetExplanation(
        class_index=class_index,
        class_name=class_name,
        probability=probability,
        logit=logit,
        layers=tuple(_finish_layer(photo, layer, found, config, (pictures, scale), class_index) for layer in explained),
        heatmap=drawn.heatmap,
        heatmap_scale=drawn.scale,
        overlay=drawn.overlay,
    )


def _explain_layer(info: LayerInfo, attribution: LayerAttribution, n_concepts: int, class_name: str) -> ExplainedLayer:
    relevance = _finite(attribution.relevance, f"relevance of {info.name} for class {class_name}")
    shares = compute_shares(relevance, attribution.split.absolute)
    if not shares.any():
        log.warning("no relevance reaches %s for class %s: all its shares are 0", info.name, class_name)
    activation = _finite(attribution.activation, f"activation of {info.name}")
    return ExplainedLayer(info, relevance, shares, activation, select_concepts(shares, n_concepts), attribution.split)


def _finish_layer(
    photo: Photo,
    layer: ExplainedLayer,
    conditional: Mapping[tuple[str, int], ConditionalAttribution],
    config: Config,
    pictures: tuple[dict[str, bytes], float],
    class_index: int,
) -> LayerExplanation:
    concepts = tuple(
        _finish_concept(
            photo,
            layer,
            rank,
            conditional[layer.info.name, channel],
            config.explaining.n_sub_concepts,
            pictures,
            class_index,
        )
        for rank, channel in enumerate(layer.top)
    )
    return LayerExplanation(
        layer=layer.info.name,
        shares=tuple(float(share) for share in layer.shares),
        relevance_sum=float(layer.relevance.sum()),
        relevance_absolute_sum=float(np.abs(layer.relevance).sum()),
        coverage=float(sum(abs(concept.share) for concept in concepts)),
        concepts=concepts,
        cut=CutSplit(
            layer.split.absolute,
            tuple(CutPart(part.name, part.relevance, part.absolute) for part in layer.split.beside),
            layer.split.biases,
            layer.split.stabilisers,
        ),
    )


def _finish_concept(
    photo: Photo,
    layer: ExplainedLayer,
    rank: int,
    conditional: ConditionalAttribution,
    n_sub_concepts: int,
    pictures: tuple[dict[str, bytes], float],
    class_index: int,
) -> ConceptAttribution:
    concept = Concept(layer.info.name, layer.top[rank])
    heatmap = _finite(conditional.heatmap, f"heatmap of {concept.key}")
    share = float(layer.shares[concept.channel])
    slug = concept.layer.replace("-", "--").replace(".", "-")
    drawn = _draw(photo, heatmap, f"{class_index}-{slug}-{concept.channel}", *pictures)
    lower = {
        name: _finite(conditional.lower_relevance[name], f"relevance of {name} through {concept.key}")
        for name in layer.info.inputs
    }
    return ConceptAttribution(
        concept=concept.key,
        rank=rank,
        share=share,
        relevance=float(layer.relevance[concept.channel]),
        activation=float(layer.activation[concept.channel]),
        # What speaks against a class has a negative heatmap: its place is where that is strong.
        place=locate(heatmap if share >= 0 else -heatmap),
        heatmap=drawn.heatmap,
        heatmap_scale=drawn.scale,
        overlay=drawn.overlay,
        sub_concepts=select_sub_concepts(lower, n_sub_concepts),
    )


def _draw(photo: Photo, heatmap: FloatArray, name: str, pictures: dict[str, bytes], full_colour: float = 0.0) -> Drawn:
    png, scale = encode_heatmap(heatmap, PICTURE_SIDE)
    drawn = Drawn(f"{name}.png", scale, f"{name}.webp")
    pictures[drawn.heatmap] = png
    pictures[drawn.overlay] = encode_webp(overlay(photo.rgb, heatmap, full_colour), longer_side=PICTURE_SIDE, method=2)
    return drawn
