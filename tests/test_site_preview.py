"""One page alone, to see a change of it."""

import pytest

from sitegen.build import build_site
from sitegen.pages.page import all_sections
from sitegen.preview import main
from tests.site_fixture import write_synthetic


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview") / "atlas"
    write_synthetic(folder)
    return folder


@pytest.fixture(scope="module")
def whole(atlas, tmp_path_factory):
    """The site that one page alone has to be a part of."""
    folder = tmp_path_factory.mktemp("whole") / "site"
    build_site(folder, atlas)
    return folder


@pytest.mark.parametrize("page", ["concepts/features-14-c2.html", "index.html", "method.html", "classes/class-1.html"])
def test_one_page_is_as_in_the_whole_site(atlas, whole, tmp_path, capsys, page):
    assert main([str(atlas), page, "--site", str(tmp_path / "one")]) == 0
    assert capsys.readouterr().out == (tmp_path / "one" / page).resolve().as_uri() + "\n"
    assert (tmp_path / "one" / page).read_bytes() == (whole / page).read_bytes()
    pages = sorted(path.relative_to(tmp_path / "one").as_posix() for path in (tmp_path / "one").rglob("*.html"))
    assert pages == [page]
    for picture in (tmp_path / "one/sheets").glob("*"):
        assert picture.read_bytes() == (whole / "sheets" / picture.name).read_bytes()


def test_a_page_that_is_not_there_is_told_with_the_nearest(atlas, tmp_path, capsys):
    assert main([str(atlas), "concepts/features-14-c22.html", "--site", str(tmp_path / "one")]) == 1
    assert "concepts/features-14-c2.html" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()


def test_the_navigation_has_each_place_once():
    sections = all_sections()
    assert [section.title for section in sections][:2] == ["Start", "Explanations"]
    assert len({section.order for section in sections}) == len({s.address for s in sections}) == len(sections) >= 9
