"""The model card: what the network is, what it gets right, what it rests on, and what is known to be wrong with it.

Owns its words and their order, which are those that readers of model cards know. Also written as Markdown with the
header that model hubs read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from precompute.printing.numbers import count, fixed, percent
from precompute.records import MISSING, SURENESS_BANDS
from precompute.records.reported import Bar, Block, Cell, Cover, Document, Leaf, Line, Listing, Table, Together, Words
from sitegen.data.catalogue import find
from sitegen.pages.classes import classes_context, explained_classes
from sitegen.pages.trust import verdict

from .album import Album
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


def model_report(material: Material) -> Report:
    """Make the model card."""
    return _Writer(material).report()


class _Writer:
    def __init__(self, material: Material) -> None:
        self.material, self.catalogue = material, material.catalogue
        self.album = Album()
        samples = self.catalogue.atlas.samples
        self.labelled = (samples.label != MISSING) & (samples.prediction != MISSING)
        self.right = self.labelled & (samples.label == samples.prediction)
        context = classes_context(self.catalogue, explained_classes(self.catalogue))
        self.classes: list[dict[str, Any]] = context["classes"]

    def report(self) -> Report:
        made_from, title = self.material.options.made_from, self.material.options.title or self.catalogue.title
        name = self.catalogue.atlas.name
        return finished(
            self.material,
            self.album,
            About("model", name, f"Model card: {title}", name),
            cover=self._cover(),
            blocks=self._blocks(made_from),
        )

    @property
    def n_findings(self) -> int | None:
        trust = self.catalogue.source.trust
        if trust is None or trust.audit is None:
            return None
        return sum(item.is_finding for item in trust.audit.findings)

    def _cover(self) -> Cover:
        n_labelled, n_right = int(self.labelled.sum()), int(self.right.sum())
        said = []
        if n_labelled:
            said.append(
                f"Right on {count(n_right)} of {count(n_labelled)} labelled samples ({percent(n_right / n_labelled)})."
            )
        lead = self._trust_words()
        n_findings = self.n_findings
        if n_findings is not None:
            said.append(
                "The audit found nothing to warn of."
                if not n_findings
                else f"Findings of the audit: {count(n_findings)}."
            )
        leads = [item["lead"] for item in self.classes if item["lead"]]
        cards = list({card.key: card for card in leads}.values())[:3]
        figures = [
            reference_strip(self.material, self.album, card, line(card.name), n_shown=2, width=0.333) for card in cards
        ]
        return Cover(
            kicker="Model card",
            verdict=line(" ".join(said)) if said else (),
            is_warning=bool(n_findings),
            lead=line(lead) if lead else (),
            figures=tuple(figure for figure in figures if figure),
            facts=facts(
                self.material,
                ("Model", str(find(self.catalogue.atlas.provenance, "factory", "–"))),
                ("Classes", count(len(self.catalogue.atlas.class_names))),
                ("Samples looked at", count(self.catalogue.n_mined)),
                ("Concepts", count(self.catalogue.n_concepts)),
            ),
            approval=self.material.options.approval,
            logo=logo_key(self.material, self.album),
        )

    def _trust_words(self) -> str:
        trust = self.catalogue.source.trust
        if trust is None or not trust.layers:
            return ""
        deepest = trust.layers[-1]
        return f"{verdict(deepest)} (layer {deepest.layer})."

    def _blocks(self, made_from: dict[str, str]) -> Iterator[Block]:
        yield from self._details()
        yield from self._uses()
        yield from self._risks()
        yield from self._evaluation()
        yield from self._rests_on()
        yield from self._trust()
        yield from method_section(self.catalogue)
        yield from provenance_section(self.catalogue, made_from)

    def _details(self) -> Iterator[Block]:
        provenance, atlas = self.catalogue.atlas.provenance, self.catalogue.atlas
        yield heading("Model details", key="details")
        known: Mapping[str, object] = {
            "Architecture": find(provenance, "factory", ""),
            "Weights": find(provenance, "weights", ""),
            "Task": find(provenance, "task", ""),
            "Input": _pixels(find(provenance, "crop", "")),
            "Classes": count(len(atlas.class_names)),
            "Layers looked into": ", ".join(atlas.layers),
            "Responsible": self.material.options.author,
        }
        rows = tuple(
            cells(label, str(value)) for label, value in known.items() if isinstance(value, str | int) and value
        )
        yield Table(line("What the network is"), ("Detail", "Value"), rows, (1.0, 3.4))
        names = [self.catalogue.class_name(index) for index in self.catalogue.class_indices]
        shown = ", ".join(names[:40]) + (f" and {count(len(names) - 40)} more" if len(names) > 40 else "")
        yield plain(f"Classes with samples in the atlas: {shown}.")

    @staticmethod
    def _uses() -> Iterator[Block]:
        yield heading("Uses")
        yield plain(
            "The atlas measured what the network does on the data set named below. It knows nothing of the purpose for "
            "which the network was trained or is used: intended use, people affected and uses that are ruled out have "
            "to be written down by whoever answers for it."
        )

    def _risks(self) -> Iterator[Block]:
        yield heading("Risks and limitations", key="risks")
        trust = self.catalogue.source.trust
        audit = trust.audit if trust else None
        shortcut = self.catalogue.source.truth.shortcut if self.catalogue.source.truth else None
        items: list[Line] = []
        if shortcut and shortcut.used and shortcut.note:
            items.append((strong("Known shortcut. "), *line(shortcut.note)))
        for item in audit.findings if audit else ():
            if item.is_finding:
                name, card = self.catalogue.class_name(item.class_index), self.catalogue.card(item.concept)
                items.append(
                    (
                        strong(f"{name} leans on {card.name}. "),
                        *line(
                            f"Switched off, the probability falls by {percent(item.fall_with)} points where it is, "
                            f"and by {percent(item.fall_without)} points where it is not (rate of false alarms "
                            f"{percent(item.q)})."
                        ),
                    )
                )
        worst = sorted(
            (item for item in self.classes if item["n_labelled"]), key=lambda item: item["n_right"] / item["n_labelled"]
        )
        if worst and worst[0]["n_right"] < worst[0]["n_labelled"]:
            least = worst[0]
            items.append(
                (
                    strong(f"Weakest on {least['name']}. "),
                    *line(f"{count(least['n_right'])} of {count(least['n_labelled'])} labelled samples are right."),
                )
            )
        if audit is None:
            items.append((strong("No audit. "), *line("No audit for shortcuts was made of this atlas.")))
        elif not self.n_findings:
            items.append(
                (strong("No finding. "), *line("The audit for shortcuts warns of nothing; it cannot see everything."))
            )
        yield Listing(tuple(items))
        yield from (_lowered(block) for block in limits_section())

    def _evaluation(self) -> Iterator[Block]:
        yield heading("Evaluation")
        samples = self.catalogue.atlas.samples
        if not self.labelled.any():
            yield plain("The data set has no labels: nothing tells how often the network is right.")
            return
        rows = []
        for least, below in pairwise((*SURENESS_BANDS, 1.0)):
            inside = self.labelled & (samples.probability >= least)
            inside &= (samples.probability < below) if below < 1 else np.ones_like(inside)
            n_there, n_right = int(inside.sum()), int((inside & self.right).sum())
            if n_there:
                band = f"from {percent(least)} to {percent(below)}" if below < 1 else f"{percent(least)} or more"
                share = n_right / n_there
                rows.append(cells(band, count(n_there), count(n_right), percent(share), Cell(bar=Bar(0.0, 0.0, share))))
        header = ("Probability", "Samples", "Right", "Share", "Bar")
        yield Table(line("How often it is right when it is this sure"), header, tuple(rows), (2.0, 0.0, 0.0, 0.0, 2.4))
        truth = self.catalogue.source.truth
        if truth and truth.model and truth.model.accuracy is not None:
            n_held_out, accuracy = truth.model.n_held_out, truth.model.accuracy
            said = f"On {count(n_held_out)} scenes that it never saw it is right on {percent(accuracy)}"
            if truth.model.accuracy_mark_moved is not None:
                said += f"; with the planted mark moved to another class, on {percent(truth.model.accuracy_mark_moved)}"
            yield plain(f"{said}.")

    def _rests_on(self) -> Iterator[Block]:
        yield heading("What its classes rest on", key="classes")
        rows = tuple(
            cells(
                item["name"],
                count(item["n_samples"]),
                f"{count(item['n_right'])} / {count(item['n_labelled'])}",
                item["lead"].name if item["lead"] else "–",
                count(item["n_findings"]),
            )
            for item in self.classes
        )
        header = ("Class", "Samples", "Right", "First concept", "Findings")
        yield Table(line("By class; names of concepts are hypotheses"), header, rows, (2.0, 0.0, 0.0, 3.0, 0.0))
        cards = list({item["lead"].key: item["lead"] for item in self.classes if item["lead"]}.values())[:8]
        head: list[Leaf] = [heading("What the first concepts look like", 2, "pictures")]
        for card in cards:
            figure = reference_strip(self.material, self.album, card, line(card.name))
            if figure:
                yield Together((*head, figure))
                head = []

    def _trust(self) -> Iterator[Block]:
        trust = self.catalogue.source.trust
        blocks: list[Block] = []
        if trust is not None and trust.layers:
            rows = tuple(
                cells(
                    layer.layer,
                    fixed(layer.correlation),
                    f"{fixed(layer.between)} ± {fixed(layer.between_error)}",
                    verdict(layer),
                )
                for layer in reversed(trust.layers)
            )
            header = ("Layer", "Rank correlation", "Area between curves", "In words")
            said = line("Shares against what happens when channels are switched off")
            blocks.append(Table(said, header, rows, (1.4, 0.0, 0.0, 3.0)))
            blocks += layer_trust(self.catalogue, self.album, trust.layers[-1].layer)
        yield from trust_section("How far to trust these explanations", blocks)


def _lowered(block: Block) -> Block:
    """Make a section a part of one."""
    if block.block == "heading" and block.level == 1:
        return heading("".join(run.text for run in block.text), 2, block.id)
    return block


def _pixels(crop: object) -> str:
    match crop:
        case int():
            return f"{crop} × {crop} pixels"
        case [height, width]:
            return f"{width} × {height} pixels"
    return ""


# --- Markdown --------------------------------------------------------------------------------------------------------


def markdown_of(report: Report) -> bytes:
    """Write a model card as Markdown with a YAML header; pictures are told by what they show."""
    document = report.document
    return ("\n".join([*_header(document), f"# {_plain(document.title)}", "", *_body(document)]) + "\n").encode()


def _header(document: Document) -> list[str]:
    """Write what model hubs read; every value is JSON, which is YAML too."""
    return [
        "---",
        "pipeline_tag: image-classification",
        f"tags: {json.dumps(['image-classification', 'explainability', 'concept-atlas'])}",
        f"model_name: {json.dumps(document.title, ensure_ascii=False)}",
        f"language: {json.dumps([document.language])}",
        "---",
        "",
    ]


def _body(document: Document) -> Iterator[str]:
    cover = document.cover
    yield from (f"{_line(text)}\n" for text in (cover.verdict, cover.lead) if text)
    yield from (f"- {_plain(label)}: {_plain(value)}" for label, value in cover.facts)
    yield ""
    for block in document.blocks:
        for leaf in block.blocks if isinstance(block, Together) else (block,):
            yield from _leaf(leaf)


def _leaf(leaf: Leaf) -> Iterator[str]:
    match leaf:
        case Words():
            yield f"{_line(leaf.text)}\n"
        case Listing():
            yield from (f"- {_line(item)}" for item in leaf.items)
            yield ""
        case Table():
            shown = [at for at in range(len(leaf.header)) if not any(row[at].bar for row in leaf.rows)]
            yield f"{_line(leaf.caption)}\n"
            yield f"| {' | '.join(_plain(leaf.header[at]) for at in shown)} |"
            yield f"|{'---|' * len(shown)}"
            yield from (f"| {' | '.join(_line(row[at].text) for at in shown)} |" for row in leaf.rows)
            yield ""
        case _ if leaf.block == "heading":
            yield f"{'#' * (leaf.level + 1)} {_line(leaf.text)}\n"
        case _:
            for figure in leaf.figures if leaf.block == "row" else (leaf,):
                yield f"*{_plain(figure.alt)}.*\n"


def _line(runs: Line) -> str:
    shown = []
    for run in runs:
        text = _plain(run.text)
        if run.style == "strong" and text.strip():
            ahead, behind = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
            text = f"{ahead}**{text.strip()}**{behind}"
        shown.append(text)
    return "".join(shown)


_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|!~$&"} | dict.fromkeys("\r\n\u2028\u2029", " "))


def _plain(text: str) -> str:
    """Escape every character that Markdown or HTML could read as more than text."""
    return text.translate(_MARKS)
