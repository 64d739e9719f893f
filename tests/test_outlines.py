"""The numbers of the outlines on a photo are as large on a photo of 24 pixels as on one of 500."""

import re
from types import SimpleNamespace

import pytest

from precompute.records import Box
from sitegen.pages.explanations import SPOT, _spots


def target(boxes):
    places = [SimpleNamespace(box=box, words="centre") for box in boxes]
    concepts = [SimpleNamespace(place=place, concept=f"a:{n}") for n, place in enumerate(places)]
    return SimpleNamespace(layers=[SimpleNamespace(concepts=concepts)])


@pytest.mark.parametrize("side", [24, 32, 128, 224, 500])
def test_numbers_keep_their_size_and_do_not_cover_each_other(side):
    quarter = side // 4
    corners = [(0, 0), (0, 0), (1, 0), (quarter, quarter), (quarter, quarter)]
    spots = _spots(target([Box(left, top, side, side) for left, top in corners]), side)
    places = []
    for spot in spots:
        x, y, scale = map(float, re.fullmatch(r"translate\((\S+) (\S+)\) scale\((\S+)\)", spot["move"]).groups())
        assert 0.05 < SPOT * scale / side < 0.1, "a number is a tenth of the photo at most"
        places.append((x, y))
    step = SPOT * scale
    for place, (x, y) in enumerate(places):
        for other_x, other_y in places[:place]:
            assert abs(x - other_x) > 0.999 * step or abs(y - other_y) > 0.999 * step
