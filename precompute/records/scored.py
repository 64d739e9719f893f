"""Records of truth scores, where a data set knows what it shows. Import them from `records`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .values import Count, Share


@dataclass(frozen=True)
class LayerTruth:
    """How well the concepts of one layer match the known parts of the scenes.

    Attributes
    ----------
    layer : str
    n_concepts, n_clear : int
        Concepts scored; those with a part and at least half of their heatmap mass inside it.
    pointing_game, pointing_game_shuffled : float or None
        Share of reference images whose strongest pixel lies in the part's mask; the same with shuffled masks.
    mass, mass_shuffled : float or None
        Mean share of the heatmap mass inside the part's masks; the same with shuffled masks.
    names_right : float or None
        Share of the names that say the part, of those concepts that have one.
    """

    layer: str
    n_concepts: Count = 0
    n_clear: Count = 0
    pointing_game: Share | None = None
    pointing_game_shuffled: Share | None = None
    mass: Share | None = None
    mass_shuffled: Share | None = None
    names_right: Share | None = None


@dataclass(frozen=True)
class ConceptTruth:
    """The part that one concept's reference heatmaps cover most; the figures as in `LayerTruth`.

    Attributes
    ----------
    part : str
        Empty where no part is covered more than by shuffled masks; the figures are then of the best one all the same,
        and `name_right` is None.
    mass, mass_shuffled, pointing_game : float or None
        None where no heatmap has positive mass.
    name_right : bool or None
    """

    part: str = ""
    mass: Share | None = None
    mass_shuffled: Share | None = None
    pointing_game: Share | None = None
    name_right: bool | None = None


@dataclass(frozen=True)
class ModelTruth:
    """The model's accuracy, 0 to 1, as the scenes are and with the mark moved to another class.

    Attributes
    ----------
    accuracy, accuracy_mark_moved : float or None
    n_held_out : int or None
        Scenes that the model never saw and that both were measured on.
    """

    accuracy: Share | None = None
    accuracy_mark_moved: Share | None = None
    n_held_out: Count | None = None


@dataclass(frozen=True)
class ShortcutTruth:
    """The planted shortcut, and where the atlas shows it.

    Attributes
    ----------
    class_name : str
        The class that mostly carries the mark.
    concept : str
        Key ``layer:channel`` of the concept whose part is the mark.
    rank : int or None
        Of the concept in its class by mean relevance, from 0.
    mean_share : float or None
        Its mean share over the samples of the class; its mean relevance where scores are not normalised.
    note : str
    used : bool
        The concept shows the mark clearly and is one of the first of the class: the network learned the shortcut.
    """

    class_name: str = ""
    concept: str = ""
    rank: Count | None = None
    mean_share: float | None = None
    note: str = ""
    used: bool = False


@dataclass(frozen=True)
class TruthReport:
    """The content of ``truth.json``: scores against known truth, where a data set has it.

    Attributes
    ----------
    layers : tuple of LayerTruth
        In forward order.
    concepts : dict of str to ConceptTruth
        By key ``layer:channel``.
    model : ModelTruth or None
        None where nothing was measured of the atlas's own weights.
    shortcut : ShortcutTruth or None
    """

    FILE_FORMAT: ClassVar[tuple[str, int]] = ("truth", 1)

    layers: tuple[LayerTruth, ...] = ()
    concepts: dict[str, ConceptTruth] = field(default_factory=dict)
    model: ModelTruth | None = None
    shortcut: ShortcutTruth | None = None
