"""What was proved of an atlas while it was mined: that no relevance goes astray, and where that of a logit went.

Knows the standard library alone. Import them from `records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class OperationProof:
    """How all operations of one kind keep the relevance handed to them, with biases off.

    Attributes
    ----------
    count : int
        Operations of the kind that relevance reaches.
    lost : float
        The largest share that one of them lost, of the absolute relevance handed to it.
    """

    count: int
    lost: float


@dataclass(frozen=True)
class LogitParts:
    """Where the relevance of logits went on its way down to a layer: the parts add up to the logits.

    Attributes
    ----------
    own, beside : float
        What reached the layer, and what passed it on other ways.
    biases, stabilisers : float
        What biases (shifts of norms and padding as well) and stabilisers above the layer took.
    missing : float
        What the other parts lack of the logits, in absolute value: rounding.
    """

    own: float
    beside: float
    biases: float
    stabilisers: float
    missing: float

    def of(self, whole: float) -> LogitParts:
        """Return the parts as fractions of a whole that is not 0."""
        return LogitParts(*(getattr(self, item.name) / whole for item in fields(self)))


@dataclass(frozen=True)
class ConservationProof:
    """What was measured on some samples, in float64.

    Attributes
    ----------
    samples : tuple of int
        Sample indices.
    logits : float
        The sum of the absolute logits explained.
    operations : dict of str to OperationProof
        By ATen's name.
    layers : dict of str to LogitParts
        By layer, added up over the samples; where a logit is negative, with the sign turned.
    """

    samples: tuple[int, ...]
    logits: float
    operations: dict[str, OperationProof]
    layers: dict[str, LogitParts]

    @classmethod
    def joined(cls, proofs: Sequence[ConservationProof]) -> ConservationProof:
        """Join the proofs of several samples, at least one, in their order."""
        first = proofs[0]
        return cls(
            tuple(index for proof in proofs for index in proof.samples),
            sum(proof.logits for proof in proofs),
            {
                name: OperationProof(found.count, max(proof.operations[name].lost for proof in proofs))
                for name, found in first.operations.items()
            },
            {
                name: LogitParts(
                    *(sum(getattr(proof.layers[name], item.name) for proof in proofs) for item in fields(LogitParts))
                )
                for name in first.layers
            },
        )

    @property
    def n_operations(self) -> int:
        """Operations that relevance reaches."""
        return sum(found.count for found in self.operations.values())

    @property
    def worst(self) -> tuple[str, float]:
        """The kind of operation that lost the largest share, and that share."""
        name = max(self.operations, key=lambda one: self.operations[one].lost)
        return name, self.operations[name].lost

    def parts(self) -> dict[str, LogitParts]:
        """Return the parts of each layer as fractions of the logits; none where these are all 0."""
        return {name: parts.of(self.logits) for name, parts in self.layers.items()} if self.logits else {}
