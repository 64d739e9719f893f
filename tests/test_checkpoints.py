"""Weights files as training programs write them: each loads right, or is refused with the line that mends it."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn
from torch.optim.swa_utils import AveragedModel

from precompute.errors import ModelError
from precompute.network.checkpoints import load_weights, read_checkpoint

State = dict[str, torch.Tensor]


def make_net(classes: int = 3, channels: int = 3, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), head=nn.Linear(4, classes))).eval()


def trained() -> State:
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor + 7
        for name, tensor in make_net().state_dict().items()
    }


def averaged() -> State:
    return {name: tensor * 0.5 if tensor.is_floating_point() else tensor for name, tensor in trained().items()}


def behind(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def optimizer_state() -> dict[str, Any]:
    net = make_net()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def load(path: Path, key: str = "", **arguments: int) -> tuple[State, tuple[str, ...]]:
    net = make_net(**arguments, seed=2)
    notes = load_weights(net, read_checkpoint(path), key)
    return dict(net.state_dict()), notes


def assert_equal(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor.to(found[name].dtype)), name


LIGHTNING = {"epoch": 9, "global_step": 90, "pytorch-lightning_version": "2.5.0", "loops": {}, "lr_schedulers": []}

LOADED: dict[str, tuple[Callable[[State], Any], str]] = {
    "bare.pt": (lambda s: s, ""),
    "ordered.pth": (OrderedDict, ""),
    "pytorch_model.bin": (lambda s: s, ""),
    "no_suffix": (lambda s: s, ""),
    "parameters.pt": (lambda s: {n: nn.Parameter(t, t.is_floating_point()) for n, t in s.items()}, ""),
    "best.pth.tar": (lambda s: {"state_dict": s, "best_acc1": 71.2, "arch": "net"}, "under 'state_dict'"),
    "ddp.pt": (lambda s: {"state_dict": behind("module.", s)}, "under 'state_dict.module'"),
    "lightning.ckpt": (
        lambda s: {**LIGHTNING, "state_dict": behind("model.", s), "hyper_parameters": {"lr": 0.1},
                   "optimizer_states": [optimizer_state()], "callbacks": {"best": {"score": torch.tensor(0.5)}}},
        "under 'state_dict.model'",
    ),
    "lightning_loss.ckpt": (
        lambda s: {**LIGHTNING, "state_dict": {**behind("net.", s), "criterion.weight": torch.ones(3)}},
        r"left out 1 other tensors \(state_dict",
    ),
    "compiled.pt": (lambda s: behind("_orig_mod.", s), "under '_orig_mod'"),
    "ddp_compiled.pt": (lambda s: behind("module._orig_mod.", s), "under 'module._orig_mod'"),
    "parallel_inside.pt": (
        lambda s: {n.replace("features.", "features.module."): t for n, t in s.items()},
        "names spelt in another way, first 'features.module.0.weight' for 'features.0.weight'",
    ),
    "recipe.pt": (
        lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": optimizer_state(), "loss": 0.3},
        "under 'model_state_dict'",
    ),
    "net.pt": (lambda s: {"net": behind("module.", s), "acc": 91.2, "epoch": 3}, "under 'net.module'"),
    "backbone.pt": (lambda s: behind("encoder.backbone.", s), "under 'encoder.backbone'"),
    "nested.pt": (lambda s: {"checkpoint": {"weights": {"model": s}}}, "under 'checkpoint.weights.model'"),
    "dotless.pt": (
        lambda s: {f"model_ema.{n.replace('.', '')}": t for n, t in s.items()},
        "under 'model_ema'.*first 'model_ema.features0weight' for 'features.0.weight'",
    ),
    "half.pt": (lambda s: {n: t.half() for n, t in s.items()}, "stored as float16, computed in float32"),
    "bfloat.pt": (lambda s: {n: t.bfloat16() for n, t in s.items()}, "stored as bfloat16, computed in float32"),
    "double.pt": (lambda s: {n: t.double() for n, t in s.items()}, "stored as float64, computed in float32"),
    "no_counters.pt": (lambda s: {n: t for n, t in s.items() if "num_batches" not in n}, ""),
    "arguments.pt": (
        lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, data=Path("/x")), "best": np.float64(0.5)},
        "under 'model'",
    ),
    "average.pt": (lambda _: averaged_model(trained()), "under 'module'"),
    "same_average.pt": (lambda s: {"model": s, "model_ema": behind("module.", s)}, "under 'model'"),
}  # fmt: skip


def averaged_model(state: State) -> Mapping[str, Any]:
    net = make_net()
    net.load_state_dict(state)
    return AveragedModel(net).state_dict()


@pytest.mark.parametrize("name", LOADED)
def test_weights_load_whatever_they_are_wrapped_in(tmp_path, name):
    wrap, note = LOADED[name]
    torch.save(wrap(trained()), tmp_path / name)
    found, notes = load(tmp_path / name)
    expected = trained()
    kinds = {"half.pt": torch.float16, "bfloat.pt": torch.bfloat16}
    if name in kinds:
        expected = {n: t.to(kinds[name]) for n, t in expected.items()}
    if name == "no_counters.pt":
        expected["features.1.num_batches_tracked"] = torch.tensor(0)
    assert_equal(found, expected)
    assert re.search(note, " | ".join(notes)), notes
    assert note or not notes


def test_the_older_format_and_safetensors_load_too(tmp_path):
    torch.save({"state_dict": trained()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_equal(load(tmp_path / "old.pth")[0], trained())
    safetensors.torch.save_file(behind("model.", trained()), tmp_path / "misnamed.pt", {"classes": "a b c"})
    found, notes = load(tmp_path / "misnamed.pt")
    assert_equal(found, trained())
    assert notes == ("misnamed.pt: the tensors under 'model'",)
    assert read_checkpoint(tmp_path / "misnamed.pt").class_names == ("a", "b", "c")


def test_torchvisions_own_older_names_of_densenet_load(tmp_path):
    net = torchvision.models.densenet121(num_classes=2)
    older = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", n): t for n, t in net.state_dict().items()}
    assert older.keys() != net.state_dict().keys()
    torch.save(older, tmp_path / "densenet.pth")
    target = torchvision.models.densenet121(num_classes=2)
    load_weights(target, read_checkpoint(tmp_path / "densenet.pth"))
    assert_equal(dict(target.state_dict()), dict(net.state_dict()))


def test_names_that_only_dots_tell_apart_are_not_mixed_up(tmp_path):
    net = nn.ModuleDict({"1": nn.ModuleDict({"0": nn.Linear(2, 2)}), "10": nn.Linear(2, 2)})
    torch.save({n.replace(".", ""): t for n, t in net.state_dict().items()}, tmp_path / "mixed.pt")
    with pytest.raises(ModelError, match="none of their names is the model's"):
        load_weights(net, read_checkpoint(tmp_path / "mixed.pt"))


def test_a_tied_weight_is_needed_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight

    source = Tied()
    safetensors.torch.save_model(source, str(tmp_path / "tied.safetensors"))
    target = Tied()
    load_weights(target, read_checkpoint(tmp_path / "tied.safetensors"))
    assert torch.equal(target.second.weight, source.first.weight)
    assert torch.equal(target.second.bias, source.second.bias)


TWO_SETS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "torchvision": (
        lambda: {"model": trained(), "model_ema": averaged_model(averaged())}, "model", "model_ema.module",
    ),
    "timm": (lambda: {"state_dict": trained(), "state_dict_ema": averaged()}, "state_dict", "state_dict_ema"),
    "flat": (
        lambda: {**behind("online_model.", trained()), **behind("ema_model.", averaged()), "step": torch.tensor(3)},
        "online_model", "ema_model",
    ),
    "lightning": (
        lambda: {**LIGHTNING, "state_dict": {**behind("net.", trained()), **behind("ema.module.", averaged())}},
        "state_dict.net", "state_dict.ema.module",
    ),
    "beside": (lambda: {**trained(), **behind("shadow.", averaged())}, ".", "shadow"),
    "teacher": (
        lambda: {"student": behind("module.", trained()), "teacher": averaged(), "epoch": 3},
        "student.module", "teacher",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_SETS)
def test_two_different_sets_are_never_guessed_between(tmp_path, name):
    make, first, second = TWO_SETS[name]
    torch.save(make(), tmp_path / "two.pt")
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "two.pt")
    message = str(caught.value)
    assert "hold 2 different sets that fit" in message
    assert re.findall(r'model\.weights_key = "([^"]*)"', message) == [first, second]
    assert_equal(load(tmp_path / "two.pt", first)[0], trained())
    found, notes = load(tmp_path / "two.pt", second)
    assert_equal(found, averaged())
    assert f"under '{second}'" in notes[0]
    assert_equal(load(tmp_path / "two.pt", second.removesuffix(".module"))[0], averaged())
    with pytest.raises(ModelError, match=r"nothing of the model under model\.weights_key = 'emma'"):
        load(tmp_path / "two.pt", "emma")


FAULTS: dict[str, tuple[Callable[[State], Any], str]] = {
    "a list": (lambda s: list(s.values()), "holds list, expected a state dict"),
    "no tensors": (lambda _: {"epoch": 3, "args": {"lr": 0.1}}, "holds no tensors, only 'epoch', 'args'"),
    "one missing": (lambda s: {n: t for n, t in s.items() if n != "head.bias"}, r"1 missing \(head.bias\)"),
    "one missing behind a prefix": (
        lambda s: {"state_dict": behind("model.", {n: t for n, t in s.items() if n != "head.bias"})},
        r"\(under 'state_dict.model'\) do not fit the model: tensors 1 missing \(head.bias\)",
    ),
    "one more": (lambda s: {**s, "head.scale": torch.ones(3)}, r"1 unknown \(head.scale\)"),
    "one more behind a prefix": (
        lambda s: {"model": {**s, "aux.bias": torch.ones(3)}}, r"\(under 'model'\).*1 unknown \(aux.bias\)",
    ),
    "another network": (
        lambda _: nn.Sequential(nn.Conv1d(1, 1, 1)).state_dict(),
        "none of their names is the model's. They have 0.weight",
    ),
    "other classes": (
        lambda s: {**s, "head.weight": torch.rand(10, 4), "head.bias": torch.rand(10)},
        r"2 of another shape \(head.weight \(10, 4\), expected \(3, 4\); .*trained for 10 outputs.*num_classes = 10 }",
    ),
    "other channels": (
        lambda s: {**s, "features.0.weight": torch.rand(4, 1, 3, 3)},
        "trained on images of 1 channels, the model takes 3.*preprocessing.channels",
    ),
    "other widths": (
        lambda s: {**s, "features.0.weight": torch.rand(8, 3, 3, 3), "head.weight": torch.rand(3, 8)},
        "change model.factory or model.arguments",
    ),
    "not finite": (lambda s: {**s, "head.bias": torch.full((3,), torch.nan)}, "no finite numbers, first in head.bias"),
    "beyond float32": (
        lambda s: {**s, "head.bias": torch.full((3,), 1e300, dtype=torch.float64)},
        "no finite numbers, first in head.bias",
    ),
    "quantised": (
        lambda s: {**s, "head.weight": s["head.weight"].mul(100).to(torch.int8)},
        "head.weight holds int8, expected floating",
    ),
    "two of one name": (
        lambda s: {"model": s, "model.head.bias": torch.zeros(3)},
        "two different tensors named 'model.head",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path, name):
    wrap, message = FAULTS[name]
    torch.save(wrap(trained()), tmp_path / "some.pt")
    net = make_net(seed=2)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        load_weights(net, read_checkpoint(tmp_path / "some.pt"))
    assert_equal(dict(net.state_dict()), before)


def test_the_advice_on_classes_and_channels_works(tmp_path):
    torch.save(make_net(classes=10).state_dict(), tmp_path / "ten.pt")
    assert load(tmp_path / "ten.pt", classes=10)[0]["head.bias"].shape == (10,)
    torch.save(make_net(channels=1).state_dict(), tmp_path / "grey.pt")
    assert load(tmp_path / "grey.pt", channels=1)[0]["features.0.weight"].shape == (4, 1, 3, 3)


class Settings:
    """Stands for a class of somebody's training program."""


def pickled_model() -> object:
    net = make_net()
    net.load_state_dict(trained())
    return net


UNSAFE: dict[str, tuple[Callable[[], Any], str]] = {
    "whole.pt": (pickled_model, "a whole pickled model"),
    "yolo.pt": (lambda: {"epoch": 3, "model": pickled_model()}, "a whole pickled model"),
    "custom.ckpt": (
        lambda: {"state_dict": behind("model.", trained()), "hyper": Settings()},
        r"more than weights \(.*Settings",
    ),
    "custom.pth.tar": (
        lambda: {"model_state_dict": trained(), "settings": Settings()},
        r"more than weights \(.*Settings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("name", UNSAFE)
def test_files_that_could_run_code_are_refused_with_the_line_that_mends_them(tmp_path, name, older):
    make, message = UNSAFE[name]
    torch.save(make(), tmp_path / name, _use_new_zipfile_serialization=not older)
    with pytest.raises(ModelError, match="could run code, so it is refused") as caught:
        load(tmp_path / name)
    if not older:
        assert re.search(message, str(caught.value))
    assert_equal(load(follow(str(caught.value), tmp_path))[0], trained())


def test_torchscript_is_refused_with_the_line_that_takes_its_weights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch itself advises against its older format
        torch.jit.script(pickled_model()).save(tmp_path / "scripted.pt")
    with pytest.raises(ModelError, match="is a TorchScript program: its operations are compiled") as caught:
        load(tmp_path / "scripted.pt")
    assert_equal(load(follow(str(caught.value), tmp_path))[0], trained())


def follow(message: str, folder: Path) -> Path:
    """Run the line that a message advises where the file is; return the file that it says to use."""
    command = shlex.split(re.search(r"`(python -c .*?)`", message, re.DOTALL)[1])
    assert command[:2] == ["python", "-c"]
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(command[2], {})
    return Path(re.search(r'set model\.weights = "([^"]*)"', message)[1])


FILES: dict[str, tuple[bytes, str]] = {
    "empty.pt": (b"", "it is empty"),
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "Keras"),
    "packed.pt.gz": (b"\x1f\x8b\x08" + bytes(50), "gunzip"),
    "page.pt": (b"<!DOCTYPE html><html>", "web page"),
    "text.pt": (b"weights = none", "it begins with b'weights = none'"),
    "pickle.pt": (b"\x80\x04K\x01.", "not a readable weights file|holds int|could run code"),
    "cut.safetensors": (b"\x40\x00\x00\x00\x00\x00\x00\x00{\"a\":", "not a readable weights file"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_kind_are_told_by_what_they_are(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / name)


def test_archives_folders_and_missing_files_are_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("a/weights.npy", b"")
    with pytest.raises(ModelError, match=r"zip archive, but none that torch.save writes: it holds weights.npy"):
        load(tmp_path / "arrays.npz")
    torch.save(trained(), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-500])
    with pytest.raises(ModelError, match=r"cut\.pt is not a readable weights file: .*copied as a whole"):
        load(tmp_path / "cut.pt")
    with pytest.raises(ModelError, match=r"are a folder; name a file in it: .*whole\.pt"):
        load(tmp_path)
    with pytest.raises(ModelError, match="No such file"):
        load(tmp_path / "none.pt")
