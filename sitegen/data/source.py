"""Gathers everything that one atlas folder holds, before a single page is made.

Owns which files the site reads and which of them may be absent. Must not know pages. Reads through `precompute.atlas`
only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from precompute.atlas import hdf5 as store
from precompute.atlas.digests import digest_file
from precompute.atlas.folder import read_names
from precompute.atlas.json_records import R, read_json, read_jsonl
from precompute.errors import DataError, StoreError, nearest_of
from precompute.records import Atlas, ConceptName, ConceptScore, Explanation, TrustReport, TruthReport


@dataclass(frozen=True, eq=False)
class AtlasSource:
    """All records of one atlas.

    Attributes
    ----------
    folder : Path
    atlas : Atlas
    names : dict of str to ConceptName
        By concept key; who wins is up to `choose_names` of the records.
    scores : dict of str to ConceptScore
    explanations : tuple of Explanation
        By id.
    truth : TruthReport or None
    trust : TrustReport or None
    references : Path or None
        The file ``references.h5``, where there is one.
    warnings : tuple of str
        What was missing.
    picture_ids : dict of str to str
        Under which id the pictures of an explanation lie, where that is another than its own.
    """

    folder: Path
    atlas: Atlas
    names: dict[str, ConceptName]
    scores: dict[str, ConceptScore]
    explanations: tuple[Explanation, ...]
    truth: TruthReport | None
    trust: TrustReport | None
    references: Path | None
    warnings: tuple[str, ...]
    picture_ids: dict[str, str] = field(default_factory=dict)

    def pictures_of(self, explanation: Explanation) -> Path:
        """Return the folder in which the pictures of an explanation lie."""
        return self.folder / "explanations" / self.picture_ids.get(explanation.id, explanation.id)

    def position(self, photo: str) -> int:
        """Return the place of the explanation of a photo, by its file, its name or the explanation's id.

        Raises
        ------
        DataError
            There is none.
        """
        if not self.explanations:
            raise DataError(f"{self.folder} has no explained photo: run `atlas explain PHOTO` first")
        path = Path(photo)
        digest = digest_file(path) if path.is_file() else ""
        for position, item in enumerate(self.explanations):
            if (digest and item.photo_digest == digest) or photo in (item.id, item.photo_name):
                return position
        if digest:
            raise DataError(
                f"{photo} is not explained in {self.folder} (no explanation of a photo with its digest "
                f"{digest[:12]}…). Run `atlas explain {photo}` with the same config first"
            )
        known = [item.photo_name for item in self.explanations]
        raise DataError(
            f"{photo!r} is no file and no explained photo of {self.folder}"
            f"{nearest_of(photo, known, otherwise='explained photos')}"
        )


def read_source(folder: Path) -> AtlasSource:
    """Read the folder of an atlas; only ``atlas.h5`` must be there.

    Raises
    ------
    StoreError
        ``atlas.h5`` is missing, or a file is damaged.
    """
    warnings: list[str] = []
    atlas = store.read_atlas(folder / "atlas.h5")
    references = _optional(folder / "references.h5", "no pictures are shown", warnings)
    _optional(folder / "names.jsonl", "every concept goes by its layer and channel", warnings)
    return AtlasSource(
        folder=folder,
        atlas=atlas,
        names=read_names(folder / "names.jsonl"),
        scores={score.concept: score for score in read_jsonl(folder / "scores.jsonl", ConceptScore)},
        explanations=tuple(read_json(path, Explanation) for path in sorted((folder / "explanations").glob("*.json"))),
        truth=_read_report(folder / "truth.json", TruthReport, "atlas evaluate"),
        trust=_read_report(folder / "trust.json", TrustReport, "atlas trust"),
        references=references,
        warnings=tuple(warnings),
    )


def _read_report(path: Path, kind: type[R], command: str) -> R | None:
    """Read a file that a stage leaves only where it has something to tell."""
    if not path.exists():
        return None
    try:
        return read_json(path, kind)
    except StoreError as error:
        what = str(error).removesuffix("Delete it and run the same command again.")
        raise StoreError(f"{what.rstrip()} Run `{command}` with the same config to make it anew.") from error


def _optional(path: Path, consequence: str, warnings: list[str]) -> Path | None:
    if path.exists():
        return path
    warnings.append(f"there is no {path.name}: {consequence}")
    return None
