"""What the concept pages say of the two rankings."""

from dataclasses import replace

import pytest

from precompute.atlas.hdf5 import read_atlas, write_atlas
from sitegen.build import SiteOptions, build_site

from . import site_fixture


def active_section(folder, sign):
    """Build the site of an atlas whose ActMax scores all have one sign; return that section of one concept's page."""
    site_fixture.write_synthetic(folder, optional=False)
    atlas = read_atlas(folder / "atlas.h5")
    tables = atlas.layers["features.14"]
    signed = replace(tables, actmax=replace(tables.actmax, score=sign * (abs(tables.actmax.score) + 0.01)))
    write_atlas(folder / "atlas.h5", replace(atlas, layers=atlas.layers | {"features.14": signed}))
    build_site(folder / "site", folder, SiteOptions("A world", "Parts."))
    text = (folder / "site/concepts/features-14-c1.html").read_text(encoding="utf-8")
    return text[text.index('id="actmax"') :]


@pytest.mark.parametrize(("sign", "is_silent"), [(1, False), (-1, True)])
def test_most_active_is_a_sum_before_the_relu_and_shows_none_where_it_is_never_positive(tmp_path, sign, is_silent):
    text = active_section(tmp_path, sign)
    assert "the channel’s output, before its activation function and summed over the whole sample, is largest" in text
    assert ("the score is above 0 on no sample" in text) is is_silent
