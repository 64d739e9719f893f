"""Which files are images, of what formats, and what is said of the others."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from precompute.errors import AtlasError, DataError
from precompute.images import decoding
from precompute.images.dataset import load_photo
from precompute.images.decoding import GreyRange, decode_image
from precompute.images.listing import is_image, list_folder
from precompute.stages.explanations import _from_paths
from tests.photo_files import configure, encode, fill, open_here, picture


def test_every_spelling_of_jpeg_is_one(tmp_path):
    spellings = ["jpg", "jpeg", "JPG", "JPEG", "Jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp"]
    for number, spelling in enumerate(spellings):
        (tmp_path / f"{number}.{spelling}").write_bytes(encode(picture(number), "JPEG"))
    found = open_here(tmp_path, "dataset.kind=unlabelled", "dataset.root=.")
    assert len(found) == len(spellings)
    assert all(found.load(index).size == (8, 8) for index in range(len(found)))
    assert found.notes == ("not taken, as they are no images: 1 .toml",)


@pytest.mark.parametrize("suffix", ["avif", "jp2", "webp", "tif", "mpo", "heic"])
def test_formats_of_phones_and_scanners(tmp_path, suffix):
    kind = {"jp2": "JPEG2000", "tif": "TIFF", "heic": "HEIF"}.get(suffix, suffix.upper())
    if f".{suffix}" not in decoding.IMAGE_SUFFIXES:
        pytest.skip(f"Pillow reads no {kind} here")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"a.{suffix}").write_bytes(encode(picture(1, (64, 48)), kind))
    found = open_here(tmp_path, "dataset.kind=unlabelled")
    assert found.load(0).size == (64, 48)


def test_what_cannot_be_read_here_is_counted_with_what_helps(tmp_path, monkeypatch):
    monkeypatch.setattr("precompute.images.listing.IMAGE_SUFFIXES", frozenset([".png"]))
    fill(tmp_path / "images", ["a/1.png"])
    for name in ("a/2.heic", "a/3.HEIC", "a/notes.txt", "a/README", "a/.hidden.png"):
        (tmp_path / "images" / name).write_bytes(b"x")
    (note,) = open_here(tmp_path).notes
    assert "2 .heic, 1 .txt, 1 hidden, 1 without suffix" in note
    assert "pip install pillow-heif" in note
    (tmp_path / "images/a/1.png").unlink()
    with pytest.raises(DataError, match=r"holds no image file \(it holds 2 \.heic.*pip install pillow-heif"):
        open_here(tmp_path)


def test_a_data_set_and_photos_to_explain_are_listed_alike(tmp_path):
    """Nested folders, any suffix, hidden files: one rule."""
    names = ["1.avif", "deep/er/2.JPEG", "3.jp2", "._a.jpg", ".hidden/4.png", "notes.txt", "b.jfif"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = [sample.name for sample in list_folder(tmp_path).samples]
    assert listed == ["1.avif", "3.jp2", "b.jfif", "deep/er/2.JPEG"]
    assert [photo.name for photo in _from_paths([tmp_path])] == listed
    assert [name for name in names if is_image(name) and not name.startswith(".")] == [
        "1.avif",
        "deep/er/2.JPEG",
        "3.jp2",
        "b.jfif",
    ]


def deep(values, kind="PNG"):
    return encode(PIL.Image.fromarray(np.array([values], dtype=np.uint16)), kind)


@pytest.mark.parametrize(("most", "white"), [(200, 255), (900, 1023), (4000, 4095), (16000, 16383), (60000, 65535)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_is_scaled_by_the_range_of_all_images_and_told(tmp_path, most, white, kind):
    (tmp_path / "images").mkdir()
    for number in range(3):
        (tmp_path / f"images/{number}.{kind.lower()}").write_bytes(deep([0, most // (3 - number)], kind))
    found = open_here(tmp_path, "dataset.kind=unlabelled")
    assert found.grey == GreyRange(0, white, True)
    assert f"black is 0 and white {white}, measured in 3 of 3 images; dataset.grey_range sets them" in found.notes[0]
    levels = [found.load(number).getpixel((1, 0))[0] for number in range(3)]
    assert levels == [round(most // (3 - number) / white * 255) for number in range(3)]
    told = open_here(tmp_path, "dataset.kind=unlabelled", "dataset.grey_range=[0, 100]")
    assert [told.load(number).getpixel((1, 0))[0] for number in range(3)] == [
        min(round(most // (3 - n) / 100 * 255), 255) for n in range(3)
    ]
    assert not told.notes
    assert found.digest != told.digest


def test_an_image_beyond_the_measured_range_is_refused_and_the_advice_takes_it(tmp_path, monkeypatch):
    monkeypatch.setattr("precompute.images.listing._LOOKED_AT", 2)
    (tmp_path / "images").mkdir()
    for number, most in enumerate([1000, 4000, 900, 1000]):
        (tmp_path / f"images/{number}.png").write_bytes(deep([0, most]))
    found = open_here(tmp_path, "dataset.kind=unlabelled")
    assert found.load(0).getpixel((1, 0))[0] == round(1000 / 1023 * 255)
    with pytest.raises(DataError, match=r"from 0 to 4000.*dataset\.grey_range.*\[0, 4095\]"):
        found.load(1)
    mended = open_here(tmp_path, "dataset.kind=unlabelled", "dataset.grey_range=[0, 4095]")
    assert mended.load(1).getpixel((1, 0))[0] == round(4000 / 4095 * 255)


@pytest.mark.parametrize("value", ["[1]", "[5, 5]", "[9, 1]", "[0, 1, 2]"])
def test_a_grey_range_that_is_none_is_refused(tmp_path, value):
    fill(tmp_path / "images", ["1.png"])
    with pytest.raises(DataError, match=r"dataset\.grey_range is .*black, and white above it"):
        open_here(tmp_path, "dataset.kind=unlabelled", f"dataset.grey_range={value}")


def test_a_file_too_large_for_any_image_is_not_read(tmp_path):
    (tmp_path / "images").mkdir()
    with (tmp_path / "images/1.png").open("wb") as file:
        file.truncate(50 << 30)
    found = open_here(tmp_path, "dataset.kind=unlabelled")
    with pytest.raises(DataError, match="too large: a file of 53687 MB"):
        found.load(0)


def explain(folder, photo):
    """Read a photo to explain up to its pixels, as `atlas explain` does; returns the message, empty where it is one."""
    try:
        for found in _from_paths([Path(os.fsdecode(photo))]):
            load_photo(found.path, configure(folder))
            found.name.encode()
    except AtlasError as error:
        return str(error)
    return ""


@pytest.mark.timeout(30)  # a pipe or a device that is read never ends
def test_what_is_no_photo_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(odd, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(encode(picture(1)))
    (tmp_path / "loop.png").symlink_to("loop.png")
    for photo, told in (
        ("/dev/zero", "neither a file nor a folder"),
        (tmp_path / "pipe.jpg", "neither a file nor a folder"),
        (tmp_path / "none.png", "there is no photo or folder"),
        (tmp_path / "loop.png", "photo"),
        ("x" * 5000, "File name too long"),
    ):
        found = explain(tmp_path, photo)
        assert told in found
        assert found.isprintable()
    assert explain(tmp_path, odd) == ""


# Damage at random


def run_mutated_images(capsys, n_tries):
    """Mutate images of every format: a picture or a reason, for each."""
    kinds = {"PNG": {}, "JPEG": {}, "GIF": {}, "TIFF": {}, "WEBP": {}, "BMP": {}, "PPM": {}, "AVIF": {}, "JPEG2000": {}}
    rng, counts = random.Random(1), Counter()
    whole = {kind: encode(picture(1, (24, 16)), kind, **options) for kind, options in kinds.items()}
    whole["PNG of 16 bits"] = deep(range(0, 65536, 512))
    whole["TIFF of 16 bits"] = deep(range(0, 65536, 512), "TIFF")
    if "HEIF" in PIL.Image.OPEN:
        whole["HEIF"] = encode(picture(1, (64, 48)), "HEIF")
    for number in range(n_tries):
        kind = list(whole)[number % len(whole)]
        data = bytearray(whole[kind])
        for _ in range(rng.choice([1, 4, 30])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        try:
            assert decode_image(bytes(data), 1).mode == "RGB"
            counts["a picture"] += 1
        except DataError as error:
            assert str(error)  # noqa: PT017
            counts["a reason"] += 1
    with capsys.disabled():
        print(f"\n{n_tries} mutated images of {len(whole)} formats: {dict(counts)}, 0 tracebacks", end="")  # noqa: T201
    assert min(counts["a picture"], counts["a reason"]) > 0


def test_mutated_images_are_pictures_or_reasons(capsys):
    run_mutated_images(capsys, 100)


@pytest.mark.slow
def test_many_mutated_images_are_pictures_or_reasons(capsys):
    run_mutated_images(capsys, 3000)
