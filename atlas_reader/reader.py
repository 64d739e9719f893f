"""Tables, concepts and explanations of one atlas, each read when it is first asked for.

Owns what the columns are and the files of an export. Must not know HTML.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from PIL import Image

from precompute.atlas.files import replacing, write_text
from precompute.atlas.folder import read_names
from precompute.atlas.hdf5 import LazyAtlas, ReferenceReader
from precompute.atlas.json_records import read_json, read_jsonl
from precompute.errors import ConfigError, DataError, nearest_of
from precompute.printing.spreadsheet import csv_text
from precompute.records import (
    MISSING,
    RANKINGS,
    Concept,
    ConceptName,
    ConceptScore,
    Explanation,
    Ranking,
    Reference,
    SampleTable,
    TrustReport,
)

from .display import concept_html, explanation_html

Form = Literal["parquet", "csv", "jsonl"]
TABLES = ("concepts", "classes", "samples", "rankings", "explanations", "trust")
"""What is exported, by the name of the property."""
View = Literal["full", "crop", "masked", "heatmap"]


def _pandas() -> Any:  # noqa: ANN401 - it comes without types
    try:
        import pandas as pd  # noqa: PLC0415 - it is an extra
    except ImportError as error:
        raise ConfigError("tables need pandas: run `pip install 'concept-atlas[notebook]'`") from error
    return pd


def open_atlas(path: str | Path) -> AtlasReader:
    """Open the folder of a finished atlas, such as ``data/world``.

    Parameters
    ----------
    path : str or Path
        Holds ``atlas.h5``.

    Raises
    ------
    StoreError
        It does not, or the file is of another kind or version. Only what is read is looked at: `atlas verify FOLDER`
        checks every file.
    """
    folder = Path(path)
    return AtlasReader(folder, LazyAtlas(folder / "atlas.h5"))


@dataclass(frozen=True, eq=False)
class AtlasReader:
    """One atlas; nothing is read before it is asked for, and nothing twice.

    Attributes
    ----------
    folder : Path
    tables : LazyAtlas
        The arrays of ``atlas.h5``.
    """

    folder: Path
    tables: LazyAtlas

    def __repr__(self) -> str:
        """Say which atlas it is, and how much of it there is."""
        n_concepts = sum(self.tables.n_channels.values())
        return f"<atlas {self.tables.name!r}: {n_concepts} concepts of {len(self.tables.n_channels)} layers>"

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in forward order."""
        return tuple(self.tables.n_channels)

    @cached_property
    def names(self) -> Mapping[str, ConceptName]:
        """The name record of each concept, failures included, by key."""
        return MappingProxyType(read_names(self.folder / "names.jsonl"))

    @cached_property
    def scores(self) -> Mapping[str, ConceptScore]:
        """How well each name tells held-out images from others, by key."""
        return MappingProxyType({item.concept: item for item in read_jsonl(self.folder / "scores.jsonl", ConceptScore)})

    @cached_property
    def explanation_ids(self) -> tuple[str, ...]:
        """Ids of the explained photos."""
        return tuple(sorted(path.stem for path in (self.folder / "explanations").glob("*.json")))

    # --- tables ------------------------------------------------------------------------------------------------

    @cached_property
    def concepts(self) -> Any:  # noqa: ANN401
        """One row for each concept: its name, who gave it, how well the name tells (auprc; NaN where not scored)."""
        rows = []
        for layer, n_channels in self.tables.n_channels.items():
            for channel in range(n_channels):
                key = Concept(layer, channel).key
                name, score = self.names.get(key), self.scores.get(key)
                rows.append(
                    {
                        "concept": key,
                        "layer": layer,
                        "channel": channel,
                        "name": name.title if name and name.is_named else "",
                        "description": name.description if name and name.is_named else "",
                        "kind": name.kind if name and name.is_named else "",
                        "author": str(name.by) if name and name.is_named else "",
                        "confidence": name.stated_confidence if name and name.is_named else None,
                        "no_name": name.failure if name else "not named",
                        "auprc": score.auprc if score and not score.failure else None,
                    }
                )
        table = _pandas().DataFrame(rows).set_index("concept")
        return table.astype({"confidence": float, "auprc": float})

    @cached_property
    def classes(self) -> Any:  # noqa: ANN401
        """One row for each class: its name and the samples mined whose target it is."""
        return _pandas().DataFrame(
            {"class": self.tables.class_names, "n_samples": self.tables.class_counts},
            index=_pandas().RangeIndex(len(self.tables.class_names), name="class_index"),
        )

    @cached_property
    def samples(self) -> Any:  # noqa: ANN401
        """One row for each sample; label, prediction and target are class indices, -1 where there is none."""
        found: SampleTable = self.tables.samples
        return _pandas().DataFrame(
            {
                "name": found.name,
                "label": found.label,
                "prediction": found.prediction,
                "target": found.target,
                "probability": found.probability,
                "skipped": [found.skipped.get(index, "") for index in range(len(found.name))],
            },
            index=_pandas().RangeIndex(len(found.name), name="sample_index"),
        )

    @cached_property
    def rankings(self) -> Any:  # noqa: ANN401
        """One row for each place in a ranking: concept, ranking, rank from 0, sample, score and neuron."""
        rows = [
            row
            for layer, n_channels in self.tables.n_channels.items()
            for channel in range(n_channels)
            for row in self._ranked(Concept(layer, channel))
        ]
        return _pandas().DataFrame(rows, columns=("concept", "ranking", "rank", "sample_index", "score", "neuron"))

    def _ranked(self, concept: Concept) -> Iterator[tuple[str, str, int, int, float, int]]:
        for ranking in RANKINGS:
            columns = self.tables.ranking(concept.layer, ranking)
            of_channel = (column[:, concept.channel].tolist() for column in columns)
            for rank, (sample, score, neuron) in enumerate(zip(*of_channel, strict=True)):
                if sample != MISSING:
                    yield concept.key, ranking, rank, sample, score, neuron

    @cached_property
    def explanations(self) -> Any:  # noqa: ANN401
        """One row for each concept in the table of an explained class: its signed true share, rank and place."""
        rows = [
            {
                "explanation": item.id,
                "photo": item.photo_name,
                "label": item.label,
                "class_index": target.class_index,
                "class": target.class_name,
                "probability": target.probability,
                "layer": layer.layer,
                "concept": concept.concept,
                "rank": concept.rank,
                "share": concept.share,
                "relevance": concept.relevance,
                "activation": concept.activation,
                "place": concept.place.words,
            }
            for item in (self.explanation(name).record for name in self.explanation_ids)
            for target in item.targets
            for layer in target.layers
            for concept in layer.concepts
        ]
        return _pandas().DataFrame(rows)

    @cached_property
    def trust(self) -> Any:  # noqa: ANN401
        """One row for each layer that was measured; empty where `atlas trust` has not run."""
        path = self.folder / "trust.json"
        layers = read_json(path, TrustReport).layers if path.exists() else ()
        columns = ("layer", "n_samples", "correlation", "correlation_error", "activation_correlation", "between")
        rows = [
            {name: getattr(layer, name) for name in columns}
            | {f"area_{curve.order}": curve.area for curve in layer.curves}
            for layer in layers
        ]
        return _pandas().DataFrame(rows, columns=None if rows else columns)

    def class_means(self, layer: str) -> Any:  # noqa: ANN401
        """Mean relevance score of each channel for each class, (n_classes, n_channels); 0 for classes without samples.

        Raises
        ------
        DataError
            There is no such layer.
        """
        self._require(layer)
        counts = self.tables.class_counts.clip(1)[:, None]
        return _pandas().DataFrame(self.tables.class_relevance(layer) / counts, index=self.tables.class_names)

    # --- one of them -------------------------------------------------------------------------------------------

    def concept(self, key: str) -> ConceptView:
        """Return one concept by its key, ``layer:channel``.

        Raises
        ------
        DataError
            There is no such concept.
        """
        try:
            concept = Concept.parse(key)
        except ValueError as error:
            raise DataError(str(error)) from error
        self._require(concept.layer)
        if concept.channel >= self.tables.n_channels[concept.layer]:
            raise DataError(
                f"no concept {key!r}: {concept.layer} has the channels 0 to {self.tables.n_channels[concept.layer] - 1}"
            )
        return ConceptView(self, concept)

    def explanation(self, explanation_id: str) -> ExplanationView:
        """Return one explanation by its id.

        Raises
        ------
        DataError
            There is no such explanation.
        """
        if explanation_id not in self.explanation_ids:
            near = nearest_of(explanation_id, self.explanation_ids, otherwise="explanation_ids")
            raise DataError(f"no explanation {explanation_id!r} in {self.folder}{near}")
        record = read_json(self.folder / "explanations" / f"{explanation_id}.json", Explanation)
        return ExplanationView(self, record)

    def _require(self, layer: str) -> None:
        if layer not in self.tables.n_channels:
            raise DataError(f"no layer {layer!r}{nearest_of(layer, self.layers, otherwise='layers')}")

    def export(self, folder: str | Path, form: Form = "parquet") -> list[Path]:
        """Write every table of `TABLES` into a folder, each file whole or not at all, and return the files.

        Parameters
        ----------
        folder : str or Path
            Made where it is missing.
        form : {"parquet", "csv", "jsonl"}
            Parquet needs pyarrow. In CSV no cell can start a formula.

        Raises
        ------
        ConfigError
            Another form, or a package is missing.
        OutputError
            No space, no permission.
        """
        if form not in ("parquet", "csv", "jsonl"):
            raise ConfigError(f"cannot export as {form!r}: expected parquet, csv or jsonl")
        written = []
        for name in TABLES:
            table = getattr(self, name)
            table = table.reset_index() if table.index.name else table
            path = Path(folder) / f"{name}.{form}"
            if form == "csv":
                filled = table.astype(object).where(table.notna(), "")
                write_text(path, csv_text(list(table.columns), filled.itertuples(index=False)))
            elif form == "jsonl":
                write_text(path, table.to_json(orient="records", lines=True, double_precision=15))
            else:
                with replacing(path) as partial:
                    _write_parquet(table, partial)
            written.append(path)
        return written


def _write_parquet(table: Any, path: Path) -> None:  # noqa: ANN401
    try:
        table.to_parquet(path, index=False, engine="pyarrow")
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: run `pip install 'concept-atlas[notebook]'`") from error


@dataclass(frozen=True, eq=False)
class ConceptView:
    """One concept.

    Attributes
    ----------
    atlas : AtlasReader
    concept : Concept
    """

    atlas: AtlasReader
    concept: Concept

    @property
    def name(self) -> ConceptName | None:
        """Its name record; None where it was not named."""
        return self.atlas.names.get(self.concept.key)

    @property
    def title(self) -> str:
        """Its name, or its channel. Untrusted until escaped."""
        return self.name.title if self.name and self.name.is_named else f"channel {self.concept.channel}"

    @cached_property
    def ranking(self) -> Any:  # noqa: ANN401
        """Its rows of `AtlasReader.rankings`, with the samples' names and labels."""
        rows = list(self.atlas._ranked(self.concept))
        table = _pandas().DataFrame(rows, columns=("concept", "ranking", "rank", "sample_index", "score", "neuron"))
        known = self.atlas.samples
        return table.assign(
            sample=known["name"].reindex(table["sample_index"]).to_numpy(),
            label=known["label"].reindex(table["sample_index"]).to_numpy(),
        )

    @cached_property
    def class_means(self) -> Any:  # noqa: ANN401
        """Its mean relevance score for each class, the largest first."""
        counts = self.atlas.tables.class_counts.clip(1)
        means = self.atlas.tables.class_relevance(self.concept.layer, self.concept.channel) / counts
        return (
            _pandas()
            .Series(means, index=self.atlas.tables.class_names, name="mean")
            .sort_values(ascending=False, kind="stable")
        )

    def references(self, ranking: Ranking = "relmax") -> list[Reference]:
        """Return its reference images with their pictures as bytes, by rank; none where they were not made."""
        path = self.atlas.folder / "references.h5"
        if not path.exists():
            return []
        with ReferenceReader(path, check=False) as reader:
            return reader.read(self.concept, ranking)

    def images(self, ranking: Ranking = "relmax", view: View = "crop") -> list[Image.Image]:
        """Return its reference images as pictures: whole (``full``), cropped, dimmed (``masked``) or the heatmap."""
        blobs = [getattr(item, view) for item in self.references(ranking)]
        return [_opened(blob) for blob in blobs if blob]

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        name = self.name
        shown = [item.crop for item in self.references()[:8] if item.crop]
        best = [(str(label), float(mean)) for label, mean in self.class_means.head(3).items() if mean > 0]
        about = name.description if name and name.is_named else f"No name: {name.failure}." if name else "Not named."
        author = name.by.words if name and name.is_named else ""
        return concept_html(self.concept.key, self.title, about, author, best, shown)


@dataclass(frozen=True, eq=False)
class ExplanationView:
    """One explained photo.

    Attributes
    ----------
    atlas : AtlasReader
    record : Explanation
    """

    atlas: AtlasReader
    record: Explanation

    @cached_property
    def table(self) -> Any:  # noqa: ANN401
        """Its rows of `AtlasReader.explanations`, with the concepts' names."""
        found = self.atlas.explanations
        found = found[found["explanation"] == self.record.id].reset_index(drop=True)
        return found.assign(name=[self.atlas.concept(key).title for key in found["concept"]])

    @property
    def photo(self) -> Image.Image | None:
        """The preprocessed input; None where it is missing."""
        return self.picture(self.record.photo)

    def picture(self, name: str) -> Image.Image | None:
        """Return one of its pictures by the file name that the record says; None where it is missing."""
        blob = self._bytes(name)
        return _opened(blob) if blob else None

    def text(self, audience: str = "stakeholder", class_rank: int = 0) -> str:
        """Return what is said to an audience of one of its classes; empty where it has no such text."""
        for narrative in self.record.targets[class_rank].narratives if self.record.targets else ():
            if narrative.audience == audience:
                return " ".join(statement.text for statement in narrative.statements)
        return ""

    def _bytes(self, name: str) -> bytes:
        if name not in set(self.record.pictures()) or Path(name).name != name:
            return b""
        path = self.atlas.folder / "explanations" / self.record.id / name
        return path.read_bytes() if path.is_file() else b""

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        rows: list[tuple[str, str, float]] = []
        target = self.record.targets[0] if self.record.targets else None
        if target and target.layers:
            rows = [
                (self.atlas.concept(item.concept).title, item.place.words, item.share)
                for item in target.layers[0].concepts
            ]
        best = self.record.predictions[0] if self.record.predictions else None
        said = (best.class_name, best.probability) if best else None
        photos = [
            blob for blob in (self._bytes(self.record.photo), self._bytes(target.overlay) if target else b"") if blob
        ]
        return explanation_html(self.record.photo_name, self.record.label, said, self.text(), rows, photos)


def _opened(blob: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(blob), formats=("WEBP", "PNG"))
    picture.load()
    return picture
