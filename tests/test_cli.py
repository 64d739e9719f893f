"""The command line from start to end, and one clear message for everything that can be wrong."""

import fcntl
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader, damaged_parts, read_atlas
from precompute.atlas.json_records import read_json
from precompute.cli import _COMMANDS, _REPORTS, build_parser, main
from precompute.config import load_config
from precompute.errors import StoreError
from precompute.inputs import Inputs
from precompute.records import Explanation
from tests.small_atlas import CONFIG, make_small_atlas
from tests.test_store import assert_same


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One finished small atlas; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_small_atlas(folder)
    assert main(["run", "--config", str(config), "--site", str(folder / "site")]) == 0
    return folder


@pytest.fixture
def small(tmp_path):
    return make_small_atlas(tmp_path)


def fails(capsys, arguments, *expected):
    """Assert exit code 1, one message that holds the expected words, and no traceback."""
    assert main([str(argument) for argument in arguments]) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    for words in expected:
        assert words in message, message
    return message


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_run_makes_everything(finished):
    folder = finished / "small"
    atlas = read_atlas(folder / "atlas.h5")
    assert list(atlas.layers) == ["0", "3", "6"]
    assert atlas.provenance["counts"] == {"samples": 30, "used": 30, "skipped": 0}
    with ReferenceReader(folder / "references.h5") as reader:
        assert len(reader.concepts()) > 20
    assert len((folder / "names.jsonl").read_text().splitlines()) == 8 + 12 + 10
    explanations = [read_json(path, Explanation) for path in (folder / "explanations").glob("*.json")]
    assert len(explanations) == 3
    for explanation in explanations:
        for target in explanation.targets:
            assert {narrative.audience for narrative in target.narratives} == {"expert", "stakeholder"}
            for layer in target.layers:
                assert abs(sum(map(abs, layer.shares)) - 1) < 1e-6
                assert abs(layer.coverage - sum(abs(concept.share) for concept in layer.concepts)) < 1e-9
            for concept in (concept for layer in target.layers for concept in layer.concepts):
                assert (folder / "explanations" / explanation.id / concept.overlay).exists()
    assert (finished / "site" / "index.html").exists()
    assert not list(finished.rglob("*.partial"))


def test_a_second_run_changes_nothing(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert main(["run", "--config", str(finished / "small.toml"), "--site", str(finished / "site")]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().out.count("kept") == 5


def test_every_path_may_be_relative(tmp_path, capsys, monkeypatch):
    (tmp_path / "there").mkdir()
    make_small_atlas(tmp_path / "there", n_per_class=3)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--config", "there/small.toml", "--output", "made/atlas", "--site", "made/site"]) == 0
    assert (tmp_path / "made/atlas/atlas.h5").exists()
    assert (tmp_path / "made/site/index.html").exists()
    assert (tmp_path / "made/site/index.html").resolve().as_uri() in capsys.readouterr().out


def test_what_can_be_made_again_lies_in_the_output_folder_too(small, tmp_path):
    arguments = ["--output", str(tmp_path / "elsewhere"), "--set", "mining.cache_images=true"]
    assert main(["mine", "--config", str(small), *arguments]) == 0
    assert list((tmp_path / "elsewhere/cache").glob("images-*.u8"))
    assert not (tmp_path / "small").exists()


def test_every_command_has_help(capsys):
    for name in [*(name for name in _COMMANDS if name != "report"), *(f"report {kind}" for kind in _REPORTS)]:
        with pytest.raises(SystemExit) as leaving:
            build_parser().parse_args([*name.split(), "--help"])
        assert leaving.value.code == 0
        assert "--config" in capsys.readouterr().out


def test_layers_prints_what_the_model_has(small, capsys):
    assert main(["layers", "--config", str(small)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[1:] if line.split()}
    assert rows["0"] == ["0", "Conv2d", "8", "24", "x", "24", "3", "px", "yes"]
    assert rows["10"] == ["10", "Linear", "3", "1", "x", "1", "whole", "image"]


def test_explain_takes_photos_from_outside(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    photo = next((finished / "photos").rglob("*.png"))
    shutil.copy(photo, tmp_path / "my <photo>.png")
    arguments = ["explain", "--config", str(tmp_path / "copy/small.toml"), str(tmp_path / "my <photo>.png")]
    assert main(arguments) == 0
    written = capsys.readouterr().out.splitlines()[-1]
    explanation = read_json(tmp_path / "copy/small/explanations" / Path(written).name, Explanation)
    assert explanation.photo_name == "my <photo>.png"


def test_machines_share_the_work_and_merge(finished, small, tmp_path, capsys):
    for part in ("2/3", "1/3", "3/3"):
        assert main(["mine", "--config", str(small), "--shard", part]) == 0
    assert not (tmp_path / "small/atlas.h5").exists()
    assert main(["merge", "--config", str(small)]) == 0
    merged, whole = read_atlas(tmp_path / "small/atlas.h5"), read_atlas(finished / "small/atlas.h5")
    for name in whole.layers:
        assert_same(whole.layers[name], merged.layers[name])


def test_a_merge_before_its_time_is_told(small, capsys):
    assert main(["mine", "--config", str(small), "--shard", "1/3"]) == 0
    fails(capsys, ["merge", "--config", small], "2 of 4 shards are not there yet", "--shard")


KILLED = """
import os, pathlib, signal, sys
from precompute.cli import main
replace = pathlib.Path.replace
def run(stage, folder, command):
    def replace_and_die(self, target):
        replace(self, target)
        if stage in pathlib.Path(target).parts and pathlib.Path(target).suffix == ".h5":
            os.kill(os.getpid(), signal.SIGKILL)
        return target
    pathlib.Path.replace = replace_and_die
    main([command, "--config", folder + "/small.toml"])
for stage, folder, command in zip(*[iter(sys.argv[1:])] * 3):
    child = os.fork()
    if not child:
        run(stage, folder, command)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Runs that die the moment their first part is in place, so that they can neither finish nor write a second one."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folders in which a run was killed, and how it ended, by the stage."""
    folders = {stage: tmp_path_factory.mktemp(stage) for stage in ("shards", "blocks")}
    for folder in folders.values():
        make_small_atlas(folder)
    assert main(["mine", "--config", str(folders["blocks"] / "small.toml")]) == 0
    runs = ("shards", str(folders["shards"]), "mine", "blocks", str(folders["blocks"]), "references")
    done = subprocess.run([sys.executable, "-c", KILLED, *runs], capture_output=True, text=True, check=True)
    codes = [int(line) for line in done.stdout.splitlines() if line.lstrip("-").isdigit()]
    return {stage: (folder, code) for (stage, folder), code in zip(folders.items(), codes, strict=True)}


@pytest.mark.parametrize("stage", ["shards", "blocks"])
def test_killed_and_run_again_gives_equal_files(finished, killed, stage):
    tmp_path, code = killed[stage]
    config, made = tmp_path / "small.toml", "atlas.h5" if stage == "shards" else "references.h5"
    assert code == -signal.SIGKILL
    assert len(list((tmp_path / "small" / stage).rglob("*.h5"))) == 1
    assert not (tmp_path / "small" / made).exists()
    for name in ("mine", "references"):
        assert main([name, "--config", str(config)]) == 0
    whole, again = read_atlas(finished / "small/atlas.h5"), read_atlas(tmp_path / "small/atlas.h5")
    for name in whole.layers:
        assert_same(whole.layers[name], again.layers[name])
    for path in (finished, tmp_path):
        with h5py.File(path / "small/references.h5") as file:
            file_contents = {key: file[key][()].tobytes() for key in ("row", "score", "heatmap/data", "crop/data")}
        if path == finished:
            expected = file_contents
    assert file_contents == expected


def test_ctrl_c_leaves_one_line_and_exit_code_1(small, tmp_path):
    command = [sys.executable, "-m", "precompute.cli", "run", "--config", str(small), "--site", str(tmp_path / "site")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "small").rglob("*.h5")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "the same command goes on from there" in errors
    assert not list(tmp_path.rglob("*.partial"))


# --- what can be wrong -----------------------------------------------------------------------------------------


def test_missing_empty_and_half_empty_folders(small, tmp_path, capsys):
    fails(capsys, ["run", "--config", small, "--set", "dataset.root=nowhere"], "nowhere")
    (tmp_path / "empty").mkdir()
    fails(capsys, ["run", "--config", small, "--set", "dataset.root=empty"], "empty")
    (tmp_path / "photos/hollow").mkdir()
    fails(capsys, ["run", "--config", small], "hollow")
    assert not (tmp_path / "small").exists()


def test_bad_images_are_skipped_counted_and_listed(small, tmp_path, capsys):
    folder = tmp_path / "photos/red thing"
    (folder / "zz_text.jpg").write_text("not an image")
    (folder / "zz_cut.png").write_bytes((folder / "000.png").read_bytes()[:400])
    assert main(["run", "--config", str(small), "--site", str(tmp_path / "site")]) == 0
    told = capsys.readouterr().out
    assert "zz_text.jpg" in told
    assert "zz_cut.png" in told
    assert read_atlas(tmp_path / "small/atlas.h5").provenance["counts"] == {"samples": 32, "used": 30, "skipped": 2}


def test_only_bad_images(small, tmp_path, capsys):
    for path in (tmp_path / "photos").rglob("*.png"):
        path.write_text("nothing")
    fails(capsys, ["run", "--config", small], "none of the 30 samples could be used")
    assert not (tmp_path / "small/atlas.h5").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.factory=torchvision:vgg61", ["vgg61", "vgg16"]),
        ("model.factory=nothing_here:network", ["nothing_here"]),
        ("model.layers=['features.99']", ["features.99"]),
        ("mining.topk=3", ["topk", "top_k"]),
        ("mining.top_k=many", ["top_k", "many"]),
        ("relevance.device=cuda:99", ["cuda:99"]),
        ("relevance.device=meta", ["meta"]),
        ("references.heatmap_layers=['nope']", ["nope"]),
        ("model.factory=torchvision:mobilenet_v3_small", ["mobilenet_v3_small", "1000 classes", "names 3"]),
    ],
)
def test_a_wrong_value_on_the_command_line(small, tmp_path, capsys, override, expected):
    fails(capsys, ["run", "--config", small, "--set", override], *expected)
    assert not (tmp_path / "small/references.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["COMMAND", "`atlas --help`"]),
        (["rum"], ["'rum'", "run", "`atlas --help`"]),
        (["run", "--confg", "x.toml"], ["--confg x.toml", "`atlas --help`"]),
        (["run", "--set"], ["--set", "`atlas run --help`"]),
        (["serve", "--port", "http"], ["--port", "http", "`atlas serve --help`"]),
        (["explain", ""], ["PHOTO", "the path is empty"]),
        (["clean", "--output", ""], ["--output", "the path is empty"]),
        (["names", "exprt", "names.csv"], ["exprt", "`atlas names --help`"]),
    ],
)
def test_a_command_line_that_cannot_be_read_is_told_in_one_line(capsys, arguments, expected):
    fails(capsys, arguments, *expected)


def test_a_stored_file_that_another_program_holds_is_not_called_damaged(tmp_path):
    path = tmp_path / "atlas.h5"
    with h5py.File(path, "w"):
        pass
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="Resource temporarily unavailable"):
            damaged_parts(path)
    assert damaged_parts(path) == ["its structure"]  # nothing in it about itself


def test_clean_says_what_it_did(small, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["clean", "--config", str(small)]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_a_wrong_key_in_the_file_is_told_with_its_line(small, capsys):
    small.write_text(CONFIG.replace("top_k = 6", "top_q = 6"))
    line = 1 + CONFIG.replace("top_k = 6", "top_q = 6").splitlines().index("top_q = 6")
    fails(capsys, ["run", "--config", small], "top_q", "top_k", f"line {line}", "small.toml")


def test_weights_that_do_not_fit_and_pickles(small, tmp_path, capsys):
    save_file({"0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "other.safetensors")
    fails(capsys, ["run", "--config", small, "--set", "model.weights=other.safetensors"], "other.safetensors")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(print))
    fails(capsys, ["run", "--config", small, "--set", "model.weights=evil.pt"], "evil.pt")
    fails(capsys, ["run", "--config", small, "--set", "model.weights=gone.safetensors"], "gone.safetensors")


def test_an_atlas_of_another_config_version_or_truncated(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    config, stored = tmp_path / "copy/small.toml", tmp_path / "copy/small/atlas.h5"
    whole = stored.read_bytes()
    fails(
        capsys,
        ["run", "--config", config, "--set", "mining.top_k=5"],
        "another config",
        "mining.top_k is 6 there and 5",
    )
    stored.write_bytes(whole[: len(whole) // 2])
    fails(capsys, ["site", "--config", config], "atlas.h5 is damaged in its structure", "`atlas mine`")
    (tmp_path / "copy/small/manifest.json").rename(tmp_path / "manifest.json")
    fails(capsys, ["run", "--config", config], "truncated or damaged", str(stored))  # nothing says that it is ours
    (tmp_path / "manifest.json").rename(tmp_path / "copy/small/manifest.json")
    arguments = ["run", "--config", str(config), "--site", str(tmp_path / "copy/site")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("damaged   ") == 1
    assert stored.read_bytes() == whole
    stored.write_bytes(whole)
    with h5py.File(stored, "r+") as file:
        file.attrs["format_version"] = 99
    changed = stored.read_bytes()
    fails(capsys, ["run", "--config", config], "format version 99")
    assert stored.read_bytes() == changed


@pytest.mark.parametrize("command", ["references", "name", "score", "explain", "evaluate", "merge"])
def test_no_command_takes_the_atlas_of_another_config(finished, tmp_path, capsys, command):
    shutil.copytree(finished, tmp_path / "copy")
    before = contents(tmp_path / "copy/small")
    arguments = [command, "--config", tmp_path / "copy/small.toml", "--set", "relevance.composite=EpsilonPlus"]
    fails(capsys, arguments, "another config: relevance.composite is 'EpsilonPlusFlat' there and 'EpsilonPlus' here")
    assert contents(tmp_path / "copy/small") == before


def test_settings_without_effect_are_not_named_as_the_difference(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    command = ["mine", "--config", tmp_path / "copy/small.toml", "--set", "mining.batch_size=5"]
    assert main([str(argument) for argument in command]) == 0
    fails(capsys, [*command, "--set", "mining.top_k=5"], "another config: mining.top_k is 6 there and 5 here")
    next((tmp_path / "copy/photos").rglob("*.png")).unlink()
    fails(capsys, command, "made with other images or labels")


def test_another_version_of_mining_is_told(finished, tmp_path, capsys, monkeypatch):
    shutil.copytree(finished, tmp_path / "copy")
    for module in ("inputs", "pipeline"):
        monkeypatch.setattr(f"precompute.{module}.MINING_VERSION", 1000)
    fails(capsys, ["mine", "--config", tmp_path / "copy/small.toml"], "another version of this program")


@pytest.mark.parametrize("command", ["mine", "merge", "references"])
def test_parts_left_by_a_killed_run_are_removed(finished, tmp_path, command):
    shutil.copytree(finished, tmp_path / "copy")
    config = tmp_path / "copy/small.toml"
    inputs = Inputs(load_config(config), config.parent / "cache")
    workspace = Workspace(tmp_path / "copy/small", tmp_path / "copy/site")
    left = workspace.shards(inputs.mining_digest)
    if command == "references":
        left = workspace.reference_blocks(inputs.references_digest)
    left.mkdir(parents=True)
    (left / "000000.h5").touch()
    assert main([command, "--config", str(config)]) == 0
    assert not left.exists()


def test_the_truth_is_not_told_of_another_number_of_scenes(tmp_path, capsys):
    arguments = ["--config", "data/world.toml", "--output", tmp_path / "world"]
    few = [
        "--set",
        "dataset.n_samples=24",
        "--set",
        "model.layers=['features.14']",
        "--set",
        "references.per_ranking=2",
    ]
    for command in ("mine", "references", "evaluate"):
        assert main([str(argument) for argument in (command, *arguments, *few)]) == 0
    before = contents(tmp_path)
    for n_samples in (12, 48):
        other = ["--set", f"dataset.n_samples={n_samples}"]
        fails(capsys, ["evaluate", *arguments, *few, *other], f"dataset.n_samples is 24 there and {n_samples} here")
    assert contents(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(small, tmp_path, capsys):
    (tmp_path / "locked").mkdir(mode=0o500)
    fails(capsys, ["run", "--config", small, "--output", tmp_path / "locked/out"], "Permission denied", "--output")


def test_an_output_folder_that_is_a_file(small, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    fails(capsys, ["run", "--config", small, "--output", tmp_path / "taken"], "taken", "--output")
    assert (tmp_path / "taken").read_text() == ""


def test_a_full_disk_leaves_nothing_half_written(small, tmp_path, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    fails(capsys, ["run", "--config", small], "No space left on device", "--output")
    assert not [path for path in (tmp_path / "small").rglob("*") if path.is_file()]


def test_labels_beyond_the_model(small, tmp_path, capsys):
    for index in range(2):
        shutil.copytree(tmp_path / "photos/red thing", tmp_path / f"photos/more {index}")
    fails(capsys, ["run", "--config", small], "has 3 classes, but the data set names 5", "dataset.classes")


def test_serve_without_a_site(small, tmp_path, capsys):
    fails(capsys, ["serve", "--config", small, "--site", tmp_path / "nothing"], "there is no site")


def test_serve_on_a_port_that_is_taken(finished, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["serve", "--config", finished / "small.toml", "--site", finished / "site", "--port"]
        fails(capsys, [*arguments, port], f"cannot serve on port {port}", "--port")
    fails(capsys, [*arguments, 99999], "cannot serve on port 99999", "--port")


def test_numbers_of_a_run_are_those_of_its_tables(finished):
    atlas = read_atlas(finished / "small/atlas.h5")
    for tables in atlas.layers.values():
        for ranking in ("relmax", "actmax"):
            table = tables.ranking(ranking)
            assert (np.diff(table.score, axis=0) <= 0).all()
