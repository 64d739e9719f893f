"""The kit of a study: questions out of a finished atlas into pages for raters and a key.

Owns which names, concepts and photos are asked about, and where a study lies. Must not know HTML or configs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precompute.atlas.files import output_error, unreadable, write_text
from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader
from precompute.atlas.json_records import read_json, write_json
from precompute.errors import OutputError, StoreError
from precompute.printing import numbers
from precompute.progress import Reporter
from precompute.records import Atlas, Concept, ConceptName, Explanation, Narrative, Reference
from precompute.records.studied import (
    AskedQuestion,
    QuestionKind,
    RaterPage,
    StudyKey,
    StudyQuestion,
)

from .plan import StudySize, assign
from .rows import Against, Rows

KEY = "key.json"
TEXT_AUDIENCE = "stakeholder"
KIND_WORDS: dict[QuestionKind, str] = {
    "random": "name against random rows",
    "hard": "name against the nearest rows",
    "intruder": "intruder found",
    "text": "text told from another photo's",
}


@dataclass(frozen=True)
class _Made:
    """A question, and what raters see of each of its options."""

    question: StudyQuestion
    shown: AskedQuestion


class StudyKit:
    """Makes a study of one finished atlas.

    Parameters
    ----------
    workspace : Workspace
    reporter : Reporter
    image_size : (int, int)
        Height and width of the preprocessed input in pixels.
    held_out : bool
        The namer did not see the second half of the references.
    """

    def __init__(
        self, workspace: Workspace, reporter: Reporter, image_size: tuple[int, int], *, held_out: bool
    ) -> None:
        self._workspace, self._reporter = workspace, reporter
        self._image_size, self._held_out = image_size, held_out

    def make(
        self, atlas: Atlas, folder: Path, size: StudySize, seed: int, to_html: Callable[[RaterPage], str]
    ) -> StudyKey:
        """Write the pages and the key of a study; the same study again leaves the same bytes.

        Parameters
        ----------
        atlas : Atlas
        folder : Path
            Of the study alone.
        size : StudySize
        seed : int
        to_html : callable
            Writes a page.

        Raises
        ------
        StoreError
            There are no names or no reference images, or none that could be asked about.
        OutputError
            The folder holds anything else, another study too, whose answers would be without a key.
        """
        names = {key: name for key, name in self._workspace.read_names().items() if name.is_named}
        if not names or not self._workspace.references.exists():
            what = "names" if not names else "reference images"
            raise StoreError(
                f"{self._workspace.folder} has no {what} to ask about: run `atlas run` with the same config"
            )
        with ReferenceReader(self._workspace.references) as reader:
            made = list(self._questions(atlas, reader, names, size, seed))
        if not made:
            raise StoreError(
                f"no concept of {self._workspace.folder} has enough held-out images to be asked about: set "
                "references.per_ranking higher and run `atlas run` with the same config"
            )
        made = [replace(item, question=replace(item.question, id=f"q{i:04}")) for i, item in enumerate(made, start=1)]
        key = assign(atlas.name, seed, size, [item.question for item in made])
        _require_free(folder, key)
        write_json(folder / KEY, key)  # first: with it a killed run's folder is known as this study's
        shown = {item.question.id: item for item in made}
        for sheet in key.raters:
            asked = tuple(
                _in_order(shown[question], order) for question, order in zip(sheet.questions, sheet.orders, strict=True)
            )
            write_text(folder / f"{sheet.rater}.html", to_html(RaterPage(key.study, sheet.rater, asked)))
        self._tell(key, folder)
        return key

    def _tell(self, key: StudyKey, folder: Path) -> None:
        counts = [
            f"{numbers.count(n)} × {words}"
            for kind, words in KIND_WORDS.items()
            if (n := sum(question.kind == kind for question in key.questions))
        ]
        pages = numbers.plural(len(key.raters), "page")
        self._reporter.say(f"made      {folder}: {pages}, study {key.study}: {', '.join(counts)}")
        self._reporter.say(f"note      {KEY} holds what is right: keep it, and hand out the pages alone")
        self._reporter.say("note      the pages hold images of the data set: hand them to whom its terms allow")
        if not self._held_out:
            self._reporter.say("note      the namer saw these images too: nobody judged its names when it named")

    # --- questions ---------------------------------------------------------------------------------------------

    def _questions(
        self, atlas: Atlas, reader: ReferenceReader, names: Mapping[str, ConceptName], size: StudySize, seed: int
    ) -> Iterator[_Made]:
        def rows_of(layer: str) -> Rows:
            def read(channel: int) -> list[Reference]:
                return [replace(item, full=b"") for item in reader.read(Concept(layer, channel), "relmax")]

            return Rows(atlas.layers[layer], read, names, self._image_size, seed)

        rows = {layer: rows_of(layer) for layer in atlas.layers}
        kinds: list[tuple[Against, ...]] = [("random", "hard")] if size.has_both else [("random",), ("hard",)]
        n_names = size.n_units("random") * len(kinds)
        n_intruders = size.n_units("intruder")
        with self._reporter.track("study", n_names + n_intruders, unit="question") as advance:
            used = set()
            for place, stratum in enumerate(_strata(names, n_names, seed)):
                made = _first(self._choices(rows, names[key], kinds[place % len(kinds)]) for key in stratum)
                used |= {item.question.concept for item in made}
                yield from made
                advance(1)
            rest = {key: name for key, name in names.items() if key not in used}
            for stratum in _strata(rest, n_intruders, seed):
                yield from _first(self._intruder(rows, rest[key]) for key in stratum)
                advance(1)
        yield from self._texts(size.n_units("text"), seed)

    def _choices(self, rows: Mapping[str, Rows], name: ConceptName, kinds: Sequence[Against]) -> list[_Made]:
        concept = Concept.parse(name.concept)
        made = []
        for against in kinds:
            choice = rows[concept.layer].choose(concept.channel, against)
            if choice is None:
                return []
            options = tuple(item.key for item in choice.concepts)
            shown = AskedQuestion(against, name.title, tuple(tuple(map(_picture, row)) for row in choice.rows))
            made.append(_Made(self._of_concept(against, name, options, choice.right, named=True), shown))
        return made

    def _intruder(self, rows: Mapping[str, Rows], name: ConceptName) -> list[_Made]:
        concept = Concept.parse(name.concept)
        mixed = rows[concept.layer].intrude(concept.channel)
        if not mixed:
            return []
        right = next(place for place, (of, _) in enumerate(mixed) if of != concept)
        options = tuple(of.key for of, _ in mixed)
        shown = AskedQuestion("intruder", "", tuple((_picture(item),) for _, item in mixed))
        return [_Made(self._of_concept("intruder", name, options, right, named=False), shown)]

    def _of_concept(
        self, kind: QuestionKind, name: ConceptName, options: tuple[str, ...], right: int, *, named: bool
    ) -> StudyQuestion:
        question = StudyQuestion("", kind, options, right, name.concept, held_out=self._held_out)
        if not named:
            return question
        return replace(
            question,
            name=name.title,
            author=name.author,
            recorded=name.recorded,
            confidence=name.stated_confidence,
        )

    def _texts(self, n: int, seed: int) -> Iterator[_Made]:
        told = {}
        for path in sorted(self._workspace.explanations.glob("*.json")):
            explanation = read_json(path, Explanation)
            narrative, text = _text_of(explanation)
            if narrative is not None and text:
                told[explanation.id] = (explanation, narrative, text)
        rng = random.Random(f"texts:{seed}")
        for own in rng.sample(sorted(told), min(n, len(told))):
            explanation, narrative, text = told[own]
            others = [key for key, item in told.items() if key != own and item[2] != text]
            alike = [key for key in others if _class_of(told[key][0]) == _class_of(explanation)]
            if not others:
                continue
            options = rng.sample([own, rng.choice(alike or others)], 2)
            path = self._workspace.explanations / own / explanation.photo
            try:
                photo = path.read_bytes()
            except OSError as error:
                raise unreadable(path, error) from error
            texts = tuple(told[key][2] for key in options)
            shown = AskedQuestion("text", texts=texts, photo=photo, language=narrative.language)
            yield _Made(StudyQuestion("", "text", tuple(options), options.index(own)), shown)


def _strata(names: Mapping[str, ConceptName], n: int, seed: int) -> Iterator[list[str]]:
    """Cut concepts into n groups from the surest claim to the least sure one, each in an order drawn."""
    rng = random.Random(f"concepts:{seed}:{n}")
    keys = rng.sample(sorted(names), len(names))
    keys.sort(key=lambda key: -(names[key].stated_confidence or 0.0))
    n = min(n, len(keys))
    for place in range(n):
        group = keys[place * len(keys) // n : (place + 1) * len(keys) // n]
        yield rng.sample(group, len(group))


def _first(found: Iterator[list[_Made]]) -> list[_Made]:
    return next((made for made in found if made), [])


def _picture(reference: Reference) -> bytes:
    return reference.masked or reference.crop


def _class_of(explanation: Explanation) -> int:
    return explanation.targets[0].class_index


def _text_of(explanation: Explanation) -> tuple[Narrative | None, str]:
    """Return what the first target's text says of concepts: the rest would be the same of any photo of its class."""
    narratives = explanation.targets[0].narratives if explanation.targets else ()
    narrative = next((item for item in narratives if item.audience == TEXT_AUDIENCE), None)
    if narrative is None:
        return None, ""
    return narrative, " ".join(item.text for item in narrative.statements if item.concepts)


def _in_order(made: _Made, order: Sequence[int]) -> AskedQuestion:
    shown = made.shown
    rows = tuple(shown.rows[place] for place in order) if shown.rows else ()
    texts = tuple(shown.texts[place] for place in order) if shown.texts else ()
    return replace(shown, rows=rows, texts=texts)


def _require_free(folder: Path, key: StudyKey) -> None:
    """Refuse a folder with anything but this same study: a key that is lost makes its answers worthless."""
    try:
        there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise output_error(folder, error) from error
    if not there:
        return
    if KEY not in there:
        raise OutputError(f"will not put a study into {folder}: it holds other files. Choose another with --folder")
    if read_json(folder / KEY, StudyKey, "Choose another folder with --folder.").study != key.study:
        raise OutputError(
            f"{folder} holds another study (other names, images, seed or size), and its answers need its key. Nothing "
            "was changed there. Choose another folder with --folder, or remove it once its answers are scored"
        )
