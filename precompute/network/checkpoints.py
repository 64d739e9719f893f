"""Weights from a file into a module: what is in the file, which part of it is the module's, and the fit.

Owns the formats that are read (safetensors, and torch's own with ``weights_only=True``), the search for the part of a
file that fits, and what is said of a file that cannot be used. Must not know configs, factories or data.

Programs wrap weights in many ways: ``state_dict``, ``model_ema``, ``module.``, ``_orig_mod.``. None of these names is
known here. Every tensor of a file gets one dotted name, and the weights are where the names and shapes behind a common
prefix are exactly the module's. Where two parts of a file fit and differ, the reader has to choose.
"""

from __future__ import annotations

import argparse
import io
import json
import pathlib
import pickle
import pickletools
import shlex
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from precompute.errors import ModelError

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Path segments that torch's wrappers (DataParallel, compile, FSDP) put into names, at any depth."""

_INERT: tuple[Any, ...] = (
    *(argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, np.dtype),
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]
)
"""Plain values that training programs keep beside weights; making them runs no code of the file's."""

_MAX_DEPTH = 8
_ROOT = "."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a weights file.

    Attributes
    ----------
    path : Path
    tensors : dict of str to tensor
        On the CPU, by dotted name: the keys of nested mappings and the tensor's own name, joined by ".".
    class_names : tuple of str
        ``classes`` of a safetensors header; empty elsewhere.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    class_names: tuple[str, ...] = ()


@dataclass(eq=False)
class _Part:
    """What of a file lies behind one prefix: the file's names by the module's names, and names unknown to it."""

    prefix: str
    names: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.prefix.rstrip(".") or _ROOT


def read_checkpoint(path: Path) -> Checkpoint:
    """Read every tensor of a weights file; what kind of file it is is told by its content, not by its name.

    Raises
    ------
    ModelError
        The file is missing, unreadable, of another kind, or holds more than weights; says the line that mends it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        if start.startswith(b"PK"):
            _check_archive(path)
        if start.startswith((b"PK", b"\x80")):
            with torch.serialization.safe_globals(list(_INERT)), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Detected pickle protocol")
                content = torch.load(path, map_location="cpu", weights_only=True)
            return Checkpoint(path, _collect(content, path))
        if start[8:9] == b"{":
            with safetensors.safe_open(path, "pt") as opened:
                metadata = opened.metadata() or {}
            return Checkpoint(path, safetensors.torch.load_file(path), _parse_classes(metadata.get("classes", "")))
    except IsADirectoryError as error:
        inside = [found.name for found in sorted(path.iterdir()) if found.is_file()][:10]
        raise ModelError(
            f"the weights {path} are a folder; name a file in it: {', '.join(inside) or 'none'}"
        ) from error
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise ModelError(_describe_unsafe(path)) from error
    except (safetensors.SafetensorError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError, LookupError,
            AttributeError) as error:  # fmt: skip
        raise ModelError(
            f"{path} is not a readable weights file: {_first_line(error)}. Was it copied as a whole?"
        ) from error
    raise ModelError(f"{path} is not a readable weights file: {_describe_start(start)}")


def load_weights(module: nn.Module, checkpoint: Checkpoint, key: str = "") -> tuple[str, ...]:
    """Give a module the weights of a file, or change nothing.

    Parameters
    ----------
    module : nn.Module
    checkpoint : Checkpoint
    key : str
        The part to take, as named by the message that asks for it; empty where only one part fits.

    Returns
    -------
    tuple of str
        What a reader should know: the part that was taken, what was left out, a change of number format.

    Raises
    ------
    ModelError
        No part of the file fits (names what is missing, unknown and of another shape), several fit and differ, or the
        values are no finite numbers.
    """
    wanted = _Wanted.of(module)
    if not wanted.tensors:
        raise ModelError(f"the model has no weights, so the weights {checkpoint.path} cannot belong to it")
    part = _choose(checkpoint, wanted, key)
    state = {name: checkpoint.tensors[source] for name, source in part.names.items()}
    _check_values(checkpoint, part, state, wanted.tensors)
    module.load_state_dict(state, strict=False)
    return tuple(_tell(checkpoint, part, state, wanted.tensors))


# --- the file --------------------------------------------------------------------------------------------------


def _check_archive(path: Path) -> None:
    """Refuse zip archives that are no weights: programs of TorchScript and torch.export, and foreign ones."""
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        line = (
            f"import torch; torch.save(torch.jit.load({path.name!r}, map_location='cpu').state_dict(), {_new(path)!r})"
        )
        raise ModelError(
            f"{path} is a TorchScript program: its operations are compiled and no longer those of the model's modules, "
            f"so it cannot be explained. Take its weights alone, {_command(line)}, set model.weights = "
            f"{_quoted(path)}, and "
            "name the Python code that builds the model as model.factory"
        )
    if "data.pkl" not in names:
        raise ModelError(
            f"{path} is a zip archive, but none that torch.save writes: it holds {', '.join(names[:3]) or 'nothing'}. "
            "Save `model.state_dict()` with torch.save and name that file"
        )


def _collect(content: object, path: Path) -> dict[str, torch.Tensor]:
    """Name every tensor of nested mappings."""
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{path} holds {type(content).__name__}, expected a state dict: names and tensors. Save "
            "`model.state_dict()` with torch.save and name that file"
        )
    found: dict[str, torch.Tensor] = {}
    for name, tensor in _walk(content, ()):
        if name in found and not _equal(found[name], tensor):
            raise ModelError(f"{path} holds two different tensors named {name!r}; save the model's state dict alone")
        found[name] = tensor
    if not found:
        keys = ", ".join(repr(str(key)) for key in list(content)[:5])
        raise ModelError(
            f"{path} holds no tensors, only {keys or 'nothing'}; save `model.state_dict()` with torch.save"
        )
    return found


def _walk(content: Mapping[Any, Any], above: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in content.items():
        path = (*above, str(key))
        if isinstance(value, torch.Tensor):
            yield ".".join(path), value
        elif isinstance(value, Mapping) and len(path) < _MAX_DEPTH:
            yield from _walk(value, path)


def _describe_unsafe(path: Path) -> str:
    """Say which classes a file wants, and the line that takes the weights out of it."""
    try:
        wanted = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError):  # an older file, or no checkpoint at all
        wanted = []
    operations = _read_operations(path)
    texts = {argument for operation, argument in operations if "UNICODE" in operation}
    is_mapping = next((operation for operation, _ in operations if operation != "PROTO"), "") == "EMPTY_DICT"
    classes_named = {str(argument) for operation, argument in operations if operation == "GLOBAL"} | texts
    is_model = any(name.startswith(("torch.nn.modules", "torch.nn.parallel", "torch.fx")) for name in classes_named)
    key = next((name for name in ("state_dict", "model_state_dict", "model", "net") if name in texts), "state_dict")
    line = (
        f"import torch; c = torch.load({path.name!r}, map_location='cpu', weights_only=False)"
        f"{f'[{key!r}]' if is_mapping else ''}; "
        f"torch.save(c.state_dict() if hasattr(c, 'state_dict') else c, {_new(path)!r})"
    )
    what = "a whole pickled model" if is_model else "more than weights"
    classes = f" ({', '.join(wanted[:3])}{', …' if len(wanted) > 3 else ''})" if wanted else ""
    return (
        f"{path} holds {what}{classes}, and loading it could run code, so it is refused. If you trust its maker, take "
        f"the weights out where it was trained, {_command(line)}, and set model.weights = {_quoted(path)}"
    )


def _read_operations(path: Path) -> list[tuple[str, Any]]:
    """Read the operations of a pickle without running any; empty where there is none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                return _parse_pickle(io.BytesIO(archive.read(inner)))
        with path.open("rb") as file:
            operations = _parse_pickle(file)
            if ("LONG1", torch.serialization.MAGIC_NUMBER) in operations:
                # torch's older format: the content comes behind a magic number, a version and the machine's sizes.
                operations = [_parse_pickle(file) for _ in range(3)][-1]
            return operations
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return []


def _parse_pickle(stream: IO[bytes]) -> list[tuple[str, Any]]:
    return [(operation.name, argument) for operation, argument, _ in pickletools.genops(stream)]


def _describe_start(start: bytes) -> str:
    """Say what a file is that is no weights file, by its first bytes."""
    kinds = (
        (b"", "it is empty"),
        (b"version https://git-lfs", "it is a pointer of Git LFS; run `git lfs pull` to get the weights themselves"),
        (b"\x89HDF", "it is an HDF5 file, as Keras writes them; PyTorch weights are needed"),
        (b"\x1f\x8b", "it is compressed; run gunzip on it first"),
        (b"<", "it is a web page; the download went wrong"),
    )
    for magic, words in kinds:
        if start.lstrip()[: len(magic)] == magic and (magic or not start):
            return words
    return f"it begins with {start[:16]!r}"


def _parse_classes(text: str) -> tuple[str, ...]:
    if text.startswith("["):
        return tuple(str(name) for name in json.loads(text))
    return tuple(text.split())


def _new(path: Path) -> str:
    return f"{path.name.partition('.')[0]}-weights.pt"


def _quoted(path: Path) -> str:
    return json.dumps(str(path.with_name(_new(path))), ensure_ascii=False)


def _command(line: str) -> str:
    return f"`python -c {shlex.quote(line)}`"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


# --- the fit ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Wanted:
    """The tensors of a module: by name, and the names that are one and the same tensor (tied weights)."""

    tensors: Mapping[str, torch.Tensor]
    tied: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, module: nn.Module) -> _Wanted:
        live = {name: value for name, value in module.state_dict(keep_vars=True).items() if torch.is_tensor(value)}
        names: dict[int, set[str]] = {}
        for name, tensor in live.items():
            names.setdefault(id(tensor), set()).add(name)
        return cls(live, {name: frozenset(names[id(tensor)]) for name, tensor in live.items()})

    def missing(self, found: Iterable[str]) -> list[str]:
        """List the names that a file lacks; counters of training steps do not count, of tied tensors one is enough."""
        there = set(found)
        return [name for name, same in self.tied.items() if not same & there and not _is_counter(name)]


def _choose(checkpoint: Checkpoint, wanted: _Wanted, key: str) -> _Part:
    """Find the one part of a file that is the module's."""
    parts = _find_parts(checkpoint.tensors, wanted)
    if key:
        parts = [part for part in parts if f"{part.label}.".startswith(f"{key.rstrip('.')}.") or key == part.label]
        if not parts:
            raise ModelError(
                f"the weights {checkpoint.path} have nothing of the model under model.weights_key = {key!r}; at their "
                "top "
                f"they have: {', '.join(dict.fromkeys(name.partition('.')[0] for name in checkpoint.tensors))}"
            )
    fitting = [part for part in parts if not any(_find_faults(checkpoint, part, wanted).values())]
    if not fitting:
        raise ModelError(_describe_faults(checkpoint, parts, wanted))
    whole = next((part for part in fitting if len(part.names) == len(checkpoint.tensors)), None)
    different = [whole] if whole else _drop_equal(checkpoint, fitting)
    if len(different) > 1:
        lines = " or ".join(f'model.weights_key = "{part.label}"' for part in different)
        raise ModelError(
            f"the weights {checkpoint.path} hold {len(different)} different sets that fit the model, for example the "
            f"trained weights and their moving average (EMA). Choose one: set {lines}"
        )
    return different[0]


def _find_parts(tensors: Mapping[str, torch.Tensor], wanted: _Wanted) -> list[_Part]:
    """Group the tensors of a file by what stands before the names that the module knows; in the file's order."""
    expected = wanted.tensors
    compact = {_compact(name): name for name in expected}
    # Two names of a module that differ in wrappers and dots alone cannot be told apart: then only its own names count.
    compact = compact if len(compact) == len(expected) else {}
    parts: dict[str, _Part] = {}
    for full in tensors:
        segments = full.split(".")
        for position in range(len(segments)):
            tail = ".".join(segments[position:])
            name = tail if tail in expected else compact.get(_compact(tail))
            if name is None or (segments[position] in _WRAPPERS and name != tail):
                continue
            prefix = "".join(f"{segment}." for segment in segments[:position])
            known = parts.setdefault(prefix, _Part(prefix)).names
            if name not in known or tail == name:
                known[name] = full
    complete = [part for part in parts.values() if not wanted.missing(part.names)]
    for part in parts.values():
        known_names = set(part.names.values()).union(*(other.names.values() for other in complete))
        part.unknown = [full for full in tensors if full.startswith(part.prefix) and full not in known_names]
    return list(parts.values())


def _compact(name: str) -> str:
    """Leave out what programs put into names or take out of them: wrappers, and the dots between segments."""
    return "".join(segment for segment in name.split(".") if segment not in _WRAPPERS)


def _is_counter(name: str) -> bool:
    """Tell a counter of training steps; older files lack it and nothing here reads it."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _drop_equal(checkpoint: Checkpoint, parts: Sequence[_Part]) -> list[_Part]:
    """Keep the first of parts that hold the same values."""
    kept: list[_Part] = []
    for part in parts:
        if not any(
            all(
                _equal(checkpoint.tensors[full], checkpoint.tensors[other.names[name]])
                for name, full in part.names.items()
                if name in other.names
            )
            for other in kept
        ):
            kept.append(part)
    return kept


def _equal(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)


def _find_faults(checkpoint: Checkpoint, part: _Part, wanted: _Wanted) -> dict[str, list[str]]:
    """List the names that keep a part from being the module's weights, by what is wrong with them."""
    return {
        "missing": wanted.missing(part.names),
        "unknown": [name.removeprefix(part.prefix) for name in part.unknown],
        "of another shape": [
            name for name, full in part.names.items() if checkpoint.tensors[full].shape != wanted.tensors[name].shape
        ],
    }


def _describe_faults(checkpoint: Checkpoint, parts: Sequence[_Part], wanted: _Wanted) -> str:
    """Say what the part that comes nearest lacks, and what mends it."""
    expected = wanted.tensors
    if not parts:
        return (
            f"the weights {checkpoint.path} do not fit the model: none of their names is the model's. They have "
            f"{_some(list(checkpoint.tensors))}; the model has {_some(list(expected))}. {_OTHER_NETWORK}"
        )
    nearest = max(parts, key=lambda part: len(part.names))
    faults = _find_faults(checkpoint, nearest, wanted)
    shapes = {
        name: (tuple(checkpoint.tensors[nearest.names[name]].shape), tuple(expected[name].shape))
        for name in faults["of another shape"]
    }
    told = faults | {"of another shape": [f"{name} {found}, expected {want}" for name, (found, want) in shapes.items()]}
    listed = ", ".join(f"{len(names)} {what} ({_some(names)})" for what, names in told.items() if names)
    under = f" (under {nearest.label!r})" if nearest.prefix else ""
    hint = _OTHER_NETWORK
    if not faults["missing"] and not faults["unknown"]:
        hint = _hint_shapes(list(shapes.values()))
    return f"the weights {checkpoint.path}{under} do not fit the model: tensors {listed}. {hint}"


_OTHER_NETWORK = (
    "The factory builds another network than the one that was trained: change model.factory or model.arguments"
)


def _hint_shapes(shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """Tell from the shapes alone what differs: the number of classes, or of input channels."""
    if all(found[1:] == want[1:] for found, want in shapes) and len({found[0] for found, _ in shapes}) == 1:
        n_outputs = shapes[0][0][0]
        return (
            f"The file was trained for {n_outputs} outputs: give the factory that number, for torchvision and timm "
            f"`arguments = {{ num_classes = {n_outputs} }}` in [model]"
        )
    found, want = shapes[0]
    if len(shapes) == 1 and len(found) == len(want) == 4 and found[:1] + found[2:] == want[:1] + want[2:]:
        return (
            f"The file was trained on images of {found[1]} channels, the model takes {want[1]}: give the factory that "
            "number in model.arguments, and name the channels in preprocessing.channels"
        )
    return _OTHER_NETWORK


def _some(names: Sequence[str]) -> str:
    return "; ".join(names[:3]) + ("; …" if len(names) > 3 else "")


def _check_values(
    checkpoint: Checkpoint, part: _Part, state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> None:
    """Refuse numbers that are none of the module's kind, or none at all."""
    for name, tensor in state.items():
        want = expected[name].dtype
        if tensor.is_quantized or tensor.layout != torch.strided or tensor.dtype.is_complex != want.is_complex:
            raise ModelError(
                f"the weights {checkpoint.path}: {part.names[name]} is quantised or sparse; {_SAVE_FLOATS}"
            )
        if want.is_floating_point and not tensor.is_floating_point():
            raise ModelError(
                f"the weights {checkpoint.path}: {part.names[name]} holds {_dtype(tensor)}, expected floating-point "
                f"numbers; {_SAVE_FLOATS}"
            )
        if tensor.is_floating_point() and not tensor.to(want).isfinite().all():
            raise ModelError(
                f"the weights {checkpoint.path} hold values that are no finite numbers, first in {part.names[name]}. "
                "Take the weights from before the training diverged"
            )


_SAVE_FLOATS = "save the state dict of the model before it was quantised"


def _tell(
    checkpoint: Checkpoint, part: _Part, state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    """Say what a reader would not see from the file's name."""
    if part.prefix:
        yield f"{checkpoint.path.name}: the tensors under {part.label!r}"
    other = next(((full, name) for name, full in part.names.items() if full != part.prefix + name), None)
    if other:
        yield f"{checkpoint.path.name}: names spelt in another way, first {other[0]!r} for {other[1]!r}"
    used = set(part.names.values())
    left = [full for full in checkpoint.tensors if full not in used]
    if left:
        tops = list(dict.fromkeys(full if full.count(".") < 2 else full.partition(".")[0] for full in left))
        yield f"{checkpoint.path.name}: left out {len(left)} other tensors ({_some(tops)})"
    for dtype in dict.fromkeys(tensor.dtype for tensor in state.values() if tensor.is_floating_point()):
        others = {expected[name].dtype for name, tensor in state.items() if tensor.dtype == dtype} - {dtype}
        if others:
            names = ", ".join(sorted(str(other).removeprefix("torch.") for other in others))
            yield f"{checkpoint.path.name}: stored as {str(dtype).removeprefix('torch.')}, computed in {names}"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
