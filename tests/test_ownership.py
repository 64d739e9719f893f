"""What lies in a folder that the program did not make is never removed or replaced."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from precompute.atlas import ownership
from precompute.atlas.folder import Workspace
from precompute.atlas.ownership import MANIFEST, SiteMark, replacing_site, require_replaceable
from precompute.cli import main
from precompute.errors import OutputError

from .small_atlas import make_small_atlas

ROOT = Path(__file__).parents[1]


def everything(folder):
    """What lies below a folder: bytes of files, goals of links, and folders."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def make_site(folder, name="small", text="page"):
    with replacing_site(folder, SiteMark(name)) as new:
        (new / "pages").mkdir()
        (new / "index.html").write_text(text)
        (new / "pages" / "ä b.html").write_text(text)


NOBODY = 12345
"""A user id without a name."""


def as_nobody(*commands, cwd):
    """Run commands, one after the other in one process, as a user id without passwd entry and HOME."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv to run as another user")
    program = "import json, sys; from precompute.cli import main"
    program += "; sys.exit(max(main(arguments) for arguments in json.loads(sys.argv[1])))"
    command = [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        # the interpreter and the folder of the test may lie where that user cannot read
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
        *(sys.executable, "-c", program, json.dumps(commands)),
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mined")
    config = make_small_atlas(folder, n_per_class=3)
    assert (
        main(["run", "--config", str(config), "--output", str(folder / "made/atlas"), "--site", str(folder / "s")]) == 0
    )
    return folder


def _home(folder):
    (folder / "home").mkdir()
    (folder / "home/thesis.tex").write_text("years of work")
    (folder / "home/.ssh").mkdir()
    return folder / "home"


def _checkout(folder):
    (folder / "checkout/.git").mkdir(parents=True)
    (folder / "checkout/.git/config").write_text("[core]")
    return folder / "checkout"


def _link(folder):
    (folder / "elsewhere").mkdir()
    (folder / "link").symlink_to(folder / "elsewhere")
    return folder / "link"


def _file(folder):
    (folder / "file").write_text("kept")
    return folder / "file"


def _site_of_another(folder):
    make_site(folder / "another", "another")
    return folder / "another"


def _site_with_additions(folder):
    make_site(folder / "ours")
    (folder / "ours/CNAME").write_text("atlas.example")
    return folder / "ours"


def _site_with_a_link(folder):
    make_site(folder / "ours")
    (folder / "ours/data").symlink_to(folder)
    return folder / "ours"


def _copied_manifest(folder):
    make_site(folder / "ours")
    shutil.copytree(_home(folder), folder / "copy")
    shutil.copy(folder / "ours" / MANIFEST, folder / "copy" / MANIFEST)
    return folder / "copy"


PLACES = {
    "home folder": (_home, "thesis.tex"),
    "checkout": (_checkout, ".git/config"),
    "the output's parent": (lambda folder: folder / "made", "the output folder"),
    "the output": (lambda folder: folder / "made/atlas", "the output folder"),
    "a link": (_link, "it is a link"),
    "a file": (_file, "it is a file"),
    "the site of another atlas": (_site_of_another, "another atlas, 'another'"),
    "a site that something was added to": (_site_with_additions, "CNAME"),
    "a site with a link in it": (_site_with_a_link, "'data'"),
    "a foreign folder with a copied manifest": (_copied_manifest, "thesis.tex"),
}


@pytest.mark.parametrize("command", ["site", "run"])
@pytest.mark.parametrize("place", PLACES)
def test_a_site_never_takes_the_place_of_what_is_not_its_own(mined, tmp_path, capsys, place, command):
    shutil.copytree(mined, tmp_path / "w")
    make, expected = PLACES[place]
    site = make(tmp_path / "w")
    before = everything(tmp_path / "w")
    config, output = tmp_path / "w/small.toml", tmp_path / "w/made/atlas"
    assert main([command, "--config", str(config), "--output", str(output), "--site", str(site)]) == 1
    told = capsys.readouterr().err
    assert expected in told
    assert "Nothing was changed there" in told
    assert "--site" in told
    assert told.count("\n") == 1
    assert everything(tmp_path / "w") == before


def test_the_advice_helps(mined, tmp_path):
    common = ["--config", str(mined / "small.toml"), "--output", str(mined / "made/atlas")]
    assert main(["site", *common, "--site", str(_home(tmp_path))]) == 1
    assert main(["site", *common, "--site", str(tmp_path / "home/new")]) == 0
    assert (tmp_path / "home/new/index.html").exists()


def test_its_own_site_an_empty_and_a_missing_folder_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for site in (tmp_path / "empty", tmp_path / "a/b/missing", tmp_path / "empty"):
        make_site(site, text="new")
        assert (site / "pages/ä b.html").read_text() == "new"
    make_site(tmp_path / "empty", text="newer")
    assert (tmp_path / "empty/index.html").read_text() == "newer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]


def test_what_comes_while_the_site_is_made_is_kept(tmp_path):
    def make():
        with replacing_site(tmp_path / "site", SiteMark("small")) as new:
            (new / "index.html").write_text("page")
            (tmp_path / "site").mkdir()
            (tmp_path / "site/notes").write_text("mine")

    with pytest.raises(OutputError, match="notes"):
        make()
    assert everything(tmp_path) == {"site": None, "site/notes": b"mine"}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_manifest_is_read_by_sha256sum(tmp_path):
    make_site(tmp_path / "site")
    check = ["sha256sum", "--check", "--strict", "--quiet", MANIFEST]
    assert subprocess.run(check, cwd=tmp_path / "site", check=False, capture_output=True).returncode == 0
    (tmp_path / "site/index.html").write_text("damaged")
    assert subprocess.run(check, cwd=tmp_path / "site", check=False, capture_output=True).returncode == 1
    require_replaceable(tmp_path / "site", "small")  # a damaged site is made again


def test_a_site_is_replaced_without_the_exchange_too(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "_exchange", lambda left, right: False)
    make_site(tmp_path / "site", text="old")
    make_site(tmp_path / "site", text="new")
    assert (tmp_path / "site/index.html").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


# --- killed runs -------------------------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from pathlib import Path
from precompute.atlas import ownership
from precompute.atlas.folder import Workspace
from precompute.atlas.ownership import SiteMark, replacing_site

moment, site = sys.argv[1], Path(sys.argv[2])
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "between the renames":
    ownership._exchange = lambda left, right: False
    done, replace = [], Path.replace
    def replace_once(path, goal):
        done.append(replace(path, goal))
        if goal.name == "old":
            kill()
    Path.replace = replace_once
if moment == "after the exchange":
    ownership._empty = lambda scratch: kill() if (scratch / "new/index.html").exists() else None
if moment == "before the lock's text":
    os.write = kill
with replacing_site(site, SiteMark("small")) as new:
    (new / "index.html").write_text("new")
    (new.parent / "shell").mkdir()
    (new.parent / "shell/page.md").write_text("")
    if moment == "while writing":
        kill()
"""


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        ("before the lock's text", "old"),
        ("while writing", "old"),
        ("after the exchange", "new"),
        ("between the renames", None),  # only where folders cannot be exchanged; the next run brings it back
    ],
)
def test_a_kill_leaves_a_whole_site_and_the_next_run_no_litter(tmp_path, moment, found):
    site = tmp_path / "site"
    make_site(site, text="old")
    done = subprocess.run([sys.executable, "-c", KILLED, moment, str(site)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1 + (found is not None)
    if found:
        assert (site / "index.html").read_text() == found
    with pytest.raises(KeyError), replacing_site(site, SiteMark("small")):
        raise KeyError  # a run that fails puts the old site back first
    assert (site / "index.html").read_text() == (found or "old")
    make_site(site, text="newer")
    assert (site / "index.html").read_text() == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


@pytest.mark.parametrize("left", [["new", "frames"], [ownership.HOLDER], []])
def test_what_is_left_beside_a_site_with_nothing_to_do_is_swept_too(tmp_path, left):
    """Killed as it ended: after the exchange, and while it took its own marks away."""
    site, scratch = tmp_path / "site", tmp_path / ".site.making"
    make_site(site)
    scratch.mkdir()
    if left:
        (scratch / ownership.LOCK).touch()
    for name in left:
        (scratch / name).mkdir() if name[0] != "." else (scratch / name).write_text("{}")
    ownership.sweep_scratch(site)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    scratch.mkdir()
    (scratch / "thesis.tex").write_text("not the program's")
    ownership.sweep_scratch(site)
    assert (scratch / "thesis.tex").exists()


def test_half_written_files_of_killed_runs_are_swept_and_others_are_not(tmp_path):
    workspace = Workspace(tmp_path / "out", tmp_path / "site")
    with workspace.in_use():
        pass
    assert not (tmp_path / "out").exists()  # nothing was made
    (tmp_path / "out/shards/0123").mkdir(parents=True)
    for name in (
        "atlas.h5",
        ".atlas.h5.0123abcd.partial",
        "shards/0123/.000001.h5.0123abcd.partial",
        ".mine.partial",
        "a.partial",
    ):
        (tmp_path / "out" / name).touch()
    with workspace.in_use(shared=True):
        assert len(list((tmp_path / "out").rglob("*.partial"))) == 4  # another machine may be writing them
    with workspace.in_use():
        assert {path.name for path in (tmp_path / "out").rglob("*.partial")} == {".mine.partial", "a.partial"}


# --- one run at a time ------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from precompute.atlas.folder import Workspace
sys.argv[1:], (folder, shared) = ["mine", "--config", "a b.toml"], sys.argv[1:]
with Workspace(Path(folder), Path("site")).in_use(shared=shared == "shared"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_elsewhere(folder, shared=""):
    command = [sys.executable, "-c", HOLD, str(folder), shared]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("")


COMMANDS = {
    "run": [],
    "mine": [],
    "merge": [],
    "references": [],
    "name": [],
    "score": [],
    "explain": [],
    "evaluate": [],
    "site": [],
    "clean": [],
    "names": ["import", "names.csv", "--author", "N. N."],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_works_where_another_does_and_says_who(mined, capsys, command):
    common = ["--config", str(mined / "small.toml"), "--output", str(mined / "made/atlas"), "--site", str(mined / "s")]
    assert (mined / "s/index.html").exists()
    before = everything(mined)
    with held_elsewhere(mined / "made/atlas") as other:
        assert main([command, *common, *COMMANDS[command]]) == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert "is in use by another run: `atlas mine --config 'a b.toml'`" in told
        assert f"process {other.pid} on " in told
        assert ", since 20" in told
        other.kill()
    held = mined / "made/atlas/.holder.json"
    held.unlink()  # of the killed one; the next run writes its own
    assert everything(mined) == before
    if command not in ("clean", "names", "run"):  # its lock went with it
        assert main([command, *common]) == 0
        assert not held.exists()


def test_machines_that_mine_a_part_share_the_folder_and_others_wait(mined, capsys):
    common = ["--config", str(mined / "small.toml"), "--output", str(mined / "made/atlas")]
    with held_elsewhere(mined / "made/atlas", "shared"):
        assert main(["mine", *common, "--shard", "2/3"]) == 0
        assert main(["merge", *common]) == 1
        assert "in use" in capsys.readouterr().err


# --- the output folder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["home folder", "checkout", "a file"])
def test_an_atlas_is_not_put_among_what_the_program_did_not_make(tmp_path, capsys, place):
    make_small_atlas(tmp_path / "w", n_per_class=3)
    output = PLACES[place][0](tmp_path)
    before = everything(tmp_path)
    assert main(["mine", "--config", str(tmp_path / "w/small.toml"), "--output", str(output)]) == 1
    told = capsys.readouterr().err
    assert "--output" in told
    assert everything(tmp_path) == before


def test_an_output_folder_that_will_lie_in_the_site_is_told_before_mining(tmp_path, capsys):
    make_small_atlas(tmp_path, n_per_class=3)
    for output in ("out", "out/atlas"):
        arguments = ["--output", str(tmp_path / output), "--site", str(tmp_path / "out")]
        assert main(["run", "--config", str(tmp_path / "small.toml"), *arguments]) == 1
        assert "the output folder" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_copied_shards_and_copied_atlases_are_taken(mined, tmp_path):
    for files in (["shards/0123/000000.h5"], ["atlas.h5", "names.jsonl"]):
        folder = tmp_path / files[0].partition("/")[0]
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
        with Workspace(folder, tmp_path / "site").in_use():
            pass


def test_clean_removes_what_was_made_and_nothing_else(mined, tmp_path, capsys):
    shutil.copytree(mined, tmp_path / "w")
    folder, site = tmp_path / "w/made/atlas", tmp_path / "w/s"
    common = ["--config", str(tmp_path / "w/small.toml"), "--output", str(folder), "--site", str(site)]
    (site / "CNAME").write_text("atlas.example")
    before = everything(tmp_path)
    assert main(["clean", *common]) == 1
    assert "CNAME" in capsys.readouterr().err
    assert everything(tmp_path) == before
    (site / "CNAME").unlink()
    (folder / "corrections.jsonl").touch()
    (folder / "explanations/notes.txt").write_text("mine")
    (folder / "explanations/empty").mkdir()
    assert main(["clean", *common]) == 0
    assert "'corrections.jsonl', 'explanations/notes.txt'" in capsys.readouterr().out
    assert set(everything(folder)) == {
        "LOCK",
        "corrections.jsonl",
        "explanations",
        "explanations/notes.txt",
        "explanations/empty",
    }
    assert not site.exists()
    shutil.rmtree(folder / "explanations")
    (folder / "corrections.jsonl").unlink()
    assert main(["clean", *common]) == 0
    assert not folder.exists()
    assert {path.name for path in (tmp_path / "w").iterdir()} == {"made", "photos", "small.toml", "small_factory.py"}
    assert main(["clean", *common]) == 0


def test_clean_refuses_a_folder_that_is_not_its_own(tmp_path, capsys):
    make_small_atlas(tmp_path, n_per_class=3)
    home = _home(tmp_path)
    before = everything(tmp_path)
    assert main(["clean", "--config", str(tmp_path / "small.toml"), "--output", str(home)]) == 1
    assert "did not make it" in capsys.readouterr().err
    assert everything(tmp_path) == before


@pytest.fixture(scope="module")
def by_nobody(mined, tmp_path_factory):
    """What the user without a name makes of an atlas that it may only read, and of a config of its own."""
    folder = tmp_path_factory.mktemp("nobody")
    shutil.copytree(mined, folder / "w")
    make_small_atlas(folder / "own", n_per_class=3)
    for path in (folder, folder / "own"):
        os.chown(path, NOBODY, NOBODY)
    before = everything(folder / "w")
    common = ("--config", "w/small.toml", "--output", "w/made/atlas", "--site")
    own = ("run", "--config", "own/small.toml", "--output", "own/out/atlas", "--site", "own/out/site")
    done = as_nobody(("site", *common, "new/site"), ("run", *common, "new/run"), own, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, before


def test_an_atlas_that_may_only_be_read_gives_its_site_elsewhere(by_nobody):
    folder, before = by_nobody
    for command in ("site", "run"):
        assert (folder / "new" / command / "index.html").exists()
    assert everything(folder / "w") == before


# --- a user without a name --------------------------------------------------------------------------------------


def test_only_an_import_needs_a_name(mined, tmp_path, capsys):
    shutil.copytree(mined, tmp_path / "w")
    common = ["--config", str(tmp_path / "w/small.toml"), "--output", str(tmp_path / "w/made/atlas")]
    table = str(tmp_path / "names.csv")
    assert main(["names", *common, "export", table]) == 0
    capsys.readouterr()
    assert main(["names", *common, "import", table]) == 1
    assert "--author NAME" in capsys.readouterr().err
    assert main(["names", *common, "import", table, "--author", "N. N."]) == 0


def test_a_user_id_without_passwd_entry_and_home_runs_everything(by_nobody):
    folder, _ = by_nobody
    assert (folder / "own/out/site/index.html").exists()
