from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms._presets import ImageClassification

from precompute import dataset as datasets
from precompute.classes import load_classes
from precompute.config import Config, PreprocessingConfig, load_config
from precompute.decoding import decode_image
from precompute.errors import DataError, OutputError
from precompute.image_cache import ImageCache
from precompute.records import EMPTY

DATA = Path(__file__).parents[1] / "data"
SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED.name}/ with the sample data is not there")


def picture(seed: int, size: tuple[int, int] = (8, 8)) -> PIL.Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise)


def encode(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fill(root: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode(picture(seed)))


def configure(folder: Path, *overrides: str) -> Config:
    path = folder / "here.toml"
    path.write_text("[preprocessing]\nresize = 8\ncrop = 8\n[mining]\nn_workers = 0\n")
    return load_config(path, ["dataset.root=images", *overrides])


def open_here(folder: Path, *overrides: str) -> datasets.Dataset:
    return datasets.open_dataset(configure(folder, *overrides))


# Decoding


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation):
    upright = np.zeros((4, 6, 3), dtype=np.uint8)
    upright[0, 0] = 255
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = encode(PIL.Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert np.array_equal(np.asarray(decode_image(content, 1)), upright)


def test_grey_palette_and_bilevel_keep_their_colours():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(np.asarray(decode_image(encode(PIL.Image.fromarray(grey)), 1)), as_rgb)
    palette = PIL.Image.fromarray(as_rgb).quantize(256)
    assert np.array_equal(np.asarray(decode_image(encode(palette), 1)), np.asarray(palette.convert("RGB")))
    bilevel = PIL.Image.fromarray(grey > 100)
    assert set(np.asarray(decode_image(encode(bilevel), 1)).ravel()) == {0, 255}


def test_cmyk_converts():
    red = PIL.Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    assert decode_image(encode(red, "TIFF"), 1).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    decoded = np.asarray(decode_image(encode(PIL.Image.fromarray(deep), kind), 1))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_32_bit_grey_is_scaled_by_its_range():
    unit = PIL.Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32))
    assert np.asarray(decode_image(encode(unit, "TIFF"), 1))[0, :, 0].tolist() == [0, 128, 255]
    wide = PIL.Image.fromarray(np.array([[-100, 0, 300]], dtype=np.float32))
    assert np.asarray(decode_image(encode(wide, "TIFF"), 1))[0, :, 0].tolist() == [0, 64, 255]
    whole = PIL.Image.fromarray(np.array([[0, 1 << 20]], dtype=np.int32))
    assert np.asarray(decode_image(encode(whole, "TIFF"), 1))[0, :, 0].tolist() == [0, 255]


def test_transparency_is_composited_on_white():
    clear = PIL.Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert decode_image(encode(clear), 1).getpixel((0, 0)) == (255, 255, 255)
    half = PIL.Image.new("LA", (2, 2), (0, 128))
    assert decode_image(encode(half), 1).getpixel((0, 0)) == (127, 127, 127)
    keyed = PIL.Image.new("RGB", (2, 2), (1, 2, 3))
    assert decode_image(encode(keyed, transparency=(1, 2, 3)), 1).getpixel((0, 0)) == (255, 255, 255)
    palette = PIL.Image.new("P", (2, 2), 0)
    palette.putpalette([9, 9, 9])
    assert decode_image(encode(palette, transparency=0), 1).getpixel((0, 0)) == (255, 255, 255)


def test_the_first_frame_of_an_animation_counts():
    frames = [PIL.Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(content, 1).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, this is a text", "not an image: it begins with b'hello"),
        (encode(picture(0, (64, 64)), "JPEG")[:-900], "broken or truncated"),
        (encode(picture(0, (64, 64)))[:500], "broken or truncated"),
        (encode(PIL.Image.new("L", (1001, 1000))), "1.0 megapixels, dataset.max_megapixels allows 1"),
        (encode(PIL.Image.new("1", (20000, 10000))), "too large"),
        (encode(PIL.Image.new("1", (30000, 15000))), "too large"),
        (encode(PIL.Image.new("L", (1, 101))), "too oblong: 1 x 101"),
    ],
)
def test_what_cannot_be_used_gives_its_reason(content, reason):
    with pytest.raises(DataError) as caught:
        decode_image(content, 1)
    assert reason in str(caught.value)


def test_damage_anywhere_is_a_data_error_or_an_image():
    generator = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = bytearray(encode(picture(1, (16, 16)), kind))
        for _ in range(60):
            damaged = bytearray(whole)
            for position in generator.integers(0, len(whole), 4):
                damaged[position] = generator.integers(256)
            with contextlib.suppress(DataError):
                assert decode_image(bytes(damaged), 1).mode == "RGB"


# Preprocessing


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(300, 200), (200, 301), (256, 256), (40, 33), (225, 900)])
def test_preprocessing_equals_the_preset_of_torchvision(size, interpolation):
    from torchvision.transforms import InterpolationMode

    preprocessing = PreprocessingConfig(resize=256, crop=224, interpolation=interpolation)
    image = picture(3, size)
    preset = ImageClassification(crop_size=224, resize_size=256, interpolation=InterpolationMode(interpolation))
    found = datasets.preprocess(image, preprocessing)
    assert (found.shape, found.dtype) == ((3, 224, 224), np.uint8)
    normalised = datasets.normalise(torch.from_numpy(found)[None], preprocessing)
    assert torch.equal(normalised[0], preset(image))
    assert torch.equal(datasets.denormalise(normalised, preprocessing)[0], torch.from_numpy(found))


def test_preprocessing_is_the_identity_at_the_right_size():
    image = picture(4, (32, 32))
    found = datasets.preprocess(image, PreprocessingConfig(resize=32, crop=32))
    assert np.array_equal(found, np.asarray(image).transpose(2, 0, 1))


def test_normalising_keeps_every_value_in_half_precision_range():
    values = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    preprocessing = PreprocessingConfig()
    for dtype in (torch.float32, torch.float64):
        normalised = datasets.normalise(values, preprocessing, dtype)
        assert normalised.dtype == dtype
        assert torch.equal(datasets.denormalise(normalised, preprocessing), values)


# Opening


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


def test_hostile_names_and_links_back_work(tmp_path):
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


@pytest.mark.parametrize(
    ("names", "folders", "overrides", "message"),
    [
        (None, [], [], "does not exist"),
        ([], [], [], "holds no image file"),
        (["a/1.png"], ["b"], [], r"1 class folder\(s\) hold no image: 'b'"),
        (["1.png", "a/1.png"], [], [], "outside class folders, first '1.png'.*unlabelled"),
        (["1.png"], [], ["dataset.kind=flat"], "needs dataset.ground_truth"),
        (["a/1.png"], [], ["dataset.root="], "needs dataset.root"),
        (["a/1.png"], [], ["dataset.root=images/a/1.png"], "is a file, not a folder"),
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
    assert found.labels.tolist() == [EMPTY, EMPTY]
    assert found.class_names == ()
    assert len(open_here(tmp_path, "dataset.kind=unlabelled", "dataset.classes=imagenet").class_names) == 1000


VALIDATION = [f"ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("lines", "labels", "overrides"),
    [
        ([f"{name} {index}" for name, index in zip(VALIDATION, (65, 970, 230), strict=True)], [65, 970, 230], []),
        ([f"{VALIDATION[2]} n01440764", f"{VALIDATION[0]} n01751748", f"{VALIDATION[1]}\tn01443537"], [65, 1, 0], []),
        (["ImageId,PredictionString"] + [f"{name[:-5]},n01751748 1 2 3 4" for name in VALIDATION], [65] * 3, []),
        (["n01751748", "n01443537", "n01440764"], [65, 1, 0], []),
        (["sea snake", "goldfish", "tench"], [65, 1, 0], []),
        (["65", "0", "999"], [65, 0, 999], []),
        (["65", "3", "4"], [65, 3, 4], ["dataset.ground_truth_ids=torchvision"]),
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
        (["3", "4", "5"], "does not tell how they count"),
        (["490", "1", "1000"], "needs? its class list beside"),
        ([f"{VALIDATION[0]} 3"], f"lacks 2 of 3 images, first '{VALIDATION[1]}'"),
        ([f"{name} 1000" for name in VALIDATION], "expected 0 to 999"),
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
        "d.tsv": "index\tname\n1\tcat\n",
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


# Batches


def many(tmp_path: Path, n: int = 70) -> None:
    fill(tmp_path / "images", [f"a/{number:03}.png" for number in range(n)])
    (tmp_path / "images" / "a" / "005.png").write_text("text")
    (tmp_path / "images" / "a" / "066.png").write_bytes(b"")


@pytest.mark.parametrize("n_workers", [0, 2])
def test_batches_keep_the_order_skip_what_is_broken_and_end_at_shards(tmp_path, n_workers):
    many(tmp_path)
    config = configure(tmp_path, "mining.batch_size=4", "mining.shard_size=10", f"mining.n_workers={n_workers}")
    found = datasets.open_dataset(config)
    indices = list(range(69, -1, -1))
    state = torch.random.get_rng_state()
    batches = list(datasets.iter_batches(found, indices, config, pin_memory=False))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [len(batch.indices) + len(batch.skipped) for batch in batches] == [4, 4, 2] * 7
    assert [index for batch in batches for index in batch.indices.tolist()] == [i for i in indices if i not in (5, 66)]
    skipped = {index: reason for batch in batches for index, reason in batch.skipped.items()}
    assert skipped.keys() == {5, 66}
    assert skipped[66] == "the file is empty"
    assert "not an image" in skipped[5]
    for batch in batches:
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            assert np.array_equal(image.numpy().transpose(1, 2, 0), np.asarray(picture(index)))


def test_a_batch_may_be_all_broken_and_the_list_empty(tmp_path):
    many(tmp_path, 6)
    config = configure(tmp_path, "mining.batch_size=1")
    found = datasets.open_dataset(config)
    (batch,) = datasets.iter_batches(found, [5], config)
    assert (batch.images.shape, len(batch.indices), list(batch.skipped)) == ((0, 3, 8, 8), 0, [5])
    assert list(datasets.iter_batches(found, [], config)) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_without_a_word(tmp_path, how):
    many(tmp_path)
    configure(tmp_path)
    script = tmp_path / "run.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "from precompute import config, dataset\n"
        "if __name__ == '__main__':\n"
        f"    c = config.load_config(pathlib.Path({str(tmp_path / 'here.toml')!r}),\n"
        "        ['dataset.root=images', 'mining.n_workers=2', 'mining.batch_size=1'])\n"
        "    d = dataset.open_dataset(c)\n"
        "    try:\n"
        "        for batch in dataset.iter_batches(d, range(70), c):\n"
        "            print('batch', flush=True)\n"
        "            time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "batch\n"
        # Ctrl-C reaches the whole group, a kill only the process that it names.
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert how == signal.SIGKILL or errors == ""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker process lives on")


# The cache


def test_the_cache_gives_the_same_images_without_decoding(tmp_path, monkeypatch):
    many(tmp_path, 12)
    config = configure(tmp_path, "mining.cache_images=true")
    found = datasets.open_dataset(config)
    (first,) = datasets.iter_batches(found, range(12), config)
    monkeypatch.setattr(type(found), "load", lambda self, index: pytest.fail("decoded") if index != 5 else found_bad())

    def found_bad():
        raise DataError("still broken")

    (second,) = datasets.iter_batches(found, range(12), config)
    assert torch.equal(first.images, second.images)
    assert second.skipped == {5: "still broken"}
    assert np.array_equal(datasets.load_input(found, 3, config), first.images[3].numpy())


def test_another_preprocessing_or_data_set_has_another_cache(tmp_path):
    many(tmp_path, 8)
    for overrides in ([], ["preprocessing.crop=4"], ["preprocessing.interpolation=nearest"], ["dataset.limit=3"]):
        config = configure(tmp_path, "mining.cache_images=true", *overrides)
        found = datasets.open_dataset(config)
        datasets.load_input(found, 0, config)
    assert len(list((tmp_path / "here" / "cache").glob("images-*.u8"))) == 4
    config = configure(tmp_path, "mining.cache_images=true", "preprocessing.mean=[0, 0, 0]", "mining.batch_size=2")
    datasets.load_input(datasets.open_dataset(config), 0, config)
    assert len(list((tmp_path / "here" / "cache").glob("images-*.u8"))) == 4


def test_a_torn_image_is_not_served(tmp_path):
    cache = ImageCache(tmp_path / "some.u8", 3, (3, 4, 4))
    cache.create()
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    black = np.zeros_like(image)
    assert cache.read(1) is None
    cache.write(1, image)
    cache.write(2, black)
    cache.create()
    assert np.array_equal(cache.read(1), image)
    assert np.array_equal(cache.read(2), black)
    with cache.path.open("rb+") as file:
        file.seek(48 + 30)
        file.write(b"\xff\xff")
    assert cache.read(1) is None
    assert cache.read(0) is None


def test_a_cache_that_does_not_fit_on_the_disk_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"may grow to .* GB.*cache_images = false"):
        ImageCache(tmp_path / "some.u8", 1 << 40, (3, 224, 224)).create()


# The sample data


@needs_shared
def test_the_imagenet_sample_opens():
    found = datasets.open_dataset(load_config(DATA / "imagenet-sample.toml"))
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
    found = datasets.open_dataset(config)
    assert np.bincount(found.labels).tolist() == [200] * 10
    assert found.class_names[:2] == ("airplane", "automobile")
    image = found.load(1999)
    assert np.array_equal(datasets.preprocess(image, config.preprocessing), np.asarray(image).transpose(2, 0, 1))
    assert json.dumps(found.names)
