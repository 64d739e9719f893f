"""Data sets: what is opened, numbered, labelled and refused."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from precompute.config import load_config
from precompute.errors import DataError
from precompute.images import dataset as datasets
from precompute.images.classes import load_classes
from precompute.records import MISSING
from tests.photo_files import configure, encode, fill, open_here, picture

DATA = Path(__file__).parents[1] / "data"
SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED.name}/ with the sample data is not there")


def test_class_folders_are_numbered_by_name(tmp_path):
    fill(tmp_path / "images", ["b/2.png", "a/x/1.PNG", "b/1.png"])
    (tmp_path / "images" / "a" / "notes.txt").write_text("no image")
    (tmp_path / "images" / "a" / "._1.png").write_text("no image either")
    found = open_here(tmp_path)
    assert found.names == ("a/x/1.PNG", "b/1.png", "b/2.png")
    assert found.labels.tolist() == [0, 1, 1]
    assert found.class_names == ("a", "b")
    assert np.array_equal(np.asarray(found.load(2)), np.asarray(picture(0)))


def test_wordnet_folders_become_the_class_indices_of_the_model(tmp_path):
    fill(tmp_path / "images", ["n02119789/1.png", "n01440764/1.png"])
    found = open_here(tmp_path, "dataset.classes=imagenet")
    assert len(found.class_names) == 1000
    assert [found.class_names[label] for label in found.labels] == ["tench", "kit fox"]
    fill(tmp_path / "images", ["n02119780/1.png"])
    with pytest.raises(DataError, match="'n02119780' is no class of the list 'imagenet'; the nearest: n0211978"):
        open_here(tmp_path, "dataset.classes=imagenet")


def test_the_digest_follows_names_sizes_and_labels(tmp_path):
    fill(tmp_path / "images", ["a/1.png", "b/2.png"])
    digest = open_here(tmp_path).digest
    assert open_here(tmp_path).digest == digest
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(tmp_path / "images", moved / "images")
    assert open_here(moved).digest == digest
    (moved / "images" / "a" / "1.png").write_bytes(b"short")
    changed = open_here(moved).digest
    (moved / "images" / "a" / "1.png").rename(moved / "images" / "a" / "3.png")
    assert len({digest, changed, open_here(moved).digest}) == 3


def test_a_limit_spreads_evenly(tmp_path):
    fill(tmp_path / "images", [f"{name}/{number}.png" for name in "abcd" for number in range(5)])
    found = open_here(tmp_path, "dataset.limit=8")
    assert np.bincount(found.labels).tolist() == [2, 2, 2, 2]
    assert np.array_equal(np.asarray(found.load(7)), np.asarray(picture(17)))
    assert len(open_here(tmp_path, "dataset.limit=50")) == 20


def test_untrusted_names_and_links_back_work(tmp_path):
    root = tmp_path / "images"
    names = ["a b/<script>alert(1)<.png", "ü/\n.png", "ü/'\"&.png"]
    fill(root, names)
    (root / "ü" / "loop").symlink_to(root)
    (root / "loop").symlink_to(root)
    (root / "ü" / "self.png").symlink_to(root / "ü" / "self.png")
    os.mkdir(os.fsencode(root) + b"/bad\xff")  # noqa: PTH102 - a path of bytes
    with open(os.fsencode(root) + b"/bad\xff/\xfe.png", "wb") as file:  # noqa: PTH123 - paths of bytes
        file.write(encode(picture(9)))
    found = open_here(tmp_path)
    assert set(found.names) == {*names, "bad\\xff/\\xfe.png"}
    for name in found.names:
        name.encode()
    assert [found.load(index).size for index in range(4)] == [(8, 8)] * 4


@pytest.mark.parametrize("kind", ["folders", "unlabelled"])
@pytest.mark.parametrize(("link", "goal"), [("a/out.png", "b.png"), ("a/out.PNG", "b.txt"), ("b", "."), ("a/b", "c")])
def test_a_link_that_leads_out_is_refused_until_it_is_wanted(tmp_path, kind, link, goal):
    fill(tmp_path / "images", ["a/1.png"])
    fill(tmp_path / "elsewhere", ["b.png", "b.txt", "c/2.png"])
    (tmp_path / "images" / link).symlink_to(tmp_path / "elsewhere" / goal)
    with pytest.raises(DataError, match=rf"the link {link} to .*elsewhere.*dataset.follow_links = true"):
        open_here(tmp_path, f"dataset.kind={kind}")
    assert len(open_here(tmp_path, f"dataset.kind={kind}", "dataset.follow_links=true")) > 1  # the advice followed
    (tmp_path / "linked").symlink_to("images")
    (tmp_path / "images" / link).unlink()
    (tmp_path / "images/a/.hidden.png").symlink_to("/etc/passwd")
    (tmp_path / "images/a/inside.png").symlink_to("1.png")
    assert open_here(tmp_path, f"dataset.kind={kind}", "dataset.root=linked").names == ("a/1.png", "a/inside.png")


@pytest.mark.parametrize(
    ("names", "folders", "overrides", "message"),
    [
        (None, [], [], "does not exist"),
        ([], [], [], "holds no image file"),
        (["a/1.png"], ["b"], [], r"1 class folder\(s\) hold no image: 'b'"),
        (["1.png", "a/1.png"], [], [], "outside class folders, first '1.png'.*unlabelled"),
        (["1.png"], [], ["dataset.kind=flat"], "needs dataset.ground_truth"),
        (["a/1.png"], [], ["dataset.root="], "needs dataset.root"),
        (["a/1.png"], [], ["dataset.root=images/a/1.png"], "cannot read the archive"),
        (["a/1.png"], [], ["dataset.classes=none.tsv"], "cannot read the class list"),
        (["a/1.png"], [], ["dataset.kind=tar", "dataset.root=none.tar"], "cannot read the archive"),
        (["a/1.png"], [], ["dataset.kind=tar", "dataset.root=images/a/1.png"], "cannot read the archive"),
    ],
)
def test_what_cannot_be_opened_is_one_clear_error(tmp_path, names, folders, overrides, message):
    if names is not None:
        (tmp_path / "images").mkdir()
        fill(tmp_path / "images", names)
    for folder in folders:
        (tmp_path / "images" / folder).mkdir()
    with pytest.raises(DataError, match=message):
        open_here(tmp_path, *overrides)


def test_images_without_labels(tmp_path):
    fill(tmp_path / "images", ["1.png", "deep/er/2.png"])
    found = open_here(tmp_path, "dataset.kind=unlabelled")
    assert found.labels.tolist() == [MISSING, MISSING]
    assert found.class_names == ()
    assert len(open_here(tmp_path, "dataset.kind=unlabelled", "dataset.classes=imagenet").class_names) == 1000


VALIDATION = [f"ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("lines", "labels", "overrides"),
    [
        (
            [f"{name} {index}" for name, index in zip(VALIDATION, (65, 970, 230), strict=True)],
            [65, 970, 230],
            ["dataset.ground_truth_ids=from_zero"],
        ),
        ([f"{VALIDATION[2]} n01440764", f"{VALIDATION[0]} n01751748", f"{VALIDATION[1]}\tn01443537"], [65, 1, 0], []),
        (["ImageId,PredictionString"] + [f"{name[:-5]},n01751748 1 2 3 4" for name in VALIDATION], [65] * 3, []),
        (["n01751748", "n01443537", "n01440764"], [65, 1, 0], []),
        (["sea snake", "goldfish", "tench"], [65, 1, 0], []),
        (["65", "0", "999"], [65, 0, 999], []),
        (["65", "3", "4"], [65, 3, 4], ["dataset.ground_truth_ids=from_zero"]),
        (["490", "1", "1000"], [65, 278, 1], []),
        (["490", "1", "1"], [65, 278, 278], ["dataset.ground_truth_ids=ilsvrc"]),
    ],
)
def test_ground_truth_in_every_way_it_is_kept(tmp_path, lines, labels, overrides):
    fill(tmp_path / "images", VALIDATION)
    (tmp_path / "truth.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "map_clsloc.txt").write_text("n02119789 1 kit_fox\nn01751748 490 sea_snake\nn01443537 1000 goldfish\n")
    found = open_here(
        tmp_path, "dataset.kind=flat", "dataset.ground_truth=truth.txt", "dataset.classes=imagenet", *overrides
    )
    assert found.labels.tolist() == labels
    assert found.names == tuple(VALIDATION)


def test_the_meta_file_of_the_devkit_is_read(tmp_path):
    scipy_io = pytest.importorskip("scipy.io", reason="SciPy writes the devkit's file format")
    fill(tmp_path / "images", VALIDATION)
    synsets = np.array(
        [(1, "n02119789", 0), (490, "n01751748", 0), (1000, "n01443537", 0), (1001, "n00001740", 4)],
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")],
    )
    scipy_io.savemat(tmp_path / "meta.mat", {"synsets": synsets[:, None]})
    (tmp_path / "truth.txt").write_text("490\n1\n1000\n")
    found = open_here(tmp_path, "dataset.kind=flat", "dataset.ground_truth=truth.txt", "dataset.classes=imagenet")
    assert found.labels.tolist() == [65, 278, 1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1", "2"], "2 lines for 3 images"),
        (["3", "4", "5"], "does not tell how they count.*'from_one'"),
        (["490", "1", "1000"], r"map_clsloc\.txt beside"),
        ([f"{VALIDATION[0]} n01751748"], f"lacks 2 of 3 images, first '{VALIDATION[1]}'"),
        ([f"{name} {index}" for name, index in zip(VALIDATION, (0, 1, 1000), strict=True)], "line 3: the class 1000"),
        (["n01751748", "n01443537", "n99999999"], "'n99999999' is no class"),
    ],
)
def test_ground_truth_that_does_not_fit_is_refused(tmp_path, lines, message):
    fill(tmp_path / "images", VALIDATION)
    (tmp_path / "truth.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        open_here(tmp_path, "dataset.kind=flat", "dataset.ground_truth=truth.txt", "dataset.classes=imagenet")


def test_ground_truth_makes_its_own_classes(tmp_path):
    fill(tmp_path / "images", ["1.png", "2.png"])
    (tmp_path / "truth.txt").write_text("1.png dog\n2.png cat\n")
    found = open_here(tmp_path, "dataset.kind=flat", "dataset.ground_truth=truth.txt")
    assert (found.labels.tolist(), found.class_names) == ([1, 0], ("cat", "dog"))


def test_imagenette_keeps_the_class_indices_of_imagenet(tmp_path):
    fill(tmp_path / "images" / "imagenette2-320" / "val", ["n03888257/1.JPEG", "n01440764/2.JPEG"])
    found = open_here(tmp_path, "dataset.kind=imagenette")
    assert [(label, found.class_names[label]) for label in found.labels] == [(0, "tench"), (701, "parachute")]


def test_imagenette_without_a_network_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("torchvision.datasets.imagenette.download_and_extract_archive", refuse)
    with pytest.raises(DataError, match=r"cannot download Imagenette into .*no route"):
        open_here(tmp_path, "dataset.kind=imagenette", "dataset.root=")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("prefix", ["", "./", "all/", "./all/"])
def test_an_archive_equals_the_folder_it_was_made_of(tmp_path, suffix, prefix):
    fill(tmp_path / "images", ["b/2.png", "a/1.png", "b/10.png"])
    (tmp_path / "images" / "b" / "x.txt").write_text("no image")
    mode = "w:" + suffix.partition(".")[2]
    with tarfile.open(tmp_path / f"images.{suffix}", mode) as archive:
        archive.add(tmp_path / "images", arcname=prefix or ".")
    folder = open_here(tmp_path)
    packed = open_here(tmp_path, "dataset.kind=tar", f"dataset.root=images.{suffix}")
    assert packed.names == folder.names
    assert packed.digest == folder.digest
    for index in range(3):
        assert np.array_equal(np.asarray(packed.load(index)), np.asarray(folder.load(index)))
    kept = list((tmp_path / "here" / "cache").glob("*")) if (tmp_path / "here").exists() else []
    assert len(kept) == (0 if suffix == "tar" else 1)


def test_a_truncated_archive_leaves_nothing_behind(tmp_path):
    fill(tmp_path / "images", ["a/1.png"])
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "images", arcname=".")
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress((tmp_path / "x.tar").read_bytes())[:-20])
    with pytest.raises(DataError, match="damaged or truncated"):
        open_here(tmp_path, "dataset.kind=tar", "dataset.root=x.tar.gz")
    assert list((tmp_path / "here" / "cache").iterdir()) == []


def test_class_lists(tmp_path):
    expected = ("cat", "big dog")
    for name, text in {
        "a.tsv": "name\ncat\nbig dog\n",
        "b.tsv": "index\twnid\tname\n1\tn2\tbig dog\n0\tn1\tcat\n",
        "a.json": '["cat", "big dog"]',
        "b.json": '{"0": "cat", "1": "big dog"}',
        "c.json": '{"0": ["n1", "cat"], "1": ["n2", "big dog"]}',
    }.items():
        (tmp_path / name).write_text(text)
        classes = load_classes(name, tmp_path / name)
        assert classes.names == expected
        assert classes.index("big dog") == 1
        assert classes.index("n1") == (0 if "n1" in text else None)
    for name, text in {
        "c.tsv": "cat\ndog\n",
        "d.tsv": "index\tname\n2\tcat\n",
        "d.json": "{",
        "e.json": "[1, 2]",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=name):
            load_classes(name, tmp_path / name)


def test_imagenet_classes_are_those_of_torchvision():
    from torchvision.models import VGG16_Weights

    classes = load_classes("imagenet")
    assert list(classes.names) == VGG16_Weights.IMAGENET1K_V1.meta["categories"]
    assert len(set(classes.keys)) == 1000
    assert len(set(classes.names)) == 1000


def test_a_name_of_two_classes_tells_none(tmp_path):
    (tmp_path / "some.tsv").write_text("wnid\tname\nn1\tcrane\nn2\tcrane\nn3\tcat\n")
    classes = load_classes("some.tsv", tmp_path / "some.tsv")
    assert [classes.index(text) for text in ("crane", "n2", "cat")] == [None, 1, 2]


def test_a_photo_from_outside_names_its_file(tmp_path):
    config = configure(tmp_path)
    fill(tmp_path, ["good.png"])
    assert datasets.load_photo(tmp_path / "good.png", config).size == (8, 8)
    (tmp_path / "bad.jpg").write_text("text")
    for name, reason in (("bad.jpg", "not an image"), ("none.jpg", "No such file")):
        with pytest.raises(DataError, match=f"{name}: .*{reason}"):
            datasets.load_photo(tmp_path / name, config)


# The sample data


@needs_shared
def test_the_imagenet_sample_opens(tmp_path):
    found = datasets.open_dataset(load_config(DATA / "imagenet-sample.toml"), tmp_path)
    wnids = load_classes("imagenet").keys
    assert len(found) == 706
    assert [wnids[label] for label in found.labels] == [name.partition("/")[0] for name in found.names]
    assert found.load(0).mode == "RGB"


@needs_shared
def test_the_cifar_archive_opens(tmp_path):
    config = load_config(DATA / "cifar10-sample.toml")
    config = dataclasses.replace(
        config,
        path=tmp_path / "cifar10-sample.toml",
        dataset=dataclasses.replace(config.dataset, root=str(SHARED / "data" / "cifar10-val.tar.gz")),
    )
    found = datasets.open_dataset(config, tmp_path)
    assert np.bincount(found.labels).tolist() == [200] * 10
    assert found.class_names[:2] == ("airplane", "automobile")
    image = found.load(1999)
    assert np.array_equal(datasets.preprocess(image, config.preprocessing), np.asarray(image).transpose(2, 0, 1))
    assert json.dumps(found.names)
