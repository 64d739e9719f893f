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
from precompute.errors import DataError, did_you_mean
from precompute.records import IntArray, ModelTruth

from .canvas import SIZE
from .network import WEIGHTS_PATH
from .objects import CLASS_NAMES
from .parts import PART_NAMES, PART_WORDS
from .scenes import DEFAULT, HELD_OUT_SEED, Planted, Scene, draw_scene, label_of

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
    planted : Planted
    """

    n_samples: int
    seed: int = HELD_OUT_SEED
    cache: Path = field(default_factory=Path)
    planted: Planted = DEFAULT

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
    def marked_class(self) -> int | None:
        """The class that mostly carries the planted mark; None where no mark is planted in one class."""
        return self.planted.classes[0] if self.planted.kind == "mark" and len(self.planted.classes) == 1 else None

    @property
    def digest(self) -> str:
        """SHA-256 over the world's version, the seed, the names, and what is planted where that is not the mark."""
        other = () if self.planted == DEFAULT else (repr(self.planted),)
        text = "\n".join((f"world {WORLD_VERSION} seed {self.seed} side {SIZE}", *other, *self.names))
        return digest_bytes(text.encode())

    def __len__(self) -> int:
        return self.n_samples

    def stamp(self, index: int) -> int:
        """Return the same for every scene: its pixels never change under one version of the world."""
        return WORLD_VERSION

    def load(self, index: int) -> PIL.Image.Image:
        """Draw one scene, RGB."""
        return PIL.Image.fromarray(self._draw(index).image)

    def part_masks(self, index: int) -> dict[str, Mask]:
        """Draw one scene and tell which pixels show which part.

        Returns
        -------
        dict of str to (SIZE, SIZE) uint8
            Visible coverage, 255 for all of a pixel; only the parts that can be seen.
        """
        return self._draw(index).part_masks()

    def is_marked(self, index: int) -> bool:
        """Tell whether a scene has what was planted."""
        return self._draw(index).marked

    def _draw(self, index: int) -> Scene:
        return draw_scene(self.seed, self._order[index], self.planted)

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
        A negative number of samples, or too few to show every class; a shortcut in a class that there is not.
    """
    n_samples = config.dataset.n_samples or DEFAULT_SAMPLES
    if n_samples < len(CLASS_NAMES):
        raise DataError(
            f"{config.path}: dataset.n_samples is {config.dataset.n_samples}, expected at least {len(CLASS_NAMES)} so "
            f"that every class is shown; leave it out for {DEFAULT_SAMPLES}."
        )
    wanted = config.dataset.shortcut_classes
    for name in wanted:
        if name not in CLASS_NAMES or wanted.count(name) > 1:
            problem = "twice" if name in CLASS_NAMES else f"{name[:40]!r}"
            raise DataError(
                f"{config.path}: dataset.shortcut_classes has {problem}, expected one or two of: "
                f"{', '.join(CLASS_NAMES)}"
                f"{did_you_mean(name, CLASS_NAMES)}"
            )
    if config.dataset.shortcut == "none":
        planted = Planted("none")  # whatever its strength: nothing is planted
    else:
        classes = tuple(sorted(CLASS_NAMES.index(name) for name in wanted))
        planted = Planted(config.dataset.shortcut, config.dataset.shortcut_strength, classes)
    return WorldDataset(n_samples, cache=cache, planted=planted)
