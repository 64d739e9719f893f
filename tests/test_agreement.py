"""The tables and heatmaps of real networks on real photos equal zennit-crp's."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from precompute.agreement.comparison import compare
from precompute.cli import main
from precompute.config import load_config

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.mark.skipif(not SHARED.exists(), reason="the development photos and networks are not here (../shared)")
@pytest.mark.parametrize(
    ("name", "n_samples", "overrides"),
    [
        ("imagenet-sample", 3, ["model.layers=['features.9.expand*', 'features.12.expand*']"]),
        ("cifar10-sample", 12, []),
    ],
)
def test_real_networks_on_real_photos_equal_the_peer(name, n_samples, overrides):
    for row in compare(load_config(ROOT / f"data/{name}.toml", overrides), n_samples, 2):
        assert row.n_entries > 0
        assert row.n_samples_differ == 0
        assert row.n_neurons_differ == 0
        assert row.score_deviation < 1e-10
        assert row.heatmap_deviation < 1e-6


def make_config(tmp_path, factory, extra=""):
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(4):
        path = tmp_path / "photos" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    (tmp_path / "own_nets.py").write_text(NETS)
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\n[dataset]\nkind = "unlabelled"\nroot = "photos"\n[preprocessing]\nresize = 32\ncrop = 32\n'
        f'[model]\nfactory = "own_nets:{factory}"\nweights = "factory"\n{extra}'
    )
    return path


NETS = '''
import torch
from torch import nn

class Hidden(nn.Module):
    """A sum that zennit-crp does not know, batch norms in another order, or a functional pooling."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        if kind == "order":
            self.second, self.norm2, self.norm1 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        else:
            self.norm1, self.second, self.norm2 = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.act, self.pool, self.flat, self.fc = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)

    def forward(self, x):
        x = self.act(self.norm1(self.first(x)))
        y = self.act(self.norm2(self.second(x)))
        y = x + y if self.kind == "sum" else y
        y = y * torch.sigmoid(y.mean((2, 3), keepdim=True)) if self.kind == "gate" else y
        return self.fc(y.mean((2, 3)) if self.kind == "mean" else self.flat(self.pool(y)))

def right(): return Hidden("right").eval()
def summed(): return Hidden("sum").eval()
def ordered(): return Hidden("order").eval()
def gated(): return Hidden("gate").eval()
def averaged(): return Hidden("mean").eval()
'''


@pytest.mark.parametrize("extra", ["", '[relevance.rules]\n"second" = "epsilon"\n"first" = "zplus"\n'])
def test_the_command_compares_any_atlas(tmp_path, capsys, extra):
    path = make_config(tmp_path, "right", extra)
    assert main(["agree", "--config", str(path), "--samples", "4", "--channels", "2"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "agrees    with zennit-crp" in said
    assert {line.split()[0] for line in said.splitlines()} >= {"first", "second"}


@pytest.mark.parametrize(
    ("factory", "reason"),
    [("summed", "'add'"), ("ordered", "norm"), ("gated", "gate|'mul'"), ("averaged", "'mean'")],
)
def test_what_zennit_crp_treats_wrongly_is_refused_with_the_reason(tmp_path, capsys, factory, reason):
    assert main(["agree", "--config", str(make_config(tmp_path, factory)), "--samples", "4"]) == 1
    said = capsys.readouterr().err
    assert "zennit-crp does not treat" in said
    assert re.search(reason, said.partition("compare with:")[2])


def test_without_zennit_crp_the_message_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "precompute.agreement.peer", raising=False)
    monkeypatch.delattr("precompute.agreement.peer", raising=False)
    monkeypatch.setitem(sys.modules, "crp", None)
    for name in [name for name in sys.modules if name.startswith("crp.")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["agree", "--config", str(make_config(tmp_path, "right")), "--samples", "4"]) == 1
    said = capsys.readouterr().err
    assert "pip install zennit-crp==0.6.0" in said
    assert said.count("\n") == 1


def test_a_disagreement_is_told_and_ends_with_1(tmp_path, capsys, monkeypatch):
    from precompute.relevance import operations

    monkeypatch.setattr(operations, "EPSILON", 1e-3)
    assert main(["agree", "--config", str(make_config(tmp_path, "right")), "--samples", "4", "--channels", "1"]) == 1
    assert "differ from zennit-crp's by more than rounding" in capsys.readouterr().err
