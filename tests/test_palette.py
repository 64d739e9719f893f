"""One pair of colours for and against, in pictures, pages and words."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from precompute.images.pictures import overlay
from precompute.printing import palette
from sitegen import pictures
from sitegen.links import Links

ROOT = Path(__file__).parents[1]
STYLE = ROOT / "sitegen/assets/atlas.css"
PAPER, NIGHT = (0xFB, 0xFA, 0xF7), (0x16, 0x19, 0x1C)


@pytest.mark.parametrize(
    ("ground", "positive", "negative"),
    [
        (PAPER, palette.POSITIVE, palette.NEGATIVE),
        (NIGHT, palette.POSITIVE_ON_DARK, palette.NEGATIVE_ON_DARK),
    ],
)
def test_the_pair_differs_on_grey_paper_and_shows_on_its_ground(ground, positive, negative):
    assert palette.contrast(positive, negative) > 2
    assert palette.contrast(positive, ground) > 3
    assert palette.contrast(negative, ground) > 3


def test_contrast_is_as_the_standard_has_it():
    assert palette.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert palette.contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_overlays_and_heatmaps_have_the_same_colours():
    ramp = np.zeros((64, 64), np.float32)
    ramp[8:24, 8:24], ramp[40:56, 40:56] = 1, -1
    drawn = overlay(np.full((64, 64, 3), 128, np.uint8), ramp).astype(int)
    coloured = np.asarray(pictures.colour_heatmap(Image.fromarray(np.array([[255, 1]], np.uint8))))[0]
    for place, index, colour in (((16, 16), 0, palette.POSITIVE), ((48, 48), 1, palette.NEGATIVE)):
        assert tuple(coloured[index][:3]) == colour
        assert np.abs(drawn[place] - colour).max() < 30


def test_the_style_sheet_gets_its_pair_from_the_palette(tmp_path):
    from sitegen.frames import build_frames

    build_frames(tmp_path / "site", tmp_path / "work", {"Start": "index.html"}, ())
    style = (tmp_path / "site/assets/atlas.css").read_text(encoding="utf-8")
    light, dark = style.splitlines()[0].split('[data-md-color-scheme="slate"]')
    for rules, positive, negative in (
        (light, palette.POSITIVE, palette.NEGATIVE),
        (dark, palette.POSITIVE_ON_DARK, palette.NEGATIVE_ON_DARK),
    ):
        assert f"--atlas-positive:{palette.hexadecimal(positive)}" in rules
        assert f"--atlas-negative:{palette.hexadecimal(negative)}" in rules
    assert f"--atlas-heat-negative:{palette.hexadecimal(palette.NEGATIVE)}" in light


def test_no_other_file_has_a_colour_of_its_own_for_signs():
    style = STYLE.read_text(encoding="utf-8")
    assert "--atlas-positive" in style
    assert re.findall(r"^.*(?:positive|negative)[^;{]*[:{][^;}]*#[0-9a-f]{3,8}.*$", style, re.MULTILINE) == []


def test_the_words_for_the_colours_are_those_of_the_colours():
    hues = {palette.POSITIVE_WORD: palette.POSITIVE, palette.NEGATIVE_WORD: palette.NEGATIVE}
    red, green, blue = hues["orange"]
    assert red > green > blue
    red, green, blue = hues["blue"]
    assert blue > green > red
    for page in ("method.md",):
        text = (ROOT / "sitegen/templates/handwritten" / page).read_text(encoding="utf-8")
        assert f"{palette.POSITIVE_WORD} is positive, {palette.NEGATIVE_WORD} is negative" in text


def test_a_sheet_in_other_colours_is_not_taken_over(monkeypatch):
    before = pictures._LOOKUP_KEY
    monkeypatch.setattr(palette, "POSITIVE", (1, 2, 3))
    assert repr((palette.POSITIVE, palette.NEGATIVE, pictures.HEAT_GAMMA)) != before


def test_a_weak_heatmap_in_plain_colours_is_weak(tmp_path):
    path = tmp_path / "heat.png"
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(path)
    store = pictures.PictureStore(tmp_path, tmp_path / "none", Links([]))
    drawn = Image.open(tmp_path / store.heat(path).address).convert("RGBA")
    alpha = float(np.asarray(drawn)[..., 3].mean())
    assert alpha == 255
    assert alpha * pictures.opacity_of(1.0) == 255
    assert alpha * pictures.opacity_of(0.25) < 130
