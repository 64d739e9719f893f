import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from precompute.images.pictures import (
    blur,
    decode_heatmap,
    encode_heatmap,
    encode_webp,
    mask_box,
    masked_crop,
    overlay,
    overlay_scale,
    render_reference,
)
from precompute.printing import palette
from precompute.records import Box


def decode_rgb(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def photo(rng):
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))


def bump(shape, centre, sigma):
    rows, columns = np.indices(shape)
    return np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("shape", [(40, 33), (19, 64), (10, 10)])
@pytest.mark.parametrize("kernel_size", [19, 7])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 2e-6)])
def test_blur_equals_torchvision(rng, shape, kernel_size, dtype, tolerance):
    from torchvision.transforms.functional import gaussian_blur

    heatmap = rng.normal(size=shape).astype(dtype)
    expected = gaussian_blur(torch.from_numpy(heatmap)[None], kernel_size=kernel_size)[0].numpy()
    result = blur(heatmap, kernel_size)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=tolerance)


@pytest.mark.parametrize("seed", range(4))
def test_mask_and_crop_equal_the_peer(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crp.helper import max_norm
        from crp.image import get_crop_range
        from torchvision.transforms.functional import gaussian_blur
    rng = np.random.default_rng(seed)
    heatmap = bump((60, 70), rng.uniform(5, 55, 2), rng.uniform(1, 9)) + 0.02 * rng.normal(size=(60, 70))
    smooth = max_norm(gaussian_blur(torch.from_numpy(heatmap)[None], kernel_size=19)[0])
    first_row, last_row, first_column, last_column = (int(edge) for edge in get_crop_range(smooth, 0.1))
    box, visible = mask_box(heatmap)
    # The peer's slice leaves out the last row and column that are above the threshold; the box keeps them.
    assert box == (first_row, first_column, last_row + 1, last_column + 1)
    np.testing.assert_array_equal(visible, (smooth > 0.2).numpy())


def test_masked_crop_equals_the_peers_picture(photo):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crp.image import vis_opaque_img
    photo = photo.copy()
    photo[0, 0], photo[0, 1] = 0, 255  # its picture is scaled to its own extremes
    heatmap = bump((64, 64), (20, 40), 6) + bump((64, 64), (0, 0), 3)
    batch, heatmaps = torch.from_numpy(photo / 255.0).permute(2, 0, 1)[None], torch.from_numpy(heatmap)[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        peer = vis_opaque_img(batch, heatmaps)[0]
    _, visible = mask_box(heatmap)
    assert visible[0, 0]
    ours = masked_crop(photo, visible, Box(0, 0, 64, 64)).astype(int)
    assert np.abs(ours - np.asarray(peer.convert("RGB"), dtype=int)).max() <= 1


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_heatmap_without_positive_relevance_shows_nothing(value):
    heatmap = np.full((30, 40), value)
    box, visible = mask_box(heatmap)
    assert box == (0, 0, 30, 40)
    assert not visible.any()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e8])
def test_heatmap_round_trip_within_half_a_level(rng, scale):
    heatmap = rng.normal(size=(23, 31)) * scale
    png, stored_scale = encode_heatmap(heatmap)
    assert stored_scale == np.abs(heatmap).max()
    np.testing.assert_allclose(decode_heatmap(png, stored_scale), heatmap, atol=stored_scale / 254 * 1.0001)


def test_shrinking_a_heatmap_averages_over_areas(rng):
    heatmap = rng.normal(size=(32, 48))
    png, scale = encode_heatmap(heatmap, longer_side=12)
    assert Image.open(io.BytesIO(png)).size == (12, 8)
    expected = heatmap.reshape(8, 4, 12, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(decode_heatmap(png, scale), expected, atol=scale / 254 * 1.0001)


def test_shrinking_by_a_broken_factor_keeps_the_mean():
    heatmap = np.zeros((50, 50))
    heatmap[20:27, 3:31] = 2.0
    png, scale = encode_heatmap(heatmap, longer_side=22)
    assert decode_heatmap(png, scale).mean() == pytest.approx(heatmap.mean(), abs=scale / 254)


def test_zero_and_not_finite_heatmaps_encode():
    png, scale = encode_heatmap(np.zeros((5, 6)))
    assert scale == 0.0
    assert not decode_heatmap(png, scale).any()
    heatmap = np.array([[np.nan, 1.0], [-2.0, np.inf]])
    png, scale = encode_heatmap(heatmap)
    assert scale == 2.0
    np.testing.assert_allclose(decode_heatmap(png, scale), [[0, 1], [-2, 0]], atol=scale / 254)


def test_webp_shrinks_but_never_enlarges(photo):
    assert decode_rgb(encode_webp(photo, longer_side=40)).shape == (40, 40, 3)
    assert decode_rgb(encode_webp(photo[:, :33], longer_side=48)).shape == (48, 25, 3)
    assert decode_rgb(encode_webp(photo, longer_side=100)).shape == (64, 64, 3)
    assert np.abs(decode_rgb(encode_webp(photo, quality=90)).astype(int) - photo).mean() < 6


def test_small_webp_loses_nothing(photo):
    small = photo[5:30, 7:39]
    np.testing.assert_array_equal(decode_rgb(encode_webp(small)), small)


def test_heatmaps_that_share_a_scale_can_be_compared(photo):
    strong, weak = 3.0 * bump((64, 64), (15, 15), 4), 0.03 * bump((64, 64), (48, 48), 4)
    scale = max(overlay_scale(strong), overlay_scale(weak))
    assert scale == overlay_scale(strong)
    np.testing.assert_array_equal(overlay(photo, strong, scale), overlay(photo, strong))
    coloured = np.ptp(overlay(photo, weak, scale).astype(int), axis=2)
    alone = np.ptp(overlay(photo, weak).astype(int), axis=2)
    assert alone[48, 48] > 100
    assert coloured[48, 48] < 30


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), dtype=np.uint8)])
def test_what_is_not_an_image_is_refused(bad):
    with pytest.raises(ValueError, match="not an RGB image"):
        encode_webp(bad)


def test_an_overlay_is_coloured_for_and_against_and_grey_elsewhere(photo):
    heatmap = 3.0 * bump((64, 64), (15, 15), 4) - 3.0 * bump((64, 64), (48, 48), 4)
    picture = overlay(photo, heatmap).astype(int)
    assert picture.shape == (64, 64, 3)
    assert np.abs(picture[15, 15] - palette.POSITIVE).max() < 45
    assert np.abs(picture[48, 48] - palette.NEGATIVE).max() < 45
    assert np.ptp(picture[60, 4]) <= 1
    np.testing.assert_array_equal(overlay(photo, heatmap * 1e-12), picture)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_overlay_of_nothing_is_the_grey_photo(photo, value):
    picture = overlay(photo, np.full((64, 64), value)).astype(int)
    assert np.ptp(picture, axis=2).max() <= 1


def test_reference_shrinks_to_the_strong_part_of_the_receptive_field(photo):
    heatmap = bump((64, 64), (30, 24), 2.5)
    reference = render_reference(photo, heatmap, Box(4, -8, 60, 56), 112)
    box = reference.box
    strong, _ = mask_box(heatmap)
    assert box == strong
    assert 16 < box.bottom - box.top < 56
    np.testing.assert_allclose(
        decode_heatmap(reference.heatmap, reference.heatmap_scale),
        heatmap[box.top : box.bottom, box.left : box.right],
        atol=reference.heatmap_scale / 254 * 1.0001,
    )
    size = (box.bottom - box.top, box.right - box.left, 3)
    assert decode_rgb(reference.crop).shape == decode_rgb(reference.masked).shape == size
    assert decode_rgb(reference.full).shape == (64, 64, 3)


def test_reference_never_leaves_the_receptive_field(photo):
    heatmap = bump((64, 64), (30, 24), 9)
    assert render_reference(photo, heatmap, Box(28, 10, 50, 30), 112).box == Box(28, 10, 50, 30)


@pytest.mark.parametrize(
    "field", [Box(63, 63, 64, 64), Box(0, 0, 1, 1), Box(-9, 30, 4, 31), Box(70, 70, 90, 90), Box(9, 9, 9, 9)]
)
@pytest.mark.parametrize("kind", ["none", "zero", "negative", "not a number", "one pixel"])
def test_degenerate_boxes_grow_to_sixteen_pixels_inside_the_image(photo, field, kind):
    heatmap = {
        "none": None,
        "zero": np.zeros((64, 64)),
        "negative": np.full((64, 64), -1.0),
        "not a number": np.full((64, 64), np.nan),
        "one pixel": np.pad([[1.0]], ((63, 0), (63, 0))),
    }[kind]
    box, *pictures = render_reference(photo, heatmap, field, 112)
    assert 0 <= box.top < box.bottom <= 64
    assert 0 <= box.left < box.right <= 64
    assert box.bottom - box.top >= 16
    assert box.right - box.left >= 16
    assert decode_rgb(pictures[1]).shape == (box.bottom - box.top, box.right - box.left, 3)
    assert (pictures[2] == b"") == (kind == "none")


def test_an_image_below_sixteen_pixels_is_shown_whole(photo):
    reference = render_reference(photo[:9, :12], bump((9, 12), (4, 4), 1), Box(3, 3, 5, 5), 112)
    assert reference.box == (0, 0, 9, 12)


def test_an_encoded_whole_is_passed_through(photo):
    assert render_reference(photo, None, Box(0, 0, 32, 32), 112, full=b"whole").full == b"whole"


def test_a_heatmap_of_another_size_is_refused(photo):
    with pytest.raises(ValueError, match="32"):
        render_reference(photo, np.zeros((32, 32)), Box(0, 0, 32, 32), 112)
