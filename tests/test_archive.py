"""Atlases of earlier versions: each is opened, or refused with a way out that leads further."""

import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from precompute.atlas.hdf5 import FORMAT_VERSION, ReferenceReader, read_atlas
from precompute.atlas.manifest import require_sound
from precompute.cli import main
from precompute.errors import StoreError
from tests.archive.make import N_PER_CLASS, SMALLER
from tests.small_atlas import make_small_atlas

ARCHIVES = sorted((Path(__file__).parent / "archive").glob("atlas-*.tar.xz"))


def version_of(path):
    return int(re.fullmatch(r"atlas-(\d+)\.tar\.xz", path.name)[1])


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name)
def archived(request, tmp_path):
    """A project as it was when the archive was made: config, photos, and the atlas."""
    config = make_small_atlas(tmp_path, n_per_class=N_PER_CLASS)
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return config, version_of(request.param)


def test_there_is_an_archive_of_every_version_and_all_are_small():
    assert [version_of(path) for path in ARCHIVES] == list(range(1, FORMAT_VERSION + 1)), "python -m tests.archive.make"
    assert sum(path.stat().st_size for path in ARCHIVES) <= 300_000 * len(ARCHIVES) / 2


def test_an_archived_atlas_is_opened_or_refused(archived):
    config, version = archived
    folder = config.with_suffix("")
    if version == FORMAT_VERSION:
        assert set(read_atlas(folder / "atlas.h5").layers) == {"0", "3", "6"}
        with ReferenceReader(folder / "references.h5") as reader:
            assert reader.concepts()
        assert set(require_sound(folder)) >= {"atlas", "references", "names"}
        return
    for name, read in (("atlas.h5", read_atlas), ("references.h5", lambda path: ReferenceReader(path).__enter__())):
        with pytest.raises(StoreError, match=f"format version {version}, this program reads version .* `atlas run`"):
            read(folder / name)


def test_the_way_out_of_an_earlier_version_leads_further(archived, tmp_path, capsys, monkeypatch):
    """Follow the message to the letter."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    config, version = archived
    if version == FORMAT_VERSION:
        pytest.skip("it is the version of now")
    command = ["run", "--config", str(config), "--site", str(tmp_path / "site"), *SMALLER]
    before = (tmp_path / "small/atlas.h5").read_bytes()
    assert main(command) == 1
    said = capsys.readouterr().err
    moved = re.search(r"atlas.h5 has format version \d+, .* Move the folder (\S+) away", said)
    assert moved, said
    shutil.move(moved[1], tmp_path / "away")
    assert main(command) == 0
    assert (tmp_path / "away/atlas.h5").read_bytes() == before
    assert main(["verify", str(tmp_path / "small")]) == 0


def test_nothing_is_lost_of_an_earlier_version(archived, tmp_path, capsys):
    config, version = archived
    if version == FORMAT_VERSION:
        pytest.skip("it is the version of now")
    before = {path: path.read_bytes() for path in (tmp_path / "small").rglob("*") if path.is_file()}
    for command in ("run", "site"):
        assert main([command, "--config", str(config), "--site", str(tmp_path / "site"), *SMALLER]) == 1
        assert "Traceback" not in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    assert not os.path.lexists(tmp_path / "site")
