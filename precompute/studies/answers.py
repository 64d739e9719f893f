"""Raters' files into figures: what their pages saved is read against the key, told, and written beside it.

Owns the reading of answers and the lines that tell the figures. Must not know how figures are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from precompute.atlas.files import unreadable
from precompute.atlas.json_records import read_json, write_json
from precompute.errors import DataError
from precompute.printing import numbers
from precompute.progress import Reporter
from precompute.records.studied import HitRate, StudyAnswers, StudyKey, StudyResult

from .kit import KIND_WORDS
from .marking import mark, read_choices

RESULT = "result.json"
MOST_BYTES = 1 << 20
"""Of a file of answers: a page writes some hundreds."""


def score_study(path: Path, files: Sequence[Path], reporter: Reporter) -> StudyResult:
    """Read raters' answers, tell their figures and write them beside the key.

    Parameters
    ----------
    path : Path
        The key.
    files : sequence of Path
        What raters' pages saved.
    reporter : Reporter

    Raises
    ------
    StoreError, DataError
        The key or a file cannot be read or does not fit; says which and why. Nothing is written then.
    """
    if not files:
        raise DataError("there are no answers to score: name the files that raters saved, `atlas study score FILE ...`")
    key = read_json(
        path, StudyKey, "Name the folder of the study, where `atlas study` wrote it beside the pages, with --folder."
    )
    choices: dict[str, dict[str, int]] = {}
    for file in files:
        answers = _read_answers(file)
        found = read_choices(key, answers, str(file))
        if answers.rater in choices:
            raise DataError(f"{file} is a second file of {answers.rater}: name one for each rater")
        choices[answers.rater] = found
    result = mark(key, choices)
    for line in describe_result(key, result):
        reporter.say(line)
    write_json(path.with_name(RESULT), result)
    reporter.say(f"scored    {path.with_name(RESULT)}: {numbers.plural(len(choices), 'rater')}")
    return result


def _read_answers(path: Path) -> StudyAnswers:
    try:
        length = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    if length > MOST_BYTES:
        raise DataError(f"{path} has {length} bytes; the answers of a page have at most {MOST_BYTES}")
    return read_json(path, StudyAnswers, "It has to be the file that a rater's page saved, unchanged.")


def describe_result(key: StudyKey, result: StudyResult) -> Iterator[str]:
    """Put the figures into lines, one for each sort of question and band of claims."""
    for rate in result.rates:
        yield f"measured  {KIND_WORDS[rate.kind]}{_of_whom(rate)}: {_describe(rate)}"
    for kind, words in KIND_WORDS.items():
        if kind not in result.alphas:
            continue
        alpha = result.alphas[kind]
        told = "not known (no question has two answers that could differ)" if alpha is None else numbers.fixed(alpha)
        yield f"agreement {words}: Krippendorff's alpha {told}"
    if any(not question.held_out for question in key.questions):
        yield "note      the namer saw these images too, so that names may do better here than on others"


def _of_whom(rate: HitRate) -> str:
    if not rate.author:
        return ""
    if rate.at_least is None:
        return f", {rate.author}"
    if rate.below is None:
        return f", claims of {numbers.fixed(rate.at_least, 1)} and more"
    return f", claims of {numbers.fixed(rate.at_least, 1)} to {numbers.fixed(rate.below, 1)}"


def _describe(rate: HitRate) -> str:
    low, high = (numbers.percent(edge, decimals=0) for edge in (rate.low, rate.high))
    return (
        f"{numbers.count(rate.n_right)} of {numbers.plural(rate.n_answers, 'answer')} right, "
        f"{numbers.percent(rate.rate, decimals=0)} of {numbers.plural(rate.n_questions, 'question')} "
        f"(95 % interval {low} to {high}; guessing {numbers.percent(rate.chance, decimals=0)})"
    )
