"""Class names, and from what a data set calls a class to the model's class index.

Owns ImageNet's 1000 classes, the formats of class lists, and how the names or numbers of a data set are read. Must not
know images or models.
"""

from __future__ import annotations

import importlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from precompute.errors import DataError, nearest_of

from .delimited import Row, read_lines, split_rows

_IMAGENET = Path(__file__).parent / "imagenet_classes.tsv"
_DEVKIT_FILES = ("meta.mat", "map_clsloc.txt")
_COLUMNS = {
    "name": ("name", "class", "class_name", "classname", "label", "label_name"),
    "index": ("index", "id", "idx", "number", "class_id", "label_id"),
    "wnid": ("wnid", "key", "synset", "folder"),
}
"""What the columns of a class list are called."""

IdKind = Literal["auto", "from_zero", "from_one", "ilsvrc"]
"""How numbers that stand for classes are meant."""


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
    first : int
        The number that the list itself gives its first class, 0 or 1.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...] = ()
    source: str = field(default="", compare=False)
    first: int = 0

    @cached_property
    def _index_by_text(self) -> dict[str, int]:
        # Two ImageNet classes may share a name ("crane"); such a name is no way to tell a class.
        counts = Counter(self.names)
        unique = {_composed(name): index for index, name in enumerate(self.names) if counts[name] == 1}
        return unique | {_composed(key): index for index, key in enumerate(self.keys)}

    def index(self, text: str) -> int | None:
        """Find the class that `text` (a key or a name that only one class has) means; None where there is none."""
        return self._index_by_text.get(_composed(text))

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
        A JSON file (an array of names; an object from index to a name or to [key, name]; ImageFolder's
        ``class_to_idx``, an object from name to index; a model's ``config.json`` with ``id2label``), or a text file:
        a table with a header line (``name``, optionally ``index`` and ``wnid``), lines of index and name, ImageNet's
        ``synset_words.txt``, or (``.txt``, ``.names``) one name a line.

    Raises
    ------
    DataError
        The file is missing, is none of these, names a class twice, or its indices are not 0, 1, 2, … or 1, 2, 3, ….
    """
    path = _IMAGENET if source == "imagenet" else path or Path(source)
    lines = read_lines(path, "the class list", f"dataset.classes = {source!r}")
    if not lines:
        raise DataError(f"the class list {path} is empty (dataset.classes = {source!r})")
    rows = _read_json(lines, path) if path.suffix.lower() == ".json" else _read_table(lines, path)
    by_index: dict[int, _Entry] = {}
    for entry in rows:
        if entry.number in by_index:
            raise DataError(
                f"the class list {path} has the index {entry.number} twice: {by_index[entry.number].name!r} and "
                f"{entry.name!r}{entry.where}. Give every class an index of its own."
            )
        by_index[entry.number] = entry
    first = min(by_index, default=0)
    if first not in (0, 1) or sorted(by_index) != list(range(first, first + len(by_index))) or not by_index:
        missing = next((index for index in range(len(by_index) + 1) if index not in by_index), 0)
        raise DataError(
            f"the class list {path} has {len(by_index)} classes whose indices are not 0 to {len(by_index) - 1} (nor 1 "
            f"to {len(by_index)}): it lacks {missing}. Expected one class for each output of the model, in its order."
        )
    ordered = [by_index[index] for index in sorted(by_index)]
    keys = tuple(entry.key for entry in ordered)
    if twice := next((key for key, n in Counter(keys).items() if key and n > 1), None):
        raise DataError(f"the class list {path} has the key {twice!r} twice. Give every class a key of its own.")
    return ClassList(tuple(entry.name for entry in ordered), keys if all(keys) else (), source, first)


class _Entry(NamedTuple):
    """One class of a list as it was read."""

    number: int
    key: str
    name: str
    where: str = ""


def _read_table(lines: Sequence[tuple[int, str]], path: Path) -> list[_Entry]:
    for delimiter in ("\t", ",", ";"):
        for head in split_rows(lines[:1], delimiter, path):
            if header := _header(head.cells):
                return [_headed(row, header, path, n) for n, row in enumerate(split_rows(lines[1:], delimiter, path))]
    if numbered := _read_numbered(lines):
        return numbered
    if lines and all(re.match(r"n\d{8}\s+\S", line) for _, line in lines):
        parts = [line.strip().split(maxsplit=1) for _, line in lines]
        return [_Entry(index, key, name) for index, (key, name) in enumerate(parts)]
    if path.suffix.lower() in (".txt", ".names", ".lst", ""):
        _check_lines(lines, path)
        return [_Entry(index, "", line.strip(), f" (line {number})") for index, (number, line) in enumerate(lines)]
    raise DataError(
        f"the class list {path} needs a header line with the column 'name' (and 'index', 'wnid'), or lines of an index "
        f"and a name; found {lines[0][1][:80]!r}"
    )


_PROGRAM_TEXT = re.compile(r"\s*([\[{(]|\d+\s*:\s*['\"])")
"""How a list begins that a program printed."""


def _check_lines(lines: Sequence[tuple[int, str]], path: Path) -> None:
    """Refuse lines that are no names one below the other, which would move every class behind them."""
    for place, (number, line) in enumerate(lines):
        where = f"the class list {path}, line {number}"
        if line.lstrip().startswith("#"):
            raise DataError(
                f"{where} begins with '#': take comments out, or, if this is a name, put the line 'name' above the "
                "list."
            )
        if number > lines[0][0] + place:
            raise DataError(f"{where}: a line before it is empty. Take it out, or give the class its name there.")
        if _PROGRAM_TEXT.match(line):
            raise DataError(
                f"{where} is written as in a program: {line.strip()[:80]!r}. Save the list as JSON in a file that "
                "ends in .json, or write one name a line."
            )


def _header(cells: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of a header line; empty where it is none."""
    known = {word: column for column, words in _COLUMNS.items() for word in words}
    columns = tuple(known.get(cell.lower(), cell) for cell in cells)
    is_header = columns == ("name",) == tuple(cell.lower() for cell in cells) or len(columns) > 1
    return columns if is_header and columns.count("name") == 1 else ()


def _headed(row: Row, header: Sequence[str], path: Path, position: int) -> _Entry:
    cells = dict(zip(header, row.cells, strict=False))
    index = cells.get("index") or str(position)
    if len(row.cells) > len(header) or not is_index(index) or not cells.get("name"):
        raise DataError(
            f"the class list {path}, line {row.line}: expected {', '.join(header)}, found {list(row.cells)}. "
            "Put quotes around a name that holds the delimiter."
        )
    return _Entry(int(float(index)), cells.get("wnid", ""), cells["name"], f" (line {row.line})")


def _read_numbered(lines: Sequence[tuple[int, str]]) -> list[_Entry]:
    """Read lines of an index, a delimiter and a name, which may hold the delimiter; empty where they are none."""
    found = [(number, re.fullmatch(r"\s*(\d{1,9})\s*[\t,;: ]\s*(\S.*?)\s*", line)) for number, line in lines]
    if not all(match for _, match in found) or _PROGRAM_TEXT.match(lines[0][1]):
        return []
    return [_Entry(int(match[1]), "", match[2].strip('"'), f" (line {number})") for number, match in found if match]


def _read_json(lines: Sequence[tuple[int, str]], path: Path) -> list[_Entry]:
    try:
        content: Any = json.loads("\n".join(line for _, line in lines), object_pairs_hook=_without_twins)
        if isinstance(content, list):
            return [_Entry(index, *_key_and_name(value)) for index, value in enumerate(content)]
        if isinstance(content, dict) and "id2label" in content:  # a model's config.json of the Hugging Face hub
            return _read_both_ways(content["id2label"], content.get("label2id"))
        return _read_object(content)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DataError(
            f"the class list {path} is neither a JSON array of names nor an object from index to name or from name to "
            f"index, nor a model's config.json with id2label: {str(error)[:200]}"
        ) from error


def _read_object(content: Mapping[str, object]) -> list[_Entry]:
    """Read an object from index to name, or from name to index; numbers may be text."""
    if not isinstance(content, dict):
        raise TypeError(f"found {str(content)[:80]!r}")
    if content and all(type(index) is int for index in content.values()):
        return [_Entry(index, *_key_and_name(name)) for name, index in content.items()]
    if content and all(is_index(key) for key in content):
        if any(value != key for key, value in content.items()) and all(_is_text_index(v) for v in content.values()):
            raise ValueError("both sides are numbers in quotes; write the indices without quotes, {name: index}")
        return [_Entry(int(float(key)), *_key_and_name(value)) for key, value in content.items()]
    for key, value in content.items():
        if type(value) is not int and not _is_text_index(value):
            raise TypeError(f"{str(key)[:80]!r} is no index, and stands for {str(value)[:80]!r}, which is none either")
    return [_Entry(int(float(str(value))), *_key_and_name(name)) for name, value in content.items()]


def _is_text_index(value: object) -> bool:
    return isinstance(value, str) and is_index(value)


def _read_both_ways(names: Mapping[str, object], indices: Mapping[str, object] | None) -> list[_Entry]:
    found = _read_object(names)
    if indices is None:
        return found
    other = {(entry.number, entry.name) for entry in _read_object(indices)}
    if len(found) == len(other) and other != {(entry.number, entry.name) for entry in found}:
        number, name = min(other - {(entry.number, entry.name) for entry in found})
        raise ValueError(f"label2id says that {name!r} is {number}, and id2label another; keep the one that is right")
    return found


def _key_and_name(value: object) -> tuple[str, str]:
    pair = ("", value) if isinstance(value, str) else value
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
        raise TypeError(f"expected a name or [key, name], found {value!r}")
    if not pair[1].strip():
        raise ValueError("a class without a name")
    return pair[0], pair[1]


def _composed(text: str) -> str:
    """Write accents as one character each, as not every program does."""
    return unicodedata.normalize("NFC", text)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice!r} comes twice")
    return found


# --- from what a data set calls a class to its index -------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_SETTING = (
    "Set dataset.ground_truth_ids = 'from_one' if they count from 1, 'from_zero' if they count from 0{devkit} "
    "(--set dataset.ground_truth_ids=from_one)"
)


@dataclass(frozen=True)
class Labelling:
    """What the texts of a data set mean.

    Attributes
    ----------
    indices : dict of str to int
        Class index by text.
    names : tuple of str
        By class index.
    how : str
        How the texts were read, for a note.
    """

    indices: dict[str, int]
    names: tuple[str, ...]
    how: str


def is_index(text: str) -> bool:
    """Tell whether a text is a number that can count, as spreadsheets write it too: 3, 03, 3.0 or 3,0."""
    return re.fullmatch(r"\d{1,9}([.,]0+)?", text) is not None


def is_number(text: str) -> bool:
    """Tell whether a text is a number, whole or not."""
    return _NUMBER.fullmatch(text) is not None


def check_new_names(wheres: Mapping[str, str]) -> None:
    """Refuse texts that a program or a slip wrote, where no class list says that they are classes."""
    known: dict[str, str] = {}
    for text, where in wheres.items():
        if text.casefold() in _MISSING:
            raise DataError(
                f"{where}: {text!r} is what programs write where a class is missing. Give this image its class or "
                "leave it out, or, if this is the name of a class, give all names in a class list (dataset.classes)."
            )
        if (other := known.setdefault(text.casefold(), text)) != text:
            raise DataError(
                f"{where}: {text!r} and {other!r} differ in capitals alone. Write one for the other, or, if they are "
                "two classes, give all names in a class list (dataset.classes)."
            )


_MISSING = frozenset({"nan", "<na>", "#n/a", "nat", "null"})


def find_classes(
    wheres: Mapping[str, str], classes: ClassList | None, ids: IdKind = "auto", devkit: Path | None = None
) -> Labelling:
    """Find out which class each text of a data set means: a key or a name of the class list, or a number.

    Numbers are taken as indices from 0 only where a 0 is among them, where the class list itself counts from 1 as
    its own numbers, and else as `ids` says.

    Parameters
    ----------
    wheres : mapping of str to str
        Where each text stands first, for messages.
    classes : ClassList or None
        None makes the classes from the texts.
    ids : str
        How numbers are meant, ``dataset.ground_truth_ids``.
    devkit : Path, optional
        Where ImageNet's devkit would have its class list.

    Raises
    ------
    DataError
        A text is no class, or how its numbers count cannot be told; names the place and the setting.
    """
    texts = sorted(wheres)
    by_name = {text: index for text in texts if classes and (index := classes.index(text)) is not None}
    numeric = bool(texts) and all(map(is_number, texts))
    if classes and len(by_name) == len(texts) and not (numeric and ids != "auto"):
        return Labelling(by_name, classes.names, f"names or keys of the class list {classes.source!r}")
    if numeric:
        return _count({text: _index(text, where) for text, where in wheres.items()}, wheres, classes, ids, devkit)
    if classes:
        text = next(text for text in wheres if text not in by_name)
        raise DataError(f"{wheres[text]}: {text!r} is no class of the list {classes.source!r}{classes.nearest(text)}")
    for text in texts:
        parts = {part.strip() for part in re.split("[|;,]", text)}
        if len(parts) > 1 and parts <= wheres.keys():
            raise DataError(
                f"{wheres[text]}: {text!r} is several classes at once, and an atlas needs one for each image. Choose "
                "one, or, if this is the name of one class, give all names in a class list (dataset.classes)."
            )
    check_new_names(wheres)
    names = tuple(texts)
    return Labelling({text: index for index, text in enumerate(names)}, names, "names, numbered in alphabetical order")


def _index(text: str, where: str) -> int:
    if not is_index(text):
        raise DataError(
            f"{where}: {text!r} among numbers, expected whole numbers that count classes. Leave out the line and its "
            "image where it has no label (-1), or choose the column of classes with dataset.ground_truth_columns"
        )
    return int(re.split("[.,]", text)[0])


def _count(
    numbers: Mapping[str, int],
    wheres: Mapping[str, str],
    classes: ClassList | None,
    ids: IdKind,
    devkit: Path | None,
) -> Labelling:
    least, most = min(numbers.values()), max(numbers.values())
    where = {number: wheres[text] for text, number in numbers.items()}
    if ids == "auto":
        ids = _tell(least, where[least], most, classes, devkit)
    if ids == "ilsvrc":
        return _from_devkit(numbers, wheres, classes, devkit)
    first = 1 if ids == "from_one" else 0
    if least < first:
        raise DataError(
            f"{where[least]}: the class {least}, but dataset.ground_truth_ids = 'from_one' counts from 1. Set it to "
            "'from_zero' if the numbers count from 0."
        )
    n_classes = len(classes.names) if classes else most - first + 1
    if most >= n_classes + first:
        raise DataError(
            f"{where[most]}: the class {most}, expected {first} to {n_classes + first - 1}, as there are {n_classes} "
            f"classes. {_SETTING.format(devkit='')}, and dataset.classes to the list of all classes."
        )
    names = classes.names if classes else tuple(str(number) for number in range(first, most + 1))
    return Labelling({text: number - first for text, number in numbers.items()}, names, f"numbers from {first}")


def _tell(least: int, where: str, most: int, classes: ClassList | None, devkit: Path | None) -> IdKind:
    """Tell how numbers count; raises DataError where they do not say it themselves."""
    if least == 0:
        return "from_zero"
    if classes and classes.first == 1:
        return "from_one"  # the class list has these very numbers
    has_keys = classes is not None and bool(classes.keys)
    if has_keys and devkit and find_devkit(devkit):
        return "ilsvrc"
    also = ", 'ilsvrc' if they are the devkit's ids (its class list map_clsloc.txt beside)" if has_keys else ""
    raise DataError(
        f"{where}: the classes are numbers from {least} to {most} and none is 0, which does not tell how they count. "
        f"{_SETTING.format(devkit=also)}."
    )


def _from_devkit(
    numbers: Mapping[str, int], wheres: Mapping[str, str], classes: ClassList | None, devkit: Path | None
) -> Labelling:
    """Turn the devkit's ids into class indices by way of WordNet ids."""
    if classes is None or not classes.keys:
        raise DataError(
            "dataset.ground_truth_ids = 'ilsvrc' (the devkit's ids) needs dataset.classes = 'imagenet'. Numbers that "
            "count from 1 in the order of any other class list are 'from_one'."
        )
    wnids = _read_devkit(devkit or Path())
    indices = {}
    for text, number in numbers.items():
        if number not in wnids:
            raise DataError(f"{wheres[text]}: the id {number}, which the devkit's class list lacks")
        index = classes.index(wnids[number])
        if index is None:
            raise DataError(
                f"the devkit's class list in {devkit}: {wnids[number]!r} is no class of the list {classes.source!r}"
            )
        indices[text] = index
    return Labelling(indices, classes.names, "ids of ImageNet's devkit")


def find_devkit(folder: Path) -> Path | None:
    """Find the class list of ImageNet's devkit in a folder."""
    return next((folder / name for name in _DEVKIT_FILES if (folder / name).exists()), None)


def _read_devkit(folder: Path) -> dict[int, str]:
    """Read WordNet ids by devkit id from whichever of the known files lies in a folder."""
    path = find_devkit(folder)
    if path is None:
        raise DataError(
            f"numbers in the devkit's order need its class list beside the ground truth: {folder} has none of "
            f"{', '.join(_DEVKIT_FILES)}. Copy one from the devkit there (map_clsloc.txt has lines 'wnid id name')."
        )
    if path.suffix == ".mat":
        return _read_mat(path)
    wnids = {}
    for _, line in read_lines(path, "the devkit's class list", "dataset.ground_truth_ids"):
        wnid, _, rest = line.strip().partition(" ")
        if rest.split() and is_index(rest.split()[0]):
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
    except Exception as error:  # SciPy's reader raises anything on a damaged file
        raise DataError(f"{path} is not the devkit's class list: {error}") from error
