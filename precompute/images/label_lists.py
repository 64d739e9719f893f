"""Labels from a list beside images: which line speaks of which image, and which column has its class.

Owns the parsing of such lists: delimiter, header, columns, and the matching of files. What a class's text means is the
class list's. Must not know images.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from precompute.config import DatasetConfig
from precompute.errors import DataError
from precompute.records import IntArray

from .classes import ClassList, Labelling, find_classes, is_number
from .decoding import IMAGE_SUFFIXES
from .delimited import DELIMITERS, Row, read_lines, split_rows

_WHAT, _SETTING = "the ground truth", "dataset.ground_truth"
_FILE_WORDS = frozenset(
    [
        "image",
        "images",
        "img",
        "photo",
        "picture",
        "file",
        "files",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "path",
        "image_path",
        "image_name",
        "image_file",
        "imageid",
        "image_id",
        "id",
        "name",
        "relative_path",
        "fname",
    ]
)
_CLASS_WORDS = frozenset(
    [
        "label",
        "labels",
        "class",
        "classes",
        "class_name",
        "classname",
        "class_id",
        "classid",
        "class_index",
        "label_name",
        "label_id",
        "category",
        "category_id",
        "category_name",
        "target",
        "targets",
        "y",
        "wnid",
        "synset",
        "species",
        "breed",
        "diagnosis",
        "dx",
        "predictionstring",
    ]
)
"""What people call the columns; a header with one of them tells which it is."""

_COLUMNS = "Set dataset.ground_truth_columns = ['FILE', 'CLASS'] to the columns' headers or numbers from 1"


@dataclass(frozen=True)
class Labels:
    """The classes of some images.

    Attributes
    ----------
    indices : (n,) int64
    class_names : tuple of str
    how : str
        How the list was read, for a note.
    """

    indices: IntArray
    class_names: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class _Table:
    """A list taken apart, with the image that each row speaks of (None: of one that is not there)."""

    path: Path
    header: tuple[str, ...]
    rows: list[Row]
    images: list[int | None]
    file_column: int
    how: str

    def title(self, column: int) -> str:
        """Name a column for a message."""
        return f"{column + 1} {self.header[column]!r}" if column < len(self.header) else str(column + 1)


def read_ground_truth(
    path: Path, names: Sequence[str], classes: ClassList | None, config: DatasetConfig | None = None
) -> Labels:
    """Read the labels of image files.

    The list is a table in which one column names the files (found by the files that there are: by path, else by the end
    of the path, else without suffix, each only where no two files share it) and one has the classes; or one class a
    line in the order of the sorted file names. A class is a key or a name of the class list, or a number; several
    columns of 0 and 1 of which each row has one 1 are classes too.

    Parameters
    ----------
    path : Path
    names : sequence of str
        File names, sorted.
    classes : ClassList or None
        None makes the classes from the list itself.
    config : DatasetConfig, optional
        Its ``ground_truth_*`` say what the list does not.

    Raises
    ------
    DataError
        The list is missing, does not fit the images, contradicts itself, or could be read in several ways; names the
        line and the setting that tells.
    """
    config = config or DatasetConfig()
    if path.suffix.lower() in (".json", ".jsonl", ".xlsx", ".xls", ".parquet", ".npy", ".pkl", ".mat"):
        raise DataError(
            f"{_WHAT} {path} is no table as text ({_SETTING}). Save it as CSV with a column of files and one of classes"
        )
    lines = read_lines(path, _WHAT, _SETTING)
    while lines and re.match(r"#\s|sep=.$", lines[0][1]):
        del lines[0]  # a comment above the table, or what Excel writes to tell itself the delimiter
    if not lines:
        raise DataError(f"{_WHAT} {path} is empty ({_SETTING})")
    table = _find_table(path, lines, names, classes, config)
    if table is None:
        return _read_plain(path, lines, names, classes, config)
    texts, header_classes, how = _choose_classes(table, classes, config)
    if header_classes and not classes:
        found = Labelling({name: index for index, name in enumerate(header_classes)}, header_classes, "in their order")
    else:
        by_text: dict[str, str] = {}
        for row, text in zip(table.rows, texts, strict=True):
            by_text.setdefault(text, f"{_WHAT} {path}, line {row.line}")
        found = find_classes(by_text, classes, config.ground_truth_ids, path.parent)
    labels = _label(table, [found.indices[text] for text in texts], names)
    told = f"{path.name}: {table.how}, {how} ({found.how})"
    unused = sum(image is None for image in table.images)
    told += f"; {unused} of its {len(table.rows)} lines name no image of the data set" if unused else ""
    return Labels(labels, found.names, told)


# --- which line speaks of which image --------------------------------------------------------------------------


class _Files:
    """Finds images by what a list calls them, in one manner for the whole list."""

    def __init__(self, names: Sequence[str]) -> None:
        self._paths = [_normal(name) for name in names]
        self._known: dict[Callable[[str], list[str]], dict[str, int]] = {}

    def match(self, texts: Sequence[str]) -> tuple[list[int | None], str, int]:
        """Match by the strictest manner in which any text is an image; all None where there is none."""
        wanted = {text: _normal(text) for text in dict.fromkeys(texts)}  # classes recur
        for looseness, (manner, ours, theirs) in enumerate(_MANNERS):
            known = self._index(ours)
            found = {text: self._one(known, theirs(path), text) for text, path in wanted.items()}
            if any(index is not None for index in found.values()):
                return [found[text] for text in texts], manner, looseness
        return [None] * len(texts), "", len(_MANNERS)

    def _index(self, ours: Callable[[str], list[str]]) -> dict[str, int]:
        """Index the images by one of their names; `_SEVERAL` where more than one has it."""
        if ours not in self._known:
            known: dict[str, int] = {}
            for index, path in enumerate(self._paths):
                for key in ours(path):
                    known[key] = _SEVERAL if key in known else index
            self._known[ours] = known
        return self._known[ours]

    def _one(self, known: Mapping[str, int], keys: Iterable[str], text: str) -> int | None:
        index = next((known[key] for key in keys if key in known), None)
        if index == _SEVERAL:
            last = _stem(text)[0]
            files = ", ".join(repr(path) for path in self._paths if last in (_stem(path)[0], _name(path)[0]))
            raise _AmbiguousError(f"{text!r} could be any of {files[:200]}. Write the files' whole paths into the list")
        return index


class _AmbiguousError(Exception):
    """A text fits several files."""


def _normal(name: str) -> str:
    if name.isascii() and not any(odd in name for odd in ("\\", "//", "./")) and not name.startswith("/"):
        return name
    parts = unicodedata.normalize("NFC", name.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _whole(path: str) -> list[str]:
    return [path]


def _folded(path: str) -> list[str]:
    return [path.casefold()]


def _ends(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _stem_of_whole(path: str) -> list[str]:
    pure = PurePosixPath(path or "-")
    return [str(pure.with_suffix("")) if pure.suffix.lower() in IMAGE_SUFFIXES else path]


def _name(path: str) -> list[str]:
    return [path.rpartition("/")[2]]


def _stem(path: str) -> list[str]:
    return [end.rpartition("/")[2] for end in _stem_of_whole(path)]


_SEVERAL = -1
_MANNERS: tuple[tuple[str, Callable[[str], list[str]], Callable[[str], list[str]]], ...] = (
    ("by path", _whole, _whole),
    ("by path", _whole, _ends),
    ("by the end of the path", _ends, _whole),
    ("by path in any case", _folded, _folded),
    ("by path without suffix", _stem_of_whole, _stem_of_whole),
    ("by name without suffix", _stem, _stem),
    ("by name", _name, _name),
)
"""How files are matched, strictest first: in words, by which of our names, by which of the list's."""


def _find_table(
    path: Path, lines: Sequence[tuple[int, str]], names: Sequence[str], classes: ClassList | None, config: DatasetConfig
) -> _Table | None:
    """Take the list apart by the delimiter and the column that find the most images; None where none finds any."""
    files = _Files(names)
    kinds = DELIMITERS if config.ground_truth_delimiter == "auto" else (config.ground_truth_delimiter,)
    best: tuple[tuple[int, int], _Table] | None = None
    several: list[DataError] = []
    unclosed: list[DataError] = []
    for kind in kinds:
        try:
            rows = split_rows(lines, DELIMITERS[kind], path)
        except DataError as error:
            unclosed.append(error)
            continue
        if len(kinds) == 1 or any(len(row.cells) > 1 for row in rows):
            found = _best_column(path, rows, files, kind, config, several)
            best = found if found and (best is None or found[0] > best[0]) else best
        if best is not None and best[0][0] == len(names):
            break  # no other way to take the lines apart finds more
    if several and (best is None or best[0][0] < len(names)):
        raise several[0]
    if best is not None:
        return _without_header(_joined(best[1], classes), config)
    if unclosed and any('"' in line for _, line in lines):
        raise unclosed[0]
    return None


def _best_column(
    path: Path, rows: list[Row], files: _Files, kind: str, config: DatasetConfig, several: list[DataError]
) -> tuple[tuple[int, int], _Table] | None:
    """Find the column that names the most images, most strictly; `several` takes what fits more than one file."""
    best: tuple[tuple[int, int], _Table] | None = None
    for column in _file_columns(rows, config, path):
        try:
            table, fit = _match(path, rows, column, files, kind)
        except _AmbiguousError as error:
            several.append(DataError(f"{_WHAT} {path}, column {column + 1}: {error}"))
            continue
        if fit[0] and (best is None or fit > best[0]):
            best = (fit, table)
    return best


def _joined(table: _Table, classes: ClassList | None) -> _Table:
    """Join what spaces have parted, where each line is a file and, with spaces in it, a class of the list."""
    if not table.how.startswith("columns by space") or classes is None or table.file_column != 0:
        return table
    rows = [Row(row.line, (row.cells[0], " ".join(row.cells[1:]))) for row in table.rows]
    return replace(table, rows=rows) if all(classes.index(row.cells[1]) is not None for row in rows) else table


def _file_columns(rows: Sequence[Row], config: DatasetConfig, path: Path) -> list[int]:
    width = max((len(row.cells) for row in rows), default=0)
    if not config.ground_truth_columns:
        return list(range(width))
    return [_column(config.ground_truth_columns, 0, rows[0].cells, width, path)]


def _column(columns: Sequence[str], place: int, header: Sequence[str], width: int, path: Path) -> int:
    """Find a column that the config names by header or by number from 1."""
    if len(columns) != 2:
        raise DataError(f"dataset.ground_truth_columns is {list(columns)}, expected two: the files' and the classes'")
    text = columns[place]
    if text in header:
        return list(header).index(text)
    if text.isdecimal() and 1 <= int(text) <= width:
        return int(text) - 1
    raise DataError(
        f"{_WHAT} {path} has no column {text!r} (dataset.ground_truth_columns): expected one of {list(header)} or a "
        f"number from 1 to {width}"
    )


def _match(path: Path, rows: list[Row], column: int, files: _Files, kind: str) -> tuple[_Table, tuple[int, int]]:
    """Match one column; also how well it fits: how many images it finds, and how strictly."""
    texts = [row.cells[column] if column < len(row.cells) else "" for row in rows]
    found, manner, looseness = files.match(texts)
    how = f"columns by {kind}, files in column {column + 1} {manner}"
    n_found = len({index for index in found if index is not None})
    return _Table(path, (), rows, found, column, how), (n_found, -looseness)


def _without_header(table: _Table, config: DatasetConfig) -> _Table:
    """Take the header line off, where there is one."""
    head, *rest = table.rows
    is_header = config.ground_truth_header == "yes" or (config.ground_truth_header == "auto" and _is_header(table))
    if not is_header:
        return _checked_widths(table)
    how = f"header {', '.join(head.cells)!r}, {table.how}"
    return _checked_widths(_Table(table.path, head.cells, rest, table.images[1:], table.file_column, how))


def _is_header(table: _Table) -> bool:
    """Tell whether the first line is a header: it names no image, and its words or the others' numbers say so."""
    head, *rest = table.rows
    if table.images[0] is not None or not rest or table.file_column >= len(head.cells):
        return False
    if PurePosixPath(head.cells[table.file_column]).suffix.lower() in IMAGE_SUFFIXES:
        return False
    words = {cell.lower() for cell in head.cells}
    if words & _FILE_WORDS and (words & _CLASS_WORDS or head.cells[table.file_column].lower() in _FILE_WORDS):
        return True
    if words & _CLASS_WORDS and len(head.cells) > 1:
        return True
    others = [index for index in range(len(head.cells)) if index != table.file_column]
    if any(
        not is_number(head.cells[index]) and all(is_number(row.cells[index]) for row in rest if index < len(row.cells))
        for index in others
    ):
        return True
    if any(index is None for index in table.images[1:]):
        raise DataError(
            f"{_WHAT} {table.path}, line {head.line}: {', '.join(head.cells)!r} may be a header or name an image that "
            "is not there. Set dataset.ground_truth_header to 'yes' or 'no'."
        )
    return True


def _checked_widths(table: _Table) -> _Table:
    """Refuse lines with more or fewer columns than the others: a delimiter inside a name, or a cell that is missing."""
    if not table.rows:
        raise DataError(f"{_WHAT} {table.path} has a header and no line below it ({_SETTING})")
    if again := next((row for row in table.rows if row.cells == table.header), None):
        raise DataError(
            f"{_WHAT} {table.path}, line {again.line}, is the header again: several lists were joined. Leave it out."
        )
    width = len(table.header) or Counter(len(row.cells) for row in table.rows).most_common(1)[0][0]
    for row in table.rows:
        if len(row.cells) != width:
            raise DataError(
                f"{_WHAT} {table.path}, line {row.line}, has {len(row.cells)} columns where {width} are expected: "
                f"{list(row.cells)[:6]}. Put quotes around a name that holds the delimiter, or set "
                "dataset.ground_truth_delimiter"
            )
    return table


# --- which column has the class --------------------------------------------------------------------------------


def _choose_classes(
    table: _Table, classes: ClassList | None, config: DatasetConfig
) -> tuple[list[str], tuple[str, ...], str]:
    """Choose each row's class as a text; also the classes that a one-hot header names, and how it was chosen."""
    width = len(table.rows[0].cells)
    others = [column for column in range(width) if column != table.file_column]
    if config.ground_truth_columns:
        column = _column(config.ground_truth_columns, 1, table.header, width, table.path)
        return _texts(table, column), (), f"classes in column {table.title(column)}"
    if not others:
        raise DataError(f"{_WHAT} {table.path} has only a column of files: expected one of classes beside it")
    if len(others) == 1:
        return _texts(table, others[0]), (), f"classes in column {table.title(others[0])}"
    named = [column for column in others if table.header and table.header[column].lower() in _CLASS_WORDS]
    if not named and _is_one_hot(table, others, classes):
        return _one_hot(table, others)
    column = _only_one(table, named or others, classes, is_named=bool(named), config=config)
    return _texts(table, column), (), f"classes in column {table.title(column)} of {width}"


def _only_one(
    table: _Table, columns: Sequence[int], classes: ClassList | None, *, is_named: bool, config: DatasetConfig
) -> int:
    """Find the one column that can be the classes; raises DataError where several can."""
    if is_named and len(columns) == 1:
        return columns[0]
    if classes:
        texts = {column: set(_texts(table, column, check=False)) for column in columns}
        named = [column for column in columns if all(classes.index(text) is not None for text in texts[column])]
        words = [column for column in named if not all(map(is_number, texts[column]))]
        if len(words or named) == 1:
            return (words or named)[0]
        if words and _agree(table, words, classes):
            return words[0]
        numbers = [column for column in columns if all(map(is_number, texts[column]))]
        if (
            not named
            and len(numbers) == 1
            and all(_mostly_unknown(texts[column], classes) for column in columns if column not in numbers)
        ):
            return numbers[0]
        first = next((column for column in columns if column not in numbers and not named), None)
        if first is not None and len(columns) - len(numbers) == 1 and not _mostly_unknown(texts[first], classes):
            return first  # nearly all are classes; reading them will name the one that is not
    if _is_one_of_many(table, columns):
        raise DataError(
            f"{_WHAT} {table.path} has {len(columns)} columns with one 1 in each line, and no header to say which "
            "class each is. Write a first line with the names of the columns: image, then the classes."
        )
    titles = ", ".join(table.title(column) for column in range(len(table.rows[0].cells)))
    raise DataError(
        f"{_WHAT} {table.path}, line {table.rows[0].line}, has {len(table.rows[0].cells)} columns ({titles}), and more "
        f"than one could have the classes. {_COLUMNS}, such as {[str(table.file_column + 1), str(columns[-1] + 1)]}."
    )


def _mostly_unknown(texts: set[str], classes: ClassList) -> bool:
    """Tell whether a column is words of another kind: not classes, and no numbers that could be classes as well."""
    if sum(is_number(text) or not text for text in texts) * 2 > len(texts):
        return False
    return sum(classes.index(text) is not None for text in texts) * 2 <= len(texts)


def _agree(table: _Table, columns: Sequence[int], classes: ClassList) -> bool:
    rows = ([classes.index(row.cells[column]) for column in columns] for row in table.rows)
    return all(len(set(indices)) == 1 for indices in rows)


def _texts(table: _Table, column: int, *, check: bool = True) -> list[str]:
    """Return the cells of a column of classes; raises DataError for an empty one."""
    texts = [row.cells[column] for row in table.rows]
    if all(map(_has_boxes, texts)):
        return [_class_before_boxes(row, text, table.path) for row, text in zip(table.rows, texts, strict=True)]
    if check and "" in texts:
        row = table.rows[texts.index("")]
        raise DataError(f"{_WHAT} {table.path}, line {row.line}: no class in column {table.title(column)}")
    return texts


def _has_boxes(text: str) -> bool:
    """Tell whether a cell is a class with its box, or several: "n03995372 85 1 499 272"."""
    words = text.split()
    return len(words) % 5 == 0 < len(words) and all(is_number(word) for n, word in enumerate(words) if n % 5)


def _class_before_boxes(row: Row, text: str, path: Path) -> str:
    """Take the class of "n03995372 85 1 499 272", as Kaggle writes it, of several boxes the one of all."""
    found = set(text.split()[::5])
    if len(found) > 1:
        raise DataError(f"{_WHAT} {path}, line {row.line}, has several classes: {', '.join(sorted(found))}")
    return found.pop()


def _is_one_of_many(table: _Table, columns: Sequence[int]) -> bool:
    """Tell whether every line has a single 1 among zeros."""
    cells = [[_ONE_OF_TWO.get(row.cells[column].lower()) for column in columns] for row in table.rows]
    return all(None not in line and line.count(True) == 1 for line in cells)


_ONE_OF_TWO = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
"""The cells of one-hot columns, as spreadsheets and pandas (True, False) write them."""


def _is_one_hot(table: _Table, columns: Sequence[int], classes: ClassList | None) -> bool:
    """Tell whether the columns are one for each class, with a 1 where an image has it."""
    if any(row.cells[column].lower() not in _ONE_OF_TWO for row in table.rows for column in columns):
        return False
    named = {table.header[column] for column in columns} if table.header else set()
    return bool(named) and (classes is None or all(classes.index(text) is not None for text in named))


def _one_hot(table: _Table, columns: Sequence[int]) -> tuple[list[str], tuple[str, ...], str]:
    texts = []
    for row in table.rows:
        ones = [column for column in columns if _ONE_OF_TWO[row.cells[column].lower()]]
        if len(ones) != 1:
            raise DataError(
                f"{_WHAT} {table.path}, line {row.line}: {len(ones)} of the {len(columns)} columns of classes are 1, "
                f"expected one. An atlas needs one class for each image. {_COLUMNS} for a list with one."
            )
        texts.append(table.header[ones[0]])
    names = tuple(table.header[column] for column in columns)
    if len(set(names)) < len(names):
        raise DataError(f"{_WHAT} {table.path}: two columns of classes have one name: {', '.join(names)}")
    return texts, names, f"classes by the 1 in {len(columns)} columns"


def _label(table: _Table, indices: Sequence[int], names: Sequence[str]) -> IntArray:
    """Give every image its class; raises DataError where one has none or two."""
    labels: dict[int, tuple[int, int]] = {}
    for row, image, index in zip(table.rows, table.images, indices, strict=True):
        if image is None:
            continue
        if image in labels and labels[image][0] != index:
            raise DataError(
                f"{_WHAT} {table.path}, lines {labels[image][1]} and {row.line}, give {names[image]!r} two classes. "
                "Leave one line, or write the files' whole paths where two share a name."
            )
        labels.setdefault(image, (index, row.line))
    missing = [name for index, name in enumerate(names) if index not in labels]
    if missing:
        raise DataError(
            f"{_WHAT} {table.path} lacks {len(missing)} of {len(names)} images, first {missing[0]!r}. Add a line for "
            "each, or move the images without a class out of dataset.root."
        )
    return np.array([labels[index][0] for index in range(len(names))], dtype=np.int64)


# --- one class a line ------------------------------------------------------------------------------------------


def _read_plain(
    path: Path, lines: Sequence[tuple[int, str]], names: Sequence[str], classes: ClassList | None, config: DatasetConfig
) -> Labels:
    """Read one class a line, in the order of the file names, which must be told by text and by number alike."""
    texts = [(number, line.strip().strip('"')) for number, line in lines]
    has_header = config.ground_truth_header == "yes" or (
        config.ground_truth_header == "auto"
        and len(texts) == len(names) + 1
        and (
            texts[0][1].lower() in _CLASS_WORDS
            or (not is_number(texts[0][1]) and all(is_number(t) for _, t in texts[1:]))
        )
    )
    texts = texts[1:] if has_header else texts
    if len(texts) != len(names):
        raise DataError(
            f"{_WHAT} {path} has {len(texts)} lines for {len(names)} images, and no column names one of them (the "
            f"first is {names[0]!r}, line {lines[0][0]} is {lines[0][1].strip()[:60]!r}). Expected a table with a "
            "column of files and one of classes, or one class a line in the order of the file names."
        )
    if (named := _first_file(texts, names)) is not None:
        raise DataError(
            f"{_WHAT} {path}, line {named[0]}: {named[1][:80]!r} names a file, and no column has names of images of "
            f"the data set (the first is {names[0]!r}). Write the files as they are called below dataset.root, and "
            f"the classes behind them, parted by {', '.join(DELIMITERS)}."
        )
    if list(names) != sorted(names, key=_by_number):
        raise DataError(
            f"{_WHAT} {path} has one class a line, and the order of the files is not told: by text {names[1]!r} comes "
            "before others that come first by number. Write the file's name before each class."
        )
    wheres: dict[str, str] = {}
    for number, text in texts:
        wheres.setdefault(text, f"{_WHAT} {path}, line {number}")
    found = find_classes(wheres, classes, config.ground_truth_ids, path.parent)
    labels = np.array([found.indices[text] for _, text in texts], dtype=np.int64)
    head = f"header {lines[0][1].strip()!r}, " if has_header else ""
    return Labels(labels, found.names, f"{path.name}: {head}one class a line, in the order of the files ({found.how})")


def _first_file(texts: Sequence[tuple[int, str]], names: Sequence[str]) -> tuple[int, str] | None:
    """Find the first line that names a file, with anything around it, so that it is no class.

    A line names one by the suffix of images; without suffixes only if an image's name begins or ends every line, since
    a class may be called as a file is.
    """
    for number, text in texts:
        if any(PurePosixPath(word).suffix.lower() in IMAGE_SUFFIXES for word in _WORD.findall(text)):
            return number, text
    stems = {stem for name in names for stem in _stem(_normal(name))}
    parts = [_WORD.findall(text) for _, text in texts]
    return texts[0] if all(len(words) > 1 and {words[0], words[-1]} & stems for words in parts) else None


_WORD = re.compile(r"[\w.-]*\w")


def _by_number(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]
