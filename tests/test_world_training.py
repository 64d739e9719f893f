"""Training of the world's network: repeatable, and true to what the header of the weights says."""

import json

import pytest
import safetensors
import torch
from torch import nn

from precompute.network.model import digest_weights
from precompute.world import training as world_training
from precompute.world.clarity import PartHeads, compute_impurity, follow_relevance, trace_features
from precompute.world.network import world_vgg
from precompute.world.parts import PART_NAMES

TINY = world_training.TrainingPlan(n_scenes=64, n_epochs=1, stray_start=0.0, n_classifier_steps=5)


@pytest.fixture(scope="module")
def scenes():
    return world_training.draw_scenes(3, TINY.n_scenes, n_workers=1)


def learn(scenes):
    model = world_training.train(scenes, TINY)
    world_training.fit_classifier(model, scenes, TINY)
    return model


def test_training_is_repeatable_and_keeps_biases_down(scenes):
    first, again = learn(scenes), learn(scenes)
    assert digest_weights(first.state_dict()) == digest_weights(again.state_dict())
    assert all((tensor <= 0).all() for name, tensor in first.named_parameters() if name.endswith("bias"))


def test_saved_weights_load_and_say_their_digest(tmp_path):
    path = tmp_path / "world.safetensors"
    model = world_vgg()
    world_training.save_weights(model, path, {"accuracy": "0.5"})
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["digest"] == digest_weights(model.state_dict())
    assert metadata["accuracy"] == "0.5"
    assert len(json.loads(metadata["classes"])) == 12


def test_trace_is_the_forward_pass(scenes):
    model = world_vgg().eval()
    images = world_training.normalise_images(scenes.images[:2])
    with torch.no_grad():
        trace = trace_features(model.features, images)
        torch.testing.assert_close(model[1:](trace.output), model(images))


def test_relevance_is_conserved_on_its_way_down(scenes):
    model = world_vgg().eval()
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    with torch.no_grad():
        trace = trace_features(model.features, world_training.normalise_images(scenes.images[:2]))
        top = trace.maps["block5"]
        down = follow_relevance(trace.steps, top)
    torch.testing.assert_close(down.sum(), top.sum(), rtol=1e-3, atol=0)


def test_activation_on_its_own_part_is_pure():
    heads = PartHeads({"block4": 64, "block5": 96}, len(PART_NAMES))
    coverage = torch.zeros(1, len(PART_NAMES), 32, 32)
    coverage[0, 5, :16] = 1
    maps = torch.zeros(1, 96, 8, 8)
    maps[0, 5, :4] = 1
    trace = trace_features(nn.Sequential(), torch.zeros(1, 3, 8, 8))
    trace.maps["block5"] = maps
    assert compute_impurity(trace, heads, coverage) < 0.01
    trace.maps["block5"] = maps.flip(2)
    assert compute_impurity(trace, heads, coverage) > 0.99
