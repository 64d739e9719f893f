from __future__ import annotations

import dataclasses
import pickle
import sys
import urllib.error
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from precompute.config import Config, ModelConfig, PreprocessingConfig, load_config
from precompute.errors import ModelError
from precompute.network.layers import select_layers
from precompute.network.model import digest_weights, load_model
from tests import nets

DATA = Path(__file__).parents[1] / "data"
SHARED = Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED.name}/ with the sample models is not there")

FACTORY = """
from torch import nn

def small(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(width * 36, 5))

def nothing():
    return 3

def failing():
    raise ValueError("no luck")

def image():
    return nn.Conv2d(3, 3, 1)

def wide(widths, n_classes=5, *, bias=True):
    return nn.Sequential(nn.Conv2d(3, widths[0], 3), nn.Flatten(), nn.Linear(widths[0] * 36, n_classes, bias=bias))
"""

WRAPPED = """
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from own_factories import small

def parallel():
    return nn.DataParallel(small())

def compiled():
    return torch.compile(nn.DataParallel(small()))

def compiled_in_place():
    net = small()
    net.compile()
    return net

def averaged():
    return AveragedModel(small())

def inside():
    net = small()
    return nn.Sequential(nn.DataParallel(net[0]), torch.compile(net[1]), net[2], net[3])

def half():
    return small().half()

def scripted():
    return torch.jit.script(small())

def scripted_inside():
    net = small()
    return nn.Sequential(torch.jit.script(net[0]), *net[1:])

def valueless():
    with torch.device("meta"):
        return small()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own_factories.py").write_text(FACTORY)
    yield tmp_path
    sys.modules.pop("own_factories", None)


def configure(folder: Path, factory: str = "own_factories:small", weights: str = "random", **arguments: Any) -> Config:
    return Config(
        "some",
        folder / "some.toml",
        preprocessing=PreprocessingConfig(resize=8, crop=8),
        model=ModelConfig(factory, weights, arguments=arguments),
    )


def small_state(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(configure(folder)).module.state_dict())


def test_random_weights_follow_the_seed_and_leave_the_generator_alone(folder):
    state = torch.random.get_rng_state()
    config = configure(folder)
    first, second = load_model(config), load_model(config)
    other = load_model(dataclasses.replace(config, seed=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.weights_digest == second.weights_digest != other.weights_digest
    assert (first.n_classes, first.class_names, first.name) == (5, (), "own_factories:small")
    assert not first.module.training
    assert not any(parameter.requires_grad for parameter in first.module.parameters())
    assert not any(getattr(part, "inplace", False) for part in first.module.modules())
    assert load_model(configure(folder, width=6)).module[0].out_channels == 6


def test_the_digest_is_of_names_types_shapes_and_bytes_not_of_order():
    state = {"b": torch.arange(6.0), "a": torch.tensor(3)}
    digest = digest_weights(state)
    assert digest_weights(dict(reversed(state.items()))) == digest
    others = [
        {**state, "b": torch.arange(6.0).view(2, 3)},
        {**state, "b": torch.arange(6.0, dtype=torch.float64)},
        {**state, "b": torch.arange(6.0) + 1e-6},
        {"c": state["b"], "a": state["a"]},
    ]
    assert len({digest, *map(digest_weights, others)}) == 5
    assert digest_weights({"b": torch.arange(12.0)[::2]}) == digest_weights({"b": torch.arange(12.0)[::2].clone()})


def test_weights_come_back_from_every_safe_format(folder):
    state = {name: torch.rand_like(tensor) for name, tensor in small_state(folder).items()}
    safetensors.torch.save_file(state, folder / "w.safetensors", {"classes": "a b c d e"})
    torch.save(state, folder / "w.pt")
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, folder / "w.pth"
    )
    loaded = {name: load_model(configure(folder, weights=name)) for name in ("w.safetensors", "w.pt", "w.pth")}
    assert {model.weights_digest for model in loaded.values()} == {digest_weights(state)}
    assert loaded["w.safetensors"].class_names == ("a", "b", "c", "d", "e")
    assert loaded["w.pt"].class_names == ()


class Evil:
    def __reduce__(self):
        return (Path("owned").touch, ())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("none.safetensors", "cannot read the weights .*none.safetensors: No such file"),
        ("none.pt", "cannot read the weights .*none.pt: No such file"),
        ("text.safetensors", "not a readable weights file"),
        ("text.pt", "not a readable weights file: it begins with"),
        ("short.safetensors", "not a readable weights file"),
        ("short.pt", "not a readable weights file"),
        ("evil.pt", "could run code, so it is refused"),
        ("plain.pt", "could run code, so it is refused"),
        ("list.pt", "holds list, expected a state dict"),
        ("missing.pt", r"1 missing \(3.bias\)"),
        ("unknown.pt", r"1 unknown \(extra\)"),
        ("misshapen.pt", r"1 of another shape \(0.weight \(4, 3, 5, 5\), expected \(4, 3, 3, 3\)\)"),
        ("nan.pt", "no finite numbers, first in 0.weight"),
        ("builtin:none", "no built-in network 'builtin:none'; known:"),
        ("IMAGENET1K_V1", "model.weights is 'IMAGENET1K_V1', expected"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(folder, monkeypatch, weights, message):
    monkeypatch.chdir(folder)
    state = small_state(folder)
    safetensors.torch.save_file(state, folder / "short.safetensors")
    torch.save(state, folder / "short.pt")
    for name in ("short.safetensors", "short.pt"):
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    for name in ("text.safetensors", "text.pt"):
        (folder / name).write_text("not weights at all")
    torch.save(Evil(), folder / "evil.pt")
    (folder / "plain.pt").write_bytes(pickle.dumps(Evil()))
    torch.save([1, 2], folder / "list.pt")
    torch.save({name: state[name] for name in state if name != "3.bias"}, folder / "missing.pt")
    torch.save({**state, "extra": torch.zeros(1)}, folder / "unknown.pt")
    torch.save({**state, "0.weight": torch.zeros(4, 3, 5, 5)}, folder / "misshapen.pt")
    torch.save({**state, "0.weight": torch.full((4, 3, 3, 3), torch.nan)}, folder / "nan.pt")
    with pytest.raises(ModelError, match=message):
        load_model(configure(folder, weights=weights))
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("vgg16", "expected 'torchvision:<name>', 'timm:<name>', 'builtin:<name>' or"),
        ("torchvision:vgg61", "the nearest: vgg1"),
        ("torchvision:fasterrcnn_resnet50_fpn", "not an image classifier"),
        ("torchvision:deeplabv3_resnet50", "not an image classifier"),
        ("no_such_module:x", "cannot import 'no_such_module'"),
        ("own_factories:smal", "has no factory 'smal'; the nearest: small"),
        ("own_factories:nothing", "returned int, expected a torch.nn.Module"),
        ("own_factories:failing", "own_factories:failing failed: ValueError: no luck"),
        ("own_factories:image", r"gives \(2, 3, 8, 8\) for two images, expected logits"),
    ],
)
def test_factories_that_cannot_be_used_are_refused(folder, factory, message):
    path = list(sys.path)
    with pytest.raises(ModelError, match=message):
        load_model(configure(folder, factory))
    assert sys.path == path


def test_arguments_and_inputs_that_do_not_fit_are_refused(folder):
    with pytest.raises(ModelError, match=r"TypeError.*depth"):
        load_model(configure(folder, depth=3))
    config = dataclasses.replace(configure(folder), preprocessing=PreprocessingConfig(resize=9, crop=9))
    with pytest.raises(ModelError, match=r"preprocessing\.crop"):
        load_model(config)
    with pytest.raises(ModelError, match="does not take the arguments"):
        load_model(configure(folder, "torchvision:squeezenet1_1", depth=3))


def test_arguments_reach_the_factory_and_misfits_are_told_with_its_signature(folder):
    arguments: dict[str, Any] = {"widths": [6, 7], "n_classes": 3, "bias": False}
    loaded = load_model(configure(folder, "own_factories:wide", **arguments))
    assert (loaded.module[0].out_channels, loaded.n_classes, loaded.module[2].bias) == (6, 3, None)
    for wrong, message in (
        ({}, r"do not fit own_factories:wide\(widths, n_classes=5, \*, bias=True\): missing a required .*'widths'"),
        ({"widths": 3, "classes": 4}, r"unexpected keyword argument 'classes'.*given: widths = 3, classes = 4"),
        ({"n_classes": 4}, r"Write them as `arguments = { widths = … }` in \[model\]"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(configure(folder, "own_factories:wide", **wrong))
    with pytest.raises(ModelError, match=r"wide failed: TypeError: .*\(own_factories\.py, line \d+\)"):
        load_model(configure(folder, "own_factories:wide", widths=3))


@pytest.fixture
def wrapped(folder):
    (folder / "wrapped_factories.py").write_text(WRAPPED)
    yield folder
    sys.modules.pop("wrapped_factories", None)


@pytest.mark.parametrize("name", ["parallel", "compiled", "compiled_in_place", "averaged", "inside", "half"])
def test_what_wraps_a_module_is_taken_off_and_told(wrapped, name):
    plain = load_model(configure(wrapped))
    loaded = load_model(configure(wrapped, f"wrapped_factories:{name}"))
    assert list(loaded.module.state_dict()) == list(plain.module.state_dict())
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(loaded.module(images), plain.module(images), atol=1e-2 if name == "half" else 0)
    told = {
        "parallel": ["took off DataParallel"],
        "compiled": ["took off torch.compile", "took off DataParallel"],
        "compiled_in_place": [],
        "averaged": ["took off AveragedModel"],
        "inside": ["took off DataParallel", "took off torch.compile"],
        "half": ["in half precision, computed in float32"],
    }
    assert loaded.notes == tuple(f"wrapped_factories:{name}: {note}" for note in told[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scripted", "gives a TorchScript program: its operations are compiled"),
        ("scripted_inside", "gives a TorchScript program"),
        ("valueless", "on the device 'meta', which holds no values"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_modules_that_are_no_python_code_are_refused(wrapped, name, message):
    with pytest.raises(ModelError, match=message):
        load_model(configure(wrapped, f"wrapped_factories:{name}"))


def test_a_factory_may_bring_its_own_weights(folder):
    own = load_model(configure(folder, weights="factory"))
    assert own.weights_digest == load_model(configure(folder)).weights_digest


def test_timm_is_a_factory_where_it_is_installed(folder, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed; `pip install timm`")
    config = dataclasses.replace(
        configure(folder, "timm:resnet10t", num_classes=4), preprocessing=PreprocessingConfig(resize=64, crop=64)
    )
    loaded = load_model(config)
    assert (loaded.n_classes, type(loaded.module).__name__, loaded.class_names) == (4, "ResNet", ())
    torch.save({"state_dict": timm.create_model("resnet10t").state_dict()}, tmp_path / "timm.pth")
    with pytest.raises(ModelError, match=r"trained for 1000 outputs.*num_classes = 1000"):
        load_model(dataclasses.replace(config, model=dataclasses.replace(config.model, weights="timm.pth")))
    for factory, weights, message in (
        ("timm:resnet10tt", "random", "timm has no model 'resnet10tt'; the nearest: resnet10t"),
        ("timm:resnet10t", "IMAGENET1K_V1", "has no weights 'IMAGENET1K_V1'; expected 'pretrained'"),
    ):
        with pytest.raises(ModelError, match=message):
            load_model(configure(folder, factory, weights))
    with pytest.raises(ModelError, match="does not take the arguments"):
        load_model(configure(folder, "timm:resnet10t", colour=3))


def test_without_timm_the_message_says_how_to_install_it(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs the package timm: run `pip install timm`"):
        load_model(configure(folder, "timm:resnet10t"))


def test_a_single_logit_is_a_model_of_two_classes(folder):
    config = configure(folder, "own_factories:wide", widths=[4], n_classes=1)
    with pytest.raises(ModelError, match='set `task = "binary"`'):
        load_model(config)
    loaded = load_model(dataclasses.replace(config, model=dataclasses.replace(config.model, task="binary")))
    assert (loaded.n_classes, loaded.task, list(loaded.module.state_dict())) == (2, "binary", [
        "0.weight", "0.bias", "2.weight", "2.bias",
    ])  # fmt: skip


def test_a_module_of_the_same_name_in_another_folder_is_another_module(folder, tmp_path_factory):
    load_model(configure(folder))
    other = tmp_path_factory.mktemp("other")
    (other / "own_factories.py").write_text(FACTORY.replace("width=4", "width=7"))
    assert load_model(configure(other)).module[0].out_channels == 7
    assert load_model(configure(folder)).module[0].out_channels == 4


def test_unknown_torchvision_weights_list_those_there_are(folder):
    with pytest.raises(ModelError, match="has no weights 'IMAGENET'; known: IMAGENET1K_V1, IMAGENET1K_FEATURES"):
        load_model(configure(folder, "torchvision:vgg16", "IMAGENET"))


def test_without_a_network_the_message_says_where_the_file_belongs(folder, monkeypatch, tmp_path):
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(ModelError, match=r"cannot download .*squeezenet1_1-.*no route.*checkpoints"):
        load_model(configure(folder, "torchvision:squeezenet1_1", "IMAGENET1K_V1"))


def test_downloaded_weights_bring_their_categories(folder, monkeypatch, tmp_path):
    state = torchvision.models.squeezenet1_1().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    config = dataclasses.replace(
        configure(folder, "torchvision:squeezenet1_1", "IMAGENET1K_V1"), preprocessing=PreprocessingConfig(64, 64)
    )
    loaded = load_model(config)
    assert (loaded.n_classes, loaded.class_names[0]) == (1000, "tench")
    assert loaded.weights_digest == digest_weights(state)


# Layers


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.left = nn.Conv2d(4, 4, 1)
        self.right = nn.Conv2d(4, 4, 1)
        self.top = nn.Conv2d(4, 6, 2, stride=2)
        self.unused = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = torch.relu(self.stem(images))
        # Right before left, to tell call order from the order of definition.
        joined = torch.relu(self.right(stem)) + torch.relu(self.left(stem)) + stem
        return self.head(torch.relu(self.top(joined)).mean((2, 3)))


def test_layers_are_described_in_forward_order_with_their_inputs():
    infos = nets.layer_infos(Residual().eval().requires_grad_(False), (3, 8, 6))
    assert [info.name for info in infos] == ["stem", "right", "left", "top", "head"]
    assert [info.kind for info in infos] == ["Conv2d"] * 4 + ["Linear"]
    assert [(info.n_channels, info.height, info.width) for info in infos] == [
        (4, 8, 6), (4, 8, 6), (4, 8, 6), (6, 4, 3), (2, 1, 1),
    ]  # fmt: skip
    inputs = {info.name: info.inputs for info in infos}
    assert inputs == {
        "stem": (), "right": ("stem",), "left": ("stem",), "top": ("right", "left"), "head": ("top",),
    }  # fmt: skip


def test_a_selection_names_its_own_nearest_inputs():
    module = Residual().eval().requires_grad_(False)

    def inputs(*patterns: str) -> dict[str, tuple[str, ...]]:
        return {info.name: info.inputs for info in nets.layer_infos(module, (3, 8, 8), patterns)}

    assert inputs() == {"stem": (), "right": ("stem",), "left": ("stem",), "top": ("right", "left")}
    assert inputs("top", "stem") == {"stem": (), "top": ("stem",)}
    assert inputs("*t", "head") == {"right": (), "left": (), "head": ("right", "left")}
    assert inputs("head") == {"head": ()}
    assert inputs("t?p", "t[no]p") == {"top": ()}
    for pattern, message in (("rihgt", "the nearest: right"), ("unused", "layer matches 'unused'")):
        with pytest.raises(ModelError, match=message):
            inputs("stem", pattern)
    with pytest.raises(ModelError, match="no two-dimensional convolution"):
        select_layers(nets.layer_infos(module, (3, 8, 8), ["head"]), [])


def test_inputs_equal_reachability_by_gradients():
    module = torchvision.models.squeezenet1_1().eval().requires_grad_(False)
    infos = nets.layer_infos(module, (3, 64, 64), ["features.[3-6].*", "classifier.1"])
    outputs: dict[str, torch.Tensor] = {}
    for info in infos:
        layer = module.get_submodule(info.name)
        layer.register_forward_hook(lambda _, __, output, name=info.name: outputs.update({name: output}))
    module(torch.rand(1, 3, 64, 64, requires_grad=True))
    names = list(outputs)
    above: dict[str, set[str]] = {}
    for name in names:
        others = [other for other in names if other != name]
        gradients = torch.autograd.grad(
            outputs[name].sum(), [outputs[other] for other in others], allow_unused=True, retain_graph=True
        )
        above[name] = {other for other, gradient in zip(others, gradients, strict=True) if gradient is not None}
    for info in infos:
        nearest = above[info.name] - set().union(*(above[other] for other in above[info.name]))
        assert info.inputs == tuple(name for name in names if name in nearest)


def test_a_layer_called_twice_has_two_names():
    shared = nn.Conv2d(3, 3, 1)
    module = nn.Sequential(shared, nn.ReLU(), shared, nn.Flatten(), nn.Linear(48, 2)).eval()
    assert [info.name for info in nets.layer_infos(module, (3, 4, 4))] == ["0", "2", "4"]


# The sample models


@needs_shared
def test_the_shipped_selection_has_1408_channels():
    config = load_config(DATA / "imagenet-sample.toml")
    loaded = load_model(config)
    selected = nets.layer_infos(loaded.module, (3, 224, 224), config.model.layers)
    assert sum(info.n_channels for info in selected) == 1408
    assert len(select_layers(selected, config.explaining.layers)) == 2
    assert loaded.n_classes == 1000


@needs_shared
def test_the_cifar_factory_takes_its_weights():
    config = load_config(DATA / "cifar10-sample.toml")
    loaded = load_model(config)
    selected = nets.layer_infos(loaded.module, (3, 32, 32), config.model.layers)
    assert (len(selected), sum(info.n_channels for info in selected)) == (13, 1056)
    assert loaded.class_names[:2] == ("airplane", "automobile")
    assert selected[-1].name == config.explaining.layers[0]


@pytest.mark.parametrize("name", ["imagenet-vgg16", "imagenet-vgg16-bn", "imagenette-vgg16"])
def test_the_shipped_vgg_configs_name_layers_that_exist(name):
    config = load_config(DATA / f"{name}.toml")
    is_bn = config.model.factory.endswith("_bn")
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=is_bn)
    parts = OrderedDict(features=features, flat=nn.Flatten(), head=nn.Linear(512, 2))
    selected = nets.layer_infos(nn.Sequential(parts).eval(), (3, 32, 32), config.model.layers)
    assert len(selected) == (3 if name == "imagenette-vgg16" else 13)
    assert select_layers(selected, config.explaining.layers)[0].name == selected[-1].name
