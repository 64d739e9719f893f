"""Which reference images are rendered, and that what is stored is what the engine computed."""

import dataclasses

import numpy as np
import pytest

from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import ReferenceReader, read_atlas
from precompute.cli import main
from precompute.config import ReferencesConfig, load_config
from precompute.errors import ConfigError
from precompute.images.dataset import load_input, normalise
from precompute.images.pictures import decode_heatmap
from precompute.inputs import Inputs
from precompute.network.layers import select_layers
from precompute.records import Concept, LayerInfo
from precompute.relevance.protocol import ReferenceRequest
from precompute.stages.references import plan_references
from precompute.stages.truth import TruthStage, _frame
from tests.small_atlas import make_small_atlas


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendering")
    config = make_small_atlas(folder, n_per_class=4)
    assert main(["references", "--config", str(config)]) == 1  # nothing is mined yet: told, not a traceback
    assert main(["mine", "--config", str(config)]) == 0
    return config


def render(config, *overrides):
    arguments = [argument for override in overrides for argument in ("--set", override)]
    assert main(["references", "--config", str(config), *arguments]) == 0
    return load_config(config, overrides), ReferenceReader(config.parent / "small/references.h5")


def test_the_plan_holds_the_best_of_every_ranking_and_nothing_silent(small):
    atlas = read_atlas(small.parent / "small/atlas.h5")
    plan = plan_references(atlas, ReferencesConfig(per_ranking=3))
    wanted = [item for items in plan.values() for item in items]
    assert list(plan) == sorted(plan)
    expected = sum((table.score[:3] > 0).sum() for t in atlas.layers.values() for table in (t.relmax, t.actmax))
    assert len(wanted) == len(set(wanted)) == expected
    assert all(item.score > 0 and item.rank < 3 for item in wanted)
    table = atlas.layers["3"].relmax
    for item in wanted:
        if item.concept.layer == "3" and item.ranking == "relmax":
            assert table.sample_index[item.rank, item.concept.channel] == item.sample_index
            assert table.neuron[item.rank, item.concept.channel] == item.neuron


def test_a_pattern_without_a_layer_is_told(small):
    atlas = read_atlas(small.parent / "small/atlas.h5")
    with pytest.raises(ConfigError, match=r"heatmap_layers, among the mined layers: no layer .*layers: 0, 3, 6"):
        plan_references(atlas, ReferencesConfig(heatmap_layers=("9*",)))


def test_a_layer_is_found_by_its_own_name_whatever_that_holds(small):
    atlas = read_atlas(small.parent / "small/atlas.h5")
    renamed = dataclasses.replace(atlas, layers={"b[0]": atlas.layers["3"], "b0": atlas.layers["6"]})
    plan = plan_references(renamed, ReferencesConfig(heatmap_layers=("b[0]",)))
    # as a shell pattern it means "b0": both the layer of that name and what the pattern matches are meant
    assert {item.concept.layer for rows in plan.values() for item in rows if item.heatmap} == {"b[0]", "b0"}
    infos = tuple(LayerInfo(name, "Conv2d", 8, 4, 4) for name in ("b0", "b[0]", "b1"))
    assert [info.name for info in select_layers(infos, ("b[0]",))] == ["b0", "b[0]"]  # and so for model.layers


@pytest.mark.parametrize("start", ["neuron", "channel", "output"])
def test_stored_heatmaps_are_the_engines(small, start):
    config, reader = render(small, f"references.start={start}")
    inputs, atlas = Inputs(config, small.parent / "cache"), read_atlas(small.parent / "small/atlas.h5")
    with reader:
        for concept in (Concept("0", 1), Concept("3", 5), Concept("6", 2)):
            for reference in reader.read(concept, "relmax"):
                neuron = reference.neuron if start == "neuron" else None
                target = int(atlas.samples.target[reference.sample_index]) if start == "output" else None
                pixels = load_input(inputs.dataset, reference.sample_index, config)
                image = normalise(inputs_tensor(pixels), config.preprocessing)
                request = ReferenceRequest(0, concept.layer, concept.channel, neuron, target)
                heatmap = inputs.engine.reference_heatmaps(image, [request])[0].numpy()
                box = reference.box
                cut = heatmap[box.top : box.bottom, box.left : box.right]
                stored = decode_heatmap(reference.heatmap, reference.heatmap_scale)
                assert stored.shape == cut.shape  # 24 px are below the tile: nothing is shrunk
                np.testing.assert_allclose(stored, cut, atol=np.abs(cut).max() / 127 + 1e-12)


def inputs_tensor(pixels):
    import torch

    return torch.from_numpy(pixels).unsqueeze(0)


def test_layers_without_heatmaps_get_the_crop_at_the_receptive_field(small):
    _, reader = render(small, "references.heatmap_layers=['6']")
    with reader:
        bare, full = reader.read(Concept("3", 5), "relmax"), reader.read(Concept("6", 2), "relmax")
    assert bare
    assert all(reference.crop and not reference.masked and not reference.heatmap for reference in bare)
    assert all(reference.masked and reference.heatmap for reference in full)
    # layer 3 sees 8 px, and a crop is never smaller than 16
    assert all(reference.box.bottom - reference.box.top == 16 for reference in bare)


def test_a_heatmap_goes_back_to_its_place(small):
    _, reader = render(small)
    with reader:
        of_layer = (reader.read(concept, "relmax") for concept in reader.concepts() if concept.layer == "6")
        reference = next(references[0] for references in of_layer if references)
    frame = _frame(reference, (24, 24))
    box = reference.box
    inside = frame[box.top : box.bottom, box.left : box.right]
    np.testing.assert_allclose(inside, decode_heatmap(reference.heatmap, reference.heatmap_scale), rtol=1e-6)
    assert np.abs(frame).sum() == pytest.approx(np.abs(inside).sum())


def test_nobody_knows_the_truth_of_photos(small, tmp_path):
    from precompute.progress import SilentReporter

    inputs = Inputs(load_config(small), small.parent / "cache")
    workspace = Workspace(tmp_path, tmp_path / "site")
    assert (
        TruthStage(inputs.dataset, workspace, SilentReporter()).run(
            read_atlas(small.parent / "small/atlas.h5"), (24, 24)
        )
        is None
    )
    assert not workspace.truth.exists()


def test_a_photo_that_vanished_is_told(small, tmp_path, capsys):
    config = make_small_atlas(tmp_path, n_per_class=4)
    assert main(["mine", "--config", str(config)]) == 0
    photo = next((tmp_path / "photos").rglob("*.png"))
    content = photo.read_bytes()
    photo.write_bytes(b"x" * len(content))
    assert main(["references", "--config", str(config)]) == 1
    assert "was mined but cannot be read any more" in capsys.readouterr().err
    assert not (tmp_path / "small/references.h5").exists()
    photo.write_bytes(content)
    assert main(["references", "--config", str(config)]) == 0
