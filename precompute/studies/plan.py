"""Who is asked what: questions to raters, each in an order of its own.

Owns how many raters judge a question, which kind a name is asked in, and the key. Pure; must not know how questions
are made, files or pages.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

from precompute.atlas.digests import digest_of
from precompute.records.studied import QuestionKind, RaterSheet, StudyKey, StudyQuestion


@dataclass(frozen=True)
class StudySize:
    """How large a study is.

    Attributes
    ----------
    n_raters : int
    n_questions : int
        On each page, where the atlas has as many.
    n_each : int
        Raters who judge each question: two or more, or nothing can be told of their agreement.
    """

    n_raters: int = 2
    n_questions: int = 24
    n_each: int = 2

    @property
    def n_judging(self) -> int:
        """Raters who judge each question, never more than there are."""
        return min(self.n_each, self.n_raters)

    @property
    def has_both(self) -> bool:
        """Whether a name is asked against random and against hard rows, by different raters.

        Nobody may see a concept's row twice, or the second answer would be remembered and not found.
        """
        return self.n_raters >= 2 * self.n_judging

    def n_units(self, kind: QuestionKind) -> int:
        """Return how many different questions of a kind there should be: a sixth are intruders, a sixth texts."""
        sixth = self.n_questions // 6
        per_page = sixth if kind in ("intruder", "text") else self.n_questions - 2 * sixth
        total = per_page * self.n_raters // self.n_judging
        return total if kind in ("intruder", "text") else -(-total // 2)


def assign(atlas: str, seed: int, size: StudySize, questions: Sequence[StudyQuestion]) -> StudyKey:
    """Give each question to as many raters as it needs, and each rater an order of questions and of options.

    Questions of one concept go to different raters.
    """
    given: list[list[StudyQuestion]] = [[] for _ in range(size.n_raters)]
    for question in questions:
        seen = [any(question.concept and q.concept == question.concept for q in sheet) for sheet in given]
        alike = [sum(q.kind == question.kind for q in sheet) for sheet in given]  # no rater gets one kind alone
        free = sorted((len(sheet), alike[place], place) for place, sheet in enumerate(given) if not seen[place])
        for *_, place in free[: size.n_judging]:
            given[place].append(question)
    raters = []
    for number, sheet in enumerate(given, start=1):
        rng = random.Random(f"rater:{seed}:{number}")
        shown = rng.sample(sheet, len(sheet))
        orders = tuple(tuple(rng.sample(range(len(item.options)), len(item.options))) for item in shown)
        raters.append(RaterSheet(f"rater-{number:02}", tuple(item.id for item in shown), orders))
    key = StudyKey("", atlas, seed, tuple(questions), tuple(raters))
    return dataclasses.replace(key, study=digest_of(dataclasses.asdict(key))[:16])
