"""``manifest.json``: every file that the program wrote into the folder of an atlas, and what it was made from.

Owns how damage and stale records are found and told. A product is what one command makes in one piece: one file, or a
file with its pictures. Must not know how a product is made.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Len

from precompute.errors import StoreError
from precompute.records.values import Count

from .digests import digest_file, digest_of
from .hdf5 import damaged_parts
from .json_records import lines_of, read_json, write_json

MANIFEST = "manifest.json"
SHOWN = ("atlas.h5", "references.h5", "names.jsonl", "scores.jsonl", "truth.json", "trust.json")
"""The files that pages are made from, besides the explanations."""
OUTDATED = "explanations/outdated/"
"""Begins the names of products that nothing reads."""

Digest = Annotated[str, Len(64, 64)]

_CRC = 8
"""Hexadecimal digits of a line's check."""


@dataclass(frozen=True)
class FileEntry:
    """One file as it was written.

    Attributes
    ----------
    size : int
        In bytes.
    sha256 : str
    lines : str
        Of a JSON Lines file: the CRC-32 of every line in 8 hexadecimal digits, end to end, so that a damaged line can
        be named.
    """

    size: Count
    sha256: Digest
    lines: str = ""


@dataclass(frozen=True)
class Product:
    """What one command made in one piece.

    Attributes
    ----------
    command : str
        Makes it again, for example ``atlas name``.
    state : str
        Digest of everything that it depends on; empty where it is whole but has to be made anew.
    made_from : dict of str to str
        `digest` of each product that it was made from, by name; empty for one that was not there.
    files : dict of str to FileEntry
        By path relative to the folder, with ``/``.
    """

    command: str
    state: str
    made_from: dict[str, str] = field(default_factory=dict)
    files: dict[str, FileEntry] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over the names and contents of its files."""
        return digest_of({name: entry.sha256 for name, entry in self.files.items()})


@dataclass(frozen=True)
class Contents:
    """The content of ``manifest.json``.

    Attributes
    ----------
    products : dict of str to Product
    digest : str
        Of `products`: a damaged manifest says nothing about the files.
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("atlas-folder", 1)

    products: dict[str, Product]
    digest: Digest

    @property
    def is_whole(self) -> bool:
        """Whether it is as it was written."""
        return self.digest == _digest(self.products)


def _digest(products: Mapping[str, Product]) -> str:
    return digest_of({name: dataclasses.asdict(product) for name, product in products.items()})


class Manifest:
    """The manifest of one folder, read when asked and written through.

    Parameters
    ----------
    folder : Path
        Of the atlas.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / MANIFEST
        self._signature: tuple[int, ...] | None = None
        self._products: dict[str, Product] = {}
        self.told: set[str] = set()
        """Products whose damage a reader has been told."""

    @property
    def products(self) -> Mapping[str, Product]:
        """Every product by name; empty where there is no manifest, or a damaged one."""
        try:
            status = self.path.stat()
        except OSError:
            return {}
        signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if signature != self._signature:
            self._signature, self._products = signature, self._read()
        return self._products

    def _read(self) -> dict[str, Product]:
        try:
            contents = read_json(self.path, Contents)
        except StoreError:
            return {}
        return contents.products if contents.is_whole else {}

    def require(self) -> Mapping[str, Product]:
        """Return every product by name.

        Raises
        ------
        StoreError
            There is no manifest, or it is damaged.
        """
        hint = "Run `atlas run` with the same config: it keeps what it can prove whole and makes the rest again."
        if not self.path.exists():
            raise StoreError(f"there is no {self.path}, so nothing tells whether the files beside it are whole. {hint}")
        if not read_json(self.path, Contents, hint).is_whole:
            raise StoreError(f"{self.path} is damaged: it is not as it was written. {hint}")
        return self.products

    def finish(
        self, name: str, command: str, state: str, files: Iterable[Path], made_from: Mapping[str, str] | None = None
    ) -> None:
        """Note that a product is there: its files as they are now, and what they were made from."""
        entries = {path.relative_to(self.folder).as_posix(): _entry(path) for path in files}
        self._put(name, Product(command, state, dict(made_from or {}), dict(sorted(entries.items()))))

    def forget(self, name: str) -> None:
        """Drop a product whose files are gone or somewhere else."""
        if name in self.products:
            self._put(name, None)

    def rename(self, name: str, other: str) -> None:
        """Note that a product's files, which begin with its name, were moved to those that begin with another."""
        product = self.products.get(name)
        if product:
            files = {other + file.removeprefix(name): entry for file, entry in product.files.items()}
            self._put(name, None)
            self._put(other, dataclasses.replace(product, made_from={}, files=files))

    def _put(self, name: str, product: Product | None) -> None:
        products = dict(self.products)
        if product is None:
            del products[name]
        else:
            products[name] = product
        products = dict(sorted(products.items()))
        write_json(self.path, Contents(products, _digest(products)))
        self._signature = None

    # --- asking ----------------------------------------------------------------------------------------------------

    def digest(self, name: str) -> str:
        """Return the digest of a product; empty where there is none."""
        product = self.products.get(name)
        return product.digest if product else ""

    def digests(self, *names: str) -> dict[str, str]:
        """Return the digests of products by name, as `Product.made_from`."""
        return {name: self.digest(name) for name in names}

    def damage(self, name: str) -> list[str]:
        """Say what of a product's files is not as it was written: file, data set or line; empty where it is whole."""
        found = []
        for file, entry in self.products[name].files.items():
            reason = _damage(self.folder / file, entry)
            if reason:
                found.append(f"{file} {reason}")
        return found

    def is_whole(self, name: str) -> bool:
        """Tell whether a product is noted and all its files are as they were written."""
        return name in self.products and not self.damage(name)

    def require_whole(self, name: str, path: Path) -> None:
        """Make sure that the file of a product is the one that was written, or that neither is there.

        Raises
        ------
        StoreError
            It is damaged, missing, or was not made here; says what makes it again.
        """
        if name not in self.products:
            if path.exists():
                raise StoreError(f"{path} {_UNKNOWN}")
            return
        damage = self.damage(name)
        if damage:
            command = self.products[name].command
            raise StoreError(f"{self.folder / damage[0]}. Run `{command}` with the same config to make it again")

    def stale(self, name: str) -> list[str]:
        """Name the products that are not any more what a product was made from."""
        made_from = self.products[name].made_from
        return [other for other, digest in made_from.items() if self.digest(other) != digest]


def _entry(path: Path) -> FileEntry:
    lines = "".join(_crc(line) for line in lines_of(path.read_bytes())) if path.suffix == ".jsonl" else ""
    return FileEntry(path.stat().st_size, digest_file(path), lines)


def _crc(line: bytes) -> str:
    return f"{zlib.crc32(line):0{_CRC}x}"


def _damage(path: Path, entry: FileEntry) -> str:
    """Say in what a file differs from its entry; empty where it does not."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size == entry.size and digest_file(path) == entry.sha256:
        return ""
    where = ", ".join(_places(path, entry))
    sizes = f" ({size} bytes, {entry.size} were written)" if size != entry.size else ""
    return f"is damaged{f' in {where}' if where else ''}: it is not what was written{sizes}"


def _places(path: Path, entry: FileEntry) -> Iterator[str]:
    """Name the data sets or lines that differ, as far as they can be told."""
    if path.suffix == ".h5":
        parts = damaged_parts(path)
        yield from parts[:3]
        if len(parts) > 3:
            yield f"{len(parts) - 3} more"
    elif entry.lines:
        expected = [entry.lines[start : start + _CRC] for start in range(0, len(entry.lines), _CRC)]
        found = [_crc(line) for line in lines_of(path.read_bytes())]
        if len(found) != len(expected):
            yield f"its number of lines ({len(found)}, {len(expected)} were written)"
        differing = [number for number, pair in enumerate(zip(found, expected, strict=False), 1) if pair[0] != pair[1]]
        if differing:
            yield f"line {differing[0]}"


_UNKNOWN = (
    "is not in manifest.json: a run was killed when it wrote it, or it was put there. Run `atlas run` with the same "
    "config to make it again, or move it away"
)


# --- the whole folder ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One fault of a folder, and what mends it."""

    product: str
    text: str
    hint: str


def check_folder(folder: Path) -> list[Finding]:
    """Check every product of a folder in full: whole, and made from what is there.

    Raises
    ------
    StoreError
        There is no manifest, or it is damaged; a file cannot be read.
    """
    manifest = Manifest(folder)
    findings = []
    products = manifest.require()
    for name, product in products.items():
        hint = f"`{product.command}` makes it again"
        if name.startswith(OUTDATED):
            hint = "delete it, nothing reads it"
        faults = manifest.damage(name)
        faults += [f"{name} was made from other {other} than there are now" for other in manifest.stale(name)]
        findings += [Finding(name, fault, hint) for fault in faults]
    known = {file for product in products.values() for file in product.files}
    shown = [folder / name for name in SHOWN]
    for path in [*shown, *sorted((folder / "explanations").glob("*.json"))]:
        name = path.relative_to(folder).as_posix()
        if path.exists() and name not in known:
            fault = f"{name} is not in {MANIFEST}: it was put there, or half made"
            findings.append(Finding(name, fault, "move it away, or `atlas run` makes it again"))
    return findings


def require_sound(folder: Path) -> Mapping[str, Product]:
    """Return the products of a folder in which nothing that pages are made from is at fault.

    Raises
    ------
    StoreError
        Something is; names the first faults and what mends them.
    """
    findings = [finding for finding in check_folder(folder) if not finding.product.startswith(OUTDATED)]
    if findings:
        shown = "; ".join(f"{finding.text} ({finding.hint})" for finding in findings[:5])
        more = f"; {len(findings) - 5} more (`atlas verify` lists all)" if len(findings) > 5 else ""
        raise StoreError(f"{folder} is not sound: {shown}{more}. `atlas run` with the same config mends all of it")
    return Manifest(folder).products
