"""The report of one explained photo: the decision first, then why, how far to trust it, and what it does not show.

Owns its words and their order. All numbers and names are those that the site shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from precompute.errors import ConfigError, nearest_of
from precompute.printing import palette
from precompute.printing.numbers import count, decimal, percent, rank, signed_percent
from precompute.records import (
    ConceptAttribution,
    LayerExplanation,
    Narrative,
    NarrativeTable,
    Piece,
    TargetExplanation,
)
from precompute.records.reported import (
    Bar,
    Block,
    Cell,
    Cover,
    Figure,
    Leaf,
    Line,
    Row,
    Run,
    Table,
    Together,
    Words,
)
from sitegen.data.catalogue import ConceptCard, explained_share_of
from sitegen.pages.explanations import AUDIENCE_WORDS, explanation_context, planner_words
from sitegen.pictures import laid_over

from .album import Album
from .drawing import Spot, outlined
from .frame import PART, About, facts, finished, logo_key, reference_strip
from .material import Material, Report
from .sections import (
    SHORT_DIGEST,
    cells,
    code,
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


def explanation_report(material: Material, position: int) -> Report:
    """Make the report of one explanation; `position` is its place among all of the atlas.

    Raises
    ------
    ConfigError
        The explanation has no text for the audience or in the language that was asked for.
    """
    return _Writer(material, position).report()


class _Writer:
    def __init__(self, material: Material, position: int) -> None:
        self.material, self.options, self.catalogue = material, material.options, material.catalogue
        self.explanation = self.catalogue.source.explanations[position]
        self.context = explanation_context(self.catalogue, position)
        self.album = Album()

    @property
    def targets(self) -> tuple[TargetExplanation, ...]:
        return self.explanation.targets

    def report(self) -> Report:
        explanation, options = self.explanation, self.options
        own = {"explanation": explanation.digest, "photo": explanation.photo_digest}
        blocks = list(self._blocks(options.made_from | own))
        best = self.context["best"]
        title = f"Why the network says {best.class_name}" if best else f"The photo {explanation.photo_name}"
        cover = self._cover()
        return finished(
            self.material,
            self.album,
            About("explanation", explanation.id, title, explanation.photo_name),
            cover=cover,
            blocks=blocks,
            own=own,
        )

    # --- the cover -------------------------------------------------------------------------------------------------

    def _cover(self) -> Cover:
        explanation, options, best = self.explanation, self.options, self.context["best"]
        narrative = self._narrative(self.targets[0]) if self.targets else None
        verdict: Line = ()
        is_warning = False
        if best and explanation.label:
            is_warning = not self.context["is_right"]
            verdict = line(
                f"Wrong: the label is {explanation.label}." if is_warning else "Right: the label says so too."
            )
        return Cover(
            kicker="Report of one decision",
            verdict=verdict,
            is_warning=is_warning,
            lead=pieces(narrative.headline.pieces) if narrative else (),
            lead_language=_other(narrative.language) if narrative else "",
            figures=self._cover_figures(),
            facts=facts(
                self.material,
                ("Photo", explanation.photo_name),
                ("Digest of the photo", f"{explanation.photo_digest[:SHORT_DIGEST]}…"),
            ),
            approval=options.approval,
            logo=logo_key(self.material, self.album),
        )

    def _cover_figures(self) -> tuple[Figure, ...]:
        if not self.targets:
            return ()
        target, entry = self.targets[0], self.context["targets"][0]
        photo = self.material.pictures.photo_content(self.explanation)
        heat = self.material.pictures.content(self.explanation, target.heatmap)
        figures = []
        if photo:
            spots = [Spot(item["number"], item["box"], item["x"], item["y"]) for item in entry["spots"]]
            drawing = outlined(photo, (self.explanation.width, self.explanation.height), spots)
            named = [f"{item['number']} {self.catalogue.card(item['card']).name}" for item in entry["spots"]]
            listed = "; ".join(f"{name}, {item['words']}" for name, item in zip(named, entry["spots"], strict=True))
            figures.append(
                Figure(
                    self.album.add(drawing, "svg"),
                    f"The photo {self.explanation.photo_name} with numbered outlines. {listed}",
                    line(f"Where the concepts found their relevance: {', '.join(named)}."),
                )
            )
        if heat:
            figures.append(
                Figure(
                    self.album.add(laid_over(photo, heat), "webp"),
                    f"Heatmap of all relevance for {target.class_name}",
                    line(
                        f"All relevance for {target.class_name}: {palette.POSITIVE_WORD} spoke for it, "
                        f"{palette.NEGATIVE_WORD} against it."
                    ),
                )
            )
        return tuple(figures)

    # --- the sections ----------------------------------------------------------------------------------------------

    def _blocks(self, made_from: dict[str, str]) -> Iterator[Block]:
        yield from self._decision()
        if self.targets:
            first = self.targets[0]
            yield from self._why(first)
            yield from self._concepts(first)
            yield from self._contrast()
            yield from self._trust(first)
        yield from limits_section(self._own_limits())
        for number, target in enumerate(self.targets[1:], start=1):
            yield from self._other_target(number, target)
        if self.targets:
            yield from self._expert(self.targets[0])
        yield from method_section(self.catalogue)
        yield from provenance_section(self.catalogue, made_from)

    def _decision(self) -> Iterator[Block]:
        explanation = self.explanation
        yield heading("The decision")
        if not self.targets:
            yield plain("No class was probable enough to be explained.")
        yield from self._flag()
        rows = tuple(
            cells(item["name"], percent(item["probability"]), Cell(bar=Bar(0.0, 0.0, item["probability"])))
            for item in self.context["predictions"]
        )
        if rows:
            yield Table(line("What the network said"), ("Class", "Probability", "Bar"), rows, (1.6, 0.0, 2.4))
        said = []
        if explanation.task == "classes" and rows:
            said.append("Probabilities of all classes add up to 100 %.")
        accuracy = self.context["targets"][0]["accuracy"] if self.targets else None
        if accuracy:
            least, below = accuracy["least"].value, accuracy["below"].value
            band = f"from {percent(least)} to {percent(below)}" if below < 1 else f"of at least {percent(least)}"
            said.append(
                f"How sure that is: of the {count(accuracy['n_samples'].value)} labelled samples of the data set with "
                f"a probability {band}, {count(accuracy['n_right'].value)} are classified right."
            )
        if said:
            yield plain(" ".join(said))

    def _flag(self) -> Iterator[Block]:
        check = self.context["check"] if self.targets else None
        if check:
            said = f"{check['before']}{check['card'].name}{check['after']}."
            yield Words((strong("Check: "), Run(said)), "warning")

    def _why(self, target: TargetExplanation) -> Iterator[Block]:
        yield heading(f"Why {target.class_name}?", key="why")
        reasons = self.context["targets"][0]["reasons"]
        if reasons:
            yield Together((self._shares(target, reasons),))
            yield Words(line(self._coverage(target.layers[0])))
        narrative = self._narrative(target)
        if narrative:
            yield heading(AUDIENCE_WORDS.get(narrative.audience, f"For {narrative.audience}"), 2, "text")
            yield from narrative_blocks(narrative)

    def _shares(self, target: TargetExplanation, reasons: Sequence[dict[str, Any]]) -> Table:
        rows = tuple(
            (
                Cell((strong(f"{row['number']}  "), Run(row["card"].name))),
                Cell(line(signed(row["share"]))),
                Cell(line(signed_percent(row["usual"]))),
                Cell(bar=Bar(row["zero"], row["start"], row["length"], row["usual_at"], row["share"] < 0)),
                Cell(line(row["place"])),
            )
            for row in reasons
        )
        said = line(
            f"Share of {explained_share_of(target.layers[0])} for {target.class_name}. The line across a bar is what "
            f"is usual for {target.class_name} in this data set."
        )
        return Table(said, ("Concept", "Share", "Usual", "Against, for", "Where"), rows, (3.4, 0.0, 0.0, 2.6, 1.8))

    @staticmethod
    def _coverage(layer: LayerExplanation) -> str:
        n_shown = len(layer.concepts)
        subject = "This concept carries" if n_shown == 1 else f"These {count(n_shown)} concepts carry"
        said = f"{subject} {percent(layer.coverage)} of {explained_share_of(layer)}"
        if layer.n_others:
            rest = percent(layer.rest_share) if layer.beside_share else "the rest"
            verb = "other has" if layer.n_others == 1 else "others share"
            said += f"; {count(layer.n_others)} {verb} {rest}"
        if layer.beside_share:
            said += f"; {percent(layer.beside_share)} runs beside the layer"
        return f"{said}."

    def _concepts(self, target: TargetExplanation) -> Iterator[Block]:
        if not target.layers or not target.layers[0].concepts:
            return
        head: list[Leaf] = [
            heading("What each concept looks like elsewhere", key="concepts"),
            plain(
                "First the place in this photo, then the samples of the data set in which the concept carried most "
                "relevance. The pictures in this photo share one scale: a weak concept looks weak."
            ),
        ]
        rows = self.context["targets"][0]["layers"][0]["rows"]
        for number, row in enumerate(rows, start=1):
            about = self._concept(number, row["item"], row["card"], float(row["opacity"]), target.class_name)
            yield Together((*head, *about))
            head = []

    def _concept(
        self, number: int, item: ConceptAttribution, card: ConceptCard, opacity: float, class_name: str
    ) -> tuple[Leaf, ...]:
        name = self.catalogue.name(item.concept)
        blocks: list[Leaf] = [heading(f"{number}  {card.name}", 2, f"concept-{number}")]
        figures = self._concept_figures(item, card, opacity)
        if figures:
            blocks.append(Row(figures))
        said: list[Run] = [Run(f"{signed(item.share)} for {class_name}, {item.place.words}. ")]
        if name and name.is_named and name.description:
            said.append(Run(f"{_sentence(name.description)} ", language=_other(name.language)))
        about = "; ".join(word for word in (card.author, card.reliability) if word)
        said.append(Run(f"{card.layer}, channel {rank(card.channel)}; {about}."))
        blocks.append(Words(tuple(said)))
        return tuple(blocks)

    def _concept_figures(self, item: ConceptAttribution, card: ConceptCard, opacity: float) -> tuple[Figure, ...]:
        pictures = self.material.pictures
        figures = []
        heat = pictures.content(self.explanation, item.heatmap)
        if heat:
            here = laid_over(pictures.photo_content(self.explanation), heat, opacity)
            said = f"Where {card.name} found its relevance in this photo: {item.place.words}"
            figures.append(Figure(self.album.add(here, "webp"), said, line("In this photo"), PART))
        strip = reference_strip(self.material, self.album, card, line("Elsewhere, strongest first"))
        if strip:
            figures.append(strip)
        return tuple(figures)

    def _contrast(self) -> Iterator[Block]:
        contrast = self.context["contrast"]
        if not contrast:
            return
        first, second = contrast["classes"]
        yield heading(f"Why not {second}?", key="contrast")
        rows = tuple(
            (
                Cell(line(row["card"].name)),
                *(
                    cell
                    for side in row["sides"]
                    for cell in (
                        Cell(line(signed(side["share"]))),
                        Cell(bar=Bar(side["zero"], side["start"], side["length"], None, side["share"] < 0)),
                    )
                ),
            )
            for row in contrast["rows"]
        )
        yield Table(
            line(f"Shares for {first} and for {second}, what differs most first"),
            ("Concept", first, f"Bar for {first}", second, f"Bar for {second}"),
            rows,
            (2.4, 1.2, 1.4, 1.2, 1.4),
        )

    def _trust(self, target: TargetExplanation) -> Iterator[Block]:
        layer = target.layers[0].layer if target.layers else ""
        what_if = self.context["what_ifs"].get((target.class_index, layer))
        blocks: list[Block] = []
        if what_if:
            blocks += self._what_if(target, what_if)
        blocks += layer_trust(self.catalogue, self.album, layer)
        yield from trust_section("How far to trust it", blocks)

    @staticmethod
    def _what_if(target: TargetExplanation, what_if: dict[str, Any]) -> list[Block]:
        tested = what_if["item"]
        n_off = len(tested.concepts)
        said = [
            Run(
                f"Switching off the {count(n_off)} concept{'' if n_off == 1 else 's'} named takes the probability of "
                f"{target.class_name} from "
            ),
            strong(percent(tested.before)),
            Run(" to "),
            strong(percent(tested.after)),
        ]
        if tested.random_mean is not None:
            said.append(
                Run(
                    f"; as many random ones, to {percent(tested.random_mean)} (mean of {count(tested.n_random)} sets, "
                    f"{percent(tested.random_low)} to {percent(tested.random_high)})"
                )
            )
            if not what_if["tells"]:
                said += [Run(". "), strong("So the concepts named matter no more than random ones here")]
        said.append(Run("."))
        rows = tuple(
            cells(f"without {card.name}", percent(value), Cell(bar=Bar(0.0, 0.0, min(1.0, value))))
            for card, value in what_if["alone"]
        )
        table = Table(
            line(f"Probability of {target.class_name} without each of them alone"),
            ("Without", "Probability", "Bar"),
            rows,
            (2.6, 0.0, 2.0),
        )
        off = (
            f"Off means: the channel’s output is set to {what_if['off_words']}. Set to {what_if['other_words']}, all "
            f"together leave {percent(tested.after_other)}."
        )
        return [Words(tuple(said)), Together((table, plain(off, "note")))]

    def _own_limits(self) -> list[tuple[str, str]]:
        found = []
        if self.targets and self.targets[0].layers:
            layer = self.targets[0].layers[0]
            if layer.rest_share >= 0.005:
                found.append(
                    (
                        "Not everything.",
                        f"The concepts shown carry {percent(layer.coverage)} of {explained_share_of(layer)}; what the "
                        "others do is not told.",
                    )
                )
        if not self.material.pictures.include_images:
            found.append(("No photo.", "This report shows no pixel of the data set: heatmaps, names and numbers only."))
        return found

    def _other_target(self, number: int, target: TargetExplanation) -> Iterator[Block]:
        yield heading(f"Also considered: {target.class_name}", key=f"class-{number + 1}")
        entry = self.context["targets"][number]
        narrative = self._narrative(target)
        if narrative:
            yield Words(pieces(narrative.headline.pieces), "lead", _other(narrative.language))
        if entry["reasons"]:
            yield self._shares(target, entry["reasons"])
            yield plain(self._coverage(target.layers[0]))

    def _expert(self, target: TargetExplanation) -> Iterator[Block]:
        if not target.layers:
            return
        yield heading("For experts")
        narrative = next((item for item in target.narratives if item.audience == "expert"), None)
        if narrative and self.options.audience != "expert":
            yield from narrative_blocks(narrative)
        has_table = narrative is not None and any(item.table for item in narrative.paragraphs)
        for position, layer in enumerate(target.layers):
            if position or not has_table:
                yield self._numbers(layer)
            yield plain(self._conservation(target, layer), "note")

    def _numbers(self, layer: LayerExplanation) -> Table:
        rows = tuple(
            (
                Cell((Run(rank(item.rank)),)),
                code(item.concept),
                Cell(line(self.catalogue.card(item.concept).name)),
                Cell(line(signed_percent(item.share))),
                Cell(line(decimal(item.relevance))),
                Cell(line(decimal(item.activation))),
                Cell(line(self._sub_concepts(item))),
            )
            for item in layer.concepts
        )
        header = ("Rank", "Channel", "Name", "Share", "Relevance", "Activation", "Mostly through")
        return Table(line(f"Concepts of {layer.layer}"), header, rows, (0.0, 0.0, 2.2, 0.0, 0.0, 0.0, 2.4))

    def _sub_concepts(self, item: ConceptAttribution) -> str:
        return "; ".join(f"{sub.concept} {signed_percent(sub.share)}" for sub in item.sub_concepts) or "–"

    @staticmethod
    def _conservation(target: TargetExplanation, layer: LayerExplanation) -> str:
        said = [
            f"The relevance of all {count(len(layer.shares))} channels adds up to {decimal(layer.relevance_sum)} of "
            f"the logit {decimal(target.logit)}"
        ]
        if target.logit:
            said[0] += f" ({percent(layer.relevance_sum / target.logit)})"
        if layer.cut:
            if layer.cut.beside:
                through = ", ".join(item.name for item in layer.cut.beside)
                said.append(f"Beside the layer, {decimal(layer.cut.beside_sum)} went through {through}")
            said.append(f"Biases took up {decimal(layer.cut.biases)}, the stabiliser {decimal(layer.cut.stabilisers)}")
        said.append("Ranks start at 0; relevance is in units of the logit")
        return ". ".join(said) + "."

    def _narrative(self, target: TargetExplanation) -> Narrative | None:
        """Return the text for the audience and language asked for; None where the explanation has no text at all."""
        language = self.options.language
        there = [item for item in target.narratives if not language or item.language == language]
        found = next((item for item in there if item.audience == self.options.audience), None)
        if found is None and target.narratives:
            audiences = sorted({f"{item.audience} ({item.language})" for item in target.narratives})
            wanted = f"{self.options.audience} ({language or target.narratives[0].language})"
            raise ConfigError(
                f"explanations/{self.explanation.id}.json has no text for {wanted}"
                f"{nearest_of(wanted, audiences, otherwise='there is one for')}. Set report.audience and "
                "report.language to one of these, or explaining.audiences and explaining.language and run "
                "`atlas explain`"
            )
        return found


# --- words -----------------------------------------------------------------------------------------------------------


def narrative_blocks(narrative: Narrative) -> Iterator[Block]:
    """Turn a narrative into blocks; the headline too."""
    language = _other(narrative.language)
    yield Words(pieces(narrative.headline.pieces), "lead", language)
    for paragraph in narrative.paragraphs:
        runs: list[Run] = []
        for statement in paragraph.statements:
            runs += [*([Run(" ")] if runs else []), *pieces(statement.pieces)]
        if runs:
            yield Words(tuple(runs), "body", language)
        if paragraph.table:
            yield _narrative_table(paragraph.table)
    said = f"{planner_words(narrative.planned_by).capitalize()}."
    yield plain(said, "note")


def _narrative_table(table: NarrativeTable) -> Table:
    rows = tuple(tuple(Cell(pieces(cell)) for cell in row) for row in table.rows)
    header = tuple(name or "–" for name in table.header)
    return Table(pieces(table.caption), header, rows, (2.0, *(0.0,) * (len(header) - 1)))


def pieces(parts: Sequence[Piece]) -> Line:
    """Turn the pieces of a sentence into runs."""
    return tuple(
        Run(part.text, "number" if part.kind == "number" else "plain", part.language if part.kind == "concept" else "")
        for part in parts
    )


def signed(share: float) -> str:
    """Print a share with a mark of its side, which stays on grey paper and for colour-blind eyes."""
    return f"{'▼' if share < 0 else '▲'} {signed_percent(share)}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _other(language: str) -> str:
    """Return a language code where it is not the document's."""
    return "" if language in ("", "en") else language
