"""Reports on disk: nobody's file is replaced, none is half there, and killed runs leave nothing behind."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from precompute.atlas.ownership import LOCK, MANIFEST
from precompute.atlas.written_files import writing_into
from precompute.errors import OutputError
from sitegen.reports.build import opened, reports
from sitegen.reports.material import ReportOptions

from . import site_fixture

SUBJECTS = ["photo-01-abcdef"]
FILES = {f"explanation-{SUBJECTS[0]}.{form}" for form in ("pdf", "html")}
SCRIPT = """
import os, resource, signal, sys
from pathlib import Path
from precompute.errors import AtlasError
from sitegen.reports.build import opened, reports
from sitegen.reports.material import ReportOptions
from tests.test_report_files import SUBJECTS

atlas, folder, kind, number = sys.argv[1:]
plain, moments = Path.replace, []

def dying(path, target):
    moments.append(target)
    if len(moments) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(path, target)

if kind == "kill":
    Path.replace = dying
else:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), int(number)))
try:
    with opened(Path(atlas), ReportOptions(title="A world", date="2026-01-02")) as material:
        list(reports(material, "explanation", SUBJECTS, Path(folder)))
except AtlasError as error:
    sys.exit(f"atlas: {error}")
"""


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    site_fixture.write_synthetic(folder)
    return folder


def write(atlas, folder):
    with opened(atlas, ReportOptions(title="A world", date="2026-01-02")) as material:
        return [path for paths in reports(material, "explanation", SUBJECTS, folder) for path in paths]


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(atlas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "reports"
    write(atlas, folder)
    return digests(folder)


def test_a_new_an_empty_and_its_own_folder_are_taken_and_listed(atlas, tmp_path, whole):
    folder = tmp_path / "reports"
    folder.mkdir()
    assert {path.name for path in write(atlas, folder)} == FILES
    assert {path.name for path in write(atlas, folder)} == FILES
    assert digests(folder) == whole
    assert whole.keys() == FILES | {LOCK, MANIFEST}
    done = subprocess.run(["sha256sum", "--check", "--strict", MANIFEST], cwd=folder, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["thesis.txt", sorted(FILES)[0]])
def test_a_folder_that_holds_anything_else_is_left_alone(atlas, tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(OutputError, match=r"will not put reports into .*mine.*--into"):
        write(atlas, folder)
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]
    assert {path.name for path in write(atlas, folder / "reports")} == FILES, "the advice gets further"


@pytest.mark.parametrize("change", ["signed", "replaced", "link"])
def test_a_report_that_was_signed_or_edited_is_not_replaced(atlas, tmp_path, change):
    folder, name = tmp_path / "reports", sorted(FILES)[1]
    path = next(path for path in write(atlas, folder) if path.name == name)
    if change == "signed":
        path.write_bytes(path.read_bytes() + b"% signed by A. Officer")
    else:
        path.unlink()
        (tmp_path / "other").write_text("mine")
        path.symlink_to(tmp_path / "other") if change == "link" else path.write_text("mine")
    before = digests(folder)
    with pytest.raises(OutputError, match=rf"will not replace .*{name}: it is not as it was written here"):
        write(atlas, folder)
    assert digests(folder) == before, "nor is the other form of the same report"
    path.rename(tmp_path / "signed.pdf")
    assert {path.name for path in write(atlas, folder)} == FILES, "the advice gets further"


def run(atlas, folder, kind, number):
    line = [sys.executable, "-c", SCRIPT, str(atlas), str(folder), kind, str(number)]
    return subprocess.run(line, cwd=Path(__file__).parents[1], check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_kill_leaves_no_half_report_and_the_next_run_no_litter(atlas, tmp_path, whole, moment):
    """It dies as each of the list and the reports is about to take its name."""
    folder = tmp_path / "reports"
    assert run(atlas, folder, "kill", moment).returncode == -9
    left = digests(folder)
    assert any(name.endswith(".partial") for name in left), "the kill came in time"
    assert all(left[name] == whole[name] for name in left.keys() & FILES)
    write(atlas, folder)
    assert digests(folder) == whole


@pytest.mark.parametrize("size", [10, 30_000])
def test_a_full_disk_leaves_no_half_report(atlas, tmp_path, whole, size):
    folder = tmp_path / "reports"
    done = run(atlas, folder, "full", size)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("atlas: cannot write ")
    left = digests(folder) if folder.exists() else {}
    assert left.keys() <= {LOCK, MANIFEST}
    write(atlas, folder)
    assert digests(folder) == whole


def test_two_runs_at_once_are_told(tmp_path):
    with (
        writing_into(tmp_path / "r"),
        pytest.raises(OutputError, match="in use by another run"),
        writing_into(tmp_path / "r"),
    ):
        pass
    assert not (tmp_path / "r").exists(), "nothing was made: nothing stays"
