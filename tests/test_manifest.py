"""What the manifest of an atlas folder knows: damage, stale records, strangers, and what people wrote."""

import json
import shutil

import h5py
import pytest

from precompute.atlas.folder import Workspace
from precompute.atlas.json_records import write_json, write_jsonl
from precompute.atlas.manifest import MANIFEST, Manifest, check_folder, require_sound
from precompute.cli import main
from precompute.errors import StoreError
from precompute.progress import SilentReporter
from precompute.records.named import ConceptName, ConceptScore
from precompute.stages.corrections import Corrections
from precompute.stages.step import Step
from tests.site_fixture import write_synthetic


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A synthetic atlas whose files are noted as the stages note them."""
    folder = tmp_path_factory.mktemp("made") / "atlas"
    write_synthetic(folder)
    manifest = Manifest(folder)
    manifest.finish("atlas", "atlas mine", "a", [folder / "atlas.h5"])
    manifest.finish("references", "atlas references", "b", [folder / "references.h5"], manifest.digests("atlas"))
    manifest.finish("names", "atlas name", "c", [folder / "names.jsonl"], manifest.digests("references"))
    manifest.finish("scores", "atlas score", "d", [folder / "scores.jsonl"], manifest.digests("references", "names"))
    manifest.finish("truth", "atlas evaluate", "e", [folder / "truth.json"], manifest.digests("references", "names"))
    manifest.finish("trust", "atlas trust", "g", [folder / "trust.json"], manifest.digests("atlas"))
    for path in (folder / "explanations").glob("*.json"):
        files = [path, *path.with_suffix("").iterdir()]
        manifest.finish(f"explanations/{path.stem}", "atlas explain", "f", files, manifest.digests("atlas", "names"))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "atlas")


def faults(folder):
    return [(finding.text, finding.hint) for finding in check_folder(folder)]


def test_a_whole_folder_has_no_fault(folder, capsys):
    assert faults(folder) == []
    assert set(require_sound(folder)) >= {"atlas", "references", "names", "scores", "trust", "truth"}
    assert main(["verify", str(folder)]) == 0
    assert "are as they were written" in capsys.readouterr().out


def test_damage_names_the_line(folder):
    lines = (folder / "names.jsonl").read_text(encoding="utf-8").split("\n")
    lines[4] = lines[4].replace('"confidence": 0', '"confidence": 1')
    (folder / "names.jsonl").write_text("\n".join(lines), encoding="utf-8")
    ((text, hint),) = faults(folder)
    assert text.startswith("names.jsonl is damaged in line 5: ")
    assert hint == "`atlas name` makes it again"


def test_lines_that_are_gone_are_counted(folder):
    content = (folder / "scores.jsonl").read_bytes().split(b"\n")
    n_lines = len(content) - 1
    (folder / "scores.jsonl").write_bytes(b"\n".join([*content[:3], *content[4:]]))
    ((text, _),) = faults(folder)
    assert f"its number of lines ({n_lines - 1}, {n_lines} were written), line 4" in text


def test_damage_names_the_data_set(folder):
    with h5py.File(folder / "atlas.h5", "r+") as file:
        file["layers/0001/relmax/score"][0, 0] += 1e-9
    with h5py.File(folder / "references.h5", "r+") as file:
        file["crop/data"][5] ^= 1
    found = faults(folder)
    assert found[0][0].startswith("atlas.h5 is damaged in layers/0001/relmax/score: ")
    assert found[1][0].startswith("references.h5 is damaged in crop/data: ")


def test_what_is_missing_and_what_was_put_there_is_told(folder, capsys):
    (folder / "truth.json").unlink()
    first = sorted((folder / "explanations").glob("*.json"))[0]
    shutil.copy(first, folder / "explanations/other.json")
    found = dict(faults(folder))
    assert found["truth.json is missing"] == "`atlas evaluate` makes it again"
    assert "explanations/other.json is not in manifest.json: it was put there, or half made" in found
    with pytest.raises(StoreError, match=r"is not sound: .*truth\.json is missing .*`atlas run`"):
        require_sound(folder)
    assert main(["verify", str(folder)]) == 1
    assert "has 2 faults" in capsys.readouterr().err


def test_a_record_of_other_names_is_stale(folder):
    write_jsonl(folder / "names.jsonl", [ConceptName("features.7:0", "other", "", "offline")])
    manifest = Manifest(folder)
    manifest.finish("names", "atlas name", "c", [folder / "names.jsonl"], manifest.digests("references"))
    found = faults(folder)
    assert ("scores was made from other names than there are now", "`atlas score` makes it again") in found
    assert ("truth was made from other names than there are now", "`atlas evaluate` makes it again") in found
    assert len(found) == 2 + len(list((folder / "explanations").glob("*.json")))


def test_a_damaged_or_missing_manifest_vouches_for_nothing(folder):
    path = folder / MANIFEST
    text = path.read_text(encoding="utf-8")
    sha = Manifest(folder).products["names"].files["names.jsonl"].sha256
    path.write_text(text.replace(sha, ("0" if sha[0] != "0" else "1") + sha[1:]), encoding="utf-8")
    assert Manifest(folder).products == {}
    with pytest.raises(StoreError, match=r"manifest\.json is damaged: .*`atlas run`"):
        check_folder(folder)
    path.write_text(text[:-200], encoding="utf-8")
    with pytest.raises(StoreError, match=r"manifest\.json is damaged: .*`atlas run`"):
        check_folder(folder)
    path.unlink()
    with pytest.raises(StoreError, match=r"there is no .*manifest\.json, .*`atlas run`"):
        check_folder(folder)


def test_a_step_is_done_only_by_the_same_settings_from_the_same_files_and_whole(folder):
    workspace = Workspace(folder, folder / "site")

    def step(version=1):
        depends = {"version": version}
        return Step(workspace, SilentReporter(), "scores", "atlas score", depends, made_from=("names",))

    assert not step().is_done()
    step().finish(workspace.scores)
    assert step().is_done()
    assert not step(2).is_done()
    whole = workspace.names.read_bytes()
    workspace.manifest.finish("names", "atlas name", "c", [workspace.references])
    assert not step().is_done()
    workspace.manifest.finish("names", "atlas name", "c", [workspace.names])
    assert workspace.names.read_bytes() == whole
    assert step().is_done()
    workspace.scores.write_bytes(workspace.scores.read_bytes()[:-1])
    assert step().is_noted
    assert not step().is_done()
    step().begin(workspace.scores)
    assert workspace.manifest.is_whole("scores")
    assert not step().is_done()


# --- what people wrote ---------------------------------------------------------------------------------------------

SAID = [ConceptName("features.7:0", "a wheel", "", "person:ada", "part", date="2023-11-14")]


@pytest.fixture
def corrections(folder):
    made = Corrections(Workspace(folder, folder / "site"), SilentReporter())
    made.write(SAID)
    return made


@pytest.mark.parametrize("name", ["corrections.jsonl", "corrections.copy.jsonl"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_one_damaged_copy_is_restored_and_kept(corrections, folder, name, damage):
    path = folder / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole.replace(b"wheel", b"whale") if damage == "flip" else b"")
    assert corrections.read() == SAID
    assert path.read_bytes() == whole
    assert faults(folder) == []
    assert len(list(folder.glob("corrections*.damaged-*.jsonl"))) == (damage != "gone")


def test_two_damaged_copies_are_left_to_people(corrections, folder):
    first, second = folder / "corrections.jsonl", folder / "corrections.copy.jsonl"
    first.write_bytes(first.read_bytes().replace(b"wheel", b"whale"))
    second.write_bytes(second.read_bytes().replace(b"wheel", b"wheal"))
    with pytest.raises(StoreError, match=r"neither is as it was written .*keep the right one as corrections\.jsonl"):
        corrections.read()
    second.rename(folder / "elsewhere.jsonl")  # as the message says
    assert [name.name for name in corrections.read()] == ["a whale"]
    assert faults(folder) == []


def test_without_a_manifest_equal_copies_are_taken_and_different_ones_are_not(corrections, folder):
    (folder / MANIFEST).unlink()
    assert corrections.read() == SAID
    (folder / MANIFEST).unlink()
    (folder / "corrections.jsonl").write_bytes(b"")
    with pytest.raises(StoreError, match="their contents differ"):
        corrections.read()


def test_a_line_that_is_no_correction_is_told(folder):
    (folder / "corrections.jsonl").write_text(json.dumps({"concept": "features.7:0"}) + "\n")
    with pytest.raises(StoreError, match=r"corrections\.jsonl, line 1, is damaged: .*Put the line right"):
        Corrections(Workspace(folder, folder / "site"), SilentReporter()).read()


def test_no_corrections_are_no_corrections(folder):
    assert Corrections(Workspace(folder, folder / "site"), SilentReporter()).read() == []


def test_scores_are_not_a_file_with_a_header():
    assert not hasattr(ConceptScore, "FILE_FORMAT")
    with pytest.raises(AttributeError):
        write_json(None, SAID[0])
