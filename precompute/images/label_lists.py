"""Labels from a list beside a flat folder of images, in the ways in which ImageNet's validation list is kept.

Owns the reading of such lists and of the devkit's class ids. Must not know images.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from precompute.atlas.records import IntArray
from precompute.errors import DataError

from .classes import ClassList
from .listing import find_class

IdKind = Literal["auto", "torchvision", "ilsvrc"]

_META_FILES = ("meta.mat", "map_clsloc.txt")


def read_ground_truth(
    path: Path, names: Sequence[str], classes: ClassList | None, ids: IdKind = "auto"
) -> tuple[IntArray, tuple[str, ...]]:
    """Read the labels of image files.

    The list has either one class a line, in the order of the sorted file names, or lines of "file class" (with a
    space, a tab or a comma; the suffix of the file may be missing). A class is a key of the class list (WordNet id), a
    class name, an index from 0 (``torchvision``) or an id from 1 in the devkit's order (``ilsvrc``).

    Parameters
    ----------
    path : Path
    names : sequence of str
        File names, sorted.
    classes : ClassList or None
        None makes the classes from the list itself.
    ids : {"auto", "torchvision", "ilsvrc"}
        How numbers are meant. "auto" tells by a 0 or an n_classes among them; numbers beside file names count from 0.

    Returns
    -------
    labels : (n_names,) int64
    class_names : tuple of str

    Raises
    ------
    DataError
        The list is missing, does not fit the images, or its numbers could be meant in either way.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the ground truth {path}: {error} (dataset.ground_truth)") from error
    by_name = _split(lines, names)
    if by_name is None and len(lines) != len(names):
        raise DataError(
            f"the ground truth {path} has {len(lines)} lines for {len(names)} images. Expected one class a line in "
            "the order of the file names, or lines of 'file class'."
        )
    texts = lines if by_name is None else _look_up(by_name, names, path)
    if not all(text.isdecimal() for text in texts):
        classes = classes or ClassList(tuple(sorted(set(texts))), source=str(path))
        found = [find_class(classes, text, f"the ground truth {path}") for text in texts]
        return np.array(found, dtype=np.int64), classes.names
    numbers = np.array([int(text) for text in texts], dtype=np.int64)
    class_names = classes.names if classes else tuple(str(index) for index in range(int(numbers.max()) + 1))
    if ids == "auto":
        ids = "torchvision" if by_name is not None or classes is None else _tell(numbers, len(class_names), path)
    if ids == "ilsvrc":
        return _from_devkit(numbers, classes, path), class_names
    if numbers.max() >= len(class_names):
        raise DataError(
            f"the ground truth {path} has the class {numbers.max()}, expected 0 to {len(class_names) - 1}. If its "
            "numbers count from 1 in the devkit's order, set dataset.ground_truth_ids = 'ilsvrc'."
        )
    return numbers, class_names


def _split(lines: Sequence[str], names: Sequence[str]) -> dict[str, str] | None:
    """Take "file class" lines apart; None where the lines are classes alone."""
    known = {PurePosixPath(name).stem for name in names}
    by_name = {}
    for line in lines:
        if "," in line:
            name, _, text = line.partition(",")
            # Beside the class some lists give boxes: "n03995372 85 1 499 272".
            text = text.split()[0] if text.strip() else ""
        else:
            name, _, text = line.replace("\t", " ").rpartition(" ")
        if name:
            by_name[PurePosixPath(name.strip()).stem] = text.strip()
    return by_name if known & by_name.keys() else None


def _look_up(by_name: Mapping[str, str], names: Sequence[str], path: Path) -> list[str]:
    missing = [name for name in names if PurePosixPath(name).stem not in by_name]
    if missing:
        raise DataError(f"the ground truth {path} lacks {len(missing)} of {len(names)} images, first {missing[0]!r}")
    return [by_name[PurePosixPath(name).stem] for name in names]


def _tell(numbers: IntArray, n_classes: int, path: Path) -> IdKind:
    """Tell from the numbers how they count."""
    if numbers.min() == 0 and numbers.max() < n_classes:
        return "torchvision"
    if numbers.min() >= 1 and numbers.max() == n_classes:
        return "ilsvrc"
    raise DataError(
        f"the ground truth {path} has numbers from {numbers.min()} to {numbers.max()} for {n_classes} classes, which "
        "does not tell how they count. Set dataset.ground_truth_ids to 'torchvision' (from 0, WordNet order) or "
        "'ilsvrc' (from 1, the devkit's order)."
    )


def _from_devkit(numbers: IntArray, classes: ClassList | None, path: Path) -> IntArray:
    """Turn the devkit's ids into class indices by way of WordNet ids."""
    if classes is None or not classes.keys:
        raise DataError("dataset.ground_truth_ids = 'ilsvrc' needs dataset.classes = 'imagenet'")
    wnids = _read_meta(path.parent)
    unknown = sorted(set(numbers.tolist()) - wnids.keys())
    if unknown:
        raise DataError(f"the ground truth {path} has the id {unknown[0]}, which the devkit's class list lacks")
    where = f"the devkit's class list beside {path}"
    indices = {number: find_class(classes, wnids[number], where) for number in set(numbers.tolist())}
    return np.array([indices[number] for number in numbers.tolist()], dtype=np.int64)


def _read_meta(folder: Path) -> dict[int, str]:
    """Read WordNet ids by devkit id from whichever of the known files lies beside the ground truth."""
    path = next((folder / name for name in _META_FILES if (folder / name).exists()), None)
    if path is None:
        raise DataError(
            f"numbers in the devkit's order need its class list beside the ground truth: {folder} has none of "
            f"{', '.join(_META_FILES)}. Copy one from the devkit there (map_clsloc.txt has lines 'wnid id name')."
        )
    if path.suffix == ".mat":
        return _read_mat(path)
    wnids = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        wnid, _, rest = line.strip().partition(" ")
        if rest.split() and rest.split()[0].isdecimal():
            wnids[int(rest.split()[0])] = wnid
    return wnids


def _read_mat(path: Path) -> dict[int, str]:
    try:
        synsets = importlib.import_module("scipy.io").loadmat(path, squeeze_me=True)["synsets"]
        return {
            int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets.reshape(-1) if int(row["num_children"]) == 0
        }
    except ImportError as error:
        raise DataError(f"{path} can be read by SciPy only; run `pip install scipy`") from error
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise DataError(f"{path} is not the devkit's class list: {error}") from error
