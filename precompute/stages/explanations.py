"""The explaining stage: photos in, one JSON file and a folder of pictures out for each.

Owns which photos are explained, what is done already, and the order in which files appear (the JSON last: it marks
an explanation as complete). Must not know how relevance is computed or words are found.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import PIL.Image

from precompute.atlas.evenly import spread_evenly
from precompute.atlas.files import write_bytes
from precompute.atlas.folder import Workspace, read_names
from precompute.atlas.hdf5 import read_atlas
from precompute.atlas.json_records import read_json, write_json
from precompute.atlas.records import EMPTY, Atlas, ConceptName, Explanation, Narrative, TargetExplanation
from precompute.config import Config, resolve_path
from precompute.errors import DataError, NamerError, StoreError
from precompute.explanations.attribution import explain_photo, explanation_digest, explanation_id
from precompute.explanations.prediction import PredictionTable, build_prediction
from precompute.explanations.usual import UsualShares, accuracy_at, usual_shares
from precompute.images.dataset import load_photo
from precompute.images.listing import list_folder, printable
from precompute.inputs import Inputs
from precompute.llm.asking import ask_all
from precompute.llm.client import LlmClient
from precompute.llm.costs import Estimate
from precompute.llm.prompts import load_prompt
from precompute.narratives.audiences import find_audience
from precompute.narratives.facts import derive_facts
from precompute.narratives.planner import PROMPT, Commission, plan_and_narrate
from precompute.narratives.wording import Wording, find_wording, languages
from precompute.progress import Reporter
from precompute.provenance import digest_of, digest_package

from .cost_preview import NOT_ENABLED, announce, sampled


@dataclass(frozen=True)
class Photo:
    """A photo to explain: a sample of the data set, or a file from outside (`sample_index` is `EMPTY`)."""

    name: str
    label: str
    sample_index: int = EMPTY
    path: Path = Path()


@dataclass(frozen=True)
class Unworded:
    """A finished explanation whose texts a language model has yet to plan."""

    path: Path
    key: str
    state: str


@dataclass(frozen=True)
class Wanted:
    """One text to have planned; `place` is its target and its audience by position."""

    explanation: Unworded
    place: tuple[int, int]
    commission: Commission


class ExplanationStage:
    """Explains the photos of one atlas.

    Parameters
    ----------
    inputs : Inputs
    workspace : Workspace
    reporter : Reporter
    client : LlmClient, optional
        Plans the texts; without it the built-in plan is worded.
    """

    def __init__(
        self, inputs: Inputs, workspace: Workspace, reporter: Reporter, client: LlmClient | None = None
    ) -> None:
        self._inputs, self._workspace, self._reporter, self._client = inputs, workspace, reporter, client
        self._config: Config = inputs.config
        self._names: dict[str, ConceptName] = {}

    def run(self, extra: tuple[Path, ...] = ()) -> list[Path]:
        """Explain the config's photos and the extra ones; returns the JSON files.

        Raises
        ------
        DataError
            A photo from outside cannot be read.
        NamerError
            The language model cannot be used; texts follow the built-in plan until it can.
        """
        written, n_new, unworded = self._compute_numbers(extra)
        unworded += self._word_earlier(written)
        if unworded:
            self._tell_language()
            if self._client is not None:
                self._ask_for_plans(self._client, unworded)
        self._reporter.say(f"explained {self._workspace.explanations}: {len(written)} photos, {n_new} of them anew")
        return written

    def estimate(self, extra: tuple[Path, ...] = ()) -> Estimate:
        """Compute and keep what is missing of the numbers, and count the calls that the words would take.

        Raises
        ------
        NamerError
            There is no language model to ask.
        """
        if self._client is None:
            raise NamerError(NOT_ENABLED)
        _, _, unworded = self._compute_numbers(extra)
        return self._client.estimate(wanted.commission.request() for wanted in self._wanted(unworded))

    # --- numbers -----------------------------------------------------------------------------------------------

    def _compute_numbers(self, extra: tuple[Path, ...]) -> tuple[list[Path], int, list[Unworded]]:
        """Return all JSON files, how many of them changed, and those that wait for a language model's words."""
        self._names = read_names(self._workspace.names)
        self._sort_out()
        wording = self._wording()
        photos = [*self._chosen(), *_from_paths(extra)]
        written, n_new, unworded = [], 0, []
        with self._reporter.track("explanations", len(photos), unit="photo") as advance:
            for photo in photos:
                path, waiting = self._explain(photo, wording)
                written.append(path)
                n_new += waiting is not None
                unworded += [waiting] if waiting else []
                advance(1)
        return written, n_new, list({waiting.path: waiting for waiting in unworded}.values())

    def _explain(self, photo: Photo, wording: str) -> tuple[Path, Unworded | None]:
        """Explain one photo, or take what is there."""
        image, digest = self._load(photo)
        path = self._workspace.explanations / f"{explanation_id(photo.name, digest)}.json"
        kept = _read_kept(path, self._numbers_digest(digest))
        explanation = kept or self._compute(photo, image, digest, path.with_suffix(""))
        return path, self._word(path, explanation, wording, is_new=kept is None)

    def _word(self, path: Path, explanation: Explanation, wording: str, *, is_new: bool) -> Unworded | None:
        """Word what is not worded yet; with a language model to come too, so that no file lacks a text."""
        state = digest_of([explanation.digest, wording])
        if not is_new and self._workspace.recall(f"explanation {path.stem}") == state:
            return None
        if is_new or self._client is None:
            write_json(path, self._worded(explanation))
        if self._client is None:
            self._workspace.remember(f"explanation {path.stem}", state)
        return Unworded(path, path.stem, state)

    def _sort_out(self) -> None:
        """Set aside what another model or setting made, and show again what was set aside and fits this one."""
        outdated = [
            (path, explanation)
            for path in sorted(self._workspace.explanations.glob("*.json"))
            if (explanation := _read(path)) and not self._is_current(explanation)
        ]
        for path, explanation in outdated:
            self._workspace.set_aside(path, explanation.digest[:12])
        for path in sorted(self._workspace.outdated.glob("*.json")):
            if (explanation := _read(path)) and self._is_current(explanation):
                self._workspace.bring_back(path)
        if outdated:
            self._reporter.say(
                f"set aside {self._workspace.outdated}: {len(outdated)} made with another model, data set or setting; "
                "their numbers do not belong to this atlas, and they come back with what made them"
            )

    def _word_earlier(self, written: Sequence[Path]) -> list[Unworded]:
        """Word the explanations of earlier runs as those of this one."""
        wording = self._wording()
        earlier = sorted(set(self._workspace.explanations.glob("*.json")) - set(written))
        words = (self._word(path, read_json(path, Explanation), wording, is_new=False) for path in earlier)
        return [waiting for waiting in words if waiting]

    def _is_current(self, explanation: Explanation) -> bool:
        return explanation.digest == self._numbers_digest(explanation.photo_digest)

    def _numbers_digest(self, photo_digest: str) -> str:
        inputs = self._inputs
        return explanation_digest(
            photo_digest,
            self._config,
            inputs.engine.name,
            inputs.explained_layers,
            inputs.class_names,
            inputs.mining_digest,
        )

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

    # --- words -------------------------------------------------------------------------------------------------

    def _worded(self, explanation: Explanation) -> Explanation:
        """Derive the facts of every target and word them by the built-in plan."""

        def worded(target: TargetExplanation) -> TargetExplanation:
            commissions = list(self._commissions(explanation, target))
            facts = commissions[0].facts if commissions else ()
            narratives = tuple(commission.narrate() for commission in commissions)
            return dataclasses.replace(target, facts=facts, narratives=narratives)

        return dataclasses.replace(explanation, targets=tuple(worded(target) for target in explanation.targets))

    def _commissions(
        self, explanation: Explanation, target: TargetExplanation, pictures: tuple[bytes, ...] = ()
    ) -> Iterator[Commission]:
        """List the texts of one target, one for each audience."""
        table = self._table(explanation, target)
        facts = derive_facts(table)
        for name in self._config.explaining.audiences:
            yield Commission(table, facts, find_audience(name), self._messages(name), pictures)

    def _messages(self, audience: str) -> Wording:
        return find_wording(self._config.explaining.language, audience, find_audience(audience).decimals)

    def _ask_for_plans(self, client: LlmClient, unworded: Sequence[Unworded]) -> None:
        """Ask for the plans of all photos, targets and audiences at once; write each photo when it is complete."""
        few = sampled(unworded)
        requests = (wanted.commission.request() for wanted in self._wanted(few))
        announce(self._reporter, client, "narratives", requests, len(few) / len(unworded))
        found: dict[Unworded, dict[tuple[int, int], Narrative]] = {}
        with self._reporter.track("narratives", len(unworded), unit="photo") as advance:
            for wanted, narrative in ask_all(client, self._wanted(unworded), self._ask):
                narratives = found.setdefault(wanted.explanation, {})
                narratives[wanted.place] = narrative
                if self._complete(wanted.explanation, narratives):
                    del found[wanted.explanation]
                    advance(1)

    def _tell_language(self) -> None:
        code = self._config.explaining.language
        spoken = {self._messages(audience).language for audience in self._config.explaining.audiences}
        if any(code.lower().replace("_", "-").partition("-")[0] != each for each in spoken):
            known = ", ".join(languages())
            self._reporter.say(f"language  {code!r}: message files exist in {known} alone, so these are English")

    async def _ask(self, wanted: Wanted) -> tuple[Wanted, Narrative]:
        assert self._client is not None
        return wanted, await plan_and_narrate(wanted.commission, self._client)

    def _complete(self, unworded: Unworded, narratives: Mapping[tuple[int, int], Narrative]) -> bool:
        """Write an explanation once all its narratives are there."""
        explanation, n_audiences = read_json(unworded.path, Explanation), len(self._config.explaining.audiences)
        if len(narratives) < len(explanation.targets) * n_audiences:
            return False
        targets = tuple(
            dataclasses.replace(target, narratives=tuple(narratives[index, place] for place in range(n_audiences)))
            for index, target in enumerate(explanation.targets)
        )
        write_json(unworded.path, dataclasses.replace(explanation, targets=targets))
        self._workspace.remember(f"explanation {unworded.key}", unworded.state)
        return True

    def _wanted(self, unworded: Sequence[Unworded]) -> Iterator[Wanted]:
        """List the texts to have planned; each explanation is read when its turn comes."""
        for waiting in unworded:
            explanation = read_json(waiting.path, Explanation)
            for index, target in enumerate(explanation.targets):
                pictures = _pictures(waiting.path.with_suffix(""), explanation, target)
                for place, commission in enumerate(self._commissions(explanation, target, pictures)):
                    yield Wanted(waiting, (index, place), commission)

    def _table(self, explanation: Explanation, target: TargetExplanation) -> PredictionTable:
        atlas = self._atlas
        return build_prediction(
            explanation,
            target,
            self._names,
            class_names=self._inputs.class_names,
            usual=self._usual,
            accuracy=accuracy_at(atlas, target.probability) if atlas else None,
        )

    @cached_property
    def _atlas(self) -> Atlas | None:
        return read_atlas(self._workspace.atlas) if self._workspace.atlas.exists() else None

    @cached_property
    def _usual(self) -> UsualShares | None:
        """What is usual; None where scores are no shares, or nothing was mined."""
        relevance = self._config.relevance
        are_shares = relevance.normalised and relevance.max_target == "sum"
        return usual_shares(self._atlas) if self._atlas and are_shares else None

    def _wording(self) -> str:
        """Digest of everything that the words depend on besides the numbers."""
        explaining, llm, names = self._config.explaining, self._config.llm, self._names.values()
        said = sorted(
            (name.concept, name.name, name.author, name.kind, name.second_name, name.confidence) for name in names
        )
        author: list[object] = ["built-in"]
        if llm.enabled:
            author = [llm.model, llm.base_url, load_prompt(PROMPT).digest]
        messages = [self._messages(audience).digest for audience in explaining.audiences]
        program = digest_package("precompute")  # another one has other facts and other plans
        has_usual = self._workspace.atlas.exists()
        return digest_of([explaining.language, explaining.audiences, program, messages, has_usual, *author, said])

    # --- which photos ------------------------------------------------------------------------------------------

    def _chosen(self) -> list[Photo]:
        photos = self._config.explaining.photos
        if photos:
            return list(_from_paths(resolve_path(self._config, photo) for photo in photos))
        dataset = self._inputs.dataset
        chosen = spread_evenly(len(dataset), self._config.explaining.n_photos)
        return [photo for index in chosen for photo in self._sample(index)]

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
            image = load_photo(photo.path, self._config, self._inputs.dataset.grey)
            return image, hashlib.sha256(photo.path.read_bytes()).hexdigest()
        image = self._inputs.dataset.load(photo.sample_index)
        return image, hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def _pictures(folder: Path, explanation: Explanation, target: TargetExplanation) -> tuple[bytes, ...]:
    """Read the photo and the overlays of the main layer's concepts."""
    main = max(target.layers, key=lambda layer: abs(layer.relevance_sum), default=None)
    names = [explanation.photo, *(concept.overlay for concept in (main.concepts if main else ()))]
    return tuple((folder / name).read_bytes() for name in names)


def _read_kept(path: Path, digest: str) -> Explanation | None:
    """Read a finished explanation with the same numbers and all its pictures; None where there is none."""
    kept = _read(path)
    is_whole = kept and all((path.with_suffix("") / name).is_file() for name in kept.pictures())
    return kept if kept and kept.digest == digest and is_whole else None


def _read(path: Path) -> Explanation | None:
    """Read an explanation; None where there is none, or a damaged one."""
    try:
        return read_json(path, Explanation) if path.exists() else None
    except StoreError:
        return None


def _from_paths(paths: Iterable[Path]) -> Iterator[Photo]:
    """List photos from outside: a file as it is, a folder's images as a data set's would be listed."""
    for path in paths:
        try:
            is_folder, is_there = path.is_dir(), path.exists()
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot read the photo {str(path)!r}: {getattr(error, 'strerror', None) or error}"
            ) from error
        if not is_there:
            raise DataError(f"there is no photo or folder {printable(str(path))}: check the name")
        if not is_folder:
            yield Photo(printable(path.name), "", EMPTY, path)
            continue
        listing = list_folder(path)
        if not listing.samples:
            others = listing.describe_others() or "nothing"
            raise DataError(f"the folder {printable(str(path))} holds no photo; it holds {others}")
        yield from (Photo(printable(sample.name), "", EMPTY, path / sample.name) for sample in listing.samples)
