"""The reader for notebooks: lazily, escaped, without torch, and with the numbers of the records."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from precompute.atlas.hdf5 import ReferenceReader, read_atlas
from precompute.errors import ConfigError, DataError, StoreError
from precompute.records import RANKINGS

from . import site_fixture

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

from atlas_reader import open_atlas  # noqa: E402 - pandas decides whether there is anything to test

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("read") / "atlas"
    site_fixture.write_synthetic(path, untrusted=True)
    return path


@pytest.fixture(scope="module")
def atlas(folder):
    return open_atlas(folder)


def test_its_tables_are_those_of_the_atlas(atlas, folder):
    whole = read_atlas(folder / "atlas.h5")
    assert list(atlas.concepts.index) == [concept.key for concept in whole.concepts()]
    assert tuple(atlas.classes["class"]) == whole.class_names
    assert tuple(atlas.samples["name"]) == whole.samples.name
    for layer, tables in whole.layers.items():
        counts = np.maximum(whole.class_counts, 1)[:, None]
        assert np.array_equal(atlas.class_means(layer).to_numpy(), tables.class_relevance / counts)
        for ranking in RANKINGS:
            table = tables.ranking(ranking)
            found = atlas.concept(f"{layer}:1").ranking
            found = found[found["ranking"] == ranking]
            valid = table.sample_index[:, 1] >= 0
            assert found["sample_index"].tolist() == table.sample_index[valid, 1].tolist()
            assert found["score"].tolist() == table.score[valid, 1].tolist()
    assert len(atlas.rankings) == sum(
        int((tables.ranking(name).sample_index >= 0).sum()) for tables in whole.layers.values() for name in RANKINGS
    )
    assert "layer" in atlas.trust


def test_an_explanation_has_its_shares_text_and_pictures(atlas):
    one = atlas.explanation(atlas.explanation_ids[0])
    told = [item.share for target in one.record.targets for layer in target.layers for item in layer.concepts]
    assert one.table["share"].tolist() == told
    assert one.photo.size == (one.record.width, one.record.height)
    assert one.picture("../../atlas.h5") is None


def test_reference_images_are_pictures(atlas, folder):
    concept = atlas.concept(atlas.concepts.index[2])
    with ReferenceReader(folder / "references.h5") as reader:
        expected = reader.read(concept.concept, "relmax")
    assert [item.crop for item in concept.references()] == [item.crop for item in expected]
    assert len(concept.images()) == len(expected)


def test_what_it_shows_is_escaped_and_fetches_nothing(atlas):
    for shown in (
        atlas.concept(atlas.concepts.index[2])._repr_html_(),
        atlas.explanation(atlas.explanation_ids[0])._repr_html_(),
    ):
        assert "<script" not in shown
        assert "onerror=alert" not in shown.replace("&lt;img src=x onerror=alert(2)&gt;", "")
        assert "&lt;img" in shown
        assert "http" not in shown


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_exports_hold_every_row(atlas, tmp_path, form):
    files = atlas.export(tmp_path, form)
    read = {
        "parquet": pandas.read_parquet,
        "csv": pandas.read_csv,
        "jsonl": lambda path: pandas.DataFrame(map(json.loads, path.read_text(encoding="utf-8").splitlines())),
    }[form]
    found = {path.stem: read(path) for path in files}
    assert {name: len(table) for name, table in found.items()} == {
        name: len(getattr(atlas, name))
        for name in ("concepts", "classes", "samples", "rankings", "explanations", "trust")
    }
    assert found["explanations"]["share"].tolist() == pytest.approx(atlas.explanations["share"].tolist(), rel=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files)


def test_what_is_not_there_is_told(atlas, tmp_path):
    with pytest.raises(StoreError, match=r"there is no .*atlas\.h5"):
        open_atlas(tmp_path)
    with pytest.raises(DataError, match="no layer"):
        atlas.concept("nowhere:1")
    with pytest.raises(DataError, match="has the channels 0 to"):
        atlas.concept(f"{atlas.layers[0]}:99999")
    with pytest.raises(DataError, match="not a concept key"):
        atlas.concept("x")
    with pytest.raises(DataError, match="no explanation"):
        atlas.explanation("../atlas")
    with pytest.raises(ConfigError, match="expected parquet, csv or jsonl"):
        atlas.export(tmp_path, "xls")


def test_without_pandas_one_message_says_what_to_install(atlas, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    again = open_atlas(folder)
    with pytest.raises(ConfigError, match=r"concept-atlas\[notebook\]"):
        _ = again.samples
    assert again.concept(f"{again.layers[0]}:0").references() is not None


def test_it_needs_no_torch(folder):
    code = (
        "import sys; from atlas_reader import open_atlas; a = open_atlas(sys.argv[1]); a.concepts; a.trust;"
        "a.concept(a.layers[0] + ':1')._repr_html_();"
        "print([m for m in ('torch', 'sitegen', 'openai', 'mkdocs') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_every_cell_of_the_notebook_runs(folder, tmp_path, monkeypatch):
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "world").symlink_to(folder)
    space: dict = {}
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(codes) >= 6
    for number, code in enumerate(codes):
        exec(compile(code, f"cell {number}", "exec"), space)
    assert space["atlas"].tables.name
    assert all(cell.get("outputs", []) == [] for cell in cells)
