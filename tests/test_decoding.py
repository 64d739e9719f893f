"""Decoding and preprocessing: every kind of picture, and what cannot be one."""

from __future__ import annotations

import contextlib

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms._presets import ImageClassification

from precompute.config import PreprocessingConfig
from precompute.errors import DataError
from precompute.images import dataset as datasets
from precompute.images.decoding import decode_image
from tests.photo_files import encode, picture


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
        (b"hello, this is a text", "not an image: it begins like no format"),
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


@pytest.mark.parametrize(
    "interpolation", ["bilinear", "bicubic", "nearest", "nearest-exact", "lanczos", "hamming", "box"]
)
@pytest.mark.parametrize("size", [(300, 200), (97, 301)])
@pytest.mark.parametrize(("resize", "crop"), [([48, 64], [48, 64]), (64, [48, 56]), ([70, 90], 40), (40, 40)])
def test_rectangles_squeezed_or_cropped_equal_torchvision(size, interpolation, resize, crop):
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    as_config = [tuple(value) if isinstance(value, list) else value for value in (resize, crop)]
    preprocessing = PreprocessingConfig(*as_config, interpolation=interpolation)
    image = picture(5, size)
    trained = transforms.Compose(
        [
            transforms.Resize(resize, interpolation=InterpolationMode(interpolation)),
            transforms.CenterCrop(crop),
            transforms.PILToTensor(),
        ]
    )
    assert np.array_equal(datasets.preprocess(image, preprocessing), trained(image).numpy())


@pytest.mark.parametrize(
    ("channels", "value_range", "trained"),
    [
        (
            ("blue", "green", "red"),
            (0, 255),
            lambda x: x[:, [2, 1, 0]] - torch.tensor([103.9, 116.8, 123.7]).view(3, 1, 1),
        ),
        (("red", "green", "blue"), (-1, 1), lambda x: x / 127.5 - 1),
        (("grey",), (0, 255), lambda x: (x * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)),
    ],
)
def test_channel_order_and_value_range_of_other_trainings(channels, value_range, trained):
    """Caffe's networks (blue first, 0 to 255, means of ImageNet) and TensorFlow's (-1 to 1)."""
    pixels = torch.from_numpy(np.asarray(picture(2)).transpose(2, 0, 1).copy())[None]
    is_caffe = channels[0] == "blue"
    mean = (103.9, 116.8, 123.7) if is_caffe else (0.0,) * len(channels)
    preprocessing = PreprocessingConfig(
        mean=mean, std=(1.0,) * len(channels), channels=channels, value_range=value_range
    )
    found = datasets.normalise(pixels, preprocessing, torch.float64)
    tolerance = 0.51 if channels == ("grey",) else 1e-4
    assert (found - trained(pixels.double())).abs().max() < tolerance


def test_preprocessing_is_the_identity_at_the_right_size():
    image = picture(4, (32, 32))
    found = datasets.preprocess(image, PreprocessingConfig(resize=32, crop=32))
    assert np.array_equal(found, np.asarray(image).transpose(2, 0, 1))


def test_normalising_tells_every_value_apart():
    values = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    for dtype in (torch.float32, torch.float64):
        normalised = datasets.normalise(values, PreprocessingConfig(), dtype)
        assert normalised.dtype == dtype
        assert all(len(plane.unique()) == 256 for plane in normalised[0])


def test_channels_are_what_they_are_called():
    image = picture(5, (40, 40))
    channels = ("blue", "grey", "black", "white", "red", "green")
    preprocessing = PreprocessingConfig(resize=40, crop=40, mean=(0.0,) * 6, std=(1.0,) * 6, channels=channels)
    found = datasets.normalise(torch.from_numpy(datasets.preprocess(image, preprocessing))[None], preprocessing)[0]
    red, green, blue = (torch.from_numpy(np.asarray(image)[..., place].copy()) / 255 for place in range(3))
    grey = torch.from_numpy(np.asarray(image.convert("L")).copy()) / 255
    for plane, expected in zip(found, (blue, grey, torch.zeros(40, 40), torch.ones(40, 40), red, green), strict=True):
        assert torch.equal(plane, expected)


def test_grey_alone_is_seen_in_grey_as_torchvision_makes_it():
    from torchvision.transforms import v2

    image = picture(6, (60, 50))
    preprocessing = PreprocessingConfig(resize=32, crop=28, mean=(0.1307,), std=(0.3081,), channels=("grey",))
    pixels = datasets.preprocess(image, preprocessing)
    assert np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels[0], pixels[2])
    usual = v2.Compose([v2.Grayscale(), v2.Resize(32), v2.CenterCrop(28), v2.PILToTensor()])
    assert np.array_equal(pixels[:1], usual(image).numpy())
    found = datasets.normalise(torch.from_numpy(pixels)[None], preprocessing)[0]
    torch.testing.assert_close(found, (usual(image) / 255 - 0.1307) / 0.3081)
