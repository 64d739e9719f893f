"""Stand-ins that know the truth: a judge that sees the world's masks, a language model that knows every sheet.

Owns the reading of a name as parts and of a tile as what it shows. Must not know how names were made or files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from precompute.errors import ReplyError
from precompute.llm.request import Request
from precompute.naming.scoring import Question, Verdict
from precompute.records import Reference
from precompute.records.named import says_one_of

from .truth import Mask, PartMasks, words_for

ENOUGH = 0.05
"""A part that fills this share of a crop is certainly shown; half of it counts half."""

UNDECIDED = 0.5


class PartsJudge:
    """Answers the questions of `scoring` from part masks.

    Parameters
    ----------
    part_masks : callable
        Visible coverage by part of the scene with a sample_index.
    vocabulary : mapping of part to words
        Further words for each part.
    """

    author = "the world's own masks"

    def __init__(self, part_masks: PartMasks, vocabulary: Mapping[str, Sequence[str]]) -> None:
        self._part_masks = lru_cache(maxsize=1024)(part_masks)
        self._vocabulary = vocabulary

    def judge(self, questions: Sequence[Question]) -> Iterator[tuple[int, Verdict]]:
        """Yield (index of the question, verdict); a name that says no part leaves every tile undecided."""
        for index, question in enumerate(questions):
            parts = [part for part in self._vocabulary if says_one_of(question.name, words_for(part, self._vocabulary))]
            yield index, Verdict(tuple(self._shown(tile, parts) for tile in question.tiles))

    def _shown(self, tile: Reference, parts: Sequence[str]) -> float:
        if not parts:
            return UNDECIDED
        masks = self._part_masks(tile.sample_index)
        return max((_filled(masks[part], tile) for part in parts if part in masks), default=0.0)


class OracleModel:
    """A language model that answers by the digest of what it is asked.

    Parameters
    ----------
    replies : mapping of str to str
        The text of each reply, by `question_key` of its request.
    """

    model = "oracle"
    concurrency = 4

    def __init__(self, replies: Mapping[str, str]) -> None:
        self._replies = replies

    async def answer(self, request: Request) -> str:
        """Return the reply; raises ReplyError where the question is unknown."""
        reply = self._replies.get(question_key(request))
        if reply is None:
            raise ReplyError("the oracle does not know these pictures")
        return reply

    async def close(self) -> None:
        """Have nothing to close."""


def question_key(request: Request) -> str:
    """Digest the pictures of a request; for a task that is asked of one sheet several times, its words too."""
    pictures = hashlib.sha256(b"".join(hashlib.sha256(image).digest() for image in request.images))
    if request.task != "naming":
        pictures.update(request.user.encode())
    return pictures.hexdigest()


def _filled(mask: Mask, tile: Reference) -> float:
    """Return the share of the crop that a part fills, over `ENOUGH`, at most 1."""
    box = tile.box
    inside = mask[box.top : box.bottom, box.left : box.right]
    return min(1.0, float(inside.mean()) / 255 / ENOUGH) if inside.size else 0.0
