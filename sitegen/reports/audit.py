"""The report of the audit for shortcuts: what was found, on which evidence, what was tested and not found.

Owns its words and their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from precompute.errors import DataError
from precompute.printing.numbers import count, percent, significant
from precompute.records import Audit, ShortcutFinding
from precompute.records.reported import Block, Cover, Heading, Leaf, Listing, Table, Together
from sitegen.data.catalogue import ConceptCard
from sitegen.pages.audit import audit_context, measured

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


def audit_report(material: Material) -> Report:
    """Make the report of the audit.

    Raises
    ------
    DataError
        There was no audit.
    """
    trust = material.catalogue.source.trust
    if trust is None or trust.audit is None:
        raise DataError(
            f"{material.catalogue.source.folder} has no audit: run `atlas trust` with the same config first"
        )
    return _Writer(material, trust.audit).report()


def evidence(card: ConceptCard, item: ShortcutFinding, class_name: str, level: int) -> Iterator[Leaf]:
    """Say what was measured of one finding, and what to do next."""
    if level:
        yield heading(f"{class_name}: {card.name}", level, f"finding-{item.class_index}-{card.key}")
    total = item.n_with + item.n_without
    yield Listing(
        (
            line(
                f"{count(item.n_with)} of its {count(total)} samples have a large share of {card.name} ({card.key}), "
                f"{percent(item.mean_with)} on average; the other {count(item.n_without)} have none. By chance: p = "
                f"{significant(item.p_bound, 2)}."
            ),
            *map(line, measured(item, class_name)),
        )
    )


class _Writer:
    def __init__(self, material: Material, audit: Audit) -> None:
        self.material, self.catalogue, self.audit = material, material.catalogue, audit
        self.context = audit_context(self.catalogue)
        self.album = Album()

    def report(self) -> Report:
        made_from = self.material.options.made_from
        name = self.catalogue.atlas.name
        return finished(
            self.material,
            self.album,
            About("audit", name, "Audit for shortcuts", name),
            cover=self._cover(),
            blocks=self._blocks(made_from),
        )

    def _cover(self) -> Cover:
        found, audit = self.context["found"], self.audit
        n_tested = audit.n_classes - audit.n_small
        if found:
            classes = len({row["class_name"] for row in found})
            verdict = f"{count(classes)} of {count(n_tested)} classes tested: a finding."
            lead = "; ".join(f"{row['class_name']} leans on {row['card'].name}" for row in found) + "."
        else:
            verdict = f"{count(n_tested)} classes tested: no finding."
            lead = (
                f"{count(len(audit.findings))} candidates were looked at, and none is warned of. That nothing is found "
                "does not mean that nothing is there."
            )
        rows = found or self.context["cleared"]
        figures = [
            reference_strip(
                self.material, self.album, row["card"], line(f"{row['class_name']}: {row['card'].name}"), width=0.97
            )
            for row in rows[:2]
        ]
        return Cover(
            kicker="Report of the audit",
            verdict=line(verdict),
            is_warning=bool(found),
            lead=line(lead),
            figures=tuple(figure for figure in figures if figure)[:1],
            facts=facts(
                self.material,
                ("Classes", f"{count(audit.n_classes)}, of which {count(audit.n_small)} have too few samples"),
                ("Candidates", count(len(audit.findings))),
                ("Layers", ", ".join(audit.layers)),
            ),
            approval=self.material.options.approval,
            logo=logo_key(self.material, self.album),
        )

    def _blocks(self, made_from: dict[str, str]) -> Iterator[Block]:
        yield from self._found()
        yield from self._cleared()
        yield from self._sight()
        layers = [layer_trust(self.catalogue, self.album, layer) for layer in self.audit.layers]
        yield from trust_section("How far to trust the shares", chain.from_iterable(layers))
        yield from limits_section()
        yield from method_section(self.catalogue)
        yield from provenance_section(self.catalogue, made_from)

    def _found(self) -> Iterator[Block]:
        yield heading("What was found", key="found")
        if not self.context["found"]:
            yield plain("No class was found to lean on something apart from what it shows.")
        for row in self.context["found"]:
            figure = reference_strip(self.material, self.album, row["card"])
            about = list(evidence(row["card"], row["item"], row["class_name"], 2))
            yield Together((about[0], *([figure] if figure else []), *about[1:]))
            yield Together(self._next(row))

    def _next(self, row: dict[str, Any]) -> tuple[Leaf, ...]:
        shown = row["samples"][: row["item"].n_with][:12]
        advice = (
            strong("What to do next: "),
            *line(
                "look at samples with and without it. If it has nothing to do with "
                f"{row['class_name']}, test the network on samples of the class without it before you rely on it."
            ),
        )
        return (Listing((advice, line(f"Samples with it: {', '.join(shown)}."))),)

    def _cleared(self) -> Iterator[Block]:
        yield heading("What was tested, and not found", key="cleared")
        rows = tuple(
            cells(
                row["class_name"],
                row["card"].name,
                f"{count(row['item'].n_with)} / {count(row['item'].n_without)}",
                f"{significant(row['item'].distance, 2)} / {significant(row['item'].others_distance, 2)}",
                f"{percent(row['item'].fall_with)} / {percent(row['item'].fall_without)}",
                significant(row["item"].q, 2),
            )
            for row in self.context["cleared"]
        )
        tested = {item.class_index for item in self.audit.findings}
        without = list(map(self.catalogue.class_name, sorted(set(self.catalogue.class_indices) - tested)))
        if rows:
            header = ("Class", "Concept", "With / without", "Distance / others", "Fall with / without", "q")
            said = line("Candidates that are not warned of: they may be chance, or lie on the object itself")
            yield Table(said, header, rows, (1.2, 2.4, 1.0, 1.1, 1.5, 0.6))
        if without:
            yield plain(f"No candidate, so nothing to test, in: {', '.join(without)}.")
        if self.audit.n_small:
            yield plain(
                f"{count(self.audit.n_small)} of {count(self.audit.n_classes)} classes have fewer than six samples "
                "here: nothing can be compared within them, and of them this report says nothing."
            )

    def _sight(self) -> Iterator[Block]:
        yield _SIGHT
        yield from map(plain, self.context["sight"])


_SIGHT: Heading = heading("What this audit can see, and what it cannot", key="sight")
