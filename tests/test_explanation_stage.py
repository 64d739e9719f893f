"""What is kept, worded anew, made again or set aside when the explaining stage runs a second time."""

import csv
import shutil
from pathlib import Path

import pytest

from precompute.atlas.json_records import read_json
from precompute.cli import main
from precompute.records import Explanation
from tests.server import TestServer
from tests.small_atlas import make_small_atlas


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished small atlas with one explanation of a photo from outside."""
    folder = tmp_path_factory.mktemp("finished")
    make_small_atlas(folder)
    shutil.copy(next((folder / "photos").rglob("*.png")), folder / "outside.png")
    assert run(folder, "run") == 0
    assert run(folder, "explain", folder / "outside.png", site=False) == 0
    return folder


@pytest.fixture
def atlas(finished, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(finished, tmp_path / "atlas")
    return tmp_path / "atlas"


def run(folder, command, *arguments, site=True):
    """Run a command of `atlas` on the small atlas in `folder`."""
    given = [*map(str, arguments), *(["--site", str(folder / "site")] if site else [])]
    return main([command, "--config", str(folder / "small.toml"), *given])


def outside(atlas):
    """Return the path of the outside photo's explanation."""
    (path,) = (atlas / "small/explanations").glob("outside-*.json")
    return path


def test_an_explanation_of_another_setting_is_set_aside_and_off_the_site(atlas, capsys):
    name = outside(atlas).stem
    assert run(atlas, "run") == 0
    assert (atlas / f"site/explanations/{name}.html").exists()
    assert run(atlas, "run", "--set", "explaining.n_concepts=2") == 0
    assert "outdated: 4 made with another model" in capsys.readouterr().out
    assert not list((atlas / "small/explanations").glob("outside-*"))
    aside = atlas / "small/explanations/outdated"
    (path,) = aside.glob(f"{name}.*.json")
    explanation = read_json(path, Explanation)
    assert all((path.with_suffix("") / picture).is_file() for picture in explanation.pictures())
    assert not (atlas / f"site/explanations/{name}.html").exists()
    assert len(list((atlas / "site/explanations").glob("*.html"))) == 1 + 3


def shown(atlas):
    files = (path for path in (atlas / "small/explanations").rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if "outdated" not in path.parts}


def test_an_explanation_set_aside_comes_back_with_its_setting(atlas):
    before = shown(atlas)
    for n_concepts in (2, 1):
        setting = ["--set", f"explaining.n_concepts={n_concepts}"]
        assert run(atlas, "explain", *setting, atlas / "outside.png", site=False) == 0
        assert outside(atlas)
    assert shown(atlas) != before
    assert run(atlas, "explain", site=False) == 0
    assert shown(atlas) == before
    assert len(list((atlas / "small/explanations/outdated").glob("outside-*.json"))) == 2


def test_a_dry_run_with_another_setting_loses_nothing(atlas):
    before = shown(atlas)
    dry = ["--dry-run", "--set", "llm.enabled=true", "--set", "llm.model=m", "--set", "explaining.n_concepts=2"]
    run(atlas, "explain", *dry, site=False)
    assert run(atlas, "explain", site=False) == 0
    assert shown(atlas) == before


def test_a_corrected_name_reaches_explanations_of_earlier_runs(atlas, tmp_path):
    before = read_json(outside(atlas), Explanation)
    concept = before.targets[0].layers[0].concepts[0].concept
    table = tmp_path / "names.csv"
    assert run(atlas, "names", "export", table, site=False) == 0
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"name": "zebra crossing"} for row in rows if row["concept"] == concept)
    assert run(atlas, "names", "import", table, "--author", "N. N.", site=False) == 0
    assert run(atlas, "explain", site=False) == 0
    after = read_json(outside(atlas), Explanation)
    assert "zebra crossing" not in str(before)
    assert "zebra crossing" in str(after.targets[0].narratives)
    assert after.targets[0].layers == before.targets[0].layers


def test_a_picture_that_is_gone_is_made_again(atlas):
    path = min((atlas / "small/explanations").glob("0*.json"))
    explanation = read_json(path, Explanation)
    lost = path.with_suffix("") / explanation.targets[0].layers[0].concepts[0].overlay
    content = lost.read_bytes()
    lost.unlink()
    assert run(atlas, "explain", site=False) == 0
    assert lost.read_bytes() == content


def test_pictures_lists_every_file(atlas):
    for path in (atlas / "small/explanations").glob("*.json"):
        assert set(read_json(path, Explanation).pictures()) == {
            file.name for file in Path(path.with_suffix("")).iterdir()
        }


def test_a_language_model_plans_and_writes_beside_it(atlas, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with TestServer() as server:
        model = ["--set", "llm.enabled=true", "--set", f"llm.base_url={server.base_url}", "--set", "llm.model=test"]
        assert run(atlas, "explain", *model, "--set", "explaining.own_words=true", "--dry-run", site=False) == 0
        assert "calls" in capsys.readouterr().out
        assert server.n_calls == 0
        assert run(atlas, "explain", *model, "--set", "explaining.own_words=true", site=False) == 0
        n_calls = server.n_calls
        assert run(atlas, "explain", *model, "--set", "explaining.own_words=true", site=False) == 0
        assert server.n_calls == n_calls
    for path in (atlas / "small/explanations").glob("*.json"):
        for target in read_json(path, Explanation).targets:
            assert {narrative.planner for narrative in target.narratives} == {"llm:test"}
            assert all(narrative.own_words.statements for narrative in target.narratives)


def test_an_unknown_audience_is_told_before_anything_is_computed(atlas, capsys):
    assert run(atlas, "run", "--set", 'explaining.audiences=["lawyer"]') == 1
    assert "there is no audience 'lawyer'" in capsys.readouterr().err


@pytest.mark.parametrize(("language", "told"), [("fr", True), ("de-CH", False)])
def test_a_language_without_sentences_is_told(atlas, capsys, language, told):
    assert run(atlas, "explain", "--set", f"explaining.language={language}", site=False) == 0
    assert ("so these are English" in capsys.readouterr().out) == told
