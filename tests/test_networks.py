"""Small networks of every kind that goes wrong elsewhere: explained as by hand, or refused with the reason."""

import copy
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from precompute.config import RelevanceConfig
from precompute.errors import UnsupportedModel
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.relevance.engine import GraphEngine
from precompute.relevance.proof import check_conservation, measure_conservation

CASES = Path(__file__).parents[1].parent / "shared" / "cases" / "networks.py"
DOUBLE = RelevanceConfig(precision="float64", activation="sum")
SHAPE = (3, 24, 24)

if CASES.exists():
    spec = importlib.util.spec_from_file_location("networks", CASES)
    networks = importlib.util.module_from_spec(spec)
    sys.modules["networks"] = networks
    spec.loader.exec_module(networks)
    NAMES = list(networks.CASES)
else:
    NAMES = []

pytestmark = [
    pytest.mark.skipif(not CASES.exists(), reason="the small networks are not here (../shared/cases)"),
    pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning"),  # it is the case
]

REFUSED = {"dropout_at_evaluation": r"networks.py:\d+\) computes 'dropout', which depends on chance"}


def deviation(found, right):
    return float((found - right).abs().max() / right.abs().max())


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_explained_as_by_hand_or_refused(name):
    module, image, right = networks.compute(name)
    before = state(module)
    layers = [right["layer"]] if right else []
    if name in REFUSED:
        with pytest.raises(UnsupportedModel, match=REFUSED[name]):
            GraphEngine(module, layers, DOUBLE, SHAPE, torch.device("cpu"), name=name)
        return
    graph = simplify(capture(module, SHAPE, name))
    engine = GraphEngine(module, layers, DOUBLE, SHAPE, torch.device("cpu"), name=name, graph=graph)
    logits = engine.logits(image)[0]
    with torch.no_grad():
        assert deviation(logits, module(image)[0]) < 1e-12
    heatmap, found = engine.attribute(image, 1)
    assert heatmap.isfinite().all()
    check_conservation(measure_conservation(graph, image, [1], name=name), name)
    if right:
        layer = found[right["layer"]]
        assert deviation(logits, right["logits"]) < 1e-12
        assert deviation(layer.relevance, right["relevance"]) < 1e-9
        if "heatmap" in right:
            assert deviation(heatmap, right["heatmap"]) < 1e-9
        if "activation" in right:
            assert deviation(layer.activation, right["activation"]) < 1e-9
        scores = engine.score(torch.cat([image, image]), torch.tensor([1, 2])).layers[right["layer"]]
        assert deviation(scores.relevance[0] / scores.relevance[0].abs().sum(), shares(right["relevance"])) < 1e-9
    assert state(module).keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in state(module).items())


def shares(relevance):
    return relevance / relevance.abs().sum()


def test_mining_again_gives_the_same_and_leaves_tied_weights_alone():
    module, image, _ = networks.compute("tied_convolutions")
    twin = copy.deepcopy(module)
    engine = GraphEngine(module, ["stem", "a"], DOUBLE, SHAPE, torch.device("cpu"))
    first = engine.score(image, torch.tensor([1]))
    for _ in range(3):
        again = engine.score(image, torch.tensor([1]))
    assert torch.equal(first.layers["stem"].relevance, again.layers["stem"].relevance)
    with torch.no_grad():
        assert torch.equal(module(image), twin(image))
