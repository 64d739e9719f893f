"""A small atlas in a temporary folder: photos in class folders, a network of one's own, a config."""

import numpy as np
from PIL import Image

FACTORY = """
from torch import nn

def small_network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 10, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(40, 3),
    )
"""

CONFIG = """
name = "small"
[dataset]
root = "photos"
[preprocessing]
resize = 24
crop = 24
[model]
factory = "small_factory:small_network"
weights = "random"
[relevance]
device = "cpu"
[mining]
top_k = 6
shard_size = 8
batch_size = 4
n_workers = 0
[references]
per_ranking = 3
tile = 32
[explaining]
n_photos = 3
n_concepts = 3
[site]
title = "A small atlas"
"""


def make_small_atlas(folder, n_per_class=10, config=CONFIG):
    """Write photos, factory and config into `folder`; returns the config's path."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("red thing", "green & <b>bold</b>", "blue thing")):
        (folder / "photos" / name.replace("/", "_")).mkdir(parents=True)
        for index in range(n_per_class):
            pixels = rng.integers(0, 120, (30, 26, 3), dtype=np.uint8)
            pixels[index % 20 : index % 20 + 8, 5:15, number] += 120
            Image.fromarray(pixels).save(folder / "photos" / name.replace("/", "_") / f"{index:03d}.png")
    (folder / "small_factory.py").write_text(FACTORY)
    path = folder / "small.toml"
    path.write_text(config)
    return path
