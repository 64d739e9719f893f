"""A card is one picture of its size, the same bytes each time, and hostile text stays text."""

import io
import re

import pytest
from PIL import Image

from precompute.errors import DataError
from sitegen.reports.build import opened
from sitegen.reports.card import concept_card, explanation_card, write_cards
from sitegen.reports.material import ReportOptions
from sitegen.reports.typesetting import card_of

from . import site_fixture


@pytest.fixture(scope="module", params=[True, False])
def material(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("carded") / "atlas"
    site_fixture.write_synthetic(folder, untrusted=True)
    options = ReportOptions(title="A world", date="2026-01-02", include_images=request.param)
    with opened(folder, options) as found:
        yield found


def test_a_card_has_its_size_and_the_same_bytes(material):
    key = next(key for key, name in material.catalogue.source.names.items() if name.is_named)
    photo = material.catalogue.source.explanations[0].id
    for card in (explanation_card(material, photo), concept_card(material, key)):
        content = card_of(card, "png")
        assert Image.open(io.BytesIO(content)).size == (1200, 630)
        assert card_of(card, "png") == content
        drawn = card_of(card, "svg").decode()
        assert re.search(r'viewBox="0 0 1200 630"', drawn)
        assert "<script" not in drawn
        assert "alert(" not in drawn


def test_a_card_says_the_numbers_of_the_record(material):
    item = material.catalogue.source.explanations[0]
    card = explanation_card(material, item.photo_name)
    told = item.targets[0].layers[0].concepts[: len(card.rows)]
    assert [row.length for row in card.rows] == [abs(one.share) for one in told]
    assert [row.positive for row in card.rows] == [one.share > 0 for one in told]


def test_what_is_not_there_is_told_before_anything_is_written(material, tmp_path):
    for kind, subject in (("explanation", "nowhere.jpg"), ("concept", "x"), ("concept", "features.14:9999")):
        with pytest.raises(DataError):
            write_cards(material, kind, [subject], tmp_path / "cards", "png")
    assert not (tmp_path / "cards").exists()
    photo = material.catalogue.source.explanations[0].id
    (path,) = write_cards(material, "explanation", [photo], tmp_path / "cards", "png")
    assert path.read_bytes().startswith(b"\x89PNG")
