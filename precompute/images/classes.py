"""Class names, and from what a data set calls a class to the model's class index.

Owns ImageNet's 1000 classes and the TSV and JSON formats of class lists. Must not know images or models.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from precompute.errors import DataError, nearest_of

_IMAGENET = Path(__file__).parent / "imagenet_classes.tsv"


@dataclass(frozen=True)
class ClassList:
    """The classes of a model, by class index.

    Attributes
    ----------
    names : tuple of str
    keys : tuple of str
        A second, unambiguous name each (ImageNet: the WordNet id); empty where there is none.
    source : str
        Where the list came from, for messages.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...] = ()
    source: str = field(default="", compare=False)

    @cached_property
    def _index_by_text(self) -> dict[str, int]:
        # Two ImageNet classes may share a name ("crane"); such a name is no way to tell a class.
        unique = {name: index for index, name in enumerate(self.names) if self.names.count(name) == 1}
        return unique | {key: index for index, key in enumerate(self.keys)}

    def index(self, text: str) -> int | None:
        """Find the class that `text` (a key or a name that only one class has) means; None where there is none."""
        return self._index_by_text.get(text)

    def nearest(self, text: str) -> str:
        """Say which known names are close to `text`, for a message."""
        return nearest_of(text, self._index_by_text, cutoff=0.6)


def load_classes(source: str, path: Path | None = None) -> ClassList:
    """Read a class list.

    Parameters
    ----------
    source : str
        As written in the config: ``imagenet``, or the name of the file.
    path : Path, optional
        The TSV (header with ``name``, optionally ``index`` and ``wnid``) or JSON file (an array of names, or an
        object from index to a name or to [key, name]).

    Raises
    ------
    DataError
        The file is missing, is neither, or its indices are not 0, 1, 2, ….
    """
    path = _IMAGENET if source == "imagenet" else path or Path(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the class list {path} is not a UTF-8 text file") from error
    except OSError as error:
        raise DataError(
            f"cannot read the class list {path}: {error.strerror} (dataset.classes = {source!r})"
        ) from error
    rows = _read_json(text, path) if path.suffix == ".json" else _read_tsv(text, path)
    if sorted(rows) != list(range(len(rows))) or not rows:
        raise DataError(f"the class list {path} has {len(rows)} classes whose indices are not 0 to {len(rows) - 1}")
    ordered = [rows[index] for index in range(len(rows))]
    keys = tuple(key for key, _ in ordered)
    return ClassList(tuple(name for _, name in ordered), keys if all(keys) else (), source)


def _read_tsv(text: str, path: Path) -> dict[int, tuple[str, str]]:
    reader = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    if "name" not in (reader.fieldnames or ()):
        raise DataError(f"the class list {path} needs a header line with the column 'name' (and 'index', 'wnid')")
    rows = {}
    for position, row in enumerate(reader):
        index = row.get("index") or str(position)
        if not index.isdecimal() or not row["name"]:
            raise DataError(f"the class list {path}, line {position + 2}: expected index and name, found {dict(row)}")
        rows[int(index)] = (row.get("wnid") or "", row["name"])
    return rows


def _read_json(text: str, path: Path) -> dict[int, tuple[str, str]]:
    try:
        content: Any = json.loads(text)
        items = enumerate(content) if isinstance(content, list) else ((int(key), content[key]) for key in content)
        return {index: ("", name) if isinstance(name, str) else (name[0], name[1]) for index, name in items}
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise DataError(
            f"the class list {path} is neither a JSON array of names nor an object from index to name: {error}"
        ) from error
