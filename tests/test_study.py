"""Studies with people: pages that do not tell what is right, answers that are checked, figures that hold."""

import base64
import json
import re
from pathlib import Path

import pytest

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import read_atlas
from precompute.atlas.json_records import read_json
from precompute.cli import main
from precompute.errors import AtlasError, DataError, OutputError
from precompute.records import Concept
from precompute.records.studied import OPTION_LETTERS, StudyAnswers, StudyQuestion, StudyResult
from precompute.studies.agreement import krippendorff_alpha, wilson
from precompute.studies.answers import score_study
from precompute.studies.kit import StudyKit
from precompute.studies.marking import mark
from precompute.studies.plan import StudySize, assign
from sitegen.rater import rater_html

from . import site_fixture

CHROMIUM = Path("/usr/bin/chromium")


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def track(self, *_, **__):
        from contextlib import nullcontext

        return nullcontext(lambda n: None)


# --- agreement ---------------------------------------------------------------------------------------------------


def test_alpha_is_that_of_the_textbook():
    """Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections A and C: 0.095 and 0.743."""
    two = list(zip("0100000010", "1110010000", strict=True))
    assert krippendorff_alpha(two) == pytest.approx(0.095, abs=5e-4)
    raters = ("123321412...", "123322412" + "5.3", ".33323422" + "51.", "123324412" + "51.")
    four = [[value for value in unit if value != "."] for unit in zip(*raters, strict=True)]
    assert krippendorff_alpha(four) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_what_cannot_be_told_is_none():
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a", "a"], ["b", "b", "b"]]) == 1.0


def test_wilson_is_that_of_the_textbook():
    """By hand for 8 of 10: (0.8 + 0.192073 ± 1.959964 sqrt(0.016 + 0.0096037)) / 1.384146."""
    assert wilson(0.8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert wilson(1.0, 4)[1] == 1.0
    assert wilson(0.0, 0) == (0.0, 1.0)


# --- who is asked what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_raters", "n_each"), [(1, 2), (2, 2), (3, 2), (4, 2), (5, 1)])
def test_nobody_sees_a_concepts_row_twice(n_raters, n_each):
    size = StudySize(n_raters, 12, n_each)
    kinds = ("random", "hard") if size.has_both else ("random",)
    questions = [
        StudyQuestion(f"q{number}-{kind}", kind, ("a:0", "a:1"), 0, f"a:{number}")
        for number in range(6)
        for kind in kinds
    ]
    key = assign("x", 0, size, questions)
    by_id = {question.id: question for question in questions}
    for sheet in key.raters:
        concepts = [by_id[question].concept for question in sheet.questions]
        assert len(concepts) == len(set(concepts))
        kinds_given = [by_id[question].kind for question in sheet.questions]
        counts = [kinds_given.count(kind) for kind in kinds]
        assert max(counts) - min(counts) <= 1, "a kind that one rater gets alone cannot be told from the rater"
    given = [question for sheet in key.raters for question in sheet.questions]
    assert all(given.count(question.id) == size.n_judging for question in questions)


# --- pages -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def atlas_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "atlas"
    site_fixture.write_synthetic(folder, untrusted=True, n_samples=800)
    Workspace(folder, folder).manifest.finish("names", "atlas name", "", [folder / "names.jsonl"])
    return folder


def make(atlas_folder, folder, seed=0):
    kit = StudyKit(Workspace(atlas_folder, folder), Told(), (site_fixture.SIDE,) * 2, held_out=True)
    return kit.make(read_atlas(atlas_folder / "atlas.h5"), folder, StudySize(4, 12, 2), seed, rater_html)


@pytest.fixture(scope="module")
def study(atlas_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    key = make(atlas_folder, folder / "s")
    return key, folder / "s"


def test_the_pages_do_not_tell_what_is_right(study):
    key, folder = study
    assert {question.kind for question in key.questions} >= {"random", "hard", "intruder"}
    for sheet in key.raters:
        text = (folder / f"{sheet.rater}.html").read_text()
        without_pictures = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)
        for word in ("right", "hard", "random", *(question.concept for question in key.questions if question.concept)):
            assert not re.search(rf"\b{re.escape(word)}\b", without_pictures), word
        for question in key.questions:
            assert question.id not in without_pictures


def test_no_place_is_right_much_more_often_than_another(study):
    key, _ = study
    by_id = {question.id: question for question in key.questions}
    places = [
        order.index(by_id[question].right)
        for sheet in key.raters
        for question, order in zip(sheet.questions, sheet.orders, strict=True)
        if by_id[question].kind in ("random", "hard")
    ]
    assert set(places) == {0, 1, 2, 3}


def test_rows_are_held_out_and_of_no_sample_that_another_row_shows(atlas_folder):
    from precompute.atlas.hdf5 import ReferenceReader
    from precompute.naming.held_out import seen_half
    from precompute.studies.rows import Rows

    atlas = read_atlas(atlas_folder / "atlas.h5")
    layer = list(atlas.layers)[-1]
    with ReferenceReader(atlas_folder / "references.h5") as reader:
        read = lambda channel: reader.read(Concept(layer, channel), "relmax")  # noqa: E731
        rows = Rows(atlas.layers[layer], read, {}, (site_fixture.SIDE,) * 2, 0)
        made = [rows.choose(channel, against) for channel in range(8) for against in ("random", "hard")]
        for choice in filter(None, made):
            own = atlas.layers[layer].relmax.sample_index[:, choice.concept.channel]
            for concept, row in zip(choice.concepts, choice.rows, strict=True):
                seen = {item.sample_index for item in seen_half(read(concept.channel))}
                assert all(item.concept == concept and item.sample_index not in seen for item in row)
                assert concept == choice.concept or not {item.sample_index for item in row} & set(own.tolist())
            shown = [item.sample_index for row in choice.rows for item in row]
            assert len(shown) == len(set(shown))
        assert any(made)


def test_the_same_study_has_the_same_bytes_and_another_one_is_never_written_over(study, atlas_folder):
    key, folder = study
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert make(atlas_folder, folder) == key
    with pytest.raises(OutputError, match="another study"):
        make(atlas_folder, folder, seed=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(OutputError, match="other files"):
        make(atlas_folder, atlas_folder)


def test_hostile_names_stay_text_and_the_policy_names_what_is_in_the_page(study):
    import hashlib

    folder = study[1]
    text = (folder / "rater-01.html").read_text()
    scripts = re.findall(r"<script(?![^>]*json)[^>]*>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "'self'" not in policy
    assert "<img src=x" not in text
    assert "<script>alert" not in text


# --- answers -----------------------------------------------------------------------------------------------------


def answer(key, rater, path, choose):
    """Write the file of a rater who chooses the place `choose(question)` among a question's options."""
    sheet = next(sheet for sheet in key.raters if sheet.rater == rater)
    by_id = {question.id: question for question in key.questions}
    answers = {
        str(number): OPTION_LETTERS[order.index(choose(by_id[question]))]
        for number, (question, order) in enumerate(zip(sheet.questions, sheet.orders, strict=True), start=1)
    }
    record = {"kind": "study-answers", "format_version": 1, "study": key.study, "rater": rater, "answers": answers}
    path.write_text(json.dumps(record))
    return path


def test_those_who_know_are_all_right_and_agree(study, tmp_path):
    key, folder = study
    files = [answer(key, sheet.rater, tmp_path / f"{sheet.rater}.json", lambda q: q.right) for sheet in key.raters]
    told = Told()
    result = score_study(folder / "key.json", files, told)
    assert all(rate.rate == 1.0 and rate.n_right == rate.n_answers and rate.high == 1.0 for rate in result.rates)
    assert all(alpha in (1.0, None) for alpha in result.alphas.values())
    assert result.alphas["random"] == 1.0
    assert read_json(folder / "result.json", StudyResult) == result
    (folder / "result.json").unlink()


def test_figures_of_a_small_study_are_those_by_hand():
    questions = tuple(
        StudyQuestion(f"q{i}", "random", ("a", "b", "c", "d"), 1, f"l:{i}", "n", "llm:m", confidence=claim)
        for i, claim in enumerate((0.95, 0.8, 0.8, 0.2))
    )
    key = assign("x", 0, StudySize(2, 4, 2), questions)
    choices = {"rater-01": {"q0": 1, "q1": 1, "q2": 0, "q3": 0}, "rater-02": {"q0": 1, "q1": 2, "q2": 0}}
    result = mark(key, choices)
    every, sure, middle, least = result.rates
    assert (every.n_questions, every.n_answers, every.n_right) == (4, 7, 3)
    assert every.rate == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert (every.low, every.high) == wilson(0.375, 4)
    assert [(rate.at_least, rate.below, rate.rate) for rate in (sure, middle, least)] == [
        (0.9, None, 1.0),
        (0.7, 0.9, 0.25),
        (0.0, 0.5, 0.0),
    ]
    # by hand: pairs (1,1), (1,2), (0,0); Do = 2, De of counts 3, 1, 2 = 36 - 14 = 22, alpha = 1 - 5 * 2 / 22
    assert result.alphas == {"random": pytest.approx(1 - 10 / 22)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "<b>other</b>"}, "answers the study"),
        ({"rater": "rater-99"}, "the key has rater-01"),
        ({"answers": {"999": "A"}}, "page has 1 to"),
        ({"answers": {"-1": "A"}}, "page has 1 to"),
        ({"answers": {"1": "AB"}}, "is no option"),
        ({"answers": {"1": "Z"}}, "is no option"),
        ({"answers": {"1": 1}}, "answers"),
        ({"more": 1}, "more"),
        ({"kind": "trust"}, "kind"),
    ],
)
def test_answers_that_do_not_fit_are_refused_and_nothing_is_written(study, tmp_path, change, message):
    key, folder = study
    path = answer(key, "rater-01", tmp_path / "a.json", lambda q: 0)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AtlasError, match=message):
        score_study(folder / "key.json", [path], Told())
    assert not (folder / "result.json").exists()


def test_a_second_file_of_a_rater_and_a_huge_one_are_refused(study, tmp_path):
    key, folder = study
    path = answer(key, "rater-01", tmp_path / "a.json", lambda q: 0)
    with pytest.raises(DataError, match="second file"):
        score_study(folder / "key.json", [path, path], Told())
    path.write_text(" " * (2 << 20))
    with pytest.raises(DataError, match="at most"):
        score_study(folder / "key.json", [path], Told())


def test_the_command_says_what_is_missing(tmp_path, capsys):
    assert main(["study", "score", "--config", "data/world.toml", "--folder", str(tmp_path)]) == 1
    assert "there are no answers" in capsys.readouterr().err
    assert main(["study", "score", "x.json", "--config", "data/world.toml", "--folder", str(tmp_path)]) == 1
    assert "key.json" in capsys.readouterr().err


# --- in a browser ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
def test_a_page_is_answered_by_keyboard_from_disk_and_saved(study, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    key, folder = study
    sheet, faults = key.raters[0], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.extend([request.url] if request.url.startswith("http") else []))
        page.goto((folder / f"{sheet.rater}.html").as_uri())
        page.keyboard.press("Enter")
        for _ in sheet.questions:
            page.keyboard.press("b")
            page.keyboard.press("Enter")
        page.reload()  # what was answered is still there
        page.keyboard.press("Enter")
        for _ in sheet.questions:
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.keyboard.press("Enter")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "answers.json")
        browser.close()
    assert faults == []
    answers = read_json(tmp_path / "answers.json", StudyAnswers)
    assert answers == StudyAnswers(key.study, sheet.rater, {str(n): "B" for n in range(1, len(sheet.questions) + 1)})
