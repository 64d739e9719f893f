"""Keeps what people brought apart from what is made: a data set's folder never is, holds or lies in an output.

Owns that one question and its way out. Must not know what is read or written there.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from precompute.atlas.folder import Workspace
from precompute.config import Config, resolve_path
from precompute.errors import ConfigError

_DEFAULT_ROOTS = {"imagenette": "imagenette", "world": ""}


def require_apart(config: Config, workspace: Workspace) -> None:
    """Refuse a data set that shares a folder with the output or the site, before anything is written.

    Raises
    ------
    ConfigError
        Names both folders and others that would do.
    """
    text = config.dataset.root or _DEFAULT_ROOTS.get(config.dataset.kind, "")
    if not text or config.dataset.kind == "world":
        return
    try:
        root = resolve_path(config, text).resolve()
    except (ConfigError, OSError, RuntimeError):
        return  # whoever opens the data set says what is wrong with it
    home = root if root.is_dir() else root.parent
    for option, folder in (("--output", workspace.folder), ("--site", workspace.site)):
        place = _resolved(folder)
        if (relation := _relation(root, place)) is None:
            continue
        what = "the output folder" if option == "--output" else "the site's folder"
        other = home.parent / f"{config.name}-{'atlas' if option == '--output' else 'site'}"
        if _relation(root, _resolved(other)) is not None or home == home.parent:
            other = Path("ANOTHER-FOLDER")
        raise ConfigError(
            f"{config.path}: dataset.root {str(root)!r} {relation} {what} {str(place)!r}, so that what is made would "
            f"lie among the images, or be taken for some. Nothing was written. Choose another with `{option} "
            f"{shlex.quote(str(other))}`, or move the images."
        )


def _relation(root: Path, folder: Path) -> str | None:
    """Say how two places overlap; None where they are apart."""
    if _is_same(root, folder):
        return "is"
    if any(_is_same(root, above) for above in folder.parents):
        return "holds"
    if any(_is_same(folder, above) for above in root.parents):
        return "lies in"
    return None


def _is_same(left: Path, right: Path) -> bool:
    """Tell whether two paths lead to one place, by whatever name or mount."""
    if left == right:
        return True
    try:
        return left.samefile(right)
    except OSError:
        return False


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError):
        return folder.absolute()
