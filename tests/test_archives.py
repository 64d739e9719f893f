"""Archives of images: taken whole or refused, whatever was done to them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest

from precompute.errors import AtlasError, DataError
from tests.photo_files import encode, fill, open_here, picture

NAMES = [f"{folder}/{number}.png" for folder in "ab" for number in range(6)]


def pack(path, members, end=True):
    """Write a tar of (name, content) or ready headers, with or without its end."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        size = archive.offset
    path.write_bytes(buffer.getvalue() if end else buffer.getvalue()[:size])
    return path


def photos():
    return [(name, encode(picture(seed))) for seed, name in enumerate(NAMES)]


def link(kind, name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("kind", ["folders", "tar"])
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_equals_the_folder_it_was_made_of(tmp_path, kind, packing):
    fill(tmp_path / "images", NAMES)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", packing) as archive:
        for name in NAMES:
            archive.write(tmp_path / "images" / name, name)
        archive.writestr("__MACOSX/a/._0.png", "a shadow of macOS")
    folder, packed = open_here(tmp_path), open_here(tmp_path, f"dataset.kind={kind}", "dataset.root=x.zip")
    assert packed.digest == folder.digest
    for index in range(len(folder)):
        assert np.array_equal(np.asarray(packed.load(index)), np.asarray(folder.load(index)))
    assert not (tmp_path / "here").exists()


def test_a_flat_archive_takes_its_labels_from_a_list_or_none(tmp_path):
    pack(tmp_path / "val.tar", [(f"val_{n}.png", encode(picture(n))) for n in range(4)])
    (tmp_path / "truth.csv").write_text("image,label\n" + "".join(f"val_{n}.png,{'xy'[n % 2]}\n" for n in range(4)))
    found = open_here(tmp_path, "dataset.kind=flat", "dataset.root=val.tar", "dataset.ground_truth=truth.csv")
    assert (found.labels.tolist(), found.class_names) == ([0, 1, 0, 1], ("x", "y"))
    assert found.load(3).getpixel((2, 1)) == picture(3).getpixel((2, 1))
    assert len(open_here(tmp_path, "dataset.kind=unlabelled", "dataset.root=val.tar")) == 4
    with pytest.raises(DataError, match=r"outside class folders.*'unlabelled'.*'flat'"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=val.tar")


def test_a_tar_of_tars_has_a_class_in_each(tmp_path):
    """ImageNet's training images: one tar for each WordNet id, all in one."""
    inner = []
    for wnid in ("n01440764", "n01443537"):
        path = pack(tmp_path / f"{wnid}.tar", [(f"{wnid}_{n}.JPEG", encode(picture(n), "JPEG")) for n in range(3)])
        inner.append((path.name, path.read_bytes()))
    pack(tmp_path / "train.tar", inner)
    found = open_here(tmp_path, "dataset.kind=tar", "dataset.root=train.tar", "dataset.classes=imagenet")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.names[4] == "n01443537/n01443537_1.JPEG"
    assert found.load(4).size == (8, 8)
    inner[1] = (inner[1][0], inner[1][1][:1000])
    pack(tmp_path / "train.tar", inner)
    with pytest.raises(DataError, match=r"train\.tar \(n01443537\.tar\) is (damaged or )?cut off"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=train.tar", "dataset.classes=imagenet")


def write_shards(folder, classes):
    folder.mkdir()
    for shard in range(2):
        members = []
        for key in range(3):
            number = 3 * shard + key
            members += [(f"{number:04d}.jpg", encode(picture(number), "JPEG")), (f"{number:04d}.json", b"{}")]
            members += [(f"{number:04d}.cls", f"{classes[number]}\n".encode())]
        pack(folder / f"shard-{shard:06d}.tar", members)


def test_shards_of_webdataset(tmp_path):
    write_shards(tmp_path / "shards", [2, 0, 1, 1, 2, 0])
    found = open_here(tmp_path, "dataset.kind=webdataset", "dataset.root=shards")
    assert found.labels.tolist() == [2, 0, 1, 1, 2, 0]
    assert found.names[3] == "shard-000001/0003.jpg"
    assert any("6 .json" in note for note in found.notes)
    one = open_here(tmp_path, "dataset.kind=webdataset", "dataset.root=shards/shard-000000.tar")
    assert (one.names[0], one.labels.tolist()) == ("0000.jpg", [2, 0, 1])
    with pytest.raises(DataError, match="'webdataset'"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=shards/shard-000000.tar")


def test_a_mask_beside_an_image_of_a_shard_is_not_taken_for_another_image(tmp_path):
    (tmp_path / "shards").mkdir()
    image = encode(picture(1))
    pack(tmp_path / "shards/0.tar", [("0.png", image), ("0.seg.png", image), ("0.cls", b"0")])
    with pytest.raises(DataError, match=r"'0.cls' has two images, '0.png' and '0.seg.png'"):
        open_here(tmp_path, "dataset.kind=webdataset", "dataset.root=shards")


def test_shards_that_do_not_say_a_class_or_how_they_count(tmp_path):
    write_shards(tmp_path / "shards", [1, 2, 3, 3, 2, 1])
    shards = ("dataset.kind=webdataset", "dataset.root=shards")
    with pytest.raises(DataError, match=r"0000\.cls.*ground_truth_ids = 'from_one'"):
        open_here(tmp_path, *shards)
    assert open_here(tmp_path, *shards, "dataset.ground_truth_ids=from_one").labels.tolist() == [0, 1, 2, 2, 1, 0]
    pack(tmp_path / "shards" / "shard-000002.tar", [("7.jpg", encode(picture(7), "JPEG"))])
    with pytest.raises(DataError, match=r"'shard-000002/7\.jpg' has no 'shard-000002/7\.cls'"):
        open_here(tmp_path, *shards)


BAD = {
    "a symbolic link": ([(link(tarfile.SYMTYPE, "a/6.png", "0.png"), b"")], "holds the link 'a/6.png' to '0.png'"),
    "a hard link": ([(link(tarfile.LNKTYPE, "a/6.png", "a/0.png"), b"")], "holds the link 'a/6.png'"),
    "a device": ([(link(tarfile.CHRTYPE, "a/6.png", ""), b"")], "neither a file nor a folder"),
    "a pipe": ([(link(tarfile.FIFOTYPE, "a/6.png", ""), b"")], "neither a file nor a folder"),
    "an unknown kind": ([(link(b"Z", "a/6.png", ""), b"")], "neither a file nor a folder"),
    "a sparse file": ([(link(tarfile.GNUTYPE_SPARSE, "a/6.png", ""), b"")], "sparse|cut off|damaged"),
    "a member twice": ([("a/0.png", b"other")], "holds 'a/0.png' twice"),
    "the same by another spelling": ([("./a//0.png", b"other")], "holds 'a/0.png' twice"),
    "an absolute path": ([("/etc/6.png", b"x")], "leads out of it"),
    "a way up": ([("a/../../6.png", b"x")], "leads out of it"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_what_is_no_data_set_is_refused_whole(tmp_path, what, suffix):
    members, message = BAD[what]
    content = pack(tmp_path / "x.tar", photos() + members).read_bytes()
    if suffix == "tar.gz":
        (tmp_path / "x.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=message):
        open_here(tmp_path, "dataset.kind=tar", f"dataset.root=x.{suffix}")
    assert not list((tmp_path / "here").glob("cache/*")) if (tmp_path / "here").exists() else True


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_sparse_file_and_a_huge_header_are_one_message(tmp_path, form):
    info = tarfile.TarInfo("a/" + "n" * 90 + ".png")
    header = bytearray(info.tobuf(form))
    for start, value in ((124, b"77777777777\0"), (124, b"\x80" + b"\xff" * 11), (156, b"S"), (156, b"L"), (156, b"x")):
        damaged = bytearray(header)
        damaged[start : start + len(value)] = value
        damaged[148:156] = b"        "
        damaged[148:156] = b"%06o\0 " % sum(damaged[:512])
        (tmp_path / "x.tar").write_bytes(
            pack(tmp_path / "y.tar", photos(), end=False).read_bytes() + damaged + bytes(1024)
        )
        with pytest.raises(DataError, match=r"the archive .*x\.tar"):
            open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar")


def test_the_advice_for_links_is_right(tmp_path):
    fill(tmp_path / "images", NAMES)
    (tmp_path / "images" / "a" / "6.png").symlink_to("0.png")
    (tmp_path / "images" / "a" / "7.png").hardlink_to(tmp_path / "images" / "a" / "1.png")
    tar = ["tar", "-C", tmp_path / "images", "-cf", tmp_path / "x.tar"]
    subprocess.run([*tar, "."], check=True)
    with pytest.raises(DataError, match="tar --dereference --hard-dereference"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar")
    subprocess.run([*tar, "--dereference", "--hard-dereference", "."], check=True)
    assert open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar").digest == open_here(tmp_path).digest


def test_an_end_that_is_missing_or_followed_by_more_is_told(tmp_path):
    whole = pack(tmp_path / "x.tar", photos()).read_bytes()
    bare = pack(tmp_path / "x.tar", photos(), end=False).read_bytes()
    for content, message in (
        (bare, "damaged or cut off: it ends without the mark of its end"),
        (bare + bytes(512), "it ends without the mark"),
        (bare[:-512], "cut off|unexpected end"),
        (whole + whole, "goes on behind its end"),
        (b"", "cannot read"),
        (bytes(10240), "holds no image file"),
    ):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar")
    (tmp_path / "x.tar").write_bytes(whole + bytes(5_000_000))  # some programs fill up
    assert len(open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar")) == 12


@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_a_bomb_is_not_unpacked(tmp_path, packer, monkeypatch):
    monkeypatch.setattr("precompute.images.archives._SMALL", 1 << 20)
    pack(tmp_path / "x.tar", [("a/0.png", bytes(20 << 20))])
    (tmp_path / "x.tar.z").write_bytes(packer.compress((tmp_path / "x.tar").read_bytes()))
    with pytest.raises(DataError, match=r"more than 100 times.*dataset\.max_unpacked_ratio"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar.z")
    assert not list((tmp_path / "here" / "cache").iterdir())
    found = open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar.z", "dataset.max_unpacked_ratio=1e6")
    assert len(found) == 1


def test_a_zip_bomb_and_other_zips_that_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("precompute.images.archives._SMALL", 1 << 20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(20 << 20))
    zipped = ("dataset.kind=tar", "dataset.root=x.zip")
    with pytest.raises(DataError, match=r"dataset\.max_unpacked_ratio"):
        open_here(tmp_path, *zipped)
    for name, message in (("../0.png", "leads out"), ("/0.png", "leads out")):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(DataError, match=message):
            open_here(tmp_path, *zipped)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a/0.png", bytes(100))
    with pytest.raises(DataError, match=r"packs 'a/0\.png' by method 14"):
        open_here(tmp_path, *zipped)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/0.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/0.png", b"y")
    with pytest.raises(DataError, match="twice"):
        open_here(tmp_path, *zipped)


def test_what_is_no_archive_names_its_kind(tmp_path):
    for start, what in ((b"\x28\xb5\x2f\xfd", "zstd -d"), (b"7z\xbc\xaf", "7z x"), (b"Rar!\x1a", "unrar")):
        (tmp_path / "x.bin").write_bytes(start + bytes(100))
        with pytest.raises(DataError, match=what):
            open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.bin")


# Damage at random


def damage(content, rng):
    """Flip, zero, cut, remove, double or move some bytes."""
    data, kind = bytearray(content), rng.choice(["flip", "zero", "cut", "remove", "double", "swap", "header"])
    start = rng.randrange(len(data))
    length = min(rng.choice([1, 8, 100, 512, 1024, 3000]), len(data) - start)
    block = start // 512 * 512
    if kind == "flip":
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        data[start : start + length] = bytes(length)
    elif kind == "cut":
        del data[start:]
    elif kind == "remove":
        del data[start : start + length]
    elif kind == "double":
        data[start:start] = data[start : start + length]
    elif kind == "swap":
        other = rng.randrange(len(data)) // 512 * 512
        data[block : block + 512], data[other : other + 512] = data[other : other + 512], data[block : block + 512]
    else:
        data[block : block + 512] = rng.randbytes(len(data[block : block + 512]))
    return kind, bytes(data)


def try_damaged(tmp_path, content, suffix, rng):
    """Open a damaged archive: refused, taken whole, or with all members of which some are told as broken."""
    kind, data = damage(content, rng)
    (tmp_path / f"x.{suffix}").write_bytes(data)
    try:
        found = open_here(tmp_path, "dataset.kind=tar", f"dataset.root=x.{suffix}")
    except AtlasError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most damage is refused, and some is not
        return "refused"
    if kind == "remove" and suffix == "tar" and len(found) < len(NAMES):
        # as many blocks as a member has were cut out: a faultless archive of fewer files, as tar itself says
        listed = subprocess.run(["tar", "-tf", tmp_path / "x.tar"], capture_output=True, text=True, check=True)
        assert listed.stderr == ""
        assert listed.stdout.split() == list(found.names)
        return "whole, of fewer files"
    assert len(found) == len(NAMES), f"{kind}: accepted {len(found)} of {len(NAMES)}"
    broken = 0
    for index in range(len(found)):
        try:
            found.load(index)
        except DataError:
            broken += 1
    return "whole, broken images told" if broken else "whole"


def run_damaged(tmp_path, capsys, n_tries):
    whole = pack(tmp_path / "whole.tar", photos()).read_bytes()
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in photos():
            archive.writestr(name, content)
    contents = {
        "tar": whole,
        "tar.gz": gzip.compress(whole),
        "tar.bz2": bz2.compress(whole),
        "tar.xz": lzma.compress(whole),
        "zip": (tmp_path / "whole.zip").read_bytes(),
    }
    for suffix, content in contents.items():
        rng, counts = random.Random(suffix), Counter()
        for _ in range(n_tries):
            counts[try_damaged(tmp_path, content, suffix, rng)] += 1
        with capsys.disabled():
            print(f"\n{n_tries} damaged {suffix}: {dict(counts)}, 0 tracebacks, no file less than tar lists", end="")  # noqa: T201 - what was tried
        assert counts["refused"] > 0


def test_a_damaged_archive_is_refused_or_whole(tmp_path, capsys):
    run_damaged(tmp_path, capsys, 20)


@pytest.mark.slow
def test_many_damaged_archives_are_refused_or_whole(tmp_path, capsys):
    run_damaged(tmp_path, capsys, 400)


def test_a_zip_with_backslashes_is_told_and_unzip_helps(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat", "dog"):
            info = zipfile.ZipInfo("x")
            info.filename = f"{name}\\0.png"
            archive.writestr(info, encode(picture(1)))
    with pytest.raises(DataError, match=r"folders with backslashes \('cat.*unpack it with `unzip`"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=a.zip")
