"""The output folder of one atlas: where everything lies, and what each stage was made from.

Owns the paths. Must not know how a stage works.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from precompute.errors import OutputError
from precompute.records.named import ConceptName, choose_names

from .digests import digest_of
from .files import output_error, write_bytes
from .json_records import read_jsonl
from .manifest import Manifest, require_sound
from .ownership import HOLDER, LOCK, holding, is_made, list_files, remove_files, some, sweep_partials

_MADE = (
    *("atlas.h5", "references.h5", "names.jsonl", "scores.jsonl", "truth.json", "trust.json"),
    *("manifest.json", ".trial"),
    *("shards/*/*.h5", "blocks/*/*.h5", "cache/*.u8", "cache/*.crc", "cache/*.tar"),
    *("explanations/*.json", "explanations/outdated/*.json"),
    *(f"{folder}/*/*.{kind}" for folder in ("explanations", "explanations/outdated") for kind in ("png", "webp")),
)
"""What can be made again, as shell patterns."""


@dataclass(frozen=True)
class Workspace:
    """Paths below one output folder.

    Attributes
    ----------
    folder : Path
        ``data/<name>``.
    site : Path
        ``site/<name>``.
    """

    folder: Path
    site: Path

    @property
    def atlas(self) -> Path:
        """The mined tables."""
        return self.folder / "atlas.h5"

    @property
    def references(self) -> Path:
        """The rendered reference images."""
        return self.folder / "references.h5"

    @property
    def names(self) -> Path:
        """One ConceptName a line."""
        return self.folder / "names.jsonl"

    @property
    def corrections(self) -> Path:
        """Names given by people; they survive renaming."""
        return self.folder / "corrections.jsonl"

    @property
    def scores(self) -> Path:
        """One ConceptScore a line."""
        return self.folder / "scores.jsonl"

    @property
    def explanations(self) -> Path:
        """A JSON file and a folder of pictures for each photo."""
        return self.folder / "explanations"

    @property
    def outdated(self) -> Path:
        """Explanations whose numbers do not belong to the atlas any more; nothing reads them."""
        return self.explanations / "outdated"

    @property
    def truth(self) -> Path:
        """Truth scores, where the truth is known."""
        return self.folder / "truth.json"

    @property
    def trust(self) -> Path:
        """How far the atlas can be trusted."""
        return self.folder / "trust.json"

    @property
    def llm_cache(self) -> Path:
        """Replies of the language model, by digest of the request."""
        return self.folder / "llm"

    @property
    def cache(self) -> Path:
        """What can be made again: unpacked archives, decoded images."""
        return self.folder / "cache"

    def read_names(self) -> dict[str, ConceptName]:
        """Read the names, one for each concept; none where there is no file.

        Raises
        ------
        StoreError
            They are not as they were written; says what makes them again.
        """
        self.manifest.require_whole("names", self.names)
        return read_names(self.names)

    def shards(self, digest: str) -> Path:
        """Return the folder of the mining shards of one digest."""
        return self.folder / "shards" / digest[:16]

    def reference_blocks(self, digest: str) -> Path:
        """Return the folder of the rendered blocks of one digest."""
        return self.folder / "blocks" / digest[:16]

    @contextmanager
    def in_use(self, *, shared: bool = False) -> Iterator[None]:
        """Make the folder or take it over, and hold it for this run alone; what killed runs left half-written goes.

        Parameters
        ----------
        shared : bool
            Let other runs that share work there too: machines that mine one part each.

        Raises
        ------
        OutputError
            It holds what the program did not make, another run works there, no space, or no permission.
        """
        self.require_ours()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from error
        try:
            with holding(self.folder, shared=shared):
                if not shared:
                    sweep_partials(self.folder)
                try:
                    yield
                finally:
                    if {path.name for path in self.folder.iterdir()} <= {LOCK, HOLDER}:
                        (self.folder / LOCK).unlink(missing_ok=True)  # nothing was made: nothing stays
        finally:
            with suppress(OSError):
                self.folder.rmdir()

    def require_ours(self) -> None:
        """Refuse a folder with files that the program did not make; parts and atlases may have been copied there.

        Raises
        ------
        OutputError
            Names some of what is there.
        """
        try:
            there = sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []
        except OSError as error:
            raise output_error(self.folder, error) from error
        if (
            there
            and not is_made(self.folder)
            and self.atlas.name not in there
            and not set(there) <= {"shards", "cache"}
        ):
            raise OutputError(
                f"will not put an atlas into {self.folder}: it is not empty, and the program did not make it "
                f"({some(there)}). Nothing was changed there. Choose a folder that is empty or not there yet with "
                "--output"
            )

    def clean(self) -> list[str]:
        """Remove what the program made and can make again; returns what it left there.

        Corrections, which people wrote, and the replies of language models, which were paid for, stay.

        Raises
        ------
        OutputError
            The program did not make the folder, another run works there, or no permission.
        """
        if not self.folder.exists():
            return []
        if not is_made(self.folder):
            raise OutputError(f"will not remove {self.folder}: the program did not make it (it has no file {LOCK!r})")
        with holding(self.folder):
            sweep_partials(self.folder)
            made = {path.relative_to(self.folder).as_posix() for glob in _MADE for path in self.folder.glob(glob)}
            remove_files(self.folder, sorted(made))
            left = [file for file in list_files(self.folder) if file not in (LOCK, HOLDER)]
        if not left:
            remove_files(self.folder, [LOCK])
        return left

    def prepare(self) -> None:
        """Write to the folder once, so that a long stage does not fail at its first result.

        Raises
        ------
        OutputError
            No space or no permission.
        """
        trial = self.folder / ".trial"
        write_bytes(trial, b"")
        trial.unlink(missing_ok=True)

    @cached_property
    def manifest(self) -> Manifest:
        """What was made, and from what."""
        return Manifest(self.folder)

    def remove(self, folder: Path) -> None:
        """Remove a folder of intermediate results.

        Raises
        ------
        OutputError
            No permission.
        """
        try:
            shutil.rmtree(folder, ignore_errors=False)
            with suppress(OSError):
                folder.parent.rmdir()  # the last of its kind
        except FileNotFoundError:
            return
        except OSError as error:
            raise output_error(folder, error) from error

    def archive(self, path: Path, mark: str) -> None:
        """Move an explanation, its JSON file at `path` and its pictures, to those that are not shown.

        Parameters
        ----------
        path : Path
        mark : str
            Added to the name, so that the same photo may lie there under several settings.

        Raises
        ------
        OutputError
            No permission.
        """
        goal = self.outdated / f"{path.stem}.{mark}.json"
        self._move(path, goal)
        self.manifest.rename(self.product_of(path), self.product_of(goal))

    def restore(self, path: Path) -> None:
        """Move an explanation that was set aside back, unless there is one of its photo.

        Raises
        ------
        OutputError
            No permission.
        """
        goal = self.explanations / f"{path.stem.rpartition('.')[0]}.json"
        if not goal.exists():
            self._move(path, goal)
            self.manifest.rename(self.product_of(path), self.product_of(goal))

    def product_of(self, path: Path) -> str:
        """Return the name under which the manifest has the explanation whose JSON file lies at `path`."""
        return path.relative_to(self.folder).as_posix().removesuffix(".json")

    @staticmethod
    def _move(path: Path, goal: Path) -> None:
        """Move a JSON file and the folder of its name; the file last, as it marks the whole."""
        try:
            goal.parent.mkdir(exist_ok=True)
            for source, target in ((path.with_suffix(""), goal.with_suffix("")), (path, goal)):
                if target.is_dir():
                    shutil.rmtree(target)
                if source.exists():
                    source.replace(target)
        except OSError as error:
            raise output_error(path, error) from error

    def digest_contents(self) -> str:
        """Return the SHA-256 of everything that the site is made from.

        Raises
        ------
        StoreError
            Something is damaged, made from what has changed since, or was put there; says what to run.
        """
        return digest_of({name: product.digest for name, product in require_sound(self.folder).items()})


def read_names(path: Path) -> dict[str, ConceptName]:
    """Read the names of an atlas, one for each concept: what the site, scores, truth and explanations all take.

    Raises
    ------
    StoreError
        Unreadable, or a line is not a name; says which. A missing file holds no name.
    """
    return choose_names(read_jsonl(path, ConceptName))
