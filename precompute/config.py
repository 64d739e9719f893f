"""The TOML of one atlas as frozen typed records.

Owns the keys, their types and defaults, and what an unknown key is answered with. Must not know the stages.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from precompute import toml_records
from precompute.errors import ConfigError


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


_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "dataset.limit": (0, math.inf),
    "dataset.max_megapixels": (0.001, math.inf),
    "dataset.n_samples": (0, math.inf),
    "preprocessing.resize": (1, 16384),
    "preprocessing.crop": (1, 16384),
    "preprocessing.std": (1e-12, math.inf),
    "mining.top_k": (1, 100_000),
    "mining.shard_size": (1, math.inf),
    "mining.batch_size": (1, math.inf),
    "mining.n_workers": (0, 1024),
    "references.per_ranking": (1, 100_000),
    "references.tile": (16, 16384),
    "explaining.n_photos": (0, math.inf),
    "explaining.min_probability": (0, 1),
    "explaining.max_targets": (1, math.inf),
    "explaining.n_concepts": (1, math.inf),
    "explaining.n_sub_concepts": (0, math.inf),
    "llm.concurrency": (1, 4096),
    "llm.timeout": (0.001, math.inf),
    "llm.max_retries": (0, 1000),
    "llm.price_input": (0, math.inf),
    "llm.price_output": (0, math.inf),
    "llm.max_cost": (0, math.inf),
    "site.n_gallery": (0, math.inf),
}
"""Inclusive bounds of the numbers; of each element where the value is an array."""

WITHOUT_EFFECT = frozenset(
    [
        *("mining.batch_size", "mining.n_workers", "mining.cache_images", "relevance.device"),
        *("llm.key_variable", "llm.concurrency", "llm.timeout", "llm.max_retries"),
        *("llm.price_input", "llm.price_output", "llm.max_cost"),
    ]
)
"""Keys that say how the work is done but do not change its result, so that no digest contains them."""


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read the TOML of one atlas.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
        ``section.key=value``, the value in TOML; a bare word is taken as text. They win over the file.

    Returns
    -------
    Config
        Its `name` is the file's stem where the file gives none.

    Raises
    ------
    ConfigError
        The file is missing or no TOML; a key is unknown; a value has the wrong type, is not among the allowed
        ones or out of range. Says where (file and line, or command line) and what would be right.
    """
    schema = toml_records.Schema(Config, _RANGES, hidden=frozenset({"path"}))
    text = _read_text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    values: dict[str, Any] = {"name": path.stem}
    toml_records.merge(values, schema.check(document, toml_records.FileOrigin(path, text)))
    for override in overrides:
        changed = toml_records.parse_override(override)
        toml_records.merge(values, schema.check(changed, toml_records.CommandLineOrigin(override)))
    config: Config = toml_records.construct(Config, {**values, "path": path.absolute()})
    _check_name(config)
    return config


def config_digest(config: Config, *sections: str) -> str:
    """Compute the SHA-256 (hexadecimal) of the seed and the named sections.

    Keys that do not change results (batch size, workers, device, caches, prices) are left out; paths count as they
    are written in the file, so that a moved project keeps its digests.

    Raises
    ------
    ConfigError
        There is no such section.
    """
    content: dict[str, Any] = {"seed": config.seed}
    for section in sections:
        record = getattr(config, section, None)
        if not dataclasses.is_dataclass(record) or isinstance(record, type):
            raise ConfigError(f"no config section {section!r}")
        values = dataclasses.asdict(record)
        content[section] = {key: values[key] for key in values if f"{section}.{key}" not in WITHOUT_EFFECT}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def resolve_path(config: Config, text: str) -> Path:
    """Resolve a path written in the config: ``$NAME`` from the environment, ``~``, relative to the config's folder.

    Raises
    ------
    ConfigError
        An environment variable that it names is not set.
    """
    expanded = os.path.expandvars(text)
    unset = re.search(r"\$\{?(\w+)\}?", expanded)
    if unset:
        raise ConfigError(
            f"{config.path}: the path {text!r} needs the environment variable {unset[1]}, which is not set. "
            f"Run `export {unset[1]}=<folder>` first, or give the path itself in the config or on the command line."
        )
    return config.path.parent / Path(expanded).expanduser()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file: {error.reason} at byte {error.start}") from error
    except OSError as error:
        shipped = sorted(str(found) for folder in (path.parent, Path("data")) for found in folder.glob("*.toml"))
        known = f" Existing configs: {', '.join(dict.fromkeys(shipped))}." if shipped else ""
        raise ConfigError(f"cannot read the config {path}: {error.strerror}.{known}") from error


def _check_name(config: Config) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", config.name):
        raise ConfigError(
            f"{config.path}: 'name' must be 1 to 100 letters, digits, '-', '_' or '.', not starting with '.', "
            f"because it names folders; found {config.name!r}"
        )
