"""The store: round trips, and one clear message for every file that cannot be used."""

import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from precompute.atlas.files import write_bytes
from precompute.atlas.hdf5 import ReferenceReader, read_atlas, write_atlas, write_references
from precompute.atlas.json_records import read_jsonl
from precompute.errors import OutputError, StoreError
from precompute.records import (
    Atlas,
    Box,
    Concept,
    LargeShares,
    LayerInfo,
    LayerTables,
    RankingTable,
    ReceptiveField,
    Reference,
    SampleTable,
)


def make_atlas():
    rng = np.random.default_rng(0)

    def table():
        return RankingTable(rng.integers(0, 9, (4, 3)), rng.normal(size=(4, 3)), rng.integers(0, 9, (4, 3)))

    info = LayerInfo("features.2", "Conv2d", 3, 5, 6, ReceptiveField(14, 4, -5), ("features.0",))
    layers = {
        name: LayerTables(
            LayerInfo(name, "Conv2d", 3, 5, 6, info.receptive_field, info.inputs),
            table(),
            table(),
            *(rng.normal(size=(2, 3)) for _ in range(2)),
            *(rng.integers(0, 5, (3, 8)) for _ in range(2)),
            LargeShares(np.array([0, 0, 1]), np.array([0, 2, 1]), np.array([0.5, -0.25, 0.0625])),
        )
        for name in ("features.10", "features.2")
    }
    samples = SampleTable(
        ("a/b.jpg", "<script>\n/ü.png"),
        np.array([0, -1]),
        np.array([1, -1]),
        np.array([0, -1]),
        np.array([0.5, np.nan]),
        {1: "truncated JPEG"},
    )
    edges = np.linspace(-1, 1, 9)
    return Atlas("test", ("cat", "dög"), np.array([1, 0]), samples, edges, edges * 2, layers, {"seed": 1})


def make_references():
    return [
        Reference(
            Concept(layer, channel),
            ranking,
            rank,
            3,
            7,
            0.5,
            Box(0, 1, 2, 3),
            b"same",
            bytes([channel]),
            b"",
            b"h",
            0.25,
        )
        for layer in ("features.10", "features.2")
        for channel in (1, 0)
        for ranking in ("actmax", "relmax")
        for rank in (1, 0)
    ]


def assert_same(left, right):
    for key, value in vars(left).items():
        other = getattr(right, key)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other, strict=True)
        elif isinstance(value, RankingTable | SampleTable | LayerTables | LargeShares):
            assert_same(value, other)
        elif key == "layers":
            assert list(value) == list(other)
            for name in value:
                assert_same(value[name], other[name])
        else:
            assert value == other


def test_atlas_comes_back_as_it_went(tmp_path):
    atlas = make_atlas()
    write_atlas(tmp_path / "atlas.h5", atlas)
    assert_same(atlas, read_atlas(tmp_path / "atlas.h5"))


def test_equal_atlases_are_equal_bytes_a_second_later(tmp_path):
    write_atlas(tmp_path / "a.h5", make_atlas())
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    write_atlas(tmp_path / "b.h5", make_atlas())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_references_come_back_sorted_and_shared_pictures_are_stored_once(tmp_path):
    path = tmp_path / "references.h5"
    write_references(path, make_references(), {"seed": 1})
    with ReferenceReader(path) as reader:
        assert reader.provenance == {"seed": 1}
        expected = [Concept(layer, channel) for layer in ("features.10", "features.2") for channel in (0, 1)]
        assert reader.concepts() == expected
        read = reader.read(Concept("features.2", 1), "actmax")
        assert [reference.rank for reference in read] == [0, 1]
        assert all(reference in make_references() for reference in read)
        assert reader.read(Concept("features.2", 9), "actmax") == []
    with h5py.File(path) as file:
        assert file["full/data"].size == len(b"same")


def test_no_references_at_all_is_a_valid_file(tmp_path):
    write_references(tmp_path / "references.h5", [], {})
    with ReferenceReader(tmp_path / "references.h5") as reader:
        assert reader.concepts() == []


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_atlas_is_told(tmp_path, keep):
    path = tmp_path / "atlas.h5"
    write_atlas(path, make_atlas())
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(StoreError, match="truncated or damaged"):
        read_atlas(path)


def test_another_version_and_another_kind_are_told(tmp_path):
    path = tmp_path / "atlas.h5"
    write_atlas(path, make_atlas())
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(StoreError, match="format version 99, this program reads version 3"):
        read_atlas(path)
    write_references(path, [], {})
    with pytest.raises(StoreError, match="not a concept-atlas file"):
        read_atlas(path)


def test_a_missing_atlas_is_told(tmp_path):
    with pytest.raises(StoreError, match="there is no"):
        read_atlas(tmp_path / "atlas.h5")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_byte_of_a_damaged_file_gives_a_traceback(tmp_path):
    """Flip the file in many places: it is read or refused in words, whatever was hit."""
    path = tmp_path / "references.h5"
    write_references(path, make_references(), {})
    whole = path.read_bytes()
    refused = 0
    for start in range(0, len(whole), 251):
        path.write_bytes(whole[:start] + bytes(byte ^ 0xFF for byte in whole[start : start + 8]) + whole[start + 8 :])
        try:
            with ReferenceReader(path) as reader:
                for concept in reader.concepts():
                    reader.read(concept, "relmax")
        except StoreError:
            refused += 1
    assert refused > 5


def test_a_file_that_another_program_writes_is_told_as_that_and_opens_once_it_is_closed(tmp_path):
    path = tmp_path / "atlas.h5"
    write_atlas(path, make_atlas())
    with path.open("rb") as elsewhere:
        fcntl.flock(elsewhere, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match=r"Resource temporarily unavailable.*close it") as told:
            read_atlas(path)
    assert not {"damaged", "delete", "Move"} & set(str(told.value).split())
    read_atlas(path)  # the advice followed


def test_a_file_that_a_dead_program_left_open_is_told_as_that(tmp_path):
    path, code = tmp_path / "atlas.h5", "import h5py, os, sys; f = h5py.File(sys.argv[1], 'a'); os._exit(0)"
    write_atlas(path, make_atlas())
    whole = path.read_bytes()
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.read_bytes() != whole
    with pytest.raises(StoreError, match=r"ended without closing it.*h5clear --status.*move the file away") as told:
        read_atlas(path)
    assert "damaged" not in str(told.value)
    if shutil.which("h5clear"):  # the advice followed
        subprocess.run(["h5clear", "--status", str(path)], check=True)
        assert path.read_bytes() == whole
        read_atlas(path)
    path.rename(tmp_path / "away.h5")  # and the other
    with pytest.raises(StoreError, match="there is no"):
        read_atlas(path)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOLCK, "HDF5_USE_FILE_LOCKING=FALSE"),
        (errno.EACCES, "check the permissions"),
        (errno.EIO, "Check the disk"),
        (errno.ESTALE, "Check the disk"),
        (errno.EMFILE, "ulimit"),
        (errno.ENOMEM, "Run the same command again"),
    ],
)
def test_what_the_system_refuses_is_told_in_its_words_and_blames_no_file(tmp_path, monkeypatch, number, hint):
    path = tmp_path / "atlas.h5"
    write_atlas(path, make_atlas())

    def refuse(*_, **__):
        raise OSError(number, "a long text of the library")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(StoreError) as told:
        read_atlas(path)
    assert os.strerror(number) in str(told.value)
    assert hint in str(told.value)
    assert "damaged" not in str(told.value)


def test_an_error_of_the_reader_s_user_does_not_blame_the_file(tmp_path):
    path = tmp_path / "references.h5"
    write_references(path, make_references(), {})
    with pytest.raises(OSError, match="No space left"), ReferenceReader(path):
        raise OSError(28, "No space left on device")


def test_lines_that_are_no_text_are_told_with_their_number(tmp_path):
    path = tmp_path / "names.jsonl"
    path.write_bytes(b'"a"\n\xff\xfe\n')
    with pytest.raises(StoreError, match=r"names\.jsonl, line 2, is damaged"):
        read_jsonl(path, str)


@pytest.mark.parametrize("room", [0, 100, 2000, 4096, 9000, 12000, 16000])
def test_a_disk_that_fills_up_anywhere_in_a_file_is_told(tmp_path, room):
    """HDF5 crashes the process when it cannot write the last blocks of a file; here the system refuses them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_atlas(tmp_path / "whole.h5", make_atlas())
    assert (tmp_path / "whole.h5").stat().st_size > room
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*atlas\.h5: File too large"):
            write_atlas(tmp_path / "atlas.h5", make_atlas())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["whole.h5"]
