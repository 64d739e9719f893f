"""Facts: all statements that are true of one prediction, each because the condition of its kind holds in the table.

Owns the kinds of fact, their conditions and every threshold in them. Pure: a table in, records out. Must not know
sentences, languages, audiences or language models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from precompute.explanations.prediction import ConceptRow, LayerRow, PredictionTable, Usual
from precompute.records import Fact, Quantity
from precompute.records.reliability import is_description, measured_band

Topic = Literal["decision", "concepts", "usual", "whole", "limits"]
"""In the order in which a text without a plan goes through them."""

WORTH_TELLING = 0.05
"""Least absolute share for which a mark, a scene, an uncertain name or a comparison is a fact."""
CLOSE_BEHIND = 0.1
"""A runner-up is close that is less probable by less than this, and about as probable (`ALIKE_PART`)."""
FAR_BEHIND = 0.5
"""A runner-up that is at least this much less probable is far behind."""
SLIGHT = 0.1
"""A concept that speaks against the class with less than this does so slightly."""
UNUSUAL_PART = 0.9
UNUSUAL_STEP = 0.05
"""A share is unusual that is more (or less) than in this part of the class's samples, and this far from their mean."""
MIN_SPREAD_SAMPLES = 10
"""Fewest samples of a class of which a part is told."""
NEXT_TO_NOTHING = 0.005
"""A share or a mean of less than this, on either side, is next to nothing."""
ALIKE_PART = 1 / 3
"""Two numbers are about the same only where they differ by less than this part of the larger."""
LEADING_MEAN = 0.1
"""Least mean share of a concept that is called usual for a class."""
ABSENT_FACTOR = 0.25
"""A usual concept is absent where its share is less than this part of its mean."""
ELSEWHERE = 0.02
"""A concept belongs to one class alone where its absolute mean in every other class is less than this."""
OTHER_CLASS_FACTOR = 2.0
"""A concept is more usual for another class where its mean there is at least this many times its mean here."""
CONTRAST_STEP = 0.1
"""Least difference of two shares that separates two classes."""
MIN_CLASS_SAMPLES = 5
"""Fewest samples of a class whose mean is told."""
MIN_BAND_SAMPLES = 20
"""Fewest labelled samples in a band of probability whose accuracy is told."""
HIGH_ACCURACY = 0.9
DOUBTFUL_RATE = 0.6
"""A name is doubtful of whose like fewer were right."""
SOUND = 1e-9
"""Rounding of sums of shares: a rest below this is none."""

Deriver = Callable[[PredictionTable], Iterator[Fact]]


@dataclass(frozen=True)
class Kind:
    """A kind of fact.

    Attributes
    ----------
    name : str
    topic : str
    condition : str
        When it exists, in words; for the documentation.
    meaning : str
        What it says, for whoever plans a text.
    derive : callable
        From the table to its facts of this kind, without ids of their own.
    """

    name: str
    topic: Topic
    condition: str
    meaning: str
    derive: Deriver


FACT_KINDS: dict[str, Kind] = {}
"""Every kind by name, in the order in which facts are listed."""


def derive_facts(table: PredictionTable) -> tuple[Fact, ...]:
    """Derive everything that is true of one prediction; the order is that of `FACT_KINDS`, then of layers and ranks."""
    return tuple(fact for kind in FACT_KINDS.values() for fact in kind.derive(table))


def _kind(name: str, topic: Topic, condition: str, meaning: str) -> Callable[[Deriver], Deriver]:
    def register(derive: Deriver) -> Deriver:
        FACT_KINDS[name] = Kind(name, topic, condition, meaning, derive)
        return derive

    return register


# --- the decision ----------------------------------------------------------------------------------------------


@_kind("decision", "decision", "always", "the class explained and its probability")
def _decision(table: PredictionTable) -> Iterator[Fact]:
    yield Fact(
        id="decision",
        kind="decision",
        classes={"class": table.target.index, "predicted": table.predicted.index},
        numbers={
            "probability": Quantity("probability", (str(table.target.index),), table.probability, "probability"),
            "logit": Quantity("logit", (str(table.target.index),), table.logit, "score"),
        },
        words={
            "standing": "first" if table.is_predicted else "other",
            "classes": "exclusive" if table.is_exclusive else "several",
        },
        must=True,
        polarity=1,
    )


@_kind(
    "verdict",
    "decision",
    "the classes exclude each other, the photo has a label, and the class explained is the prediction or the label",
    "whether the label agrees",
)
def _verdict(table: PredictionTable) -> Iterator[Fact]:
    is_label = table.label == table.target.name
    if not table.is_exclusive or not table.label or not (table.is_predicted or is_label):
        return
    verdict = ("right" if is_label else "wrong") if table.is_predicted else "missed"
    yield Fact(
        id="verdict",
        kind="verdict",
        classes={"class": table.target.index},
        words={"verdict": verdict},
        must=verdict != "right",
        polarity={"right": 1, "wrong": -1, "missed": 0}[verdict],
    )


@_kind("runner_up", "decision", "the predictions hold another class", "the most probable other class")
def _runner_up(table: PredictionTable) -> Iterator[Fact]:
    if table.runner_up is None:
        return
    gap = table.probability - table.runner_up_probability
    is_close = _are_alike(table.probability, table.runner_up_probability, CLOSE_BEHIND)
    margin = "above" if gap < 0 else "close" if is_close else "far" if gap >= FAR_BEHIND else "some"
    yield Fact(
        id="runner_up",
        kind="runner_up",
        classes={"class": table.target.index, "runner_up": table.runner_up.index},
        numbers={
            "probability": Quantity(
                "probability", (str(table.runner_up.index),), table.runner_up_probability, "probability"
            )
        },
        words={"margin": margin},
        must=table.is_predicted and margin == "close",
        polarity=-1 if margin in ("above", "close") else 0,
    )


@_kind(
    "doubt",
    "decision",
    "the classes exclude each other, and the prediction has a probability below one half",
    "all other classes together are more probable",
)
def _doubt(table: PredictionTable) -> Iterator[Fact]:
    if table.is_exclusive and table.is_predicted and table.probability < 0.5:
        yield Fact("doubt", "doubt", classes={"class": table.target.index}, must=True, polarity=-1)


@_kind(
    "accuracy",
    "decision",
    f"the class explained is the prediction, and at least {MIN_BAND_SAMPLES} labelled samples have a probability in "
    "the same band",
    "how often the network was right on this data set when as sure as here",
)
def _accuracy(table: PredictionTable) -> Iterator[Fact]:
    accuracy = table.accuracy
    if accuracy is None or accuracy.n_samples < MIN_BAND_SAMPLES:
        return
    yield Fact(
        id="accuracy",
        kind="accuracy",
        numbers={
            "least": Quantity("band_least", (), accuracy.least, "probability"),
            "below": Quantity("band_below", (), accuracy.below, "probability"),
            "n_right": Quantity("band_right", (), accuracy.n_right, "count"),
            "n_samples": Quantity("band_samples", (), accuracy.n_samples, "count"),
        },
        words={"band": "lowest" if accuracy.least == 0 else "highest" if accuracy.below == 1 else "middle"},
        polarity=1 if accuracy.n_right >= HIGH_ACCURACY * accuracy.n_samples else -1,
    )


@_kind("negative_score", "decision", "the logit is negative", "the score is negative: signs are no for and against")
def _negative_score(table: PredictionTable) -> Iterator[Fact]:
    if table.logit < 0:
        yield Fact("negative_score", "negative_score", classes={"class": table.target.index}, must=True, polarity=-1)


# --- the concepts ----------------------------------------------------------------------------------------------


@_kind(
    "mark_leads",
    "concepts",
    f"the concept with the largest share is named as a mark, with a share of at least {WORTH_TELLING:.0%}",
    "the largest share goes to a mark, not to the object",
)
def _mark_leads(table: PredictionTable) -> Iterator[Fact]:
    for layer, row in _leads(table):
        if _is_of_kind(table, row, "mark"):
            yield _about(table, "mark_leads", layer, row, share=None, must=_is_main(table, layer), polarity=-1)


@_kind(
    "lead",
    "concepts",
    "one concept of the layer has a larger absolute share than every other",
    "the concept with the largest share, and where",
)
def _lead(table: PredictionTable) -> Iterator[Fact]:
    for layer, row in _leads(table):
        yield _about(table, "lead", layer, row, must=_is_main(table, layer))


@_kind("dominance", "concepts", "the lead's absolute share is above one half", "the lead outweighs all others together")
def _dominance(table: PredictionTable) -> Iterator[Fact]:
    for layer, row in _leads(table):
        if abs(row.share) > 0.5:
            yield _about(table, "dominance", layer, row)


@_kind(
    "supports",
    "concepts",
    "a shown concept has the sign of the logit and is not the lead",
    "a concept that speaks for the class",
)
def _supports(table: PredictionTable) -> Iterator[Fact]:
    yield from _others(table, "supports", 1)


@_kind(
    "opposes",
    "concepts",
    "a shown concept has the sign opposite to the logit and is not the lead",
    "a concept that speaks against the class",
)
def _opposes(table: PredictionTable) -> Iterator[Fact]:
    found: set[str] = set()
    for fact in _others(table, "opposes", -1):
        is_first = fact.layer not in found
        found.add(fact.layer)
        main = table.main
        yield replace(fact, must=is_first and main is not None and fact.layer == main.layer)


@_kind(
    "no_opposition",
    "concepts",
    "every shown concept with a share has the sign of the logit",
    "none of the shown concepts speaks against the class",
)
def _no_opposition(table: PredictionTable) -> Iterator[Fact]:
    yield from _absences(table, "no_opposition", present=1, absent=-1)


@_kind(
    "no_support",
    "concepts",
    "every shown concept with a share has the opposite sign",
    "none of the shown concepts speaks for the class",
)
def _no_support(table: PredictionTable) -> Iterator[Fact]:
    yield from _absences(table, "no_support", present=-1, absent=1)


@_kind("no_relevance", "concepts", "all shares of the layer are zero", "no relevance reaches the layer")
def _no_relevance(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        if not any(layer.shares):
            yield Fact(
                f"no_relevance:{layer.id}", "no_relevance", layer.layer, must=_is_main(table, layer), polarity=-1
            )


@_kind(
    "namesakes",
    "concepts",
    "several shown concepts of one direction have the same name",
    "several channels with the same name, and their sum",
)
def _namesakes(table: PredictionTable) -> Iterator[Fact]:
    def key(row: ConceptRow) -> str:
        name = table.name(row.key)
        return name.name.strip().casefold() if name else ""

    yield from _groups(table, "namesakes", key)


@_kind(
    "same_place",
    "concepts",
    "several shown concepts of one direction lie in the same part of the photo, which is not the whole of it",
    "several concepts in the same place, and their sum",
)
def _same_place(table: PredictionTable) -> Iterator[Fact]:
    yield from _groups(table, "same_place", lambda row: "" if "whole" in row.place else row.place)


@_kind(
    "built_from",
    "concepts",
    "relevance of a shown concept was followed one layer down",
    "which concepts of the layer below carried a concept's relevance",
)
def _built_from(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        for row in layer.concepts:
            shown = row.below[:2]
            if shown and row.share:
                numbers = {
                    f"sub_{number}": Quantity("sub_share", (row.key, sub.key), sub.share)
                    for number, sub in enumerate(shown, start=1)
                }
                concepts = (row.key, *(sub.key for sub in shown))
                yield Fact(f"built_from:{row.id}", "built_from", layer.layer, concepts, numbers=numbers)


# --- what is usual ---------------------------------------------------------------------------------------------


@_kind(
    "usual",
    "usual",
    f"the logit is positive, the class has at least {MIN_CLASS_SAMPLES} samples, share or mean is at least "
    f"{WORTH_TELLING:.0%}, and the share is less than {UNUSUAL_STEP:.0%} and less than a third of the larger away from "
    f"its mean, or {UNUSUAL_STEP:.0%} away and more (or less) than in {UNUSUAL_PART:.0%} of at least "
    f"{MIN_SPREAD_SAMPLES} samples of the class",
    "whether a concept's share is more or less than in most photos of the class, or about their mean",
)
def _usual(table: PredictionTable) -> Iterator[Fact]:
    for layer, row, usual in _compared(table):
        strength, mean = abs(row.share), usual.mean * row.direction
        level = _level(strength, mean, usual)
        if not row.direction or max(strength, mean) < WORTH_TELLING or not level:
            continue
        numbers = {
            "share": _share(row),
            "mean": Quantity("mean_share", (row.key, str(table.target.index)), usual.mean),
            "n_samples": _class_samples(table, usual.n_samples),
        }
        beside = (row.key, str(table.target.index))
        if level == "more":
            numbers["n_less"] = Quantity("class_less", beside, usual.n_less, "count")
        elif level == "less":
            numbers["n_more"] = Quantity("class_more", beside, usual.n_more, "count")
        in_all = usual.n_samples in (usual.n_less, usual.n_more)
        yield Fact(
            id=f"usual:{row.id}",
            kind="usual",
            layer=layer.layer,
            concepts=(row.key,),
            classes={"class": table.target.index},
            numbers=numbers,
            words={
                "level": level,
                "average": _average(mean),
                "part": "all" if in_all else "most",
                "photos": "labelled" if usual.is_labelled else "taken",
                **_direction(table, row),
            },
            polarity=1 if level == "same" else -1,
        )


def _average(mean: float) -> str:
    """Say on which side a mean is, as seen from a concept's own side."""
    return "some" if mean >= NEXT_TO_NOTHING else "opposite" if mean <= -NEXT_TO_NOTHING else "little"


def _level(share: float, mean: float, usual: Usual) -> str:
    if _are_alike(share, mean, UNUSUAL_STEP):
        return "same"
    if abs(share - mean) < UNUSUAL_STEP:
        return ""
    most = UNUSUAL_PART * max(usual.n_samples, MIN_SPREAD_SAMPLES)
    if share > mean:
        return "more" if usual.n_less >= most else ""
    return "less" if usual.n_more >= most else ""


@_kind(
    "class_only",
    "usual",
    f"a supporting concept's mean is at least {LEADING_MEAN:.0%} for the class and below {ELSEWHERE:.0%} for every "
    "other",
    "a concept that matters for this class alone",
)
def _class_only(table: PredictionTable) -> Iterator[Fact]:
    for layer, row, _ in _compared(table):
        if _is_of_one_class(row):
            must = _is_of_kind(table, row, "mark") and _is_main(table, layer)
            yield _about(table, "class_only", layer, row, share=None, must=must)


@_kind(
    "other_class",
    "usual",
    f"a supporting concept with at least {WORTH_TELLING:.0%} has a mean of at least {LEADING_MEAN:.0%} for another "
    f"class, and at least {OTHER_CLASS_FACTOR:g} times that for this one",
    "a concept that is more usual for another class",
)
def _other_class(table: PredictionTable) -> Iterator[Fact]:
    for layer, row, usual in _compared(table):
        here = max(usual.mean, 0.0)
        if row.direction <= 0 or abs(row.share) < WORTH_TELLING or usual.other is None:
            continue
        if usual.other_mean >= max(LEADING_MEAN, OTHER_CLASS_FACTOR * here):
            numbers = {
                "other_mean": Quantity("mean_share", (row.key, str(usual.other.index)), usual.other_mean),
                "mean": Quantity("mean_share", (row.key, str(table.target.index)), usual.mean),
            }
            yield Fact(
                id=f"other_class:{row.id}",
                kind="other_class",
                layer=layer.layer,
                concepts=(row.key,),
                classes={"class": table.target.index, "other": usual.other.index},
                numbers=numbers,
                words={"average": _average(usual.mean)},
                polarity=-1,
            )


@_kind(
    "absent",
    "usual",
    f"the concept with the largest mean for the class, at least {LEADING_MEAN:.0%}, has here less than "
    f"{ABSENT_FACTOR:.0%} of it",
    "the concept that usually leads for this class does not here",
)
def _absent(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        leader = layer.leader
        if table.logit <= 0 or leader is None or leader.n_samples < MIN_CLASS_SAMPLES or leader.mean < LEADING_MEAN:
            continue
        if leader.share < ABSENT_FACTOR * leader.mean:
            yield Fact(
                id=f"absent:{layer.id}",
                kind="absent",
                layer=layer.layer,
                concepts=(leader.key,),
                classes={"class": table.target.index},
                numbers={
                    "mean": Quantity("mean_share", (leader.key, str(table.target.index)), leader.mean),
                    "share": Quantity("share", (leader.key,), leader.share),
                },
                words={"here": _what_is_left(leader.share)},
                polarity=-1,
            )


def _what_is_left(share: float) -> str:
    """Say what is here of a concept that has much more on average."""
    if not share:
        return "none"
    if share <= -NEXT_TO_NOTHING:
        return "against"
    return "little" if share < WORTH_TELLING else "less"


@_kind(
    "contrast",
    "usual",
    f"a concept that speaks for the class has for the runner-up a share that is at least {CONTRAST_STEP:.0%} less",
    "a concept that separates the class from the runner-up",
)
def _contrast(table: PredictionTable) -> Iterator[Fact]:
    for layer, row, rival_share in _rivals(table):
        if row.share - rival_share >= CONTRAST_STEP:
            yield _against_rival(table, "contrast", layer, row, rival_share)


@_kind(
    "shared",
    "usual",
    f"a concept speaks for both classes with at least {WORTH_TELLING:.0%}, and its shares differ by less than that and "
    "less than a third of the larger",
    "a concept that speaks for the runner-up as much",
)
def _shared(table: PredictionTable) -> Iterator[Fact]:
    for layer, row, rival_share in _rivals(table):
        if min(row.share, rival_share) >= WORTH_TELLING and _are_alike(row.share, rival_share, WORTH_TELLING):
            yield _against_rival(table, "shared", layer, row, rival_share)


# --- the whole -------------------------------------------------------------------------------------------------


@_kind(
    "coverage",
    "whole",
    "the layer shows a concept with a share",
    "how much of the relevance the shown concepts carry, and how many others share the rest",
)
def _coverage(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        if any(row.share for row in layer.concepts):
            numbers = {
                "n_channels": Quantity("n_channels", (layer.layer,), len(layer.shares), "count"),
                "n_concepts": Quantity("n_concepts", (layer.layer,), len(layer.concepts), "count"),
                "n_others": Quantity("n_carrying", (layer.layer,), layer.n_others, "count"),
                "coverage": Quantity("coverage", (layer.layer,), layer.coverage),
                "rest_share": Quantity("rest", (layer.layer,), layer.rest_share),
            }
            words = {
                "rest": "none" if layer.n_others == 0 else "some",
                "whole": "yes" if layer.beside_share <= SOUND else "no",
            }
            must = _is_main(table, layer)
            yield Fact(f"coverage:{layer.id}", "coverage", layer.layer, numbers=numbers, words=words, must=must)


@_kind(
    "beside",
    "whole",
    "relevance is known to run beside the layer",
    "how much of the relevance runs beside the layer, in parallel branches and shortcuts",
)
def _beside(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        if layer.beside_share > SOUND and any(layer.shares):
            must = _is_main(table, layer) and layer.beside_share >= WORTH_TELLING
            numbers = {"beside": Quantity("beside", (layer.layer,), layer.beside_share)}
            yield Fact(f"beside:{layer.id}", "beside", layer.layer, numbers=numbers, must=must)


@_kind(
    "concentration",
    "whole",
    "the layer has more than one channel, and they have at least half of the relevance",
    "how few channels carry half of the relevance",
)
def _concentration(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        sizes = sorted((abs(share) for share in layer.shares if share), reverse=True)
        if len(layer.shares) > 1 and sum(sizes) >= 0.5 - SOUND / 2:
            total, needed = 0.0, 0
            while total < 0.5 - SOUND:
                total += sizes[needed]
                needed += 1
            numbers = {
                "k": Quantity("n_half", (layer.layer,), needed, "count"),
                "n_channels": Quantity("n_channels", (layer.layer,), len(layer.shares), "count"),
            }
            yield Fact(f"concentration:{layer.id}", "concentration", layer.layer, numbers=numbers)


@_kind(
    "balance",
    "whole",
    "the layer has relevance",
    "how much of the layer's relevance has the sign of the score, and how much the other",
)
def _balance(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        if any(layer.shares) and layer.sign:
            numbers = {
                "supporting": Quantity("supporting", (layer.layer,), layer.total(1)),
                "opposing": Quantity("opposing", (layer.layer,), layer.total(-1)),
            }
            yield Fact(f"balance:{layer.id}", "balance", layer.layer, numbers=numbers)


@_kind(
    "layer_sum",
    "whole",
    "how the logit splits at the layer's depth is not known",
    "the signed sum of the layer's relevance",
)
def _layer_sum(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        if layer.cut is None:
            numbers = {"sum": Quantity("relevance_sum", (layer.layer,), layer.relevance_sum, "score")}
            yield Fact(f"layer_sum:{layer.id}", "layer_sum", layer.layer, numbers=numbers)


@_kind(
    "split",
    "whole",
    "how the logit splits at the layer's depth is known",
    "how much of the logit passed the layer, ran beside it, and was taken up by biases and the stabiliser",
)
def _split(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        if layer.cut is not None:
            of = (layer.layer,)
            yield Fact(
                id=f"split:{layer.id}",
                kind="split",
                layer=layer.layer,
                numbers={
                    "sum": Quantity("relevance_sum", of, layer.relevance_sum, "score"),
                    "beside_sum": Quantity("relevance_beside", of, layer.cut.beside_sum, "score"),
                    "biases": Quantity("relevance_biases", of, layer.cut.biases, "score"),
                    "stabilisers": Quantity("relevance_stabilisers", of, layer.cut.stabilisers, "score"),
                },
                words={"whole": "no" if layer.cut.beside else "yes"},
            )


@_kind(
    "other_layers",
    "whole",
    "more than one layer is explained",
    "the shares told are of one layer; others were explained too",
)
def _other_layers(table: PredictionTable) -> Iterator[Fact]:
    if len(table.layers) > 1 and table.main:
        numbers = {"n_layers": Quantity("n_layers", (), len(table.layers), "count")}
        yield Fact("other_layers", "other_layers", table.main.layer, numbers=numbers, must=True)


# --- limits ----------------------------------------------------------------------------------------------------


@_kind(
    "mark",
    "concepts",
    f"a shown concept with at least {WORTH_TELLING:.0%} is named as a mark",
    "a concept that is no part of the object, by its name; where `class_only` holds too, a possible shortcut",
)
def _mark(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        for row in layer.concepts:
            if _is_of_kind(table, row, "mark"):
                fact = _about(table, "mark", layer, row, must=_is_main(table, layer), polarity=-1)
                yield replace(fact, words=fact.words | {"evidence": "class" if _is_of_one_class(row) else "name"})


@_kind(
    "scene",
    "concepts",
    f"a shown concept with at least {WORTH_TELLING:.0%} is named as a scene",
    "a concept that is the surroundings, not the object",
)
def _scene(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        for row in layer.concepts:
            if _is_of_kind(table, row, "scene"):
                yield _about(table, "scene", layer, row, polarity=-1)


@_kind(
    "mixed_name",
    "limits",
    f"a shown concept with at least {WORTH_TELLING:.0%} has a second name",
    "the images of a concept fall into two groups, so that its name is uncertain",
)
def _mixed_name(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        for row in layer.concepts:
            name = table.name(row.key)
            if name and name.second_name.strip() and abs(row.share) >= WORTH_TELLING:
                must = row.rank == 0 and _is_main(table, layer)
                yield _about(table, "mixed_name", layer, row, share=None, must=must, polarity=-1)


@_kind(
    "name_band",
    "limits",
    f"a shown concept with at least {WORTH_TELLING:.0%} has a name of a namer that was measured",
    "how many names of this namer, given as confidently, were right where the answer is known",
)
def _name_band(table: PredictionTable) -> Iterator[Fact]:
    for layer in table.layers:
        for row in layer.concepts:
            name = table.name(row.key)
            band = measured_band(name) if name else None
            if band and abs(row.share) >= WORTH_TELLING:
                yield Fact(
                    id=f"name_band:{row.id}",
                    kind="name_band",
                    layer=layer.layer,
                    concepts=(row.key,),
                    numbers={
                        "n_right": Quantity("band_names_right", (row.key,), band.n_right, "count"),
                        "n_names": Quantity("band_names", (row.key,), band.n_names, "count"),
                    },
                    words={
                        "alike": "surety" if name and name.by.kind != "offline" else "way",
                        "right": "all" if band.n_right == band.n_names else "some",
                    },
                    polarity=1 if band.rate >= HIGH_ACCURACY else -1 if band.rate < DOUBTFUL_RATE else 0,
                )


@_kind("names", "limits", "a shown concept has a name", "who gave the names: they are guesses")
def _names(table: PredictionTable) -> Iterator[Fact]:
    makers = {maker for row in table.rows() if (maker := _maker(table, row.key))}
    if makers:
        one_program = makers == {"described", "offline"}
        maker = "described_and_marks" if one_program else makers.pop() if len(makers) == 1 else "several"
        yield Fact("names", "names", words={"maker": maker}, must=True)


@_kind("method", "limits", "always", "what shares of relevance are, and what they do not show")
def _method(table: PredictionTable) -> Iterator[Fact]:
    yield Fact("method", "method", must=True)


# --- what several kinds share ----------------------------------------------------------------------------------


def _is_main(table: PredictionTable, layer: LayerRow) -> bool:
    return table.main is not None and table.main.id == layer.id


def _leads(table: PredictionTable) -> Iterator[tuple[LayerRow, ConceptRow]]:
    """Find the concept of each layer whose absolute share is larger than that of every other channel."""
    for layer in table.layers:
        if layer.concepts and layer.concepts[0].direction:
            first = layer.concepts[0]
            sizes = sorted((abs(share) for share in layer.shares), reverse=True)
            if len(sizes) == 1 or sizes[1] < abs(first.share):
                yield layer, first


def _others(table: PredictionTable, kind: str, direction: int) -> Iterator[Fact]:
    leads = {row.id for _, row in _leads(table)}
    for layer in table.layers:
        for row in layer.concepts:
            if row.direction == direction and row.id not in leads:
                yield _about(table, kind, layer, row)


def _absences(table: PredictionTable, kind: str, *, present: int, absent: int) -> Iterator[Fact]:
    for layer in table.layers:
        directions = {row.direction for row in layer.concepts}
        if table.logit > 0 and present in directions and absent not in directions:
            yield Fact(
                f"{kind}:{layer.id}",
                kind,
                layer.layer,
                classes={"class": table.target.index},
                must=kind == "no_support" and _is_main(table, layer),
                polarity=present,
            )


def _groups(table: PredictionTable, kind: str, key: Callable[[ConceptRow], str]) -> Iterator[Fact]:
    for layer in table.layers:
        groups: dict[tuple[int, str], list[ConceptRow]] = {}
        for row in layer.concepts:
            if row.direction and key(row):
                groups.setdefault((row.direction, key(row)), []).append(row)
        for rows in groups.values():
            if len(rows) > 1:
                yield _group(table, kind, layer, rows)


def _group(table: PredictionTable, kind: str, layer: LayerRow, rows: Sequence[ConceptRow]) -> Fact:
    keys = tuple(row.key for row in rows)
    return Fact(
        id=f"{kind}:{rows[0].id}",
        kind=kind,
        layer=layer.layer,
        concepts=keys,
        classes={"class": table.target.index},
        numbers={
            "n": Quantity("n_group", keys, len(rows), "count"),
            "sum": Quantity("share_sum", keys, sum(row.share for row in rows)),
        },
        words={"place": rows[0].place, **_direction(table, rows[0])},
        polarity=_polarity(table, rows[0]),
    )


def _is_of_one_class(row: ConceptRow) -> bool:
    """Whether a concept that speaks for the class matters, on average, for this class alone."""
    usual = row.usual
    if usual is None or usual.other is None or row.direction <= 0 or usual.n_samples < MIN_CLASS_SAMPLES:
        return False
    return row.share > 0 and usual.mean >= LEADING_MEAN and usual.elsewhere < ELSEWHERE


def _are_alike(one: float, other: float, step: float) -> bool:
    """Whether two numbers differ by less than a step, and by little for their size."""
    return abs(one - other) < min(step, ALIKE_PART * max(abs(one), abs(other)))


def _compared(table: PredictionTable) -> Iterator[tuple[LayerRow, ConceptRow, Usual]]:
    """List the concepts that can be compared with their means."""
    for layer in table.layers:
        for row in layer.concepts:
            if table.logit > 0 and row.usual and row.usual.n_samples >= MIN_CLASS_SAMPLES:
                yield layer, row, row.usual


def _rivals(table: PredictionTable) -> Iterator[tuple[LayerRow, ConceptRow, float]]:
    for layer in table.layers:
        for row in layer.concepts:
            if table.logit > 0 and row.share > 0 and row.runner_up_share is not None and table.runner_up:
                yield layer, row, row.runner_up_share


def _against_rival(table: PredictionTable, kind: str, layer: LayerRow, row: ConceptRow, rival_share: float) -> Fact:
    rival = table.runner_up
    assert rival is not None
    side = "for" if rival_share > 0 else "against" if rival_share < 0 else "none"
    return Fact(
        id=f"{kind}:{row.id}",
        kind=kind,
        layer=layer.layer,
        concepts=(row.key,),
        classes={"class": table.target.index, "runner_up": rival.index},
        numbers={
            "share": _share(row),
            "rival_share": Quantity("rival_share", (row.key, str(rival.index)), rival_share),
        },
        words={"rival_side": side},
        polarity=1 if kind == "contrast" else -1,
    )


def _about(
    table: PredictionTable,
    kind: str,
    layer: LayerRow,
    row: ConceptRow,
    *,
    share: Literal["share"] | None = "share",
    must: bool = False,
    polarity: int | None = None,
) -> Fact:
    """Make a fact about one shown concept."""
    words = {**_direction(table, row), "level": "slight" if abs(row.share) < SLIGHT else "plain"}
    return Fact(
        id=f"{kind}:{row.id}",
        kind=kind,
        layer=layer.layer,
        concepts=(row.key,),
        classes={"class": table.target.index},
        numbers={"share": _share(row)} if share else {},
        words=words | ({"place": row.place} if row.place else {}),
        must=must,
        polarity=_polarity(table, row) if polarity is None else polarity,
    )


def _share(row: ConceptRow) -> Quantity:
    return Quantity("share", (row.key,), row.share)


def _class_samples(table: PredictionTable, number: int) -> Quantity:
    return Quantity("class_samples", (str(table.target.index),), number, "count")


def _direction(table: PredictionTable, row: ConceptRow) -> dict[str, str]:
    """Say on which side a concept is; of a negative score only whether the signs agree."""
    side = {1: "for", -1: "against", 0: "none"}[row.direction]
    return {"side": side, "score": "positive" if table.logit > 0 else "negative"}


def _polarity(table: PredictionTable, row: ConceptRow) -> int:
    return row.direction if table.logit > 0 else 0


def _is_of_kind(table: PredictionTable, row: ConceptRow, kind: str) -> bool:
    name = table.name(row.key)
    return name is not None and name.kind == kind and abs(row.share) >= WORTH_TELLING


def _maker(table: PredictionTable, key: str) -> str:
    name = table.name(key)
    if name and is_description(name):
        return "described"
    return {"recorded": "llm"}.get(name.by.kind, name.by.kind) if name else ""
