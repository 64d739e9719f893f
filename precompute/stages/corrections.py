"""What people wrote: it is kept twice, restored from either copy, and never thrown away.

Owns ``corrections.jsonl`` and its copy. Must not know how a correction is made or checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from precompute.atlas.digests import digest_file
from precompute.atlas.files import write_bytes
from precompute.atlas.folder import Workspace
from precompute.atlas.json_records import read_jsonl, write_jsonl
from precompute.errors import StoreError
from precompute.progress import Reporter
from precompute.records import ConceptName

PRODUCT = "corrections"
COMMAND = "atlas name"


class Corrections:
    """The corrections of one atlas.

    Parameters
    ----------
    workspace : Workspace
    reporter : Reporter
        Is told what was restored.
    """

    def __init__(self, workspace: Workspace, reporter: Reporter) -> None:
        self._manifest, self._reporter = workspace.manifest, reporter
        self._path = workspace.corrections
        self._copy = self._path.with_suffix(".copy.jsonl")

    def write(self, corrections: Sequence[ConceptName]) -> None:
        """Write both copies."""
        write_jsonl(self._path, corrections)
        write_jsonl(self._copy, corrections)
        self._note()

    def read(self) -> list[ConceptName]:
        """Read the corrections; one damaged copy is written again from the other, and kept beside it.

        Raises
        ------
        StoreError
            The copies differ and nothing tells which is right; or a line is not a correction.
        """
        present = [path for path in (self._path, self._copy) if path.exists()]
        if not present:
            self._manifest.forget(PRODUCT)
            return []
        if not self._manifest.is_whole(PRODUCT):
            self._restore(self._choose(present), present)
        return read_jsonl(self._path, ConceptName, "Put the line right and run the same command again.")

    def _choose(self, present: Sequence[Path]) -> Path:
        """Find the copy that is right: as it was written, or the only one, or like the other."""
        product = self._manifest.products.get(PRODUCT)
        written = {entry.sha256 for entry in product.files.values()} if product else set()
        right = [path for path in present if digest_file(path) in written]
        if right:
            return right[0]
        if len({digest_file(path) for path in present}) > 1:
            damage = self._manifest.damage(PRODUCT) if product else ["their contents differ"]
            raise StoreError(
                f"{self._path} and {self._copy.name} beside it hold what people wrote, and neither is as it was "
                f"written ({'; '.join(damage)}). Nothing was changed: keep the right one as {self._path.name}, move "
                "the other away, and run the same command again"
            )
        return present[0]

    def _restore(self, right: Path, present: Sequence[Path]) -> None:
        content = right.read_bytes()
        for path in (self._path, self._copy):
            if path in present and path.read_bytes() != content:
                kept = path.with_name(f"{path.stem}.damaged-{digest_file(path)[:8]}.jsonl")
                path.replace(kept)
                self._reporter.say(f"restored  {path} from {right.name}; what was there is kept as {kept.name}")
            if not path.exists():
                write_bytes(path, content)
        self._note()

    def _note(self) -> None:
        self._manifest.finish(PRODUCT, COMMAND, "", (self._path, self._copy))
