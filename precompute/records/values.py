"""The values that fields of records may have, as types. Knows the standard library and `annotated_types` alone."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Interval

Share = Annotated[float, Interval(ge=0, le=1)]
"""A part of a whole, a probability or a measure from 0 to 1."""

SignedShare = Annotated[float, Interval(ge=-1, le=1)]

NotNegative = Annotated[float, Ge(0)]

Count = Annotated[int, Ge(0)]

NameKind = Literal["object", "part", "texture", "colour", "scene", "mark", "other"]
"""What sort of thing a concept's name says."""
