"""The explaining stage: photos in, one JSON file and a folder of pictures out for each.

Owns which photos are explained, what is done already, and the order in which files appear (the JSON last: it marks
an explanation as complete). Must not know how relevance is computed or words are found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import PIL.Image

from precompute.atlas.digests import digest_bytes, digest_file, digest_package
from precompute.atlas.evenly import spread_evenly
from precompute.atlas.files import write_bytes
from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import read_atlas
from precompute.atlas.json_records import read_json, write_json
from precompute.config import Config, resolve_path
from precompute.errors import DataError, NamerError
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
from precompute.llm.request import Request
from precompute.narratives.audiences import find_audience
from precompute.narratives.facts import derive_facts
from precompute.narratives.own_words import Writer, prompt_digests, write_own_words
from precompute.narratives.planner import PROMPT, Commission, plan_and_narrate
from precompute.narratives.wording import Wording, find_wording, languages
from precompute.progress import Reporter
from precompute.records import MISSING, Atlas, ConceptName, Explanation, Narrative, TargetExplanation

from .cost_preview import NOT_ENABLED, announce, sampled
from .step import Step


@dataclass(frozen=True)
class ChosenPhoto:
    """A photo to explain: a sample of the data set, or a file from outside (`sample_index` is `MISSING`).

    One of a folder (`may_be_skipped`) that cannot be used does not end a run.
    """

    name: str
    label: str
    sample_index: int = MISSING
    path: Path = Path()
    may_be_skipped: bool = False


@dataclass(frozen=True)
class PendingNarrative:
    """A finished explanation whose texts a language model has yet to plan."""

    path: Path


@dataclass(frozen=True)
class NarrativeJob:
    """One text to have planned; `place` is its target and its audience by position."""

    explanation: PendingNarrative
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

    def require_messages(self) -> None:
        """Raise ConfigError where an audience is unknown, or its messages cannot be read."""
        for audience in self._config.explaining.audiences:
            self._messages(audience)

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
        self._set_damaged_aside(written)
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
        return self._client.estimate(self._requests(self._wanted(unworded)))

    def at_hand(self) -> Iterator[tuple[Explanation, PIL.Image.Image]]:
        """List the finished explanations of the config's photos, each with its decoded photo."""
        for photo in self._chosen():
            loaded = self._try_to_load(photo)
            if loaded is None:
                continue
            image, digest = loaded
            path = self._workspace.explanations / f"{explanation_id(photo.name, digest)}.json"
            explanation = self._read_kept(path, self._numbers_digest(digest))
            if explanation is not None:
                yield explanation, image

    # --- numbers -----------------------------------------------------------------------------------------------

    def _compute_numbers(self, extra: tuple[Path, ...]) -> tuple[list[Path], int, list[PendingNarrative]]:
        """Return all JSON files, how many of them changed, and those that wait for a language model's words."""
        self.require_messages()
        self._names = self._workspace.read_names()
        self._archive_outdated()
        photos = [*self._chosen(), *_from_paths(extra, follow_links=self._config.dataset.follow_links)]
        written, n_new, unworded = [], 0, []
        with self._reporter.track("explanations", len(photos), unit="photo") as advance:
            for photo in photos:
                advance(1)
                loaded = self._try_to_load(photo)
                if loaded is None:
                    continue
                path, waiting = self._explain(photo, *loaded)
                written.append(path)
                n_new += waiting is not None
                unworded += [waiting] if waiting else []
        return written, n_new, list({waiting.path: waiting for waiting in unworded}.values())

    def _try_to_load(self, photo: ChosenPhoto) -> tuple[PIL.Image.Image, str] | None:
        """Load a photo; None, and the reason told, where one of a folder cannot be used."""
        try:
            return self._load(photo)
        except DataError as error:
            if not photo.may_be_skipped:
                raise
            self._reporter.say(f"skipped   {photo.name!r}, not explained: {error}")
            return None

    def _explain(self, photo: ChosenPhoto, image: PIL.Image.Image, digest: str) -> tuple[Path, PendingNarrative | None]:
        """Explain one photo, or take what is there."""
        path = self._workspace.explanations / f"{explanation_id(photo.name, digest)}.json"
        kept = self._read_kept(path, self._numbers_digest(digest))
        explanation = kept or self._compute(photo, image, digest, path.with_suffix(""))
        return path, self._word(path, explanation, is_new=kept is None)

    def _word(self, path: Path, explanation: Explanation, *, is_new: bool) -> PendingNarrative | None:
        """Word what is not worded yet; with a language model to come too, so that no file lacks a text."""
        step = self._step(path, explanation)
        if not is_new and step.is_done():
            return None
        if is_new or self._client is None:
            write_json(path, self._worded(explanation))
            note = step.finish if self._client is None else step.begin
            note(*_files(path, explanation))
        return PendingNarrative(path)

    def _archive_outdated(self) -> None:
        """Set aside what another model or setting made, and show again what was set aside and fits this one."""
        self._forget_what_is_gone()
        n_outdated = 0
        for path in sorted(self._workspace.explanations.glob("*.json")):
            explanation = self._read(path)
            if explanation and not self._is_current(explanation):
                self._workspace.archive(path, explanation.digest[:12])
                n_outdated += 1
        for path in sorted(self._workspace.outdated.glob("*.json")):
            explanation = self._read(path)
            if explanation and self._is_current(explanation):
                self._workspace.restore(path)
        if n_outdated:
            self._reporter.say(
                f"set aside {self._workspace.outdated}: {n_outdated} made with another model, data set or setting; "
                "their numbers do not belong to this atlas, and they come back with what made them"
            )

    def _forget_what_is_gone(self) -> None:
        manifest, folder = self._workspace.manifest, self._workspace.folder
        for name in [name for name in manifest.products if name.startswith("explanations/")]:
            if not (folder / f"{name}.json").exists():
                manifest.forget(name)

    def _set_damaged_aside(self, written: Sequence[Path]) -> None:
        """Set aside the damaged explanations of photos that are not at hand, so that they cannot be made again."""
        for path in sorted(set(self._workspace.explanations.glob("*.json")) - set(written)):
            if not self._read(path):
                self._workspace.archive(path, "damaged")
                self._reporter.say(f"damaged   {path}: set aside in outdated/; explain its photo again")

    def _read_kept(self, path: Path, digest: str) -> Explanation | None:
        """Read a finished explanation with the same numbers and all its pictures; None where there is none."""
        kept = self._read(path)
        return kept if kept and kept.digest == digest else None

    def _read(self, path: Path) -> Explanation | None:
        """Read an explanation; None where there is none, or it or a picture is not as it was written."""
        whole = path.exists() and self._workspace.manifest.is_whole(self._workspace.product_of(path))
        return read_json(path, Explanation) if whole else None

    def _word_earlier(self, written: Sequence[Path]) -> list[PendingNarrative]:
        """Word the explanations of earlier runs as those of this one."""
        earlier = sorted(set(self._workspace.explanations.glob("*.json")) - set(written))
        words = (self._word(path, read_json(path, Explanation), is_new=False) for path in earlier)
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

    def _compute(self, photo: ChosenPhoto, image: PIL.Image.Image, digest: str, folder: Path) -> Explanation:
        explanation, pictures = explain_photo(
            image,
            engine=self._inputs.engine,
            layers=self._inputs.explained_layers,
            class_names=self._inputs.class_names,
            config=self._config,
            photo_name=photo.name,
            photo_digest=digest,
            label=photo.label,
            mining_digest=self._inputs.mining_digest,
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

    def _ask_for_plans(self, client: LlmClient, unworded: Sequence[PendingNarrative]) -> None:
        """Ask for the plans of all photos, targets and audiences at once; write each photo when it is complete."""
        few = sampled(unworded)
        requests = self._requests(self._wanted(few))
        announce(self._reporter, client, "narratives", requests, len(few) / len(unworded))
        found: dict[PendingNarrative, dict[tuple[int, int], Narrative]] = {}
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

    async def _ask(self, wanted: NarrativeJob) -> tuple[NarrativeJob, Narrative]:
        assert self._client is not None
        narrative = await plan_and_narrate(wanted.commission, self._client)
        if self._config.explaining.own_words:
            own_words = await write_own_words(wanted.commission, self._client, self._client)
            narrative = dataclasses.replace(narrative, own_words=own_words)
        return wanted, narrative

    def _requests(self, wanted: Iterable[NarrativeJob]) -> Iterator[Request]:
        """List the requests to be made, for an estimate; repeats are not in them."""
        for item in wanted:
            yield item.commission.request()
            if self._config.explaining.own_words:
                yield from Writer(item.commission).typical_requests()

    def _complete(self, unworded: PendingNarrative, narratives: Mapping[tuple[int, int], Narrative]) -> bool:
        """Write an explanation once all its narratives are there."""
        explanation, n_audiences = read_json(unworded.path, Explanation), len(self._config.explaining.audiences)
        if len(narratives) < len(explanation.targets) * n_audiences:
            return False
        targets = tuple(
            dataclasses.replace(target, narratives=tuple(narratives[index, place] for place in range(n_audiences)))
            for index, target in enumerate(explanation.targets)
        )
        write_json(unworded.path, dataclasses.replace(explanation, targets=targets))
        self._step(unworded.path, explanation).finish(*_files(unworded.path, explanation))
        return True

    def _wanted(self, unworded: Sequence[PendingNarrative]) -> Iterator[NarrativeJob]:
        """List the texts to have planned; each explanation is read when its turn comes."""
        for waiting in unworded:
            explanation = read_json(waiting.path, Explanation)
            for index, target in enumerate(explanation.targets):
                pictures = _pictures(waiting.path.with_suffix(""), explanation, target)
                for place, commission in enumerate(self._commissions(explanation, target, pictures)):
                    yield NarrativeJob(waiting, (index, place), commission)

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

    def _step(self, path: Path, explanation: Explanation) -> Step:
        """Return what an explanation depends on: its numbers, and everything that its words do."""
        explaining, llm = self._config.explaining, self._config.llm
        author: list[object] = ["built-in"]
        if llm.enabled:
            author = [llm.model, llm.base_url, load_prompt(PROMPT).digest]
            author += prompt_digests() if explaining.own_words else []
        depends = {
            "numbers": explanation.digest,
            "language": explaining.language,
            "audiences": explaining.audiences,
            "messages": [self._messages(audience).digest for audience in explaining.audiences],
            "author": author,
            "program": self._program,  # another one has other facts and other plans
        }
        name = self._workspace.product_of(path)
        return Step(self._workspace, self._reporter, name, "atlas explain", depends, made_from=("atlas", "names"))

    @cached_property
    def _program(self) -> str:
        return digest_package("precompute")

    # --- which photos ------------------------------------------------------------------------------------------

    def _chosen(self) -> list[ChosenPhoto]:
        photos = self._config.explaining.photos
        if photos:
            paths = (resolve_path(self._config, photo) for photo in photos)
            return list(_from_paths(paths, follow_links=self._config.dataset.follow_links))
        dataset = self._inputs.dataset
        chosen = spread_evenly(len(dataset), self._config.explaining.n_photos)
        return [photo for index in chosen for photo in self._sample(index)]

    def _sample(self, index: int) -> Iterator[ChosenPhoto]:
        dataset, label = self._inputs.dataset, int(self._inputs.dataset.labels[index])
        try:
            dataset.load(index)
        except DataError as error:
            self._reporter.say(f"skipped   {dataset.names[index]!r}, not explained: {error}")
            return
        yield ChosenPhoto(dataset.names[index], self._inputs.class_names[label] if label != MISSING else "", index)

    def _load(self, photo: ChosenPhoto) -> tuple[PIL.Image.Image, str]:
        if photo.sample_index == MISSING:
            image = load_photo(photo.path, self._config, self._inputs.dataset.grey)
            return image, digest_file(photo.path)
        image = self._inputs.dataset.load(photo.sample_index)
        return image, digest_bytes(f"{image.size}".encode() + image.tobytes())


def _pictures(folder: Path, explanation: Explanation, target: TargetExplanation) -> tuple[bytes, ...]:
    """Read the photo and the overlays of the main layer's concepts."""
    main = max(target.layers, key=lambda layer: abs(layer.relevance_sum), default=None)
    names = [explanation.photo, *(concept.overlay for concept in (main.concepts if main else ()))]
    return tuple((folder / name).read_bytes() for name in names)


def _files(path: Path, explanation: Explanation) -> list[Path]:
    """List the JSON file of an explanation and its pictures."""
    return [path, *(path.with_suffix("") / name for name in dict.fromkeys(explanation.pictures()))]


def _from_paths(paths: Iterable[Path], *, follow_links: bool = False) -> Iterator[ChosenPhoto]:
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
            yield ChosenPhoto(printable(path.name), "", MISSING, path)
            continue
        listing = list_folder(path, follow_links=follow_links)
        if not listing.samples:
            others = listing.describe_others() or "nothing"
            raise DataError(f"the folder {printable(str(path))} holds no photo; it holds {others}")
        yield from (
            ChosenPhoto(printable(sample.name), "", MISSING, path / sample.name, True) for sample in listing.samples
        )
