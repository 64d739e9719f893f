"""Small photos on disk and a config for them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image

from precompute.config import Config, load_config
from precompute.images import dataset as datasets


def picture(seed: int, size: tuple[int, int] = (8, 8)) -> PIL.Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(noise)


def encode(image: PIL.Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fill(root: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode(picture(seed)))


def configure(folder: Path, *overrides: str) -> Config:
    path = folder / "here.toml"
    path.write_text("[preprocessing]\nresize = 8\ncrop = 8\n[mining]\nn_workers = 0\n")
    return load_config(path, ["dataset.root=images", *overrides])


def open_here(folder: Path, *overrides: str) -> datasets.Dataset:
    return datasets.open_dataset(configure(folder, *overrides), folder / "here" / "cache")
