"""The naming stage: evidence out of the store, names into ``names.jsonl``.

Owns which namer is used, what is named already, and that people's corrections win. Must not know how a name is found.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.json_records import write_jsonl
from precompute.config import Config
from precompute.errors import NamerError, ReplyError, StoreError
from precompute.extensions import call_factory, source_digest
from precompute.llm.asking import require_enough
from precompute.llm.batch import BatchRunner
from precompute.llm.client import LlmClient
from precompute.llm.costs import Estimate
from precompute.llm.prompts import load_prompt
from precompute.llm.request import Request
from precompute.naming.corrections import export_names, import_corrections
from precompute.naming.namer import LANGUAGE, NO_REFERENCES, ConceptEvidence, LlmNamer, Namer, read_naming_reply
from precompute.naming.namesakes import Namesakes, groups_of
from precompute.naming.offline import OfflineNamer
from precompute.naming.own import OwnNamer
from precompute.naming.recorded import RecordedNamer, RecordedNames, load_recorded
from precompute.naming.trial_call import SEEN, trial_evidence
from precompute.narratives.looks import find_looks
from precompute.narratives.wording import language_of_texts
from precompute.progress import Reporter
from precompute.provenance import today
from precompute.records import Atlas, Concept, ConceptName
from precompute.records.named import choose_names, says_one_of

from .corrections import Corrections
from .cost_preview import NOT_ENABLED, announce, counted, sampled
from .evidence import StoredEvidence
from .step import Step

OFFLINE_VERSION = 3
"""Raise it when the offline namer finds other names from the same evidence."""


N_TOLD = 5
"""Concepts that are listed by key where recorded names do not fit."""

BATCH_SIZE = 500
"""Requests of one batch: their contact sheets are in memory together."""


class NameStage:
    """Names the concepts of one atlas.

    Parameters
    ----------
    config : Config
    workspace : Workspace
    reporter : Reporter
    hold_out : bool
        Show the namer only the better half of the references, so that its names can be scored on the others.
    client : LlmClient, optional
        Names; without it the offline namer does.
    """

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        reporter: Reporter,
        *,
        hold_out: bool = False,
        client: LlmClient | None = None,
    ) -> None:
        self._config, self._workspace, self._reporter = config, workspace, reporter
        self._hold_out, self._client = hold_out, client
        self._corrections = Corrections(workspace, reporter)

    def run(self, atlas: Atlas, *, retry: bool = False) -> None:
        """Name every concept that has no name yet, and put people's corrections on top.

        Parameters
        ----------
        atlas : Atlas
        retry : bool
            Ask for the concepts that got no answer last time; kept replies are not asked for again.

        Raises
        ------
        NamerError
            The language model cannot be used: no key, cost limit, no server.
        """
        corrections = self._corrections.read()
        if self._step.is_done() and not retry:
            self._reporter.say(f"kept      {self._workspace.names} (nothing to name)")
            return
        missing = [_without_references(concept.key) for concept in atlas.concepts()]
        found = self._told_apart(atlas, list(self._name_all(atlas)))
        names = list(choose_names(missing, found, corrections).values())
        write_jsonl(self._workspace.names, names)
        self._step.begin(self._workspace.names)  # whole; done once enough of it has come
        n_failed = sum(not name.is_named for name in names)
        self._reporter.say(
            f"named     {self._workspace.names}: {len(names) - n_failed} concepts, {n_failed} without a name"
        )
        if self._recorded is not None:
            self._tell_recorded(self._recorded, found)
        self._require_enough(names)
        self._step.finish(self._workspace.names)

    def _told_apart(self, atlas: Atlas, names: list[ConceptName]) -> list[ConceptName]:
        """Ask a language model once more about channels of a layer that got the same name."""
        groups = groups_of(names)
        if self._client is None or not groups:
            return names
        self._reporter.say(f"asking    {self._client.model} what tells {len(groups)} groups of equal names apart")
        asker = Namesakes(self._client, self._language)
        with ReferenceReader(self._workspace.references) as reader:

            def evidence(concept: Concept) -> ConceptEvidence:
                return StoredEvidence(reader, atlas, [concept], "seen" if self._hold_out else "all")[0]

            changed = list(asker.tell_apart(groups, evidence))
        self._reporter.say(f"note      {len(changed)} of {sum(map(len, groups))} equal names were told apart")
        return list(choose_names(names, changed).values())

    def try_model(self) -> None:
        """Ask the language model once about drawn pictures, before anything long begins.

        Raises
        ------
        NamerError
            It has no usable reply: it takes no pictures or not as many, its thinking is cut off, nobody answers.
        """
        client, namer = self._language_model()
        references = self._config.references
        n_seen = max(references.per_ranking // 2, 1) if self._hold_out else references.per_ranking
        side = self._config.preprocessing.crop
        evidence = trial_evidence(side if isinstance(side, int) else max(side), min(n_seen, 16), references.tile)
        try:
            reply = asyncio.run(_asked(client, next(namer.requests([evidence]))))
        except ReplyError as error:
            remedy = client.remedy or "Set llm.model and llm.base_url to a model that takes pictures"
            raise NamerError(
                f"the test call to {client.model} at {client.base_url} had no usable reply ({error}){client.told}. "
                f"Nothing else was begun. {remedy}, or set llm.enabled=false for names without a language model."
            ) from None
        try:
            seen = says_one_of(read_naming_reply(reply, len(evidence.relmax)).model_dump_json(), SEEN)
        except ReplyError:
            seen = False
        if not seen:
            self._reporter.say(
                f"note      {client.model} did not name the red disc of the test call: it may not see the pictures"
            )

    def _require_enough(self, names: Iterable[ConceptName]) -> None:
        asked = [name for name in names if name.by.kind == "llm" and name.failure != NO_REFERENCES]
        reasons = [name.failure for name in asked if not name.is_named]
        require_enough("names", len(asked), reasons, self._config.llm.max_failed)

    def _tell_recorded(self, recorded: RecordedNames, names: Sequence[ConceptName]) -> None:
        """Say whose names these are, and which concepts the recorded names did not fit."""
        others = [name.concept for name in names if not name.recorded]
        who = f"{recorded.recording.author}, {recorded.recording.date}"
        self._reporter.say(f"note      {len(names) - len(others)} names are recorded ones ({who})")
        if others:
            more = f" and {len(others) - N_TOLD} more" if len(others) > N_TOLD else ""
            self._reporter.say(
                f"note      {len(others)} concepts have other reference samples than those that were named, or none, "
                f"and are named offline: {', '.join(others[:N_TOLD])}{more}"
            )

    def estimate(self, atlas: Atlas, *, batch: bool = False) -> Estimate:
        """Count the calls, tokens and dollars that naming would take; makes every request and no call.

        Parameters
        ----------
        atlas : Atlas
        batch : bool
            Count what `run_batch` would ask for.
        """
        client, namer = self._language_model()
        waiting = self._batch_runner(client).waiting if batch else frozenset()
        as_batch = batch and not waiting  # what no batch holds is asked live after the batches are collected
        with ReferenceReader(self._workspace.references) as reader:
            evidence = self._evidence(reader, atlas)
            with self._reporter.track("estimating", len(evidence), unit="concept") as advance:
                requests = counted(namer.requests(evidence), advance)
                return client.estimate(requests, batch=as_batch, waiting=waiting)

    def run_batch(self, atlas: Atlas) -> None:
        """Submit what has no reply yet as batches, or collect those submitted before, and then name.

        Raises
        ------
        NamerError
            The language model cannot be used.
        """
        self._corrections.read()
        if self._step.is_done():
            self._reporter.say(f"kept      {self._workspace.names} (nothing to name)")
            return
        if asyncio.run(self._batches_are_done(atlas)):
            self.run(atlas)

    async def _batches_are_done(self, atlas: Atlas) -> bool:
        client, namer = self._language_model()
        client.require_calls()
        try:
            runner = self._batch_runner(client)
            if any(not batch.collected for batch in runner.batches):
                return await self._collect(runner)
            return await self._submit(runner, namer, atlas) == 0
        finally:
            await client.close()

    def _batch_runner(self, client: LlmClient) -> BatchRunner:
        return BatchRunner(client, self._workspace.llm_cache / "batches.json")

    async def _collect(self, runner: BatchRunner) -> bool:
        found = await runner.collect()
        self._reporter.say(f"collected {found.n_replies} replies; {found.n_failed} requests failed and are asked live")
        if found.n_waiting:
            self._reporter.say(f"waiting   for {found.n_waiting} batches: run the same command again later")
        return not found.n_waiting

    async def _submit(self, runner: BatchRunner, namer: LlmNamer, atlas: Atlas) -> int:
        n_submitted = 0
        with ReferenceReader(self._workspace.references) as reader:
            evidence = self._evidence(reader, atlas)
            self._announce(namer, evidence, batch=True)
            with self._reporter.track("submitting", len(evidence), unit="concept") as advance:
                for start in range(0, len(evidence), BATCH_SIZE):
                    part = evidence[start : start + BATCH_SIZE]
                    n_submitted += await runner.submit(namer.requests(part))
                    advance(len(part))
        if n_submitted:
            n_batches = sum(not batch.collected for batch in runner.batches)
            self._reporter.say(
                f"submitted {n_submitted} requests in {n_batches} batches: run the same command again to collect them"
            )
        return n_submitted

    def export(self, path: Path) -> None:
        """Write the names as a CSV that people can correct."""
        export_names(path, self._named().values(), [self._language] if self._language != LANGUAGE else [])
        self._reporter.say(f"exported  {path}")

    def import_from(self, path: Path, author: str) -> None:
        """Take a corrected CSV; the corrections survive every renaming.

        Raises
        ------
        DataError
            The table is not of the right form; names the line, and nothing is changed.
        """
        names = self._named()
        new = import_corrections(path, names, author=author, date=today())
        merged = choose_names(self._corrections.read(), new)
        self._corrections.write(list(merged.values()))
        write_jsonl(self._workspace.names, list(choose_names(names.values(), merged.values()).values()))
        self._step.begin(self._workspace.names)
        self._reporter.say(f"imported  {len(new)} corrections from {path}; run `atlas run` to put them on the pages")

    def _named(self) -> dict[str, ConceptName]:
        if not self._workspace.names.exists():
            raise StoreError(f"there is no {self._workspace.names}: run `atlas name` with the same config first")
        return self._workspace.read_names()

    @property
    def _language(self) -> str:
        """Of the texts: where it is not English, a language model gives each name in it besides."""
        return language_of_texts(self._config.explaining.language)

    @property
    def _step(self) -> Step:
        llm = self._config.llm
        prompt = load_prompt("naming").digest
        namer: list[object] = ["offline", OFFLINE_VERSION]
        if llm.enabled:
            namer = [llm.model, llm.base_url, prompt, load_prompt("telling_apart").digest]
        elif ":" in (address := self._config.naming.namer):
            namer = [address, source_digest(address, self._config.path.parent)]
        elif self._recorded is not None:
            namer = ["recorded", self._recorded.digest, *namer]
        return Step(
            *(self._workspace, self._reporter, "names", "atlas name"),
            {"namer": namer, "hold_out": self._hold_out, "language": self._language},
            made_from=("atlas", "references", "corrections"),
        )

    def _name_all(self, atlas: Atlas) -> Iterator[ConceptName]:
        namer = self._with_recorded(atlas, self.make_namer(atlas))
        with ReferenceReader(self._workspace.references) as reader:
            evidence = self._evidence(reader, atlas)
            if isinstance(namer, LlmNamer):
                self._announce(namer, evidence)
            with self._reporter.track("names", len(evidence), unit="concept") as advance:
                for name in namer.name(evidence):
                    advance(1)
                    yield name

    def make_namer(self, atlas: Atlas) -> Namer:
        """Make the namer that finds names in what it is shown: never one that repeats recorded names."""
        if self._client is not None:
            return self._language_model()[1]
        if ":" in (address := self._config.naming.namer):
            given = {"config": self._config, "atlas": atlas}
            made = call_factory(address, "naming.namer", self._config.path.parent, NamerError, given)
            return OwnNamer(address, made, today())
        counts = zip(atlas.class_names, atlas.class_counts.tolist(), strict=True)
        labels: Counter[str] = Counter()
        for class_name, count in counts:
            labels[class_name] += count
        phrasebook = find_looks(self._config.explaining.language)
        counts_known = {name: n for name, n in labels.items() if n}
        return OfflineNamer(counts_known, self._config.preprocessing.size, today(), phrasebook)

    def _with_recorded(self, atlas: Atlas, namer: Namer) -> Namer:
        """Put the names that ship before another namer's, where the config asks for them and they fit."""
        if self._recorded is None or self._recorded.fit(atlas):
            return namer if self._recorded is None else RecordedNamer(self._recorded, atlas, namer)
        self._reporter.say(
            "note      the recorded names are of another network or data set: every concept is named offline"
        )
        return namer

    @cached_property
    def _recorded(self) -> RecordedNames | None:
        """The names that ship with the project; None where the config does not ask for them."""
        wanted = self._client is None and self._config.naming.namer == "recorded"
        return load_recorded() if wanted else None

    def _language_model(self) -> tuple[LlmClient, LlmNamer]:
        if self._client is None:
            raise NamerError(NOT_ENABLED)
        side = max(self._config.preprocessing.size)
        return self._client, LlmNamer(self._client, input_size=side, language=self._language, date=today())

    def _announce(self, namer: LlmNamer, evidence: StoredEvidence, *, batch: bool = False) -> None:
        client, chosen = self._language_model()[0], sampled(evidence)
        share = len(chosen) / max(len(evidence), 1)
        announce(self._reporter, client, "names", namer.requests(chosen), share, batch=batch)

    def _evidence(self, reader: ReferenceReader, atlas: Atlas) -> StoredEvidence:
        return StoredEvidence(reader, atlas, reader.concepts(), "seen" if self._hold_out else "all")


async def _asked(client: LlmClient, request: Request) -> str:
    try:
        return await client.answer(request)
    finally:
        await client.close()


def _without_references(key: str) -> ConceptName:
    """Record a concept that carried nothing in any sample."""
    return ConceptName(
        key, "", "", "offline", failure="neither relevance nor activation above zero in any sample", date=today()
    )
