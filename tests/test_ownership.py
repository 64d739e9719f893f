"""What lies in a folder that the program did not make is never removed or replaced."""

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from precompute.atlas import ownership
from precompute.atlas.ownership import MANIFEST, replacing_site, require_replaceable
from precompute.cli import main
from precompute.errors import OutputError

from .small_atlas import make_small_atlas


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
    with replacing_site(folder, name) as new:
        (new / "pages").mkdir()
        (new / "index.html").write_text(text)
        (new / "pages" / "ä b.html").write_text(text)


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
    "the output's parent": (lambda folder: folder / "made", "atlas.h5"),
    "the output": (lambda folder: folder / "made/atlas", "atlas.h5"),
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
        with replacing_site(tmp_path / "site", "small") as new:
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


# --- a user without a name --------------------------------------------------------------------------------------


def _no_name():
    raise KeyError("getpwuid(): uid not found: 12345")


def test_only_an_import_without_author_needs_a_name(mined, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", _no_name)
    shutil.copytree(mined, tmp_path / "w")
    common = ["--config", str(tmp_path / "w/small.toml"), "--output", str(tmp_path / "w/made/atlas")]
    table = str(tmp_path / "names.csv")
    assert main(["layers", *common]) == 0
    assert main(["names", *common, "export", table]) == 0
    capsys.readouterr()
    assert main(["names", *common, "import", table]) == 1
    assert "--author NAME" in capsys.readouterr().err
    assert main(["names", *common, "import", table, "--author", "N. N."]) == 0


AS_NOBODY = (
    # the interpreter may lie where that user cannot read
    *("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs root and setpriv to run as a user id without a name",
)
def test_a_user_id_without_passwd_entry_and_home_runs_everything(tmp_path):
    config = make_small_atlas(tmp_path, n_per_class=3)
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 12345, 12345)
    command = [sys.executable, "-m", "precompute.cli", "run", "--config", str(config)]
    done = subprocess.run(
        [*AS_NOBODY, *command, "--output", str(out / "atlas"), "--site", str(out / "site")],
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "site/index.html").exists()
