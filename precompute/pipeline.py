"""The order of the stages: what is missing is made, what is there is kept, and everything says where it comes from.

Owns stage order, resume and provenance; the only module that moves records between store and computation. Must not
know how a stage computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from precompute.atlas.digests import digest_of, digest_package
from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import (
    ATLAS_KIND,
    REFERENCES_KIND,
    is_another_file,
    read_atlas,
    read_provenance,
    write_atlas,
    write_references,
)
from precompute.atlas.ownership import SiteMark, has_mark, is_made, is_whole, require_replaceable, sweep_scratch
from precompute.config import WITHOUT_EFFECT, Config
from precompute.errors import OutputError, StoreError
from precompute.inputs import Inputs
from precompute.llm.client import LlmClient
from precompute.llm.costs import Estimate
from precompute.mining.tables import MINING_VERSION
from precompute.progress import Reporter
from precompute.provenance import config_record, first_difference, package_versions, today
from precompute.records import Atlas
from precompute.stages.check import Check
from precompute.stages.explanations import ExplanationStage
from precompute.stages.mining import ALL, ShardMiner, ShardPlan, ShardSubset, merge_plan
from precompute.stages.names import NameStage
from precompute.stages.on_ray import MIXED, RayOptions, connected
from precompute.stages.overlap import require_apart
from precompute.stages.references import Renderer, merge_blocks
from precompute.stages.scores import ScoreStage, can_score
from precompute.stages.step import Step
from precompute.stages.trust import TrustStage
from precompute.stages.truth import TruthStage
from precompute.studies.kit import StudyKit
from precompute.studies.plan import StudySize

_OTHER_INPUTS = {
    "mining_version": "another version of this program",
    "dataset_digest": "other images or labels (their names, sizes or classes differ)",
    "weights_digest": "other weights",
    "engine": "another relevance engine",
}
"""What to say of an atlas with the same config, by the key of the provenance that differs."""


class Pipeline:
    """All stages of one atlas.

    Parameters
    ----------
    config : Config
    workspace : Workspace
    reporter : Reporter
    dry_run : bool
        No call of a language model can be made; the estimates work.
    cluster : RayOptions, optional
        Mine on Ray.
    """

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        reporter: Reporter,
        *,
        dry_run: bool = False,
        cluster: RayOptions | None = None,
    ) -> None:
        require_apart(config, workspace)
        workspace.require_ours()  # opening an archive writes into its cache
        self.workspace, self.reporter = workspace, reporter
        self._dry_run, self._cluster, self._holds = dry_run, cluster, False
        self.inputs = Inputs(config, workspace.cache)
        self.config = self.inputs.config

    @cached_property
    def atlas(self) -> Atlas:
        """The mined tables, read from the finished file; raises StoreError where it is not of this config."""
        if self.workspace.atlas.exists() and not self._is_mined():
            self.workspace.manifest.require_whole("atlas", self.workspace.atlas)
        return read_atlas(self.workspace.atlas)

    @cached_property
    def plan(self) -> ShardPlan:
        """How the samples are cut into shards."""
        digest = self.inputs.mining_digest
        names = tuple(self.inputs.dataset.names)
        return ShardPlan(self.workspace.shards(digest), names, self.config.mining.shard_size, digest)

    @contextmanager
    def _working(self, *, shared: bool = False, makes: bool = True) -> Iterator[None]:
        """Hold the output folder, unless a stage around this one does already.

        Parameters
        ----------
        shared : bool
            Let other runs that share work there too.
        makes : bool
            The folder may be made; else it is only held where it is there.
        """
        if self._holds or not (makes or is_made(self.workspace.folder)):
            yield
            return
        with self.workspace.in_use(shared=shared):
            self._holds = True
            try:
                yield
            finally:
                self._holds = False

    @contextmanager
    def _working_on_atlas(self) -> Iterator[Atlas]:
        """Hold the output folder for a stage after mining; what cannot be used is told before anything is made."""
        atlas = self.atlas
        with self._working():
            yield atlas

    def check(self) -> int:
        """Report what is right and wrong about the inputs; returns the number of things to mend. Changes nothing."""
        return Check(self.inputs, self.reporter, self.workspace.folder).run()

    # --- mining ------------------------------------------------------------------------------------------------

    def mine(self, part: ShardSubset = ALL) -> None:
        """Mine what is missing of a part; with all of it there, merge it into ``atlas.h5``.

        Raises
        ------
        StoreError
            The output folder holds an ``atlas.h5`` that cannot be read or was made with another config.
        """
        self._is_mined()  # what cannot be used is told before anything is made
        miner = self._miner()
        for note in (*self.inputs.dataset.notes, *self.inputs.notes):
            self.reporter.say(f"note      {note}")
        with self._working(shared=part.count > 1):
            if self._is_mined():
                self._keep_mined("nothing to mine")
                return
            self.workspace.prepare()
            if self._cluster is not None:
                self._mine_on_ray(self._cluster)
                return
            miner.mine(self.plan, part, self.reporter)
            if part.count == 1:
                self.merge()
            else:
                self.reporter.say(f"mined     part {part.index + 1} of {part.count} into {self.plan.folder}")

    def merge(self) -> None:
        """Merge all shards into ``atlas.h5``; raises StoreError where one is missing."""
        self._is_mined()
        with self._working(makes=False):
            if self._is_mined():
                self._keep_mined("merged already")
                return
            self._merge(self.plan, self.inputs.device.type)

    def _mine_on_ray(self, options: RayOptions) -> None:
        with connected(options) as driver:
            plan, device = driver.plan(self.plan, self.config, self.reporter)
            driver.mine(plan, device, self.config, self.workspace.cache, self.reporter)
        self._merge(plan, device.partition(" ")[0] if device != MIXED else device)

    def _merge(self, plan: ShardPlan, device: str) -> None:
        atlas = merge_plan(plan, {**self._provenance(), "device": device})
        counts = {"samples": len(atlas.samples.name), "used": int(atlas.class_counts.sum())}
        atlas.provenance["counts"] = counts | {"skipped": len(atlas.samples.skipped)}
        write_atlas(self.workspace.atlas, atlas)
        self._mined_step.finish(self.workspace.atlas)
        self.workspace.remove(self.plan.folder)
        self.reporter.say(f"mined     {self.workspace.atlas}: {counts['used']} samples, {len(atlas.layers)} layers")

    def _miner(self) -> ShardMiner:
        inputs = self.inputs
        return ShardMiner(inputs.dataset, inputs.engine, inputs.tables, self.config, inputs.device)

    def _keep_mined(self, reason: str) -> None:
        self.reporter.say(f"kept      {self.workspace.atlas} ({reason})")
        self.workspace.remove(self.plan.folder)  # a run may have been killed between merging and removing

    def _is_mined(self) -> bool:
        """Tell whether the atlas is there; raises StoreError where it is another config's."""
        path = self.workspace.atlas
        if not path.exists():
            return False
        step = self._mined_step
        if step.is_done():
            return True
        if step.is_noted and not is_another_file(path):
            return False  # damaged, and ours: it is made again
        found = read_provenance(path, ATLAS_KIND)
        if found.get("mining_digest") != self.inputs.mining_digest:
            raise StoreError(self._other_config(path, found))
        if step.is_noted:
            return False  # damaged where nothing of it is read: whole in itself, and not what was written
        step.finish(path)  # whole by its own digests, though nothing beside it says so
        return True

    @property
    def _mined_step(self) -> Step:
        depends = {"mining": self.inputs.mining_digest}
        return Step(self.workspace, self.reporter, "atlas", "atlas mine", depends)

    def _other_config(self, path: Path, found: dict[str, Any]) -> str:
        return (
            f"{path} was made with {self._other_cause(found)}. Choose another folder with --output, or run "
            "`atlas clean` with the same --output to make everything again"
        )

    def _other_cause(self, found: dict[str, Any]) -> str:
        """Say in what the atlas that is there differs from the one that this config would make."""
        theirs, ours = (_mined_sections(record) for record in (found.get("config", {}), config_record(self.config)))
        difference = first_difference(theirs, ours)
        if difference:
            return f"another config: {difference}"
        here = self._provenance()
        return next(
            (words for key, words in _OTHER_INPUTS.items() if found.get(key) != here[key]),
            "another class list, another path in the config or another version of this program",
        )

    def _provenance(self) -> dict[str, Any]:
        inputs = self.inputs
        return {
            "mining_digest": inputs.mining_digest,
            "mining_version": MINING_VERSION,
            "weights_digest": inputs.model.weights_digest,
            "dataset_digest": inputs.dataset.digest,
            "loading": list(inputs.notes),
            "engine": inputs.engine.name,
            "device": inputs.device.type,
            "precision": self.config.relevance.precision,
            "seed": self.config.seed,
            "date": today(),
            "packages": package_versions(),
            "config": config_record(self.config),
        }

    # --- reference images --------------------------------------------------------------------------------------

    def render(self) -> None:
        """Render what is missing of the reference images and merge it into ``references.h5``."""
        with self._working_on_atlas():
            self._render()

    def _render(self) -> None:
        path, digest = self.workspace.references, self.inputs.references_digest
        folder = self.workspace.reference_blocks(digest)
        if self._is_rendered():
            self.reporter.say(f"kept      {path} (nothing to render)")
            self.workspace.remove(folder)
            return
        renderer = Renderer(self.inputs.dataset, self.inputs.engine, self.atlas, self.config)
        blocks = renderer.render(folder, self.reporter)
        provenance = {"references_digest": digest, "mining_digest": self.inputs.mining_digest, "date": today()}
        write_references(path, merge_blocks(blocks), provenance, self.atlas.layers)
        self._rendered_step.finish(path)
        self.workspace.remove(folder)
        self.reporter.say(f"rendered  {path}")

    def _is_rendered(self) -> bool:
        path, step = self.workspace.references, self._rendered_step
        if step.is_done():
            return True
        if "references" in self.workspace.manifest.products or not path.exists():
            return False
        if read_provenance(path, REFERENCES_KIND).get("references_digest") != self.inputs.references_digest:
            return False
        step.finish(path)  # as in `_is_mined`
        return True

    @property
    def _rendered_step(self) -> Step:
        depends = {"references": self.inputs.references_digest}
        return Step(self.workspace, self.reporter, "references", "atlas references", depends, ("atlas",))

    # --- words -------------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> LlmClient | None:
        """The language model of all stages, one for one journal; None where the config has none."""
        if not self.config.llm.enabled:
            return None
        return LlmClient(self.config.llm, self.workspace.llm_cache, seed=self.config.seed, dry_run=self._dry_run)

    def name(self, *, retry: bool = False) -> None:
        """Name every concept that has no name yet; `retry` asks for those that got no answer last time."""
        with self._working_on_atlas() as atlas:
            self.names.run(atlas, retry=retry)

    def name_by_batch(self) -> None:
        """Submit the naming requests as batches; collect them and name when called again."""
        with self._working_on_atlas() as atlas:
            self.names.run_batch(atlas)

    def import_names(self, table: Path, author: str) -> None:
        """Take a corrected CSV; the corrections survive every renaming."""
        with self._working():
            self.names.import_from(table, author)

    def score(self) -> None:
        """Score the names, where there is somebody to judge."""
        with self._working_on_atlas() as atlas:
            self._scores.run(atlas, self.names.make_namer(atlas))

    @cached_property
    def names(self) -> NameStage:
        """The naming stage."""
        hold_out = can_score(self.config, self.inputs.dataset)
        return NameStage(self.config, self.workspace, self.reporter, hold_out=hold_out, client=self.client)

    @cached_property
    def _scores(self) -> ScoreStage:
        return ScoreStage(self.config, self.inputs.dataset, self.workspace, self.reporter, self.client)

    def explain(self, photos: tuple[Path, ...] = ()) -> list[Path]:
        """Explain the config's photos, or the given ones besides; returns the explanations' files."""
        with self._working_on_atlas():
            return self._explanations.run(photos)

    @cached_property
    def _explanations(self) -> ExplanationStage:
        return ExplanationStage(self.inputs, self.workspace, self.reporter, self.client)

    def estimate_names(self, *, batch: bool = False) -> Estimate:
        """Count the calls, tokens and dollars of `name`, or of `name_by_batch`; makes no call."""
        return self.names.estimate(self.atlas, batch=batch)

    def estimate_scores(self) -> Estimate:
        """Count the calls, tokens and dollars of `score`; makes no call."""
        return self._scores.estimate(self.atlas, self.names.make_namer(self.atlas))

    def estimate_explanations(self, photos: tuple[Path, ...] = ()) -> Estimate:
        """Count the calls, tokens and dollars of `explain`; makes no call, but keeps the numbers that it needs."""
        with self._working_on_atlas():
            return self._explanations.estimate(photos)

    def evaluate(self) -> None:
        """Score concepts and names against the truth, where the data set knows it."""
        stage = TruthStage(self.inputs.dataset, self.workspace, self.reporter)
        with self._working_on_atlas() as atlas:
            stage.run(atlas, self.config.preprocessing.size)

    def trust(self) -> None:
        """Measure how far the atlas can be trusted."""
        with self._working_on_atlas() as atlas:
            TrustStage(self.inputs, self.workspace, self.reporter, self._explanations).run(atlas)

    # --- studies with people -----------------------------------------------------------------------------------

    def study(self, folder: Path, size: StudySize, seed: int | None = None) -> None:
        """Write the pages of a study with people, and its key; changes nothing of the atlas.

        Parameters
        ----------
        folder : Path
            Of the study alone.
        size : StudySize
        seed : int, optional
            Of another study of the same atlas; the config's by default.
        """
        from sitegen.rater import rater_html  # noqa: PLC0415 - a step from computing to pages, as the site is

        held_out = can_score(self.config, self.inputs.dataset)
        kit = StudyKit(self.workspace, self.reporter, self.config.preprocessing.size, held_out=held_out)
        with self._working(shared=True, makes=False):
            kit.make(self.atlas, folder, size, self.config.seed if seed is None else seed, rater_html)

    # --- the site ----------------------------------------------------------------------------------------------

    def build_site(self) -> Path:
        """Build the site from what is there; returns its start page."""
        self._require_site()
        with self._working(shared=True, makes=False):
            return self._build_site()

    def _build_site(self) -> Path:
        from sitegen.build import SiteOptions, build_site  # noqa: PLC0415 - the one step from computing to pages

        site, start = self.workspace.site, self.workspace.site / "index.html"
        contents = self.workspace.digest_contents()
        digest = digest_of([digest_package("sitegen"), contents, config_record(self.config)["site"]])
        if has_mark(site, SiteMark(self.config.name, digest)) and is_whole(site):
            sweep_scratch(site)
            self.reporter.say(f"kept      {start} (nothing changed)")
            return start
        with self.reporter.track("site", 1, unit="step") as advance:
            report = build_site(
                site,
                self.workspace.folder,
                SiteOptions(
                    name=self.config.name,
                    made_from=digest,
                    title=self.config.site.title or self.config.name,
                    description=self.config.site.description,
                    include_images=self.config.site.include_images,
                    n_gallery=self.config.site.n_gallery,
                ),
            )
            advance(1)
        for warning in report.warnings:
            self.reporter.say(f"note      {warning}")
        self.reporter.say(f"built     {start}: {report.n_pages} pages")
        return start

    def _require_site(self) -> None:
        """Refuse a folder that the site may not replace, before hours of mining and not after them."""
        site, folder = self.workspace.site, self.workspace.folder
        if folder.resolve().is_relative_to(site.resolve()):
            raise OutputError(
                f"will not put the site into {site}: the output folder {folder} is or lies there. Nothing was changed "
                "there. Choose another folder with --site"
            )
        require_replaceable(site, self.config.name)

    def run(self) -> Path:
        """Run every stage; returns the start page of the site."""
        self._require_site()
        self._explanations.require_messages()
        is_unnamed = self.client is not None and not self.workspace.names.exists()
        if self.client is not None and is_unnamed:
            self.client.require_calls()  # a missing key is told before hours of mining, not after them
        self._is_mined()
        self._miner()  # opens the data set and the model: what cannot be used is told before anything is made
        with self._working():
            if is_unnamed:
                self.names.try_model()  # inside, since its reply is kept in the folder, which has to be the program's
            self.mine()
            self._report_skipped()
            self.render()
            self.name()
            self.score()
            self.explain()
            self.evaluate()
            self.trust()
            return self.build_site()

    def _report_skipped(self) -> None:
        skipped = self.atlas.samples.skipped
        for index, reason in sorted(skipped.items())[:5]:
            self.reporter.say(f"skipped   {self.atlas.samples.name[index]!r}: {reason}")
        if len(skipped) > 5:
            self.reporter.say(f"skipped   {len(skipped) - 5} more; the site's provenance page lists them all")


def _mined_sections(record: dict[str, Any]) -> dict[str, Any]:
    """Keep of a config record what the mined tables depend on."""
    sections = {name: record.get(name, {}) for name in ("dataset", "preprocessing", "model", "relevance", "mining")}
    kept = {
        name: {key: value for key, value in section.items() if f"{name}.{key}" not in WITHOUT_EFFECT}
        for name, section in sections.items()
    }
    return {**kept, "seed": record.get("seed")}
