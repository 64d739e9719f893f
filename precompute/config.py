"""The TOML of one atlas as frozen typed records.

Owns the keys, their types, ranges and defaults, reading a file and overrides into them, and the message for what does
not fit. Must not know the stages.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import reprlib
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from precompute.errors import ConfigError, did_you_mean

_RULES = ConfigDict(extra="forbid", allow_inf_nan=False)

Text = Annotated[str, Strict(), Field(pattern=r"^[^\x00]*$")]
OwnFactory = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="a factory of your own, 'package.module:factory'"),
]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Argument = Whole | Number | Text | Flag

NotNegative = Annotated[Whole, Field(ge=0)]
Positive = Annotated[Whole, Field(ge=1)]
Side = Annotated[Whole, Field(ge=1, le=16384)]
Amount = Annotated[Number, Field(ge=0)]
Duration = Annotated[Number, Field(ge=0.001)]
Deviation = Annotated[Number, Field(ge=1e-12)]

HOW = "says how the work is done and does not change its result"
"""Marks a key that no digest contains: another value keeps everything that is there."""
LATER = "came after atlases had been made: at its default no digest and no published config has it"
"""Marks a key whose default is what was done before it was there, so that what was made before stays as it is."""
WHICH = "says which photos and layers are explained, not what is found in one"
WORDS = "says how what is found is worded, not what is found"

_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"
_NAME_IN_WORDS = (
    "1 to 100 letters, digits, '-', '_' or '.', not starting with '.', because it names folders (--set name=... or a "
    'line name = "..." in the config)'
)

Shortcut = Literal["mark", "none", "tint", "background", "cooccurrence"]


@dataclass(frozen=True, config=_RULES)
class DatasetConfig:
    """Where the samples come from.

    Attributes
    ----------
    kind : str
        ``folders`` (one folder per class), ``flat`` (one folder and a ground-truth list), ``unlabelled`` (any
        folder), ``tar`` (an archive of class folders, or of one archive per class), ``webdataset`` (tar shards in
        which a ``.cls`` file has each image's class), ``imagenette`` (downloaded through torchvision), ``world``
        (drawn by the project), or ``package.module:factory`` for a format of your own (docs/architecture.md).
    root : str
        Folder or archive (tar, compressed or not, or zip), relative to the config file. ``$NAME`` is read from the
        environment.
    ground_truth : str
        For ``flat``: a table (CSV, TSV, columns of spaces) in which one column has the files and one the classes, or
        one class a line in the order of the files.
    ground_truth_ids : str
        How numbers that stand for classes are meant, in the list, as folders' names or in ``.cls`` files:
        ``from_zero`` and ``from_one`` in the order of the class list, ``ilsvrc`` as ids of ImageNet's devkit. ``auto``
        takes them from 0 where a 0 is among them, and asks where they do not tell.
    ground_truth_columns : (str, str)
        The columns of the files and of the classes, by header or by number from 1; empty finds them.
    ground_truth_header : str
        Whether the list's first line is a header.
    ground_truth_delimiter : str
    classes : str
        ``imagenet`` (ships with the project), a file (a table, a JSON file such as ImageFolder's ``class_to_idx``, or a
        text file with one name a line), or empty: the class folders' own names.
    limit : int
        Use this many samples, spread evenly; 0 uses all.
    max_megapixels : float
        A larger image is skipped and listed.
    max_unpacked_ratio : float
        A compressed archive that grows more than this is refused.
    follow_links : bool
        Whether a link in a folder of images may lead out of it; else one that does is refused.
    grey_range : (float, float)
        Black and white of grey images of more than 8 bits; empty measures it in some of the images.
    n_samples : int
        For ``world``: how many scenes are drawn.
    shortcut : str
        For ``world``: what is planted that has nothing to do with a class but tells it: a ``mark`` in a corner, a
        ``tint`` of the whole scene, a ``background``, a part of something else beside the object
        (``cooccurrence``), or ``none``.
    shortcut_strength : float
        For ``world``: in what part of the scenes of its classes it is; in others it is in 2 of 100.
    shortcut_classes : tuple of str
        For ``world``: its one or two classes.
    """

    kind: Literal["folders", "flat", "unlabelled", "tar", "webdataset", "imagenette", "world"] | OwnFactory = "folders"
    root: Text = ""
    ground_truth: Text = ""
    ground_truth_ids: Literal["auto", "from_zero", "from_one", "ilsvrc"] = "auto"
    ground_truth_columns: tuple[Text, ...] = ()
    ground_truth_header: Literal["auto", "yes", "no"] = "auto"
    ground_truth_delimiter: Literal["auto", "tab", "comma", "semicolon", "bar", "space"] = "auto"
    classes: Text = ""
    limit: NotNegative = 0
    max_megapixels: Annotated[Number, Field(ge=0.001)] = 100.0
    max_unpacked_ratio: Annotated[Number, Field(ge=1), HOW] = 100.0
    follow_links: Annotated[Flag, HOW] = False
    grey_range: tuple[Number, ...] = ()
    n_samples: NotNegative = 0
    shortcut: Annotated[Shortcut, LATER] = "mark"
    shortcut_strength: Annotated[Number, Field(ge=0.1, le=1), LATER] = 0.9
    shortcut_classes: Annotated[tuple[Text, ...], Field(min_length=1, max_length=2), LATER] = ("tree",)


Task = Literal["classes", "binary", "labels"]
Interpolation = Literal["bilinear", "bicubic", "nearest", "nearest-exact", "lanczos", "hamming", "box"]
Channel = Literal["red", "green", "blue", "grey", "black", "white"]
_COLOURS: tuple[Channel, ...] = ("red", "green", "blue")


@dataclass(frozen=True, config=_RULES)
class PreprocessingConfig:
    """From a decoded image to the input of the model: resize the shorter side, centre crop, scale, normalise.

    Attributes
    ----------
    resize : int or (int, int)
        The shorter side is resized to this, or the whole image is squeezed to this height and width.
    crop : int or (int, int)
        Side, or height and width, of the part in the middle that the network gets.
    mean, std : tuple of float
        One number for each channel, of values in `value_range`.
    interpolation : str
    value_range : (float, float)
        What black and white become before the mean is taken off: (0, 1), (0, 255) or (-1, 1), as in training.
    channels : tuple of str
        What each input channel of the network gets: ``red``, ``green``, ``blue``, ``grey`` (their luma), ``black``
        (0) or ``white`` (1). Images of a network that gets grey alone are shown in grey.
    """

    resize: Side | tuple[Side, Side] = 256
    crop: Side | tuple[Side, Side] = 224
    mean: Annotated[tuple[Number, ...], Field(min_length=1)] = (0.485, 0.456, 0.406)
    std: Annotated[tuple[Deviation, ...], Field(min_length=1)] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"
    value_range: tuple[Number, Number] = (0.0, 1.0)
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)] = _COLOURS

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one input of the network."""
        return len(self.channels), *self.size

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of one input of the network."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


@dataclass(frozen=True, config=_RULES)
class ModelConfig:
    """The network.

    Attributes
    ----------
    factory : str
        ``torchvision:<name>``, ``timm:<name>`` where timm is installed, ``builtin:<name>`` (ships with the project) or
        ``package.module:factory`` (called with `arguments`).
    weights : str
        A member of torchvision's weights enum such as ``IMAGENET1K_V1``, ``pretrained`` (timm's own), a weights file
        (safetensors or torch's; relative to the config file), ``builtin:<name>``, ``factory`` (the factory loads them
        itself) or ``random`` (seeded).
    layers : tuple of str
        Names or shell patterns; empty selects every convolution.
    task : str
        ``classes``: each image has one of the classes (softmax); ``binary``: one logit, whose sigmoid is the
        probability of the class of label 1; ``labels``: an image can have several (a sigmoid each).
    output : str
        Which of several outputs are the logits: the key of a mapping, or the place in a tuple, from 0.
    weights_key : str
        Which part of a weights file to take, where several fit (trained weights and their moving average).
    """

    factory: Text = "torchvision:vgg16"
    weights: Text = "IMAGENET1K_V1"
    layers: tuple[Text, ...] = ()
    arguments: dict[str, Argument | list[Argument]] = field(default_factory=dict)
    task: Task = "classes"
    output: Text = ""
    weights_key: Text = ""


PATTERN = "a layer's name, or a pattern with *, ? or [...]"
LayerPattern = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9_.@*?!\[\]-]{1,200}$", description=PATTERN)]
WeightRule = Literal["epsilon", "zplus", "flat"]


@dataclass(frozen=True, config=_RULES)
class RelevanceConfig:
    """How relevance is computed.

    Attributes
    ----------
    composite : str
        What every layer gets that `rules` do not name.
    rules : dict of str to str
        The rule of convolutions and linear layers by name or pattern, in place of the composite's: ``epsilon``,
        ``zplus`` or ``flat``. A layer's own name goes before a pattern.
    gates : str
        What a gate takes of a product of gate and signal: ``signal``, nothing, the signal takes all; ``half``, as much
        as the signal.
    zero_params : bool
        Leave biases out of the modified forward passes, so that they absorb nothing.
    target : str
        ``label`` falls back to the prediction where a sample has no label.
    max_target : str
        Relevance: the ``sum`` over space, or ``max``: the value at the arg-max neuron.
    activation : str
        What ActMax ranks by: ``max``, the largest value over space of the channel's output behind its activation
        function, so that a channel that never fires is silent; or ``sum``, the output before that function, reduced
        as `max_target` says, as zennit-crp has it.
    normalised : bool
        Store scores as shares.
    shares : str
        Of what: ``cut``, all relevance that crosses the network at the layer's depth, the layer and what runs beside
        it; or ``layer``, as zennit-crp has it.
    precision : str
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
    """

    composite: Literal["EpsilonPlusFlat", "EpsilonPlus"] = "EpsilonPlusFlat"
    rules: dict[LayerPattern, WeightRule] = field(default_factory=dict)
    gates: Literal["signal", "half"] = "signal"
    zero_params: Flag = False
    target: Literal["label", "prediction"] = "label"
    max_target: Literal["sum", "max"] = "sum"
    activation: Literal["max", "sum"] = "max"
    normalised: Flag = True
    shares: Literal["cut", "layer"] = "cut"
    precision: Literal["float64", "float32", "tf32", "bf16"] = "float32"
    device: Annotated[Text, HOW] = "auto"

    @property
    def scores(self) -> Literal["cut", "layer", "raw"]:
        """What the stored relevance scores are: shares of the cut or of the layer, or relevance itself.

        The values at single neurons of `max_target` = ``max`` have no cut: theirs are the layer's.
        """
        if not self.normalised:
            return "raw"
        return "layer" if self.max_target == "max" else self.shares


@dataclass(frozen=True, config=_RULES)
class MiningConfig:
    """The one pass over the data set. `batch_size` and `n_workers` do not change the result."""

    top_k: Annotated[Whole, Field(ge=1, le=100_000)] = 40
    shard_size: Positive = 2048
    batch_size: Annotated[Positive, HOW] = 16
    n_workers: Annotated[Whole, Field(ge=0, le=1024), HOW] = 2
    cache_images: Annotated[Flag, HOW] = False


@dataclass(frozen=True, config=_RULES)
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

    per_ranking: Annotated[Whole, Field(ge=1, le=100_000)] = 8
    heatmap_layers: tuple[Text, ...] = ("*",)
    start: Literal["neuron", "channel", "output"] = "neuron"
    tile: Annotated[Whole, Field(ge=16, le=16384)] = 112


@dataclass(frozen=True, config=_RULES)
class NamingConfig:
    """Who names concepts where no language model is enabled.

    Attributes
    ----------
    namer : str
        ``offline`` derives names from labels and pictures. ``recorded`` takes the names that a language model gave
        earlier and that ship with the project, where weights and reference samples are those that were named, and
        ``offline`` for all other concepts. ``package.module:factory`` is a namer of your own (docs/architecture.md).
    """

    namer: Literal["offline", "recorded"] | OwnFactory = "offline"


@dataclass(frozen=True, config=_RULES)
class ExplainingConfig:
    """Explanations of single photos.

    Attributes
    ----------
    photos : tuple of str
        Files or folders, relative to the config file; empty takes `n_photos` spread evenly over the data set.
    layers : tuple of str
        Names or patterns; empty takes the last mined layer (with its parallel siblings).
    own_words : bool
        Also let the language model write sentences itself, each checked by a second request; they stand apart.
    """

    photos: Annotated[tuple[Text, ...], WHICH] = ()
    n_photos: Annotated[NotNegative, WHICH] = 24
    min_probability: Annotated[Number, Field(ge=0, le=1)] = 0.05
    max_targets: Positive = 3
    n_concepts: Positive = 5
    n_sub_concepts: NotNegative = 3
    layers: Annotated[tuple[Text, ...], WHICH] = ()
    audiences: Annotated[tuple[Text, ...], WORDS] = ("expert", "stakeholder")
    language: Annotated[Text, WORDS] = "en"
    own_words: Annotated[Flag, WORDS] = False


@dataclass(frozen=True, config=_RULES)
class TrustConfig:
    """How far the atlas can be trusted, measured by switching channels off in some of its images.

    Attributes
    ----------
    n_samples : int
        Images of the data set that the shares of every layer are tried on, spread evenly over the predicted classes; 0
        measures nothing.
    n_random : int
        Random orders, and random sets of channels, that shares are compared with.
    n_greedy : int
        Images of these on which the best order is searched for, in the layers that are explained.
    n_checked : int
        Images of these on which concepts and heatmaps are compared with those of random weights and of another class; 0
        compares nothing.
    n_depths : int
        How often for that, from the last module alone to all, more weights are drawn anew.
    off : str
        What a channel that is switched off is set to: its ``mean`` over these images and space, or ``zero``.
    """

    n_samples: NotNegative = 16
    n_random: Positive = 5
    n_greedy: NotNegative = 2
    n_checked: NotNegative = 2
    n_depths: NotNegative = 2
    off: Literal["mean", "zero"] = "mean"


@dataclass(frozen=True, config=_RULES)
class LlmConfig:
    """The language model; the key comes from the environment variable named here and is never written anywhere.

    Attributes
    ----------
    enabled : bool
        False leaves naming to `NamingConfig.namer` and takes the generated narratives.
    price_input, price_output : float
        US dollars for a million tokens.
    max_cost : float
        US dollars; the run stops before it spends more.
    max_failed : float
        Share of the names, or of the scores, that may fail before a run counts as failed.
    """

    enabled: Flag = False
    base_url: Text = ""
    model: Text = "gpt-5-mini"
    key_variable: Annotated[Text, HOW] = "OPENAI_API_KEY"
    concurrency: Annotated[Whole, Field(ge=1, le=4096), HOW] = 16
    timeout: Annotated[Duration, HOW] = 60.0
    max_retries: Annotated[Whole, Field(ge=0, le=1000), HOW] = 6
    price_input: Annotated[Amount, HOW] = 0.25
    price_output: Annotated[Amount, HOW] = 2.0
    max_cost: Annotated[Amount, HOW] = 20.0
    max_failed: Annotated[Number, Field(ge=0, le=1), HOW] = 0.2
    structured_output: Literal["auto", "json_schema", "json_object", "prompt"] = "auto"


@dataclass(frozen=True, config=_RULES)
class SiteConfig:
    """The site. `include_images` off leaves out every pixel of the data set."""

    title: Text = ""
    description: Text = ""
    include_images: Flag = True
    n_gallery: NotNegative = 8


@dataclass(frozen=True, config=_RULES)
class ReportConfig:
    """Documents for people who file and sign them.

    Attributes
    ----------
    title : str
        Of what the reports are about, for example the system's name; empty is the site's title.
    author : str
        Who answers for them; printed on each.
    logo : str
        A PNG or WebP for the cover, relative to the config file.
    approval : tuple of str
        Who has to sign: each gets a line on the cover.
    audience : str
        For whom the text of an explanation is written: one of `explaining.audiences`.
    language : str
        Of that text, where an atlas has several; empty takes the one that there is.
    paper : str
    """

    title: Annotated[Text, WORDS] = ""
    author: Annotated[Text, WORDS] = ""
    logo: Annotated[Text, WORDS] = ""
    approval: Annotated[tuple[Text, ...], Field(max_length=6), WORDS] = ()
    audience: Annotated[Text, WORDS] = "stakeholder"
    language: Annotated[Text, WORDS] = ""
    paper: Annotated[Literal["a4", "letter"], WORDS] = "a4"


@dataclass(frozen=True, config=_RULES)
class Config:
    """One atlas.

    Attributes
    ----------
    name : str
        Names the output folder ``data/<name>`` and the site ``site/<name>``; letters, digits, "-", "_" and ".".
    path : Path
        The config file; relative paths in it start from its folder.
    given : frozenset of str, optional
        Dotted names of the keys that the file or the command line sets; None of a config made in code, which means all
        that it says.
    """

    name: Annotated[str, Strict(), Field(pattern=_NAME, description=_NAME_IN_WORDS)]
    path: Path
    given: frozenset[str] | None = None
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 0
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    relevance: RelevanceConfig = field(default_factory=RelevanceConfig)
    mining: MiningConfig = field(default_factory=MiningConfig)
    references: ReferencesConfig = field(default_factory=ReferencesConfig)
    naming: NamingConfig = field(default_factory=NamingConfig)
    explaining: ExplainingConfig = field(default_factory=ExplainingConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    llm: LlmConfig = field(default_factory=LlmConfig)
    site: SiteConfig = field(default_factory=SiteConfig)
    report: ReportConfig = field(default_factory=ReportConfig)


NOT_KEYS = frozenset({"path", "given"})
"""Fields of a config that say where it was written, not what."""


# --- reading ---------------------------------------------------------------------------------------------------

MAX_SIZE = 256 * 1024
"""Bytes of a config; a larger file is none."""


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
    text = _read_text(path)
    document = _parse(text, str(path))
    config = _check(document, path, _Origin(str(path), text))
    for override in overrides:
        place = f"command line, {_short(override)}"
        _put(document, override, place)
        config = _check(document, path, _Origin(place))
    _check_channels(config, _Origin(str(path), text))
    _check_crop(config, _Origin(str(path), text))
    return config


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
        if path.exists() and not path.is_file():
            raise ConfigError(f"the config {path} is not a file: give the TOML file of an atlas")
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        shipped = sorted(str(found) for folder in (path.parent, Path("data")) for found in _configs_in(folder))
        known = f" Existing configs: {', '.join(dict.fromkeys(shipped))}." if shipped else ""
        hint = "" if path.exists() else " `atlas init` writes one to start from into data/."
        raise ConfigError(f"cannot read the config {str(path)!r}: {reason}.{known}{hint}") from error
    if len(content) > MAX_SIZE:
        raise ConfigError(f"{path} has more than {MAX_SIZE // 1024} KiB, so it is no config: give the TOML of an atlas")
    try:
        return content.decode("utf-8-sig")  # editors of Windows put a mark in front
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file: {error.reason} at byte {error.start}") from error


def _configs_in(folder: Path) -> list[Path]:
    try:
        return list(folder.glob("*.toml"))
    except (OSError, ValueError):
        return []


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{place} is not valid TOML: arrays or tables nested too deeply") from error
    except ValueError as error:  # numbers of thousands of digits raise it bare
        raise ConfigError(f"{place} is not valid TOML: {error}") from error


def _put(document: dict[str, Any], override: str, place: str) -> None:
    """Put ``section.key=value`` into a document; a value that is not TOML is taken as text."""
    name, separator, text = (part.strip() for part in override.partition("="))
    keys = name.split(".")
    if not separator or not all(keys):
        raise ConfigError(f"{place} is not an override, write section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    table = document
    for key in keys[:-1]:
        inner = table.get(key)
        if not isinstance(inner, dict):
            table[key] = inner = {}
        table = inner
    old = table.get(keys[-1])
    table[keys[-1]] = old | value if isinstance(old, dict) and isinstance(value, dict) else value


# --- what does not fit -----------------------------------------------------------------------------------------


class _Origin(NamedTuple):
    """Where values were written: a file with its text, or the command line."""

    place: str
    text: str = ""

    def describe(self, name: str) -> str:
        """Say where the key of the dotted name stands."""
        line = find_line(self.text, name.split(".")) if self.text else 0
        return f"{self.place}, line {line}" if line else self.place


@cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


@cache
def _schema() -> dict[str, Any]:
    """Return the JSON Schema of what a config may hold, from which the messages are made."""
    return _adapter().json_schema()


def _check(document: Mapping[str, Any], path: Path, origin: _Origin) -> Config:
    """Make the config of a document."""
    for name in NOT_KEYS & document.keys():
        raise ConfigError(f"{origin.describe(name)}: unknown key {name!r}{_suggest(name)}")
    given = {f"{section}.{key}" for section, keys in document.items() if isinstance(keys, dict) for key in keys}
    values = {"name": path.stem, **document, "path": path.absolute(), "given": given}
    try:
        return _adapter().validate_python(values)
    except ValidationError as error:
        raise _wrong(values, error, origin) from error


def _check_channels(config: Config, origin: _Origin) -> None:
    """Refuse a mean or a deviation that is not of the channels, and channels whose statistics would be a guess."""
    wanted = config.preprocessing.channels
    for key, values in (("mean", config.preprocessing.mean), ("std", config.preprocessing.std)):
        is_given = f"preprocessing.{key}" in (config.given or ())
        if len(values) == len(wanted) and (is_given or wanted == _COLOURS):
            continue
        key_told = key if is_given else "channels"
        found = f"has {_count(len(values), 'number')}" if is_given else "is not given"
        raise ConfigError(
            f"{origin.describe(f'preprocessing.{key_told}')}: 'preprocessing.{key}' {found}, but the network gets "
            f"{_count(len(wanted), 'channel')} ({', '.join(wanted)}). Give one number for each, as in training; for "
            f"values from 0 to 1 as they are, mean = {[0.0] * len(wanted)} and std = {[1.0] * len(wanted)}"
        )


def _check_crop(config: Config, origin: _Origin) -> None:
    """Refuse a crop that no resized image holds: each would get a black border, which hardly any network has seen."""
    resize, (height, width) = config.preprocessing.resize, config.preprocessing.size
    is_held = min(height, width) <= resize if isinstance(resize, int) else height <= resize[0] and width <= resize[1]
    if is_held or not {"preprocessing.resize", "preprocessing.crop"} & set(config.given or ()):
        return
    key = "crop" if "preprocessing.crop" in (config.given or ()) else "resize"
    told = f"{height} x {width}" if height != width else str(height)
    before = resize if isinstance(resize, int) else f"{resize[0]} x {resize[1]}"
    raise ConfigError(
        f"{origin.describe(f'preprocessing.{key}')}: 'preprocessing.crop' is {told}, more than the images have after "
        f"'preprocessing.resize' ({before}): each would get "
        f"a black border. Set both as in training; for all of each image in that size, resize = [{height}, {width}]"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _wrong(values: Mapping[str, Any], error: ValidationError, origin: _Origin) -> ConfigError:
    """Turn the first of pydantic's findings into one message: where, what it must be, what was found."""
    detail = error.errors(include_url=False, include_input=False)[0]
    keys, found, schema = _locate(detail["loc"], values)
    name = ".".join(keys)
    if detail["type"] == "unexpected_keyword_argument":
        return ConfigError(f"{origin.describe(name)}: unknown key {_short(name)}{_suggest(name)}")
    if detail["loc"][-1] == "[key]":
        section, key = ".".join(keys[:-1]), keys[-1]
        return ConfigError(f"{origin.describe(section)}: a key of {section!r} must be {PATTERN}, found {_short(key)}")
    if "properties" in schema:
        return ConfigError(f"{origin.describe(name)}: {name!r} is a section, write [{name}] and its keys below")
    known = [value for member in (schema, *schema.get("anyOf", ())) for value in member.get("enum", ())]
    hint = did_you_mean(str(found), known) if known and isinstance(found, str) else ""
    return ConfigError(
        f"{origin.describe(name)}: {_short(name)} must be {_expected(schema)}, found {_short(found)}{hint}"
    )


def _locate(location: Sequence[int | str], values: Mapping[str, Any]) -> tuple[list[str], object, dict[str, Any]]:
    """Follow a location as far as the document goes; return the keys, the value and its schema."""
    keys: list[str] = []
    found: Any = values
    schema: dict[str, Any] = _resolved(_schema())
    for part in location:
        if isinstance(found, dict) and part in found:
            keys.append(str(part))
            by_pattern = next(iter(schema.get("patternProperties", {}).values()), None)
            inner = schema.get("properties", {}).get(part) or schema.get("additionalProperties") or by_pattern or {}
        elif isinstance(found, list) and isinstance(part, int) and part < len(found):
            inner = schema["items"] if "items" in schema else schema.get("prefixItems", [{}])[0]
        else:
            break  # the rest names a member of a union, or what is missing
        found, schema = found[part], _resolved(inner or {})
    return keys, found, schema


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = _schema()["$defs"][reference] if reference else schema
    return resolved


_TYPE_NAMES = {
    "string": "text (without the character NUL)",
    "integer": "a whole number",
    "number": "a finite number",
    "boolean": "true or false",
    "object": "a table such as { key = 1 }",
}


def _expected(schema: Mapping[str, Any]) -> str:
    """Say in words what a schema allows."""
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_expected(member) for member in schema["anyOf"]))
    if schema["type"] == "array":
        length = schema.get("maxItems")
        element = schema["items"] if "items" in schema else schema["prefixItems"][0]
        return f"an array of {_expected(element)}" + (f" with {length} elements" if length else "")
    return _TYPE_NAMES[schema["type"]] + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if low == -math.inf:
        return ""
    return f" of at least {low}" if high == math.inf else f" from {low} to {high}"


class _Short(reprlib.Repr):
    """Values of any size and depth in a few words."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlevel = 3

    def repr_int(self, value: int, level: int) -> str:
        """Shorten a number; Python refuses to print one of thousands of digits."""
        return (
            super().repr_int(value, level) if value.bit_length() < 10_000 else f"a number of {value.bit_length()} bits"
        )


_short = _Short().repr


def _suggest(name: str) -> str:
    """Name the nearest right key: of the whole name, else of its last part in any section, else list them."""
    keys = list(_names())
    if nearest := did_you_mean(name, keys, cutoff=0.75):
        return nearest
    section, _, last = name.rpartition(".")
    by_last = {key.rpartition(".")[2]: key for key in keys}
    if nearest := did_you_mean(last, list(by_last), cutoff=0.7, shown=by_last):
        return nearest
    return f"; known keys: {', '.join(key for key in keys if key.rpartition('.')[0] == section)}"


def _names() -> Iterator[str]:
    for key, schema in _schema()["properties"].items():
        if key not in NOT_KEYS:
            yield key
            yield from (f"{key}.{inner}" for inner in _resolved(schema).get("properties", {}))


def find_line(text: str, keys: Sequence[str]) -> int:
    """Find the line (from 1) on which a key or its table begins; 0 where the document lacks it.

    The document is read statement by statement, each the fewest lines that are TOML by themselves.
    """
    header: list[str] = []
    statement: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        statement.append(line)
        try:
            parsed = tomllib.loads("\n".join(statement))
        except (ValueError, RecursionError):
            continue
        first, is_header = number - len(statement) + 1, statement[0].lstrip().startswith("[")
        statement = []
        if is_header:
            header = _path_of(parsed)
        if _holds(header, {} if is_header else parsed, keys):
            return first
    return 0


def _path_of(table: dict[str, Any]) -> list[str]:
    """Return the keys of a document that is one table header."""
    path: list[str] = []
    inner: Any = table
    while inner:
        if isinstance(inner, list):
            inner = inner[0]
            continue
        key, inner = next(iter(inner.items()))
        path.append(key)
    return path


def _holds(header: Sequence[str], parsed: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Tell whether a statement below a header writes a key, or a part of its table."""
    if len(keys) <= len(header):
        return list(header[: len(keys)]) == list(keys)
    if list(keys[: len(header)]) != list(header):
        return False
    found: Any = parsed
    for key in keys[len(header) :]:
        found = found.get(key) if isinstance(found, dict) else None
    return found is not None


# --- what has no effect ----------------------------------------------------------------------------------------


def _marked(*marks: str) -> frozenset[str]:
    """List the dotted names of the keys with one of these marks."""
    found = []
    for section, kind in typing.get_type_hints(Config).items():
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind, include_extras=True).items()
            found += [f"{section}.{key}" for key, hint in hints if {*marks} & {*getattr(hint, "__metadata__", ())}]
    return frozenset(found)


WITHOUT_EFFECT = _marked(HOW)
"""Keys that change no result."""

_CAME_LATER = _marked(LATER)

WITHOUT_EFFECT_ON_NUMBERS = _marked(HOW, WHICH, WORDS)
"""Keys that change no number of one photo's explanation."""


def is_as_before(key: str, record: object) -> bool:
    """Tell whether a key of a section came later and stands at its default, which is what was done without it."""
    name = key.rpartition(".")[2]
    return key in _CAME_LATER and getattr(record, name) == getattr(type(record)(), name)


def effective(config: Config, *sections: str, without: frozenset[str] = WITHOUT_EFFECT) -> dict[str, Any]:
    """Return the seed and the named sections without the keys that have no effect, JSON-ready.

    Paths stand as they are written in the file, so that a moved project keeps its digests.

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
        content[section] = {
            key: values[key]
            for key in values
            if f"{section}.{key}" not in without and not is_as_before(f"{section}.{key}", record)
        }
    return content
