"""The table of operations: for each that a network may do, its rule of relevance, its reach and where the rule is from.

Owns the formulas and what they keep of a forward pass. Must not know which layers are asked for, data or files.

To add an operation, write one class here: its names in ATen, its source, `signals` (which inputs take relevance),
`backward`, and where it knows better than its base class, what `keep` keeps, whether its output can be negative and
how far it reaches. Nothing else lists operations.

A rule's `backward` takes what `keep` kept of a batch of n images, and relevance for m rows; where n is 1, all rows
belong to that image and share its forward pass. It may overwrite the relevance handed over, and what it returns is
read by nobody else.

Sources
-------
[Bach] Bach et al. 2015, "On pixel-wise explanations ...", PLoS ONE. [Montavon] Montavon et al. 2019, "Layer-wise
relevance propagation: an overview". [Lapuschkin] Lapuschkin et al. 2019, "Unmasking Clever Hans predictors" (Flat).
[zennit] zennit 0.5 (rules and composites). [Arras] Arras et al. 2019, arXiv 1909.12114 (gates). [Ali] Ali et al.
2022, arXiv 2202.07304, and [AttnLRP] Achtibat et al. 2024, arXiv 2402.05602 (norms, activations).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F

from precompute.network.graph import Node, Value, substitute
from precompute.network.receptive_field import Reach

from . import winograd

EPSILON = 1e-6
"""Of the stabiliser and of the Epsilon rule."""

MIN_PAIRS_TO_TRANSFORM, MIN_PIXELS_TO_TRANSFORM = 128 * 128, 512
"""Pairs of channels, and pixels, below which a direct convolution is faster than Winograd's algorithm, whose transforms
cost memory traffic."""

PIECE_ELEMENTS = {"cpu": 2**23, "cuda": 2**28}
"""Elements of a convolution's larger map, of all images whose backward pass runs at once; bounds the memory. CUDA's
library chooses slow algorithms for few images."""

ROWS_AT_ONCE = 256
"""Rows of a linear layer's weight that are brought to another precision at once."""

Pair = tuple[int, int]
Kept = tuple[Any, ...]
"""What a rule's backward pass needs of its forward pass."""

NOTHING: Kept = ()


class NoRule(Exception):  # noqa: N818 - reads as what it is
    """An operation stands where it has no rule; the message says why."""


POINTWISE = Reach()


@dataclass(eq=False)
class Facts:
    """What is known of the values of a graph by data flow.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Of every value, without the batch axis.
    data : set of str
        Values that depend on the image.
    gates : set of str
        Values that squash what they are computed from, so that they weigh others instead of saying anything.
    nonnegative : set of str
        Values that cannot be negative.
    raw : set of str
        Values that the image reaches through no convolution or linear layer.
    flat, zero_params, halves : bool
        Whether the first weights get the Flat rule; whether biases stay out of the rules; whether a gate takes as much
        relevance as what it weighs.
    rules : dict of str to str
        The rule that the config gives to the values of convolutions and linear layers.
    scales : set of str
        Those of `gates` that are scales of norms.
    weighing, saying : set of str
        Gates that take relevance as gates, and values that take it for what they say.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    gates: set[str] = field(default_factory=set)
    nonnegative: set[str] = field(default_factory=set)
    raw: set[str] = field(default_factory=set)
    flat: bool = True
    zero_params: bool = False
    halves: bool = False
    rules: dict[str, str] = field(default_factory=dict)
    scales: set[str] = field(default_factory=set)
    weighing: set[str] = field(default_factory=set)
    saying: set[str] = field(default_factory=set)

    def choose_rule(self, node: Node, source: str, usual: str) -> str:
        """Return the rule of a convolution or linear layer that reads `source`."""
        return self.rules.get(node.name) or ("flat" if self.flat and source in self.raw else usual)


class Absorbed(NamedTuple):
    """What an operation keeps of the relevance handed to it, (m,) float each.

    Attributes
    ----------
    constant : tensor
        Taken by biases, and by what was padded.
    stabiliser : tensor
        Taken by the term that keeps a division from blowing up.
    """

    constant: torch.Tensor
    stabiliser: torch.Tensor


def _sum_rows(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).sum(1)


def stabilise(values: torch.Tensor) -> torch.Tensor:
    """Shift values away from 0 by epsilon, in the direction of their sign; 0 counts as positive [zennit]."""
    return torch.where(values < 0, values - EPSILON, values + EPSILON)


def _stabilised(relevance: torch.Tensor, total: torch.Tensor, bias: torch.Tensor | None = None) -> Absorbed:
    """Part off what bias and stabiliser took of a division by the stabilised `total`."""
    share = relevance / total
    taken = _sum_rows(torch.where(total < 0, -share, share)) * EPSILON  # two numbers in `where` would be float32
    constant = torch.zeros_like(taken) if bias is None else _sum_rows(share * bias)
    return Absorbed(constant, taken)


# --- the base classes -----------------------------------------------------------------------------------------------


TABLE: dict[str, type[Rule]] = {}
"""The rule of every operation that may stand on the way from the image to a logit; a rule enters itself."""


class Rule:
    """One operation, ready to run.

    Attributes
    ----------
    operations : tuple of str
        Names in ATen, as `network.folding` spells them.
    source : str
        Where the rule comes from.
    keeps_something : bool
        Whether `backward` needs anything of the forward pass.
    fresh : bool
        Whether the output shares no memory with an input, so that a later operation may overwrite it.
    node : Node
    signals : tuple of str
        The values that take relevance.
    in_place : bool
        Whether `forward` may overwrite its input; set by the engine.
    """

    operations: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""
    fresh: ClassVar[bool] = True
    keeps_something: ClassVar[bool] = True
    in_place = False

    def __init_subclass__(cls) -> None:
        """Enter the rule into the table."""
        super().__init_subclass__()
        TABLE.update(dict.fromkeys(cls.__dict__.get("operations", ()), cls))

    def __init__(self, node: Node, facts: Facts) -> None:
        self.node = node
        self.signals = self.find_signals(node, facts)
        self.shapes = {name: facts.shapes[name] for name in node.inputs}

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Name the values that take relevance; raises NoRule where the operation has none as it stands."""
        found = tuple(dict.fromkeys(name for name in node.inputs if name in facts.data))
        if len(found) != 1:
            raise NoRule("joins several values that depend on the image")
        return found

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """Whether the output cannot be negative."""
        return False

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """Say how far the output sees; None where it may see everything."""
        return None

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Compute the output for a batch of `n` images."""
        made: torch.Tensor = self.node.target(
            **{key: substitute(argument, values, n) for key, argument in self.node.arguments.items()}
        )
        return made

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Return what `backward` needs of the forward pass."""
        return NOTHING

    def forward_keeping(self, values: Mapping[str, torch.Tensor], n: int) -> tuple[torch.Tensor, Kept]:
        """Compute the output, and what `backward` needs."""
        output = self.forward(values, n)
        return output, self.keep(values, output)

    def share_total(self, kept: Kept) -> Kept:
        """Compute what many backward passes over one image have in common."""
        return kept

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the relevance of each of `signals` from that of the output."""
        raise NotImplementedError

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Compute how much relevance of each row goes nowhere: into biases, constants and stabilisers."""
        return Absorbed(relevance.new_zeros(len(relevance)), relevance.new_zeros(len(relevance)))

    filling: ClassVar[float] = 0.0
    """What a window is padded with beyond the frame."""

    @property
    def takes_windows(self) -> bool:
        """Whether the rule works on windows cut out of a frame, as its reach says."""
        return False

    def windowed(self) -> Self:
        """Return the same rule for windows that hold their surroundings, so that nothing is padded."""
        return self

    def keep_window(self, values: Mapping[str, torch.Tensor], n: int) -> Kept:
        """Return what `backward` needs of windows, without the forward pass where it needs none."""
        return self.forward_keeping(values, n)[1]

    @property
    def n_products(self) -> int:
        """Multiply-adds for each position of the output."""
        return 0

    @property
    def first(self) -> str:
        """The only signal."""
        return self.signals[0]


class Still(Rule):
    """An operation that no relevance reaches: inside a gate, or a constant that grows with the batch."""

    def __init__(self, node: Node, facts: Facts) -> None:
        self.node, self.signals = node, ()
        self.shapes = {name: facts.shapes[name] for name in node.inputs}


def _unbroadcast(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Sum (m, ...) values over the axes that an input of (m, *shape) was broadcast along."""
    while values.dim() > len(shape) + 1:
        values = values.sum(1)
    for axis, size in enumerate(shape, 1):
        if size == 1 and values.shape[axis] != 1:
            values = values.sum(axis, keepdim=True)
    return values


def _only(node: Node, facts: Facts) -> str:
    return next(name for name in node.inputs if name in facts.data)


def _inherits_sign(node: Node, facts: Facts) -> bool:
    return all(name in facts.nonnegative for name in node.inputs)


def _pointwise_reach(node: Node) -> Reach | None:
    """One position sees one position, as long as no constant has a frame of its own."""
    constants = [node.arguments.get(key) for key in ("self", "other")]
    framed = any(isinstance(part, torch.Tensor) and max(part.shape[-2:], default=1) > 1 for part in constants)
    return None if framed else POINTWISE


class Pass(Rule):
    """Relevance passes unchanged."""

    keeps_something = False

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """One position sees one position, as long as no constant has a frame of its own."""
        return _pointwise_reach(node)

    @property
    def takes_windows(self) -> bool:
        """Always, where its reach is known."""
        return True

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Hand relevance on."""
        return (_unbroadcast(relevance, self.shapes[self.first]),)


class Transposed(Rule):
    """Moves values: each output is one of the inputs, or a constant. Relevance takes the way back of the gradient."""

    fresh = False
    source = "[zennit] plain gradient of operations that move values"

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """As what it moves."""
        return _inherits_sign(node, facts)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the operation's transpose."""
        return self.transpose(relevance)

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Lose what lies where no signal's value was moved to."""
        ones = {
            name: relevance.new_full((len(relevance), *shape), float(name in self.signals))
            for name, shape in self.shapes.items()
        }
        outside = 1 - Rule.forward(self, ones, len(relevance))
        return Absorbed(_sum_rows(relevance * outside), relevance.new_zeros(len(relevance)))

    def transpose(self, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Send (m, ...) values of the output back along the linear operation."""
        m = len(relevance)
        with torch.inference_mode(mode=False), torch.enable_grad():
            given = {name: relevance.new_zeros((m, *shape)) for name, shape in self.shapes.items()}
            signals = [given[name].requires_grad_() for name in self.signals]
            made = Rule.forward(self, given, m)
            return torch.autograd.grad(made, signals, relevance)


# --- activations ----------------------------------------------------------------------------------------------------


class Rectifier(Pass):
    """ReLU."""

    operations: ClassVar[tuple[str, ...]] = ("relu",)
    source = "[zennit] Pass for activations; [AttnLRP] eq. 9"

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """Never negative."""
        return True

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Compute max(x, 0)."""
        given = values[self.first]
        return given.relu_() if self.in_place else given.relu()


class Activation(Pass):
    """Activations that keep 0 and the sign."""

    operations: ClassVar[tuple[str, ...]] = (
        *("leaky_relu", "elu", "selu", "celu", "silu", "gelu", "hardswish", "mish", "tanh", "softsign"),
        *("prelu", "rrelu", "softshrink", "hardshrink", "tanhshrink", "hardswish_", "_prelu_kernel"),
    )
    source = "[zennit] Pass for activations; [AttnLRP] eq. 9"


class Clamp(Pass):
    """Clamp, ReLU6: between limits that hold 0."""

    operations: ClassVar[tuple[str, ...]] = ("clamp",)
    source = "[zennit] Pass for activations"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse limits that exclude 0, which would make something of nothing."""
        lowest, highest = node.arguments["min"], node.arguments["max"]
        for limit in (lowest, highest):
            if limit is not None and not isinstance(limit, int | float):
                raise NoRule("has limits that are not plain numbers")
        if (lowest is not None and lowest > 0) or (highest is not None and highest < 0):
            raise NoRule("has limits that exclude 0, so that it makes an output out of nothing")
        return super().find_signals(node, facts)

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """As its lower limit says."""
        lowest = node.arguments["min"]
        return (isinstance(lowest, int | float) and lowest >= 0) or _only(node, facts) in facts.nonnegative


SQUASHES = ": it squashes the signal itself, not a gate; where it ends the network, return the logits before it"


class Squash(Pass):
    """What makes a gate, where gates take half of the relevance: it passes, as through other activations."""

    operations: ClassVar[tuple[str, ...]] = ("sigmoid", "hardsigmoid")
    source = "[Arras] LRP-half; inside the gate as other activations"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse what takes relevance for what it says itself."""
        if node.name in facts.saying or node.name not in facts.weighing:
            raise NoRule(SQUASHES.removeprefix(": it "))
        return super().find_signals(node, facts)


# --- affine maps ----------------------------------------------------------------------------------------------------


class FrozenNorm(Pass):
    """A batch norm at evaluation that no convolution or linear layer takes up."""

    operations: ClassVar[tuple[str, ...]] = ("batch_norm",)
    source = "[zennit] Pass for BatchNorm"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse a norm by the statistics of the batch."""
        if node.arguments.get("running_mean") is None or node.arguments.get("training"):
            raise NoRule(
                "normalises by the statistics of the batch, so that one image's answer depends on the others; give it "
                "running statistics"
            )
        return super().find_signals(node, facts)


class Negation(Pass):
    """The sign turned: a linear map, of which Epsilon makes the identity."""

    operations: ClassVar[tuple[str, ...]] = ("neg", "rsub")
    source = "[Montavon] Epsilon of a scale"


class Addition(Rule):
    """A sum of signals shares relevance in proportion; a constant added takes none."""

    operations: ClassVar[tuple[str, ...]] = ("add", "sub")
    source = "[zennit] Sum with Norm; [Bach] eq. 58"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Take one or two signals."""
        return tuple(dict.fromkeys(name for name in node.inputs if name in facts.data))

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """Where nothing is taken away."""
        given = node.arguments
        parts = (given["self"], given["other"])
        numbers = [part for part in parts if not isinstance(part, Value)]
        positive = all(bool((torch.as_tensor(part) >= 0).all()) for part in numbers)
        return node.operation == "add" and given.get("alpha", 1) > 0 and positive and _inherits_sign(node, facts)

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """One position sees one position."""
        return _pointwise_reach(node)

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        self.alone = len(node.inputs) == 1 or len(self.signals) == 1
        alpha = float(node.arguments.get("alpha", 1))
        signed = alpha if node.operation == "add" else -alpha
        self.factors: dict[str, float] = {}
        for key, factor in (("self", 1.0), ("other", signed)):
            part = node.arguments[key]
            if isinstance(part, Value) and part.name in self.signals:
                self.factors[part.name] = self.factors.get(part.name, 0.0) + factor

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep the inputs."""
        return NOTHING if self.alone else tuple(values[name] for name in self.signals)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute R * a / (a + b)."""
        if self.alone:
            return (_unbroadcast(relevance, self.shapes[self.first]),)
        terms = self._terms(kept)
        share = relevance / stabilise(sum(terms[1:], terms[0]))
        return tuple(
            _unbroadcast(share * term, self.shapes[name]) for name, term in zip(self.signals, terms, strict=True)
        )

    @property
    def takes_windows(self) -> bool:
        """Where all terms have one frame."""
        return len({self.shapes[name][1:] for name in self.signals}) == 1

    def keep_window(self, values: Mapping[str, torch.Tensor], n: int) -> Kept:
        """Keep the inputs."""
        return self.keep(values, next(iter(values.values())))

    def _terms(self, kept: Kept) -> list[torch.Tensor]:
        return [
            value if self.factors[name] == 1 else value * self.factors[name]
            for name, value in zip(self.signals, kept, strict=True)
        ]

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Give the stabiliser its part."""
        if self.alone:
            return super().absorb(kept, relevance)
        terms = self._terms(kept)
        return _stabilised(relevance, stabilise(sum(terms[1:], terms[0])))


class Product(Pass):
    """A product: constants pass relevance, and of a gate and a signal the signal takes all, or each a half."""

    operations: ClassVar[tuple[str, ...]] = ("mul",)
    source = "[Arras] signal takes all, or LRP-half; × constant: identity, as LXT's layer_norm weight"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Tell the signal from the gate; refuse where both or none is one."""
        found = tuple(dict.fromkeys(name for name in node.inputs if name in facts.data))
        if len(found) < 2:
            if len(node.inputs) > 1 and len(set(node.inputs)) == 1:
                raise NoRule("multiplies a value by itself")
            return found
        signals = tuple(name for name in found if name not in facts.gates)
        if len(signals) != 1:
            raise NoRule(
                "multiplies two values that depend on the image, of which not exactly one is a gate (behind a "
                "sigmoid, hardsigmoid or softmax, or the scale of a norm)"
            )
        return found if facts.halves and not facts.scales.intersection(found) else signals

    @property
    def takes_windows(self) -> bool:
        """Where there is one signal: a gate has seldom its frame."""
        return len(self.signals) == 1

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Hand relevance on, in equal parts."""
        if len(self.signals) == 1:
            return super().backward(kept, relevance)
        return tuple(_unbroadcast(relevance * 0.5, self.shapes[name]) for name in self.signals)

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """Where no factor is negative, and for squares."""
        values = node.inputs
        if len(values) == 2 and values[0] == values[1]:
            return True
        numbers = [part for part in (node.arguments["self"], node.arguments["other"]) if not isinstance(part, Value)]
        return all(bool((torch.as_tensor(part) >= 0).all()) for part in numbers) and _inherits_sign(node, facts)


class Quotient(Pass):
    """A quotient: relevance passes to what is divided; the divisor is a constant, or is held constant as in norms."""

    operations: ClassVar[tuple[str, ...]] = ("div",)
    source = "[Ali] the divisor of a norm is detached; local response norms the same"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Take what is divided."""
        divided = node.arguments["self"]
        if not isinstance(divided, Value) or divided.name not in facts.data:
            raise NoRule("divides a constant by a value that depends on the image")
        if node.arguments.get("rounding_mode"):
            raise NoRule("rounds")
        return (divided.name,)

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """Where neither part is negative."""
        divisor = node.arguments["other"]
        positive = True if isinstance(divisor, Value) else bool((torch.as_tensor(divisor) >= 0).all())
        return positive and _inherits_sign(node, facts)


# --- norms by the image's own statistics ----------------------------------------------------------------------------


class Norm(Rule):
    """Layer, group and instance norm: the scale is held constant, centring and shift are linear: Epsilon.

    The output is y = g * (x - mean) + b with g = weight / sigma. R_in = x * C^T(g * R / stab(y)), C the centring.
    """

    operations: ClassVar[tuple[str, ...]] = ("layer_norm", "group_norm", "instance_norm")
    source = "[Ali] eq. 10 and [AttnLRP] prop. 3.4; per group the same"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse an instance norm by running statistics, which nobody trains."""
        if node.operation == "instance_norm" and not node.arguments["use_input_stats"]:
            raise NoRule("normalises by running statistics; use a batch norm")
        return super().find_signals(node, facts)

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        self.zero_params = facts.zero_params
        shape = self.shapes[self.first]
        given = node.arguments
        if node.operation == "layer_norm":
            self.grouped: tuple[int, ...] = (*shape, 1)
            self.axes = tuple(range(len(shape) + 1 - len(given["normalized_shape"]), len(shape) + 1))
            broadcast: tuple[int, ...] = tuple(given["normalized_shape"])
        else:
            groups = (
                shape[0] if node.operation == "instance_norm" else int(given.get("num_groups", given.get("group", 1)))
            )
            self.grouped = (groups, shape[0] // groups, *shape[1:])
            self.axes = tuple(range(2, len(shape) + 2))
            broadcast = (shape[0], *[1] * (len(shape) - 1))
        self.weight = given["weight"].reshape(broadcast) if given["weight"] is not None else None
        self.bias = given["bias"].reshape(broadcast) if given["bias"] is not None else None
        self.eps = float(given["eps"])

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Normalise."""
        given = {key: substitute(argument, values, n) for key, argument in self.node.arguments.items()}
        if self.node.operation == "layer_norm":
            return F.layer_norm(given["input"], given["normalized_shape"], given["weight"], given["bias"], self.eps)
        if self.node.operation == "instance_norm":
            return F.instance_norm(given["input"], weight=given["weight"], bias=given["bias"], eps=self.eps)
        return F.group_norm(given["input"], self.grouped[0], given["weight"], given["bias"], self.eps)

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep the input and the scale over the stabilised output."""
        value = values[self.first]
        parted = value.reshape(len(value), *self.grouped)
        variance = parted.var(self.axes, unbiased=False, keepdim=True)
        scale = (variance + self.eps).rsqrt().expand_as(parted).reshape(value.shape)
        if self.weight is not None:
            scale = scale * self.weight
        total = output - self.bias if self.bias is not None and self.zero_params else output
        return value, scale, stabilise(total)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute x * C^T(g * R / stab(y))."""
        value, scale, total = kept
        share = (relevance / total * scale).reshape(len(relevance), *self.grouped)
        centred = share - share.mean(self.axes, keepdim=True)
        return (centred.reshape(relevance.shape) * value,)

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Give the shift and the stabiliser their parts."""
        return _stabilised(relevance, kept[2], None if self.zero_params else self.bias)


class RootMeanSquareNorm(Pass):
    """RMS norm: a scale alone, held constant, through which relevance passes."""

    operations: ClassVar[tuple[str, ...]] = ("rms_norm", "_fused_rms_norm")
    source = "[AttnLRP] prop. 3.4: the identity"

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """See everything that is normalised together."""
        return None

    @property
    def takes_windows(self) -> bool:
        """Never."""
        return False


# --- weights --------------------------------------------------------------------------------------------------------


class Linear(Rule):
    """A linear layer: Epsilon, or Flat where the image reaches it first; or what the config says."""

    operations: ClassVar[tuple[str, ...]] = ("linear",)
    source = "[Bach] eq. 58, Epsilon 1e-6 as [zennit]; [Lapuschkin] Flat"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse a weight that depends on the image."""
        if not isinstance(node.arguments["weight"], torch.Tensor):
            raise NoRule("has a weight that depends on the image")
        return super().find_signals(node, facts)

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        self.weight, self.bias = node.arguments["weight"], node.arguments["bias"]
        self.zero_params = facts.zero_params
        self.by = facts.choose_rule(node, self.first, "epsilon")
        self.flat = self.by == "flat"

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """Over channels last, one position sees one position."""
        return None

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Compute W x + b."""
        return self._product(values[self.first], self.bias)

    def _product(self, value: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Compute W x + b, a weight of another precision piece by piece: whole, its copy is a lot of memory."""
        if self.weight.dtype == value.dtype:
            return F.linear(value, self.weight, bias)
        made = torch.cat(
            [F.linear(value, piece.to(value.dtype)) for piece in torch.split(self.weight, ROWS_AT_ONCE)], -1
        )
        return made if bias is None else made + bias

    def _spread(self, share: torch.Tensor) -> torch.Tensor:
        """Compute W^T s, as `_product`."""
        if self.weight.dtype == share.dtype:
            return share.matmul(self.weight)
        pieces = zip(torch.split(share, ROWS_AT_ONCE, -1), torch.split(self.weight, ROWS_AT_ONCE), strict=True)
        made = [part.matmul(piece.to(share.dtype)) for part, piece in pieces]
        return torch.stack(made).sum(0)

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep the input and the stabilised output."""
        if self.flat:
            return NOTHING
        value = values[self.first]
        if self.by == "zplus":
            below = F.linear(value.clamp(max=0), self._signed(-1, value))
            total = F.linear(value.clamp(min=0), self._signed(1, value), self._positive_bias(value))
            return value, stabilise(total + below)
        return value, stabilise(self._product(value, None) if self.zero_params else output)

    def _signed(self, sign: int, like: torch.Tensor) -> torch.Tensor:
        """Return W+ or W-."""
        weight: torch.Tensor = self.weight.to(like.dtype)
        return weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)

    def _positive_bias(self, like: torch.Tensor) -> torch.Tensor | None:
        """Return b+."""
        return None if self.bias is None or self.zero_params else self.bias.to(like.dtype).clamp(min=0)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute x * ((R / stab(z)) W), or share all out evenly."""
        if self.flat:
            n_inputs = self.weight.shape[1]
            even = relevance.sum(-1, keepdim=True) / (n_inputs + EPSILON)
            return (even.expand(*relevance.shape[:-1], n_inputs).contiguous(),)
        value, total = kept
        if self.by == "zplus":
            share = relevance / total
            above, below = (share.matmul(self._signed(sign, share)) for sign in (1, -1))
            return (above * value.clamp(min=0) + below * value.clamp(max=0),)
        return (self._spread(relevance / total).mul_(value),)

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Give the bias and the stabiliser their parts."""
        if self.flat:
            n_inputs = self.weight.shape[1]
            taken = _sum_rows(relevance) * (EPSILON / (n_inputs + EPSILON))
            return Absorbed(torch.zeros_like(taken), taken)
        bias = None if self.zero_params else self.bias
        return _stabilised(relevance, kept[1], self._positive_bias(relevance) if self.by == "zplus" else bias)


class _Weights:
    """A convolution's weights and what is made of them, each when it is first needed; shared by copies of a rule."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, zero_params: bool) -> None:
        self._given, self.bias, self._zero_params = weight, bias, zero_params

    @cached_property
    def weight(self) -> torch.Tensor:
        """Channels last."""
        return self._given.contiguous(memory_format=torch.channels_last)

    @cached_property
    def positive(self) -> torch.Tensor:
        """W+."""
        return self._given.clamp(min=0).contiguous(memory_format=torch.channels_last)

    @cached_property
    def negative(self) -> torch.Tensor:
        """W-."""
        return self._given.clamp(max=0).contiguous(memory_format=torch.channels_last)

    @property
    def rule_bias(self) -> torch.Tensor | None:
        """What rules of the whole sum take for the bias."""
        return None if self._zero_params else self.bias

    @cached_property
    def stabilised_bias(self) -> torch.Tensor:
        """b+ and the stabiliser: z is a sum of terms >= 0, so that stabilising only adds epsilon, for free here."""
        if self.bias is None or self._zero_params:
            return self._given.new_zeros(len(self._given)) + EPSILON
        return self.bias.clamp(min=0) + EPSILON

    @cached_property
    def positive_taps(self) -> torch.Tensor:
        """W+ as Winograd's convolution takes it."""
        return winograd.arrange(self._given.clamp(min=0))


class Convolution(Rule):
    """A convolution: ZPlus, or Flat where the image reaches it first; or what the config says.

    ZPlus keeps the half for negative inputs only where the input may be negative: elsewhere it is exactly zero.
    """

    operations: ClassVar[tuple[str, ...]] = ("conv2d",)
    source = "[Montavon] z+ and, for inputs of both signs, [zennit] ZPlus; [Lapuschkin] Flat; [Bach] Epsilon"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse a weight that depends on the image, and maps without a batch axis."""
        if not isinstance(node.arguments["weight"], torch.Tensor):
            raise NoRule("has a weight that depends on the image")
        if len(node.shape) != 3:
            raise NoRule("convolves maps that are not two-dimensional")
        return super().find_signals(node, facts)

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """As kernel, stride, padding and dilation say."""
        given = node.arguments
        span = tuple(d * (k - 1) + 1 for d, k in zip(given["dilation"], given["weight"].shape[2:], strict=True))
        return Reach(given["stride"], given["padding"], (span[0], span[1]))

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        given = node.arguments
        self.weights = _Weights(given["weight"], given["bias"], zero_params=facts.zero_params)
        self.stride, self.padding, self.dilation = given["stride"], given["padding"], given["dilation"]
        self.groups = given["groups"]
        self.around = given.get("around")
        self.shape = tuple(given["weight"].shape)
        self.kernel: Pair = (self.shape[2], self.shape[3])
        self.by = facts.choose_rule(node, self.first, "zplus")
        self.flat, self.epsilon = self.by == "flat", self.by == "epsilon"
        self.input_nonnegative = self.first in facts.nonnegative

    def convolve(self, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Convolve with another weight of the same shape."""
        return F.conv2d(values, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def spread(
        self, share: torch.Tensor, weight: torch.Tensor, size: Sequence[int], groups: int | None = None
    ) -> torch.Tensor:
        """Convolve transposed, back to an input of the given height and width."""
        geometry = zip(size, share.shape[2:], self.stride, self.padding, self.dilation, self.kernel, strict=True)
        extra = [n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, s, p, d, k in geometry]
        if any(e >= max(s, d) for e, s, d in zip(extra, self.stride, self.dilation, strict=True)):
            whole = F.conv_transpose2d(
                share, weight, None, self.stride, (0, 0), (0, 0), groups or self.groups, self.dilation
            )
            after = [n + p - have for n, p, have in zip(size, self.padding, whole.shape[2:], strict=True)]
            around = (-self.padding[1], after[1], -self.padding[0], after[0])
            return F.pad(whole, around)
        return F.conv_transpose2d(
            share, weight, None, self.stride, self.padding, extra, groups or self.groups, self.dilation
        )

    def pays_to_transform(self, values: torch.Tensor) -> bool:
        """Whether Winograd's algorithm is faster on these maps, and as good as exact: see `winograd`.

        Only in float32 on a CPU; CUDA's library chooses its algorithm itself, and float64 stays the direct sum.
        """
        return (
            values.dtype == torch.float32
            and values.device.type == "cpu"
            and (self.kernel, self.stride, self.dilation, self.groups) == ((3, 3), (1, 1), (1, 1), 1)
            and max(self.padding) <= 2
            and self.shape[0] * self.shape[1] >= MIN_PAIRS_TO_TRANSFORM
            and len(values) * values.shape[2] * values.shape[3] >= MIN_PIXELS_TO_TRANSFORM
            and winograd.fills_tiles(values.shape[2:])
        )

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Compute W * x + b."""
        return self.convolve(values[self.first], self.weights.weight, self.weights.bias)

    @property
    def takes_windows(self) -> bool:
        """Always."""
        return True

    @property
    def n_products(self) -> int:
        """One for each weight."""
        return math.prod(self.shape)

    def windowed(self) -> Self:
        """Pad nothing."""
        rule = copy.copy(self)
        rule.padding = (0, 0)
        return rule

    def keep_window(self, values: Mapping[str, torch.Tensor], n: int) -> Kept:
        """Keep the input."""
        return self.keep(values, values[self.first])

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep the input, or its size."""
        return (values[self.first].shape[2:], None) if self.flat else (values[self.first], None)

    def share_total(self, kept: Kept) -> Kept:
        """Compute the modified forward pass once, for many backward passes."""
        return kept if self.flat else (kept[0], self.total(kept[0]))

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Compute the stabilised modified forward pass, z+ + z-, or z for Epsilon."""
        if self.epsilon:
            return stabilise(self.convolve(values, self.weights.weight, self.weights.rule_bias))
        if self.input_nonnegative:
            if self.pays_to_transform(values):
                total = winograd.convolve(
                    values, self.weights.positive_taps, self.padding, bias=self.weights.stabilised_bias
                )
                # rounding must not bring a sum of terms >= 0 below what stabilised it
                return total.clamp_(min=EPSILON)
            return self.convolve(values, self.weights.positive, self.weights.stabilised_bias)
        total = self.convolve(values.clamp(min=0), self.weights.positive, self.weights.stabilised_bias)
        return total.add_(self.convolve(values.clamp(max=0), self.weights.negative, None))

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute x+ * convT(R / z, W+) + x- * convT(R / z, W-), or share all out evenly."""
        if self.flat:
            return (self._backward_flat(kept[0], kept[1], relevance),)
        values, total = kept
        at_once = max(1, PIECE_ELEMENTS[values.device.type] // max(values[0].numel(), relevance[0].numel()))
        if total is not None or len(values) != len(relevance) or len(values) <= at_once:
            return (self._backward_piece(values, total, relevance),)
        # the relevance handed over is not needed again: where it has the input's shape, the result takes its place
        result = relevance if relevance.shape == values.shape else torch.empty_like(values)
        pieces = (torch.split(one, at_once) for one in (values, relevance, result))
        for part, given, made in zip(*pieces, strict=True):
            made.copy_(self._backward_piece(part, None, given))
        return (result,)

    def _backward_piece(
        self, values: torch.Tensor, total: torch.Tensor | None, relevance: torch.Tensor
    ) -> torch.Tensor:
        """Compute the relevance of the inputs of some images."""
        share = relevance.div_(self.total(values) if total is None else total)
        if self.epsilon:
            return self.spread(share, self.weights.weight, values.shape[2:]).mul_(values)
        result = self._spread_positive(share, values.shape[2:])
        if self.input_nonnegative:
            return result.mul_(values)
        below = self.spread(share, self.weights.negative, values.shape[2:])
        return result.mul_(values.clamp(min=0)).add_(below.mul_(values.clamp(max=0)))

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Give the positive bias and the stabiliser their parts."""
        if self.flat:
            taken = _sum_rows(relevance * (EPSILON / self.n_inputs(kept[0], relevance)))
            return Absorbed(torch.zeros_like(taken), taken)
        total = self.total(kept[0]) if kept[1] is None else kept[1]
        if self.epsilon:
            bias = self.weights.rule_bias
            return _stabilised(relevance, total, None if bias is None else bias[:, None, None])
        share = (relevance / total).sum((2, 3))
        return Absorbed(_sum_rows(share * (self.weights.stabilised_bias - EPSILON)), _sum_rows(share) * EPSILON)

    def _spread_positive(self, share: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Convolve transposed with W+."""
        if self.pays_to_transform(share):
            padding = 2 - self.padding[0], 2 - self.padding[1]
            return winograd.convolve(share, self.weights.positive_taps, padding, transposed=True)
        return self.spread(share, self.weights.positive, size)

    # --- Flat ---------------------------------------------------------------------------------------------------

    def _backward_flat(
        self, size: Sequence[int], n_inputs: torch.Tensor | None, relevance: torch.Tensor
    ) -> torch.Tensor:
        """Share each output's relevance out evenly over the inputs in bounds."""
        m, _, height, width = relevance.shape
        by_group = relevance.reshape(m, self.groups, -1, height, width).sum(2)
        counts = self.n_inputs(size, by_group) if n_inputs is None else n_inputs
        even = self.spread_shares(by_group / counts, size)
        if self.around:
            even = even * self._bounds(size, even)
        return even.repeat_interleave(self.shape[1], dim=1)

    def _bounds(self, size: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """Mark what of the input is in bounds with 1, and with 0 what the convolution padded itself; (1, 1, *size)."""
        if not self.around:
            return like.new_ones((1, 1, *size))
        left, right, top, bottom = self.around
        return F.pad(like.new_ones((1, 1, size[0] - top - bottom, size[1] - left - right)), self.around)

    def n_inputs(self, size: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        """Count each output's inputs in bounds, stabilised; (1, 1, h, w) in the precision of `like`."""
        taps, frame = like.new_ones((1, 1, *self.kernel)), self._bounds(size, like)
        n_taps = F.conv2d(frame, taps, None, self.stride, self.padding, self.dilation)
        counts: torch.Tensor = n_taps * self.shape[1] + EPSILON
        return counts

    def spread_shares(self, shares: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Add up the (m, groups, h, w) shares that reach each input pixel, for each group."""
        plain = (self.stride, self.dilation) == ((1, 1), (1, 1))
        if not plain or any(p >= k for p, k in zip(self.padding, self.kernel, strict=True)):
            return self.spread(shares, shares.new_ones((self.groups, 1, *self.kernel)), size, self.groups)
        # a transposed convolution with ones is a sum over boxes, which a pooling does several times faster
        rows, columns = (k - 1 - p for k, p in zip(self.kernel, self.padding, strict=True))
        around = F.pad(shares, (columns, columns, rows, rows))
        return F.avg_pool2d(around, self.kernel, 1, divisor_override=1)


# --- pooling --------------------------------------------------------------------------------------------------------


def _pair(value: Any) -> Pair:  # noqa: ANN401 - a number or numbers
    if isinstance(value, int):
        return value, value
    return (int(value[0]), int(value[-1]))


class MaxPooling(Rule):
    """Max pooling: the winner takes all, the same winner as in the plain gradient."""

    operations: ClassVar[tuple[str, ...]] = ("max_pool2d",)
    source = "[zennit] plain gradient: the winner takes all"
    filling = float("-inf")

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """As its input."""
        return _inherits_sign(node, facts)

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """As the kernel says."""
        given = node.arguments
        kernel, dilation = _pair(given["kernel_size"]), _pair(given["dilation"])
        span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
        stride = _pair(given["stride"]) if given["stride"] else kernel
        return Reach(stride, _pair(given["padding"]), (span[0], span[1]))

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        given = node.arguments
        self.kernel, self.dilation = _pair(given["kernel_size"]), _pair(given["dilation"])
        self.stride = _pair(given["stride"]) if given["stride"] else self.kernel
        self.padding, self.ceil_mode = _pair(given["padding"]), bool(given["ceil_mode"])

    @property
    def takes_windows(self) -> bool:
        """Always: what lies beyond the frame never wins."""
        return True

    def windowed(self) -> Self:
        """Pad nothing."""
        rule = copy.copy(self)
        rule.padding, rule.ceil_mode = (0, 0), False
        return rule

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Compute the maxima."""
        return self.forward_keeping(values, n)[0]

    def forward_keeping(self, values: Mapping[str, torch.Tensor], n: int) -> tuple[torch.Tensor, Kept]:
        """Compute the maxima, and where they are."""
        given = values[self.first]
        made, winners = F.max_pool2d_with_indices(
            given, self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return made, (given.shape[1:], winners.int())  # half the memory until the backward pass

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Hand each output's relevance to its winner."""
        shape, winners = kept
        m, layout = len(relevance), torch.channels_last
        like = torch.empty((m, *shape), dtype=relevance.dtype, device=relevance.device, memory_format=layout)
        result: torch.Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            relevance.contiguous(memory_format=layout),
            like,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            winners.long().expand(m, *winners.shape[1:]).contiguous(memory_format=layout),
        )
        return (result,)


class Maximum(Rule):
    """A maximum over whole axes, such as a global max pooling: the winner takes all, the first among equals."""

    operations: ClassVar[tuple[str, ...]] = ("amax", "max", "adaptive_max_pool2d")
    source = "[zennit] plain gradient: the winner takes all"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Refuse the maximum of all values of a batch, and adaptive pooling to more than one position."""
        found = super().find_signals(node, facts)
        if node.operation == "adaptive_max_pool2d" and tuple(node.shape[-2:]) != (1, 1):
            raise NoRule("pools to more than one position; use a max pooling with a kernel")
        return found

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """As its input."""
        return _inherits_sign(node, facts)

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        n_axes = len(self.shapes[self.first]) + 1
        axes = (-2, -1) if node.operation == "adaptive_max_pool2d" else node.arguments["dim"]
        axes = (axes,) if isinstance(axes, int) else tuple(axes)
        self.axes = tuple(sorted(axis % n_axes for axis in axes))

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep the place of each winner."""
        value = values[self.first]
        others = [axis for axis in range(value.dim()) if axis not in self.axes]
        moved = value.permute(*others, *self.axes)
        return (moved.flatten(len(others)).argmax(-1, keepdim=True),)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Hand each output's relevance to its winner."""
        (winners,) = kept
        shape = (len(relevance), *self.shapes[self.first])
        others = [axis for axis in range(len(shape)) if axis not in self.axes]
        sizes = [shape[axis] for axis in others]
        n_places = 1
        for axis in self.axes:
            n_places *= shape[axis]
        flat = relevance.new_zeros((*sizes, n_places))
        flat.scatter_(-1, winners.expand(*sizes, 1), relevance.reshape(*sizes, 1))
        moved = flat.view(*sizes, *(shape[axis] for axis in self.axes))
        order = [*others, *self.axes]
        return (moved.permute([order.index(axis) for axis in range(len(shape))]).contiguous(),)


class LargerOfTwo(Rule):
    """The larger or the smaller of two signals at each position: the winner takes all, the first among equals."""

    operations: ClassVar[tuple[str, ...]] = ("maximum", "minimum")
    source = "[zennit] plain gradient: the winner takes all, as in max pooling"

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Take both."""
        found = tuple(node.inputs)
        if len(set(found)) != 2 or not all(name in facts.data for name in found):
            raise NoRule("compares a value with a constant; use clamp")
        if facts.shapes[found[0]] != facts.shapes[found[1]]:
            raise NoRule("compares values of different shapes")
        return found

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """Where both are; for a maximum one is enough."""
        signs = [name in facts.nonnegative for name in node.inputs]
        return any(signs) if node.operation == "maximum" else all(signs)

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep who won."""
        left, right = (values[name] for name in self.signals)
        return ((left >= right) if self.node.operation == "maximum" else (left <= right),)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Hand relevance to the winner."""
        (won,) = kept
        return relevance * won, relevance * ~won


class Proportional(Transposed):
    """Averages and sums: each output's relevance is shared out in proportion to its inputs."""

    operations: ClassVar[tuple[str, ...]] = (
        *("avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "upsample_bilinear2d", "upsample_bicubic2d"),
        *("_upsample_bilinear2d_aa",),
    )
    source = "[zennit] Norm"
    fresh = True

    @classmethod
    def is_nonnegative(cls, node: Node, facts: Facts) -> bool:
        """As its input, but for bicubic interpolation, which overshoots, and a negative divisor."""
        turns = node.operation == "upsample_bicubic2d" or (node.arguments.get("divisor_override") or 1) < 0
        return not turns and _inherits_sign(node, facts)

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """See the kernel of a plain average."""
        given = node.arguments
        if node.operation != "avg_pool2d":
            return None
        kernel = _pair(given["kernel_size"])
        return Reach(_pair(given["stride"]) if given["stride"] else kernel, _pair(given["padding"]), kernel)

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        shape = self.shapes[self.first]
        self.untouched = node.operation == "adaptive_avg_pool2d" and node.shape == shape
        self.n_averaged = 0
        if node.operation == "adaptive_avg_pool2d" and tuple(node.shape[1:]) == (1, 1):
            self.n_averaged = shape[1] * shape[2]

    @property
    def takes_windows(self) -> bool:
        """A plain average that counts its padding."""
        given = self.node.arguments
        if self.node.operation != "avg_pool2d" or given["ceil_mode"]:
            return False
        return not any(_pair(given["padding"])) or bool(given["count_include_pad"])

    def windowed(self) -> Self:
        """Pad nothing; of windows of another size than the frame the spread is written out."""
        rule = copy.copy(self)
        rule.node = replace(self.node, arguments={**self.node.arguments, "padding": (0, 0)})
        return rule

    def transpose(self, relevance: torch.Tensor, size: Sequence[int] | None = None) -> tuple[torch.Tensor, ...]:
        """Spread each output's share over its inputs, of `size` where they are a window."""
        if size is None or self.node.operation != "avg_pool2d":
            return super().transpose(relevance)
        given = self.node.arguments
        like = relevance.new_empty((len(relevance), relevance.shape[1], *size))
        kernel = _pair(given["kernel_size"])
        stride = _pair(given["stride"]) if given["stride"] else kernel
        spread: torch.Tensor = torch.ops.aten.avg_pool2d_backward(
            relevance.contiguous(),
            like,
            kernel,
            stride,
            _pair(given["padding"]),
            bool(given["ceil_mode"]),
            bool(given["count_include_pad"]),
            given["divisor_override"],
        )
        return (spread,)

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Compute the averages."""
        return values[self.first].clone() if self.untouched else super().forward(values, n)

    def keep(self, values: Mapping[str, torch.Tensor], output: torch.Tensor) -> Kept:
        """Keep the input and the stabilised output."""
        return values[self.first], stabilise(output)

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute x * transposed(R / stab(z))."""
        value, total = kept
        share = relevance / total
        if self.untouched:
            return (share * value,)
        if self.n_averaged:
            return (share / self.n_averaged * value,)
        (spread,) = self.transpose(share, value.shape[2:])
        return (spread * value,)

    def absorb(self, kept: Kept, relevance: torch.Tensor) -> Absorbed:
        """Give the stabiliser its part."""
        return _stabilised(relevance, kept[1])


# --- moving values --------------------------------------------------------------------------------------------------


class Reshape(Transposed):
    """The same values in another shape."""

    operations: ClassVar[tuple[str, ...]] = (
        "view",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "_reshape_alias",
        "squeeze_",
    )

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Give relevance its old shape again."""
        values = relevance.reshape(len(relevance), *self.shapes[self.first])
        return (values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values,)

    def forward(self, values: Mapping[str, torch.Tensor], n: int) -> torch.Tensor:
        """Reshape; channels may lie last in memory, which a view cannot take."""
        if self.node.operation == "view":
            given = {key: substitute(part, values, n) for key, part in self.node.arguments.items()}
            made: torch.Tensor = given["self"].reshape(given.get("size", given.get("shape")))
            return made
        return super().forward(values, n)


class Concatenation(Transposed):
    """Values side by side."""

    operations: ClassVar[tuple[str, ...]] = ("cat",)
    fresh = True
    keeps_something = False

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Take every part."""
        return tuple(dict.fromkeys(name for name in node.inputs if name in facts.data))

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """Along the channels, one position sees one position."""
        return POINTWISE if int(node.arguments["dim"]) % (len(node.shape) + 1) == 1 else None

    def __init__(self, node: Node, facts: Facts) -> None:
        super().__init__(node, facts)
        self.axis = int(node.arguments["dim"]) % (len(node.shape) + 1)
        self.parts = tuple(node.arguments["tensors"])

    @property
    def takes_windows(self) -> bool:
        """Along the channels, where each part is a signal of its own."""
        names = tuple(part.name if isinstance(part, Value) else "" for part in self.parts)
        return names == self.signals and self.axis == 1

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut relevance into parts."""
        if tuple(part.name if isinstance(part, Value) else "" for part in self.parts) != self.signals:
            return self.transpose(relevance)
        sizes = [self.shapes[name][self.axis - 1] for name in self.signals]
        parts = torch.split(relevance, sizes, self.axis)
        layout = torch.channels_last if relevance.dim() == 4 else torch.contiguous_format
        return tuple(part.contiguous(memory_format=layout) for part in parts)


class Slice(Transposed):
    """Some of the values."""

    operations: ClassVar[tuple[str, ...]] = ("slice", "select", "narrow")
    keeps_something = False

    @classmethod
    def find_reach(cls, node: Node, facts: Facts) -> Reach | None:
        """Along the channels, one position sees one position; along rows or columns, every n-th."""
        given = node.arguments
        axis = int(given["dim"]) % (len(facts.shapes[_only(node, facts)]) + 1)
        if node.operation != "slice" or len(node.shape) != 3:
            return None
        if axis == 1:
            return POINTWISE
        step = int(given["step"])
        return Reach((step, 1) if axis == 2 else (1, step)) if given["start"] in (None, 0) else None

    @property
    def takes_windows(self) -> bool:
        """Along the channels."""
        return int(self.node.arguments["dim"]) % 4 == 1

    def backward(self, kept: Kept, relevance: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Put zeros where nothing was taken."""
        if self.node.operation != "slice" or int(self.node.arguments["dim"]) % (len(self.node.shape) + 1) != 1:
            return self.transpose(relevance)
        given, n_channels = self.node.arguments, self.shapes[self.first][0]
        layout = torch.channels_last if relevance.dim() == 4 else torch.contiguous_format
        whole = relevance.new_zeros((len(relevance), n_channels, *relevance.shape[2:])).contiguous(memory_format=layout)
        whole[:, slice(given["start"], given["end"], given["step"])] = relevance
        return (whole,)


class Permutation(Transposed):
    """Axes in another order."""

    operations: ClassVar[tuple[str, ...]] = ("permute", "transpose", "t", "movedim", "swapaxes", "numpy_T", "mT")


class Movement(Transposed):
    """Other ways to move or copy values."""

    operations: ClassVar[tuple[str, ...]] = (
        *("pad", "reflection_pad2d", "replication_pad2d", "circular_pad2d", "zero_pad2d", "_pad_circular"),
        *("expand", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle"),
        *("roll", "flip", "index_select", "index", "repeat", "repeat_interleave", "upsample_nearest2d"),
        *("_upsample_nearest_exact2d", "unfold", "stack", "expand_as", "broadcast_to", "tile"),
        *("space_to_depth", "im2col", "slice_scatter", "select_scatter"),
    )
    fresh = True

    @classmethod
    def find_signals(cls, node: Node, facts: Facts) -> tuple[str, ...]:
        """Take every part of a stack and of an assignment; refuse padding by a value, which would be of nothing."""
        if node.operation == "pad" and (node.arguments.get("value") or 0) != 0:
            raise NoRule(f"pads by {node.arguments['value']}, not by 0")
        if node.operation in ("stack", "slice_scatter", "select_scatter"):
            return tuple(dict.fromkeys(name for name in node.inputs if name in facts.data))
        if node.operation in ("index_select", "index", "repeat_interleave") and len(node.inputs) > 1:
            raise NoRule("moves values to places that depend on the image")
        return super().find_signals(node, facts)


GATES = frozenset(("sigmoid", "hardsigmoid", "softmax", "log_sigmoid"))
"""Operations that squash a signal to a weight; they may stand in gates only."""

KEEP_GATES = frozenset(
    (
        *("view", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "permute", "transpose", "mul"),
        *("add", "sub", "rsub", "div", "slice", "select", "neg", "mean", "upsample_nearest2d"),
        *("upsample_bilinear2d", "expand_as", "clamp", "repeat", "cat", "stack"),
    )
)
"""Operations behind which a gate is still one, where all that depends on the image among their inputs is."""

SCALES = frozenset(("rsqrt",))
"""Operations whose product with a signal is a norm's: the scale is held constant, as a divisor is."""

SHAPED = frozenset(
    ("new_empty", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "empty_like")
)
"""Operations that take of a value nothing but its shape: constants."""

STILL = frozenset(
    (
        *("abs", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "pow", "square", "reciprocal"),
        *("sign", "sgn", "softplus", "logsumexp", "sin", "cos", "erf", "var", "std", "var_mean", "std_mean"),
        *("linalg_vector_norm", "norm", "avg_pool3d", "avg_pool1d", "max_pool1d", "conv1d", "conv3d"),
        *("conv_transpose2d", "matmul", "bmm", "amin", "min", "gt", "lt", "ge", "le", "eq", "ne", "where"),
        *("logical_not", "masked_fill", "cumsum", "zeros", "ones", "full", "new_zeros", "new_ones", "new_full"),
        *("zeros_like", "ones_like", "full_like", "empty", "to", "scalar_tensor", "arange"),
        *("adaptive_avg_pool1d", "adaptive_max_pool1d", "threshold", "argmax", "copy"),
        *("sum", "prod", "logical_and", "logical_or", "bitwise_not", "fill", "_to_copy", "log_softmax"),
        *("addmm",),
    )
)
"""Operations without a rule that are known to treat each image by itself: they may stand inside gates and divisors."""
