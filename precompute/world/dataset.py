"""The held-out scenes of the built-in world as a data set, with the truth about their parts.

Owns names, labels and digest of the scenes that an atlas is made of; draws each when it is asked for, stores nothing.
Must not know models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import safetensors

from precompute.atlas.digests import digest_bytes
from precompute.config import Config
from precompute.errors import DataError
from precompute.records import IntArray, ModelTruth

from .canvas import SIZE
from .network import WEIGHTS_PATH
from .objects import CLASS_NAMES
from .parts import PART_NAMES, PART_WORDS
from .scenes import HELD_OUT_SEED, MARKED_CLASS, draw_scene, label_of

WORLD_VERSION = 1
"""Raised whenever a scene changes for the same seed and index, so that nothing stale is reused."""
DEFAULT_SAMPLES = 720

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class WorldDataset:
    """Scenes 0 to `n_samples` of the seed that the network never saw, ordered by class.

    Attributes
    ----------
    n_samples : int
    seed : int
        First seed word of the scenes.
    cache : Path
        The folder for what can be made again.
    """

    n_samples: int
    seed: int = HELD_OUT_SEED
    cache: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        """Order the scenes by class, as folders would be."""
        order = sorted(range(self.n_samples), key=lambda scene: (label_of(scene), scene))
        object.__setattr__(self, "_scenes", tuple(order))

    @property
    def names(self) -> tuple[str, ...]:
        """``<class>/<number>.png`` by sample; no such file exists."""
        return tuple(f"{CLASS_NAMES[label_of(scene)]}/{scene:04d}.png" for scene in self._order)

    @property
    def labels(self) -> IntArray:
        """(n_samples,) int64 class indices."""
        return np.array([label_of(scene) for scene in self._order], np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """By class index."""
        return CLASS_NAMES

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing: nobody brought these images."""
        return ()

    @property
    def grey(self) -> None:
        """Nothing: all scenes are colours of 8 bits."""
        return

    @property
    def part_names(self) -> tuple[str, ...]:
        """Every part that a mask may be asked for."""
        return PART_NAMES

    @property
    def part_words(self) -> Mapping[str, tuple[str, ...]]:
        """Further words that name a part."""
        return PART_WORDS

    @property
    def marked_class(self) -> int:
        """The class that mostly carries the planted mark."""
        return MARKED_CLASS

    @property
    def digest(self) -> str:
        """SHA-256 over the world's version, the seed and the names."""
        text = "\n".join((f"world {WORLD_VERSION} seed {self.seed} side {SIZE}", *self.names))
        return digest_bytes(text.encode())

    def __len__(self) -> int:
        return self.n_samples

    def stamp(self, index: int) -> int:
        """Return the same for every scene: its pixels never change under one version of the world."""
        return WORLD_VERSION

    def load(self, index: int) -> PIL.Image.Image:
        """Draw one scene, RGB."""
        return PIL.Image.fromarray(draw_scene(self.seed, self._order[index]).image)

    def part_masks(self, index: int) -> dict[str, Mask]:
        """Draw one scene and tell which pixels show which part.

        Returns
        -------
        dict of str to (SIZE, SIZE) uint8
            Visible coverage, 255 for all of a pixel; only the parts that can be seen.
        """
        return draw_scene(self.seed, self._order[index]).part_masks()

    def is_marked(self, index: int) -> bool:
        """Tell whether a scene carries the planted mark."""
        return draw_scene(self.seed, self._order[index]).marked

    def model_truth(self, weights_digest: str) -> ModelTruth | None:
        """Tell what was measured of the network that ships with the world, from the header of its weights.

        None where the weights are others: nothing was measured of them.
        """
        if not WEIGHTS_PATH.exists():
            return None
        with safetensors.safe_open(WEIGHTS_PATH, "np") as file:
            facts = file.metadata() or {}
        if facts.get("digest") != weights_digest:
            return None
        return ModelTruth(float(facts["accuracy"]), float(facts["accuracy_mark_moved"]), int(facts["n_held_out"]))

    @property
    def _order(self) -> tuple[int, ...]:
        order: tuple[int, ...] = self.__dict__["_scenes"]
        return order


def open_world(config: Config, cache: Path) -> WorldDataset:
    """Open the scenes of a config whose data set is the world.

    Raises
    ------
    DataError
        A negative number of samples, or too few to show every class.
    """
    n_samples = config.dataset.n_samples or DEFAULT_SAMPLES
    if n_samples < len(CLASS_NAMES):
        raise DataError(
            f"{config.path}: dataset.n_samples is {config.dataset.n_samples}, expected at least {len(CLASS_NAMES)} so "
            f"that every class is shown; leave it out for {DEFAULT_SAMPLES}."
        )
    return WorldDataset(n_samples, cache=cache)
