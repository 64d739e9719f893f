"""The TOML of one atlas as frozen typed records.

Owns the keys, their types and defaults, and what an unknown key is answered with. Must not know the stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class DatasetConfig:
    """Where the samples come from.

    Attributes
    ----------
    kind : str
        ``folders`` (one folder per class), ``flat`` (one folder and a ground-truth list), ``unlabelled`` (any
        folder), ``tar`` (a tar archive of class folders), ``imagenette`` (downloaded through torchvision),
        ``world`` (drawn by the project).
    root : str
        Folder or archive, relative to the config file. ``$NAME`` is read from the environment.
    ground_truth : str
        For ``flat``: the list, either one class per line in file order (ILSVRC2012's 1-based ids are told by the
        meta file or `ground_truth_ids`) or lines of "file class".
    classes : str
        ``imagenet`` (ships with the project), a TSV or JSON file, or empty: the class folders' own names.
    limit : int
        Use this many samples, spread evenly; 0 uses all.
    max_megapixels : float
        A larger image is skipped and listed.
    n_samples : int
        For ``world``: how many scenes are drawn.
    """

    kind: Literal["folders", "flat", "unlabelled", "tar", "imagenette", "world"] = "folders"
    root: str = ""
    ground_truth: str = ""
    ground_truth_ids: Literal["auto", "torchvision", "ilsvrc"] = "auto"
    classes: str = ""
    limit: int = 0
    max_megapixels: float = 100.0
    n_samples: int = 0


@dataclass(frozen=True)
class PreprocessingConfig:
    """From a decoded image to the input of the model: resize the shorter side, centre crop, scale, normalise."""

    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes
    ----------
    factory : str
        ``torchvision:<name>`` or ``package.module:factory`` (called without arguments but `arguments`).
    weights : str
        A torchvision weights enum member such as ``IMAGENET1K_V1``, a ``.safetensors`` or weights-only ``.pt``
        file (relative to the config file), ``builtin:<name>`` (ships with the project), or ``random`` (seeded).
    layers : tuple of str
        Names or shell patterns; empty selects every convolution.
    """

    factory: str = "torchvision:vgg16"
    weights: str = "IMAGENET1K_V1"
    layers: tuple[str, ...] = ()
    arguments: dict[str, int | float | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class RelevanceConfig:
    """How relevance is computed.

    Attributes
    ----------
    engine : str
        ``auto`` takes the sequential engine where the model qualifies, the reference engine elsewhere.
    composite : str
    zero_params : bool
        Leave biases out of the modified forward passes, so that they absorb nothing.
    target : str
        ``label`` falls back to the prediction where a sample has no label.
    max_target : str
        ``sum`` over space, or ``max``: the value at the arg-max neuron.
    normalised : bool
        Divide by the layer's sum of absolute channel scores.
    precision : str
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
    """

    engine: Literal["auto", "zennit", "sequential"] = "auto"
    composite: Literal["EpsilonPlusFlat", "EpsilonPlus"] = "EpsilonPlusFlat"
    zero_params: bool = False
    target: Literal["label", "prediction"] = "label"
    max_target: Literal["sum", "max"] = "sum"
    normalised: bool = True
    precision: Literal["float64", "float32", "tf32", "bf16"] = "float32"
    device: str = "auto"


@dataclass(frozen=True)
class MiningConfig:
    """The one pass over the data set. `batch_size` and `n_workers` do not change the result."""

    top_k: int = 40
    shard_size: int = 2048
    batch_size: int = 16
    n_workers: int = 2
    cache_images: bool = False


@dataclass(frozen=True)
class ReferencesConfig:
    """Rendering of reference images.

    Attributes
    ----------
    per_ranking : int
        Reference images rendered for each ranking of each concept.
    heatmap_layers : tuple of str
        Names or patterns of the layers that get heatmaps; ``*`` means all. The others get the crop alone.
    start : str
        ``neuron``: the single arg-max neuron (crops at its receptive field); ``channel``: the channel's whole map;
        ``output``: start at the target's logit and mask the layer to the channel.
    tile : int
        Longer side of a stored picture in pixels.
    """

    per_ranking: int = 8
    heatmap_layers: tuple[str, ...] = ("*",)
    start: Literal["neuron", "channel", "output"] = "neuron"
    tile: int = 112


@dataclass(frozen=True)
class ExplainingConfig:
    """Explanations of single photos.

    Attributes
    ----------
    photos : tuple of str
        Files or folders, relative to the config file; empty takes `n_photos` spread evenly over the data set.
    layers : tuple of str
        Names or patterns; empty takes the last mined layer (with its parallel siblings).
    """

    photos: tuple[str, ...] = ()
    n_photos: int = 24
    min_probability: float = 0.05
    max_targets: int = 3
    n_concepts: int = 5
    n_sub_concepts: int = 3
    layers: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ("expert", "stakeholder")
    language: str = "en"


@dataclass(frozen=True)
class LlmConfig:
    """The language model; the key comes from the environment variable named here and is never written anywhere.

    Attributes
    ----------
    enabled : bool
        False uses the offline namer and the generated narratives.
    price_input, price_output : float
        US dollars for a million tokens.
    max_cost : float
        US dollars; the run stops before it spends more.
    """

    enabled: bool = False
    base_url: str = ""
    model: str = "gpt-5-mini"
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    timeout: float = 60.0
    max_retries: int = 6
    price_input: float = 0.25
    price_output: float = 2.0
    max_cost: float = 20.0
    structured_output: Literal["auto", "json_schema", "json_object", "prompt"] = "auto"


@dataclass(frozen=True)
class SiteConfig:
    """The site. `include_images` off leaves out every pixel of the data set."""

    title: str = ""
    description: str = ""
    include_images: bool = True
    n_gallery: int = 8


@dataclass(frozen=True)
class Config:
    """One atlas.

    Attributes
    ----------
    name : str
        Names the output folder ``data/<name>`` and the site ``site/<name>``; letters, digits, "-", "_" and ".".
    path : Path
        The config file; relative paths in it start from its folder.
    """

    name: str
    path: Path
    seed: int = 0
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    relevance: RelevanceConfig = field(default_factory=RelevanceConfig)
    mining: MiningConfig = field(default_factory=MiningConfig)
    references: ReferencesConfig = field(default_factory=ReferencesConfig)
    explaining: ExplainingConfig = field(default_factory=ExplainingConfig)
    llm: LlmConfig = field(default_factory=LlmConfig)
    site: SiteConfig = field(default_factory=SiteConfig)
