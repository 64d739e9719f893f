"""The stage of trust: killed it goes on, and only what depends on names is made again with other names."""

import json

import pytest

from precompute.cli import main
from precompute.stages.trust import TrustStage
from tests.small_atlas import make_small_atlas


class Killed(BaseException):
    """As an interruption."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("trust")
    config = make_small_atlas(path)
    config.write_text(config.read_text() + "[trust]\nn_samples = 4\nn_random = 1\nn_greedy = 1\n")
    for command in ("mine", "references", "name", "explain"):
        assert main([command, "--config", str(config), "--output", str(path / "out")]) == 0
    return path


def trust(folder):
    return main(["trust", "--config", str(folder / "small.toml"), "--output", str(folder / "out")])


def test_killed_it_goes_on_and_other_names_make_families_alone(folder, monkeypatch):
    assert trust(folder) == 0
    path = folder / "out" / "trust.json"
    whole = path.read_bytes()

    def killed(*_):
        raise Killed

    path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(TrustStage, "_sanity", killed)
        with pytest.raises(Killed):
            trust(folder)
    assert set(json.loads(path.read_text())["parts"]) == {"shares", "audit", "photos"}
    made = []
    for part in ("_layers", "_audit", "_photos", "_sanity", "_prototypes"):
        original = getattr(TrustStage, part)
        monkeypatch.setattr(
            TrustStage, part, lambda self, *rest, part=part, made_by=original: made.append(part) or made_by(self, *rest)
        )
    assert trust(folder) == 0
    assert made == ["_sanity", "_prototypes"]
    assert path.read_bytes() == whole
    made.clear()
    table = folder / "names.csv"
    options = ["--config", str(folder / "small.toml"), "--output", str(folder / "out")]
    key = json.loads((folder / "out" / "names.jsonl").read_text().splitlines()[-1])["concept"]
    table.write_text(f"concept,name\n{key},quite another name\n")
    assert main(["names", "import", str(table), "--author", "A reader", *options]) == 0
    assert trust(folder) == 0
    assert made == []
    assert json.loads(path.read_text())["parts"]["families"] != json.loads(whole)["parts"]["families"]
    report = json.loads(path.read_text())
    assert {check["kind"] for check in report["sanity"]} == {"weights", "target", "photo"}
    assert all(abs(item["residual"]) < 1e-3 for item in report["conservation"])
