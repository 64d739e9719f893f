"""The configs that come with the program, for whoever installed it and has no checkout.

Owns copying them to where a user can change them. The files are links into ``data/``, where they are written; a wheel
holds copies. Must not know what a config means.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from precompute.atlas.files import write_bytes
from precompute.errors import ConfigError, nearest_of


def example_names() -> list[str]:
    """List the names of the configs that come with the program."""
    return sorted(path.name.removesuffix(".toml") for path in files(__name__).iterdir() if path.name.endswith(".toml"))


def copy_example(name: str, folder: Path) -> list[Path]:
    """Copy a config, and the factories where it names one of them, into a folder; no file is ever replaced.

    Returns
    -------
    list of Path
        The files that were made, the config first.

    Raises
    ------
    ConfigError
        There is no such config, or the folder holds another file of that name.
    OutputError
        No space, no permission.
    """
    if name not in example_names():
        raise ConfigError(
            f"there is no config {name!r} to start from"
            f"{nearest_of(name, example_names(), otherwise='the ones that come with the program')}"
        )
    config = (files(__name__) / f"{name}.toml").read_bytes()
    contents = {f"{name}.toml": config}
    if b'"factories:' in config:
        contents["factories.py"] = (files(__name__) / "factories.py").read_bytes()
    made = []
    for file, content in contents.items():
        path = folder / file
        if not path.exists():
            write_bytes(path, content)
            made.append(path)
        elif path.read_bytes() != content:
            raise ConfigError(f"{path} is there already, and holds something else; nothing of it was changed")
    return made
