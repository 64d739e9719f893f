"""The explaining stage: photos in, one JSON file and a folder of pictures out for each.

Owns which photos are explained, what is done already, and the order in which files appear (the JSON last: it marks
an explanation as complete). Must not know how relevance is computed or words are found.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from .config import Config, resolve_path
from .dataset import load_photo
from .errors import DataError, StoreError
from .explaining import explain_photo, explanation_digest, explanation_id
from .explanation_table import ExplanationTable, build_table
from .files import read_json, read_jsonl, write_bytes, write_json
from .inputs import Inputs
from .llm import LlmClient
from .narrating import generate, narrate
from .provenance import digest_of
from .records import EMPTY, ConceptName, Explanation, Narrative, TargetExplanation
from .reporting import Reporter
from .workspace import Workspace

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Photo:
    """A photo to explain: a sample of the data set, or a file from outside (`sample_index` is `EMPTY`)."""

    name: str
    label: str
    sample_index: int = EMPTY
    path: Path = Path()


class ExplanationStage:
    """Explains the photos of one atlas.

    Parameters
    ----------
    inputs : Inputs
    workspace : Workspace
    reporter : Reporter
    """

    def __init__(self, inputs: Inputs, workspace: Workspace, reporter: Reporter) -> None:
        self._inputs, self._workspace, self._reporter = inputs, workspace, reporter
        self._config: Config = inputs.config

    def run(self, extra: tuple[Path, ...] = ()) -> list[Path]:
        """Explain the config's photos and the extra ones; returns the JSON files.

        Raises
        ------
        DataError
            A photo from outside cannot be read.
        """
        names = {name.concept: name for name in read_jsonl(self._workspace.names, ConceptName)}
        wording = self._wording(names)
        photos = [*self._chosen(), *_from_paths(extra)]
        written, n_new = [], 0
        with self._reporter.track("explanations", len(photos), unit="photo") as advance:
            for photo in photos:
                path, new = self._explain(photo, names, wording)
                written.append(path)
                n_new += new
                advance(1)
        self._reporter.say(f"explained {self._workspace.explanations}: {len(photos)} photos, {n_new} of them anew")
        return written

    # --- one photo ---------------------------------------------------------------------------------------------

    def _explain(self, photo: Photo, names: Mapping[str, ConceptName], wording: str) -> tuple[Path, bool]:
        image, digest = self._load(photo)
        key = explanation_id(photo.name, digest)
        path = self._workspace.explanations / f"{key}.json"
        numbers = explanation_digest(
            digest,
            self._config,
            self._inputs.engine.name,
            self._inputs.explained_layers,
            self._inputs.class_names,
            self._inputs.mining_digest,
        )
        kept = _read_kept(path, numbers)
        state = digest_of([numbers, wording])
        if kept and self._workspace.recall(f"explanation {key}") == state:
            return path, False
        explanation = kept or self._compute(photo, image, digest, path.with_suffix(""))
        write_json(path, self._with_words(explanation, names))
        self._workspace.remember(f"explanation {key}", state)
        return path, True

    def _compute(self, photo: Photo, image: PIL.Image.Image, digest: str, folder: Path) -> Explanation:
        explanation, pictures = explain_photo(
            image,
            engine=self._inputs.engine,
            layers=self._inputs.explained_layers,
            class_names=self._inputs.class_names,
            config=self._config,
            photo_name=photo.name,
            photo_digest=digest,
            label=photo.label,
            foundation=self._inputs.mining_digest,
        )
        for name, content in pictures.items():
            write_bytes(folder / name, content)
        return explanation

    def _with_words(self, explanation: Explanation, names: Mapping[str, ConceptName]) -> Explanation:
        def worded(target: TargetExplanation) -> TargetExplanation:
            table = build_table(explanation, target, names, self._inputs.class_names)
            return dataclasses.replace(target, narratives=self._narratives(table))

        return dataclasses.replace(explanation, targets=tuple(worded(target) for target in explanation.targets))

    def _narratives(self, table: ExplanationTable) -> tuple[Narrative, ...]:
        explaining = self._config.explaining
        if not self._config.llm.enabled:
            return tuple(generate(table, audience, explaining.language) for audience in explaining.audiences)
        return asyncio.run(self._ask_for_narratives(table))

    async def _ask_for_narratives(self, table: ExplanationTable) -> tuple[Narrative, ...]:
        explaining = self._config.explaining
        client = LlmClient(self._config.llm, self._workspace.llm_cache, seed=self._config.seed)
        try:
            asked = (narrate(table, audience, client, explaining.language) for audience in explaining.audiences)
            return tuple(await asyncio.gather(*asked))
        finally:
            await client.close()

    def _wording(self, names: Mapping[str, ConceptName]) -> str:
        """Digest of everything that the words depend on besides the numbers."""
        explaining, llm = self._config.explaining, self._config.llm
        author = [llm.model, llm.base_url] if llm.enabled else ["generated"]
        said = sorted((name.concept, name.name, name.author, name.kind, name.second_name) for name in names.values())
        return digest_of([explaining.language, explaining.audiences, *author, said])

    # --- which photos ------------------------------------------------------------------------------------------

    def _chosen(self) -> list[Photo]:
        photos = self._config.explaining.photos
        if photos:
            return list(_from_paths(resolve_path(self._config, photo) for photo in photos))
        dataset = self._inputs.dataset
        n_photos = min(self._config.explaining.n_photos, len(dataset))
        spread = np.linspace(0, len(dataset) - 1, n_photos).round().astype(int).tolist() if n_photos else []
        return [photo for index in dict.fromkeys(spread) for photo in self._sample(index)]

    def _sample(self, index: int) -> Iterator[Photo]:
        dataset, label = self._inputs.dataset, int(self._inputs.dataset.labels[index])
        try:
            dataset.load(index)
        except DataError as error:
            self._reporter.say(f"skipped   {dataset.names[index]!r}, not explained: {error}")
            return
        yield Photo(dataset.names[index], self._inputs.class_names[label] if label != EMPTY else "", index)

    def _load(self, photo: Photo) -> tuple[PIL.Image.Image, str]:
        if photo.sample_index == EMPTY:
            image = load_photo(photo.path, self._config)
            return image, hashlib.sha256(photo.path.read_bytes()).hexdigest()
        image = self._inputs.dataset.load(photo.sample_index)
        return image, hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def _read_kept(path: Path, digest: str) -> Explanation | None:
    """Read a finished explanation with the same numbers; None where there is none."""
    if not path.exists():
        return None
    try:
        kept = read_json(path, Explanation)
    except StoreError:
        return None
    return kept if kept.digest == digest else None


def _from_paths(paths: Iterator[Path] | tuple[Path, ...]) -> Iterator[Photo]:
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no photo or folder {path}: check the name")
        files = (
            [path]
            if path.is_file()
            else sorted(file for file in path.iterdir() if file.suffix.lower() in PHOTO_SUFFIXES)
        )
        if not files:
            raise DataError(f"the folder {path} holds no photo ({', '.join(PHOTO_SUFFIXES)})")
        yield from (Photo(file.name, "", EMPTY, file) for file in files)
