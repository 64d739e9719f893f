"""Code of a user's own, named in a config as ``package.module:factory``.

Owns finding it (the config's folder first, then the Python environment), calling it, and the messages for whatever
goes wrong there. Must not know what a factory makes: `network` asks for networks, `images` for data sets, the naming
stage for namers.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from precompute.errors import AtlasError, nearest_of


def call_factory(
    address: str,
    key: str,
    folder: Path,
    failure: type[AtlasError],
    arguments: Mapping[str, Any] | None = None,
    written: Mapping[str, Any] | None = None,
) -> Any:  # noqa: ANN401 - what a factory makes is the caller's to check
    """Import ``package.module:factory`` and call it.

    Parameters
    ----------
    address : str
        ``package.module:factory``.
    key : str
        Of the config, where the address is written.
    folder : Path
        Looked through first.
    failure : type of AtlasError
        What is raised.
    arguments : mapping, optional
        What the program gives, by name.
    written : mapping, optional
        What the user wrote in the config as ``arguments``; held against what the factory takes.

    Raises
    ------
    AtlasError
        Of the kind `failure`: nothing to import, no such factory, other arguments, or it failed.
    """
    package, _, name = address.partition(":")
    with _importable(folder, package):
        factory = _find(package, name, key, address, folder, failure)
        if written is not None:
            _check_arguments(factory, address, written, failure)
        try:
            return factory(**{**(arguments or {}), **(written or {})})
        except AtlasError:
            raise
        except Exception as error:  # whatever a user's own code raises, the message has to name it
            raise failure(f"{address} failed: {describe_failure(error)}") from error


def keep_importable(folder: Path) -> None:
    """Let modules of a folder be found from now on, after all others; processes that are started find them too."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def source_digest(address: str, folder: Path) -> str:
    """Digest the file of the module that an address names, so that what it made counts as old when it is changed.

    Empty where there is no such file.
    """
    package = address.partition(":")[0]
    beside = (folder / package.replace(".", "/")).with_suffix(".py")
    with _importable(folder, package):
        try:
            found = beside if beside.is_file() else Path(getattr(importlib.util.find_spec(package), "origin", "") or "")
            return hashlib.sha256(found.read_bytes()).hexdigest() if found.is_file() else ""
        except (ImportError, ValueError, OSError):
            return ""


def _find(
    package: str, name: str, key: str, address: str, folder: Path, failure: type[AtlasError]
) -> Callable[..., Any]:
    try:
        source = importlib.import_module(package)
    except ImportError as error:
        raise failure(
            f"cannot import {package!r} for {key} {address!r}: {error}. Modules are looked for in {folder} and in the "
            "Python environment."
        ) from error
    except Exception as error:  # a user's own module may fail in any way
        raise failure(f"importing {package!r} for {key} {address!r} failed: {describe_failure(error)}") from error
    factory = getattr(source, name, None)
    if not callable(factory):
        public = [item for item, value in vars(source).items() if callable(value) and not item.startswith("_")]
        nearest = nearest_of(name, public, cutoff=0.3, otherwise="it has")
        raise failure(f"module {package!r} has no factory {name!r}{nearest}")
    found: Callable[..., Any] = factory
    return found


def _check_arguments(
    factory: Callable[..., Any], address: str, written: Mapping[str, Any], failure: type[AtlasError]
) -> None:
    """Hold the config's arguments against what the factory takes."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # compiled code may not tell; then the call itself does
    try:
        signature.bind(**written)
    except TypeError as error:
        given = ", ".join(f"{key} = {value!r}" for key, value in written.items()) or "none"
        raise failure(
            f"model.arguments do not fit {address}{signature}: {error} (TypeError); given: {given}. Write them as "
            f"`arguments = {{ {_example(signature)} }}` in [model]"
        ) from error


def _example(signature: inspect.Signature) -> str:
    named = [
        found for found in signature.parameters.values() if found.kind not in (found.VAR_POSITIONAL, found.VAR_KEYWORD)
    ]
    needed = [found.name for found in named if found.default is found.empty] or [found.name for found in named][:1]
    return ", ".join(f"{name} = …" for name in needed)


def describe_failure(error: Exception) -> str:
    """Name an exception and the line of the user's code that it comes from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})" if trace else ""
    return f"{type(error).__name__}: {error}{place}"


@contextmanager
def _importable(folder: Path, package: str) -> Iterator[None]:
    """Put the config's folder in front of the import path; a module of that name from elsewhere makes way."""
    top = package.partition(".")[0]
    cached = getattr(sys.modules.get(top), "__file__", None) or ""
    if (folder / f"{top}.py").exists() and Path(cached) != folder / f"{top}.py":
        sys.modules.pop(top, None)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
