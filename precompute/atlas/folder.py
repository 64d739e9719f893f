"""The output folder of one atlas: where everything lies, and what each stage was made from.

Owns the paths. Must not know how a stage works.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .digests import digest_of
from .files import output_error, write_bytes
from .json_records import read_jsonl
from .manifest import Manifest, require_sound
from .named import ConceptName, choose_names


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

    def prepare(self) -> None:
        """Make the folder and write to it once, so that a long stage does not fail at its first result.

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
        except FileNotFoundError:
            return
        except OSError as error:
            raise output_error(folder, error) from error

    def set_aside(self, path: Path, mark: str) -> None:
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

    def bring_back(self, path: Path) -> None:
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
        products = require_sound(self.folder)
        return digest_of({name: product.digest for name, product in products.items() if name != "site"})


def read_names(path: Path) -> dict[str, ConceptName]:
    """Read the names of an atlas, one for each concept: what the site, scores, truth and explanations all take.

    Raises
    ------
    StoreError
        Unreadable, or a line is not a name; says which. A missing file holds no name.
    """
    return choose_names(read_jsonl(path, ConceptName))
