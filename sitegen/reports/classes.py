"""The report of one class: how the network decides on it, where it is wrong, and what the audit found.

Owns its words and their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from precompute.errors import DataError, nearest_of
from precompute.printing.numbers import count, fixed, percent, rank, signed_percent, significant
from precompute.records import MISSING
from precompute.records.reported import Bar, Block, Cell, Cover, Leaf, Run, Table, Together, Words
from sitegen.pages.classes import class_context, explained_classes

from .album import Album
from .audit import evidence
from .frame import About, facts, finished, logo_key, reference_strip
from .material import Material, Report
from .sections import (
    cells,
    heading,
    layer_trust,
    limits_section,
    line,
    method_section,
    plain,
    provenance_section,
    strong,
    trust_section,
)

N_PICTURED = 6
N_MISSES = 20


def class_report(material: Material, class_index: int) -> Report:
    """Make the report of one class that has samples."""
    return _Writer(material, class_index).report()


def class_index_of(material: Material, name: str) -> int:
    """Find a class by its name or index.

    Raises
    ------
    DataError
        There is no such class, or it has no samples in the atlas.
    """
    catalogue = material.catalogue
    names = {catalogue.class_name(index): index for index in reversed(catalogue.class_indices)}
    if name in names:
        return names[name]
    if name.isdecimal() and int(name) in catalogue.class_indices:
        return int(name)
    first = [index for index in catalogue.class_indices if catalogue.class_name(index).partition(",")[0] == name]
    if len(first) == 1:  # of ImageNet's synonyms the first
        return first[0]
    raise DataError(
        f"{name!r} is no class of {catalogue.source.folder} that has samples"
        f"{nearest_of(name, list(names), otherwise='those that have')}"
    )


class _Writer:
    def __init__(self, material: Material, class_index: int) -> None:
        self.material, self.catalogue, self.class_index = material, material.catalogue, class_index
        explained = explained_classes(self.catalogue)
        self.context = class_context(self.catalogue, class_index, explained, has_samples=False)
        self.name: str = self.context["name"]
        self.album = Album()

    def report(self) -> Report:
        made_from = self.material.options.made_from
        return finished(
            self.material,
            self.album,
            About("class", str(self.class_index), f"How the network decides on {self.name}"),
            cover=self._cover(),
            blocks=self._blocks(made_from),
        )

    def _cover(self) -> Cover:
        context = self.context
        verdict = ""
        if context["findings"]:
            verdict = f"The audit warns: {', '.join(card.name for card, _ in context['findings'])}."
        elif context["suspect"]:
            verdict = "A possible shortcut was found."
        elif context["is_audited"]:
            verdict = "The audit found nothing to warn of."
        rows = context["layers"][0]["rows"] if context["layers"] else []
        figures = [
            reference_strip(
                self.material, self.album, row["card"], line(f"{row['card'].name}: {self._mean(row['mean'])}"),
                n_shown=2, width=0.333,
            )
            for row in rows[:3]
        ]  # fmt: skip
        return Cover(
            kicker="Report of one class",
            verdict=line(verdict) if verdict else (),
            is_warning=bool(context["findings"] or context["suspect"]),
            lead=line(self._lede()),
            figures=tuple(figure for figure in figures if figure),
            facts=facts(self.material, ("Class", self.name), ("Samples in the atlas", count(context["n_samples"]))),
            approval=self.material.options.approval,
            logo=logo_key(self.material, self.album),
        )

    def _mean(self, mean: float) -> str:
        if self.context["scores_are_shares"]:
            return f"{percent(mean)} on average"
        return f"mean relevance {significant(mean)}"

    def _lede(self) -> str:
        lede, layers = self.context["lede"], self.context["layers"]
        said = []
        if lede["first"] and self.context["scores_are_shares"]:
            names = [card.name for card in lede["first"]]
            listed = " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
            verb = "carry" if len(names) > 1 else "carries"
            said.append(f"On average, {listed} {verb} {percent(lede['share'])} of {layers[0]['share_of']}.")
        if lede["n_labelled"]:
            said.append(
                f"Of the {count(lede['n_labelled'])} samples labelled {self.name}, {count(lede['n_right'])} "
                f"{'is' if lede['n_right'] == 1 else 'are'} classified right."
            )
        return " ".join(said) or f"The atlas has {count(self.context['n_samples'])} samples of this class."

    def _blocks(self, made_from: dict[str, str]) -> Iterator[Block]:
        yield from self._decided()
        yield from self._findings()
        yield from self._concepts()
        yield from self._ways()
        yield from self._mistakes()
        yield from self._photos()
        yield from self._trust()
        yield from limits_section()
        yield from method_section(self.catalogue)
        yield from provenance_section(self.catalogue, made_from)

    def _decided(self) -> Iterator[Block]:
        yield heading("How the class is decided", key="decided")
        for number, layer in enumerate(self.context["layers"]):
            rows = tuple(
                cells(
                    f"{rank(row['rank'])}  {row['card'].name}",
                    percent(row["mean"]) if self.context["scores_are_shares"] else significant(row["mean"]),
                    Cell(bar=Bar(0.0, 0.0, min(1.0, row["bar"]))),
                    row["flag"] or "–",
                )
                for row in layer["rows"]
            )
            if number == 0 and rows:
                title = "Mean share" if self.context["scores_are_shares"] else "Mean relevance"
                said = line(f"Over the {count(self.context['n_samples'])} samples of {self.name}, in {layer['name']}")
                yield Table(said, ("Concept", title, "Bar", "Noted"), rows, (3.2, 0.0, 2.4, 1.6))
                if self.context["scores_are_shares"]:
                    yield plain(
                        f"These {count(len(rows))} of {count(layer['n_channels'])} concepts carry "
                        f"{percent(layer['shown_mean'])} of {layer['share_of']}. Ranks start at 0."
                    )

    def _findings(self) -> Iterator[Block]:
        yield heading("What was found", key="found")
        shortcut = self.context["shortcut"]
        if shortcut and shortcut.note:
            yield Words(line(shortcut.note), "warning" if shortcut.used else "body")
        for card, item in self.context["findings"]:
            yield Together(tuple(evidence(card, item, self.name, 2)))
        if self.context["findings"]:
            return
        if self.context["is_audited"]:
            yield plain(
                f"The audit for shortcuts looked at {self.name} and warns of nothing. That nothing is found does not "
                "mean that nothing is there: the audit’s own report says what it would miss."
            )
        elif not (shortcut and shortcut.note):
            yield plain("No audit for shortcuts was made of this atlas.")

    def _concepts(self) -> Iterator[Block]:
        rows = self.context["layers"][0]["rows"][:N_PICTURED] if self.context["layers"] else []
        head: list[Leaf] = [
            heading("What its concepts look like", key="concepts"),
            plain("The samples of the data set in which each concept carried most relevance, of whatever class."),
        ]
        for number, row in enumerate(rows, start=1):
            card, name = row["card"], self.catalogue.name(row["card"].key)
            blocks: list[Leaf] = [heading(f"{number}  {card.name}", 2, f"concept-{number}")]
            figure = reference_strip(self.material, self.album, card)
            if figure:
                blocks.append(figure)
            said = [Run(f"{self._mean(row['mean'])}. ")]
            if name and name.is_named and name.description:
                said.append(Run(f"{name.description.rstrip('.')}. "))
            about = "; ".join(word for word in (card.author, card.reliability) if word)
            said.append(Run(f"{card.layer}, channel {rank(card.channel)}; {about}."))
            yield Together((*head, *blocks, Words(tuple(said))))
            head = []

    def _ways(self) -> Iterator[Block]:
        for number, way in enumerate(self.context["ways"]):
            if number == 0:
                yield heading("In which ways it is decided", key="ways")
            rows = tuple(
                cells(
                    count(item["n_samples"]),
                    "; ".join(f"{card.name} {signed_percent(share)}" for card, share in item["concepts"]) or "–",
                    ", ".join(item["typical"]),
                )
                for item in way["prototypes"]
            )
            said = line(
                f"Prototypes in {way['layer']}: clusters of the shares of {count(way['n_samples'])} samples of "
                f"{self.name}. Shares below 5 % count as none"
            )
            yield Table(said, ("Samples", "Leading concepts, mean share", "Typical"), rows, (0.0, 3.0, 2.0))
            if way["outliers"]:
                yield Words((strong("Decided unusually: "), Run(f"{', '.join(way['outliers'])}.")))
        if self.context["too_few"]:
            yield heading("In which ways it is decided", key="ways")
            yield plain(
                "Too few samples to tell ways of being decided apart: at least "
                f"{count(self.context['too_few'])} are needed."
            )

    def _mistakes(self) -> Iterator[Block]:
        confused = self.context["confused"]
        yield heading("Where it is wrong", key="wrong")
        rows = [cells("taken for", item["name"], count(item["n"])) for item in confused["taken_for"]]
        rows += [cells("taken from", item["name"], count(item["n"])) for item in confused["taken_from"]]
        if not rows:
            yield plain(f"No labelled sample of {self.name} is taken for another class, and none of another for it.")
            return
        said = line(f"What samples of {self.name} are taken for, and whose samples are taken for it")
        yield Table(said, ("Direction", "Class", "Samples"), tuple(rows), (1.0, 3.0, 1.0))
        samples = self.catalogue.atlas.samples
        wrong = (samples.label == self.class_index) & (samples.prediction != self.class_index)
        found = np.flatnonzero(wrong & (samples.prediction != MISSING)).tolist()
        listed = tuple(
            cells(
                self.catalogue.sample_name(index),
                self.catalogue.class_name(int(samples.prediction[index])),
                percent(float(samples.probability[index])),
            )
            for index in found[:N_MISSES]
        )
        if listed:
            more = f" (the first {count(N_MISSES)} of {count(len(found))})" if len(found) > N_MISSES else ""
            header = ("Sample", "The network says", "Probability")
            yield Table(line(f"Samples labelled {self.name} that it gets wrong{more}"), header, listed, (3.0, 2.0, 1.0))

    def _photos(self) -> Iterator[Block]:
        cards = [*self.context["explained"], *self.context["also_explained"]]
        if not cards:
            return
        yield heading("Explained photos", key="photos")
        rows = tuple(self._photo(card) for card in cards)
        header = ("Photo", "The network says", "Probability", "Label", "First concepts")
        yield Table(line(f"Photos explained for {self.name}"), header, rows, (1.6, 1.4, 0.0, 1.2, 3.2))

    def _photo(self, card: dict[str, Any]) -> tuple[Cell, ...]:
        best, explanation = card["best"], card["explanation"]
        first = "; ".join(f"{item.name} {signed_percent(share)}" for item, share in card["concepts"])
        return cells(
            explanation.photo_name,
            best.class_name if best else "–",
            percent(best.probability if best else None),
            explanation.label or "–",
            first or "–",
        )

    def _trust(self) -> Iterator[Block]:
        layer = self.context["layers"][0]["name"] if self.context["layers"] else ""
        blocks = layer_trust(self.catalogue, self.album, layer)
        report = self.catalogue.source.trust
        found = next((item for item in report.layers if item.layer == layer), None) if report else None
        here = next((item for item in found.classes if item.class_index == self.class_index), None) if found else None
        if here:
            words: list[Run] = [
                strong(f"On {count(here.n_samples)} images taken for {self.name}: "),
                Run(
                    f"with the largest shares off first, {percent(here.most)} of the probability is left on average; "
                    f"in random order, {percent(here.random)}. Rank correlation {fixed(here.correlation)}."
                ),
            ]
            blocks.insert(1, Words(tuple(words)))
        yield from trust_section("How far to trust it", blocks)
