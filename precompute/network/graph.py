"""A model as the graph of the operations that it really executes.

Owns the capture by `torch.export`, the records of its nodes, and what is plain from the graph alone: constants are
folded, what the logits do not need is dropped, subgraphs are inlined, results of several parts are taken apart. Must
not know rules of relevance, layers that people ask for, data or files.

Capturing reads the model at the level of ATen operations, on tensors without values: functional calls, hooks,
parametrizations, reused modules and tied weights are all in plain sight. The model itself is never changed.
"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind, OutputKind

from precompute.errors import ModelError, UnsupportedModel

LARGEST_BATCH = 4096


class Value(NamedTuple):
    """A reference to what a node makes, among the arguments of another."""

    name: str


@dataclass(frozen=True)
class BatchSize:
    """The number of images of a batch, or a number computed from it, among the arguments of a node.

    Attributes
    ----------
    function : callable or None
        None is the number of images itself.
    arguments : tuple
        Numbers and further `BatchSize`.
    """

    function: Callable[..., int] | None = None
    arguments: tuple[Any, ...] = ()

    def count(self, n: int) -> int:
        """Compute the number for a batch of `n` images."""
        if self.function is None:
            return n
        return self.function(*(part.count(n) if isinstance(part, BatchSize) else part for part in self.arguments))


Argument: TypeAlias = Any
"""A `Value`, a constant tensor, a number, a string, None, a `BatchSize`, or a tuple of these."""


@dataclass(frozen=True)
class Call:
    """One call of a module: its dotted path, the name of its class, and which call of it this is, from 0."""

    path: str
    kind: str
    count: int


@dataclass(frozen=True, eq=False)
class Node:
    """One operation.

    Attributes
    ----------
    name : str
        Of the value that it makes; unique in the graph.
    operation : str
        ATen's name without overload, such as ``conv2d``.
    target : callable
        What computes it, by keyword.
    arguments : mapping of str to Argument
        All arguments of the operation's schema, defaults included.
    shape : tuple of int
        Of the value without the batch axis.
    batched : bool
        Whether the first axis of the value is the batch axis, each image on its own row.
    calls : tuple of Call
        The modules that the operation runs in, the innermost last.
    source : str
        ``file:line`` of the innermost line outside torch; empty where unknown.
    merged : tuple of str
        Names of the nodes that were folded into this one.
    """

    name: str
    operation: str
    target: Callable[..., Any]
    arguments: Mapping[str, Argument]
    shape: tuple[int, ...]
    batched: bool
    calls: tuple[Call, ...] = ()
    source: str = ""
    merged: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values among the arguments, in order; one that is read twice stands there twice."""
        return tuple(value.name for value in find_values(self.arguments.values()))

    @property
    def path(self) -> str:
        """Dotted path of the innermost module; empty for the model itself."""
        return self.calls[-1].path if self.calls else ""

    @property
    def where(self) -> str:
        """Where the operation stands, for messages."""
        place = f"module {self.path!r}" if self.path else "the model's own forward"
        return f"{place} ({self.source})" if self.source else place


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as nodes in the order of execution.

    Attributes
    ----------
    nodes : tuple of Node
        Without the input.
    input : str
        The value that is the image.
    output : str
        The value that is the logits.
    input_shape : (channels, height, width)
    dtype : torch.dtype
        In which the model was captured.
    aliases : mapping of str to str
        Values that were taken out, as identities or by merging, and the values in their place.
    calls : mapping of str to tuple of Call
        The calls that each value was made in, of values taken out as well.
    """

    nodes: tuple[Node, ...]
    input: str
    output: str
    input_shape: tuple[int, int, int]
    dtype: torch.dtype
    aliases: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)

    def readers(self) -> dict[str, list[Node]]:
        """List the nodes that read each value."""
        found: dict[str, list[Node]] = {self.input: []}
        for node in self.nodes:
            found.setdefault(node.name, [])
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return found


def capture(module: nn.Module, input_shape: tuple[int, int, int], name: str = "the model") -> Graph:
    """Read a model as a graph.

    Parameters
    ----------
    module : nn.Module
        In eval mode. It is never changed.
    input_shape : (channels, height, width)
    name : str
        Of the model, for messages.

    Raises
    ------
    UnsupportedModel
        The model cannot be captured: its forward depends on values of the data, on chance, on the rest of the batch,
        or gives something other than one row of logits for each image. Names where.
    """
    parameter = next((weight for weight in module.parameters() if weight.is_floating_point()), None)
    dtype = parameter.dtype if parameter is not None else torch.float32
    if dtype not in (torch.float32, torch.float64):
        raise UnsupportedModel(f"the weights of {name} are {dtype}; load the model in float32")
    device = parameter.device if parameter is not None else torch.device("cpu")
    program = _export(module, torch.zeros((2, *input_shape), dtype=dtype, device=device), name)
    reader = _Reader(program, module, name)
    output = reader.read()
    graph = Graph(tuple(reader.nodes), reader.input, output, input_shape, dtype, reader.aliases, reader.calls)
    return drop_unread(graph)


def drop_unread(graph: Graph) -> Graph:
    """Leave out the nodes that the logits do not need."""
    needed = {graph.output}
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.name in needed))


def find_values(arguments: Iterable[Argument]) -> Iterator[Value]:
    """Find the values among arguments, in tuples too."""
    for argument in arguments:
        if isinstance(argument, Value):
            yield argument
        elif isinstance(argument, tuple):
            yield from find_values(argument)


def substitute(argument: Argument, values: Mapping[str, Any], n: int) -> Any:  # noqa: ANN401 - as ATen takes it
    """Put tensors in the place of values, and numbers in the place of batch sizes."""
    if isinstance(argument, Value):
        return values[argument.name]
    if isinstance(argument, BatchSize):
        return argument.count(n)
    if isinstance(argument, tuple):
        return [substitute(part, values, n) for part in argument]
    return argument


def map_tensors(argument: Argument, change: Callable[[torch.Tensor], torch.Tensor]) -> Argument:
    """Change the constant tensors among arguments."""
    if isinstance(argument, torch.Tensor):
        return change(argument)
    if isinstance(argument, tuple) and not isinstance(argument, Value):
        return tuple(map_tensors(part, change) for part in argument)
    return argument


# --- capture --------------------------------------------------------------------------------------------------------


def _export(module: nn.Module, images: torch.Tensor, name: str) -> ExportedProgram:
    shapes = ({0: Dim("batch", min=1, max=LARGEST_BATCH)},)
    with _unchanged(module), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            made = module(images[:1].clone())  # what fails here is the model's own fault, told in its own words
        except Exception as error:
            raise ModelError(
                f"{name} fails on an input of shape (1, {', '.join(map(str, images.shape[1:]))}): "
                f"{_first_line(error)}. It has to take any number of images at once, of the size that it was trained "
                "with"
            ) from error
        if not isinstance(made, torch.Tensor):
            raise UnsupportedModel(
                f"{name} gives {type(made).__name__}, expected one tensor of logits, (n, n_classes); name the "
                "output that counts as model.output, or wrap the model in one that returns the logits alone"
            )
        if made.dim() != 2 or len(made) != 1:
            raise UnsupportedModel(
                f"{name} gives shape {tuple(made.shape)} for one image, expected one logit for each class: "
                "(1, n_classes). Where it squeezes, let it name the axes: squeeze() of one image takes the axis of "
                "the images too"
            )
        try:
            program = export(module, (images,), dynamic_shapes=shapes, strict=False)
            # writing out operations in place costs more than the export; most networks have none that need it
            return program if _is_plain(program.graph_module) else program.run_decompositions({})
        except Exception as error:  # tracing runs the model's own code, which may fail in any way
            raise UnsupportedModel(
                f"{name} cannot be explained: its forward cannot be read as a fixed graph of operations"
                f"{_user_line(str(error))} ({type(error).__name__}: {_first_line(error)}). {_advice(str(error))}"
            ) from error


def _is_plain(module: fx.GraphModule) -> bool:
    """Whether every operation in place changes a tensor that no other shares memory with."""
    nodes = list(module.graph.nodes)
    viewed = {part.name for node in nodes if _is_view(node) for part in (node, *node.all_input_nodes)}
    for node in nodes:
        if node.op == "get_attr" and isinstance(_attribute(module, str(node.target)), fx.GraphModule):
            return False
        changed = _changed(node)
        if changed and (changed[0].name in viewed or len(changed) > 1 or _functional(node.target) is None):
            return False
    return True


def _is_view(node: fx.Node) -> bool:
    """Whether a result of a node may share memory with an argument, without changing it."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.op == "call_function" and node.target is operator.getitem
    results = node.target._schema.returns
    return any(result.alias_info is not None and not result.alias_info.is_write for result in results) or (
        node.target._schema.name in _MAY_VIEW
    )


_MAY_VIEW = frozenset(
    f"aten::{name}"
    for name in (
        *("reshape", "flatten", "contiguous", "to", "dropout", "feature_dropout", "reshape_as", "unflatten"),
        *("chunk", "type_as", "ravel", "float", "movedim", "swapaxes", "squeeze", "expand_as", "view_as"),
        "tensor_split",
    )
)
"""Operations that hand on the memory of their argument where they can, though their schema does not say so."""


def _changed(node: fx.Node) -> list[fx.Node]:
    """List the arguments that a node changes in place."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return []
    found = []
    for place, argument in enumerate(node.target._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
            if isinstance(given, fx.Node):
                found.append(given)
    return found


def _functional(target: Any) -> Any:  # noqa: ANN401 - an operation of ATen
    """Find the operation that computes the same as one in place; None where there is none."""
    name = target._schema.name.partition("::")[2]
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") else None
    return getattr(packet, target._overloadname, None) if packet is not None else None


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Put back every attribute of every part afterwards, whatever a forward assigns, and the random generator."""
    kept = [
        (part, dict(part.__dict__), dict(part._parameters), dict(part._buffers), dict(part._modules))
        for part in module.modules()
    ]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for part, attributes, *tables in kept:
                part.__dict__.clear()
                part.__dict__.update(attributes)
                for key, table in zip(("_parameters", "_buffers", "_modules"), tables, strict=True):
                    part.__dict__[key].clear()
                    part.__dict__[key].update(table)
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):
                        buffer.copy_(before)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def _user_line(text: str) -> str:
    """Find the innermost line outside torch that an error of the export speaks of."""
    found = [place for place in re.findall(r'File "([^"]+)", line (\d+)', text) if not _is_library(place[0])]
    return f" (at {found[-1][0].rpartition('/')[2]}:{found[-1][1]})" if found else ""


def _is_library(file: str) -> bool:
    return bool(re.search(r"(^|/)(torch|torchvision|contextlib|timm)(/|\.py)", file)) or file.startswith("<")


def _advice(text: str) -> str:
    if "data-dependent" in text or "DataDependent" in text:
        return (
            "An `if` or a size depends on values of the image: rewrite it without, for example by torch.where or clamp"
        )
    if "batch" in text and ("Constraints violated" in text or "specialized" in text):
        return "It has to take any number of images at once: use x.shape[0] or -1 in the place of a fixed batch size"
    if "ScriptModule" in text or "RecursiveScriptModule" in text:
        return "It is TorchScript: build the model from its Python class and load its weights"
    return "Take a model whose forward does the same operations for every image"


class _Reader:
    """Turns an exported program into nodes."""

    def __init__(self, program: ExportedProgram, module: nn.Module, name: str) -> None:
        self._program, self._module, self._model = program, module, name
        self.nodes: list[Node] = []
        self.aliases: dict[str, str] = {}
        self.calls: dict[str, tuple[Call, ...]] = {}
        self.input = ""
        self._batch: Any = None
        self._known: dict[str, Argument] = {}
        """By name of the exported node: a `Value`, a constant, a `BatchSize`, or a tuple of parts."""

    def read(self) -> str:
        """Read all nodes; returns the name of the logits."""
        signature = self._program.graph_signature
        written = [spec.target for spec in signature.output_specs if spec.kind == OutputKind.BUFFER_MUTATION]
        if written:
            raise self._changes_itself(str(written[0]))
        inputs = {spec.arg.name: spec for spec in signature.input_specs}
        tensors = {**self._program.state_dict, **self._program.constants}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                spec = inputs[node.name]
                if spec.kind == InputKind.USER_INPUT:
                    if self.input:
                        raise UnsupportedModel(f"{self._model} takes more than one input; it has to take one image")
                    self.input, self._batch = node.name, node.meta["val"].shape[0]
                    self._known[node.name] = Value(node.name)
                else:
                    self._known[node.name] = tensors[str(spec.target)].detach()
        output = self._read_nodes(self._program.graph_module, self._known)
        if isinstance(output, tuple) and not isinstance(output, Value) and len(output) == 1:
            (output,) = output
        if not isinstance(output, Value):
            raise UnsupportedModel(
                f"{self._model} gives {_describe(output)}, expected one tensor of logits, (n, n_classes), that depends "
                "on the image; give it an eval mode or a wrapper that returns the logits alone"
            )
        return self._check_output(output.name)

    def _check_output(self, name: str) -> str:
        made = next((node for node in self.nodes if node.name == name), None)
        shape = made.shape if made else ()
        if made is None or len(shape) != 1 or not made.batched:
            raise UnsupportedModel(
                f"{self._model} gives {tuple(shape)} for each image, expected one logit for each class: (n, n_classes)"
            )
        return name

    def _read_nodes(self, module: fx.GraphModule, known: dict[str, Argument]) -> Argument:
        output: Argument = None
        for node in module.graph.nodes:
            if node.op == "call_function":
                known[node.name] = self._read_call(node, known)
            elif node.op == "get_attr":
                known[node.name] = _attribute(module, str(node.target))
            elif node.op == "output":
                output = self._resolve(node.args[0], known)
        return output

    def _resolve(self, argument: Any, known: Mapping[str, Argument]) -> Argument:  # noqa: ANN401 - whatever fx holds
        if isinstance(argument, fx.Node):
            return known[argument.name]
        if isinstance(argument, list | tuple):
            return tuple(self._resolve(part, known) for part in argument)
        if isinstance(argument, torch.SymInt):
            return BatchSize()
        return argument

    def _read_call(self, node: fx.Node, known: dict[str, Argument]) -> Argument:
        changed = _changed(node)
        if not changed:
            return self._read_target(node, node.target, known)
        specs = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        own = specs.get(changed[0].name)
        if own is not None and own.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            raise self._changes_itself(str(own.target))
        made = self._read_target(node, _functional(node.target), known)
        known[changed[0].name] = made
        return made

    def _changes_itself(self, name: str) -> UnsupportedModel:
        return UnsupportedModel(
            f"{self._model} cannot be explained: its forward changes its own buffer {name!r}, so that one image's "
            "answer can depend on those before it. Take that out for evaluation"
        )

    def _read_target(  # noqa: PLR0911 - one line for each kind
        self,
        node: fx.Node,
        target: Any,  # noqa: ANN401 - an operation
        known: Mapping[str, Argument],
    ) -> Argument:
        arguments = tuple(self._resolve(argument, known) for argument in node.args)
        keywords = {key: self._resolve(argument, known) for key, argument in node.kwargs.items()}
        inner = [argument for argument in arguments if isinstance(argument, fx.GraphModule)]
        if inner:
            return self._inline(node, inner[0], arguments)
        if target is operator.getitem:
            return arguments[0][arguments[1]]
        values = list(find_values((*arguments, *keywords.values())))
        counts = _has_batch_size((*arguments, *keywords.values()))
        if not isinstance(target, torch._ops.OpOverload):
            if values:
                raise self._refused(node, "for which there is no rule of relevance")
            return _count(target, arguments)
        operation = target._schema.name.partition("::")[2]
        if operation == "sym_size":
            return self._size(node, arguments)
        if not target._schema.returns:  # assertions
            return None
        by_chance = torch.Tag.nondeterministic_seeded in target.tags or "dropout" in operation
        if by_chance and not _is_off(target, arguments, keywords):
            raise self._refused(
                node,
                "which depends on chance even at evaluation, so that every pass gives another answer. Give it "
                "training=self.training, or take it out",
            )
        if not values and not counts:
            with torch.no_grad():
                made = target(*(_as_list(part) for part in arguments), **{k: _as_list(v) for k, v in keywords.items()})
            return tuple(made) if isinstance(made, list | tuple) else made
        return self._add(node, target, operation, _bind(target, arguments, keywords))

    def _inline(self, node: fx.Node, inner: fx.GraphModule, arguments: tuple[Argument, ...]) -> Argument:
        """Read a subgraph in its place: a part under no_grad, or under activation checkpointing."""
        label = str(node.target)
        if "set_grad_enabled" not in label and "checkpoint" not in label:
            raise self._refused(node, "which has subgraphs of its own, for which there is no rule of relevance")
        given = arguments[arguments.index(inner) + 1 :]
        names = [part.name for part in inner.graph.nodes if part.op == "placeholder"]
        return self._read_nodes(inner, dict(zip(names, given, strict=True)))

    def _size(self, node: fx.Node, arguments: tuple[Argument, ...]) -> Argument:
        size = node.meta["val"]
        return BatchSize() if isinstance(size, torch.SymInt) else int(size)

    def _add(self, node: fx.Node, target: Any, operation: str, arguments: Mapping[str, Argument]) -> Argument:  # noqa: ANN401
        made = node.meta["val"]
        if isinstance(made, torch.Tensor):
            return self._append(node, node.name, operation, target, arguments, made)
        if operation in _FIRST_COUNTS:
            first = self._append(node, node.name, operation, lambda **given: target(**given)[0], arguments, made[0])
            return (first, *(_Unused(operation, part) for part in ("second result",) * (len(made) - 1)))
        if operation in _SPLITS:
            return self._take_apart(node, operation, arguments, made)
        raise self._refused(node, "which gives several results, for which there is no rule of relevance")

    def _take_apart(
        self, node: fx.Node, operation: str, arguments: Mapping[str, Argument], made: Sequence[torch.Tensor]
    ) -> Argument:
        """Read each part of a split as a slice of its own."""
        axis = int(arguments["dim"]) % made[0].dim()
        parts, start = [], 0
        for place, part in enumerate(made):
            if operation == "unbind":
                given = {"self": arguments["self"], "dim": axis, "index": place}
                target: Any = torch.ops.aten.select.int
                parts.append(self._append(node, f"{node.name}_{place}", "select", target, given, part))
                continue
            stop = start + int(part.shape[axis])
            given = {"self": arguments["self"], "dim": axis, "start": start, "end": stop, "step": 1}
            target = torch.ops.aten.slice.Tensor
            parts.append(self._append(node, f"{node.name}_{place}", "slice", target, given, part))
            start = stop
        return tuple(parts)

    def _append(
        self,
        node: fx.Node,
        name: str,
        operation: str,
        target: Callable[..., Any],
        arguments: Mapping[str, Argument],
        made: torch.Tensor,
    ) -> Value:
        unused = next((part for part in arguments.values() if isinstance(part, _Unused)), None)
        if unused:
            raise self._refused(node, f"which reads the {unused.what} of {unused.operation!r}")
        first: Any = made.shape[0] if made.dim() else 0
        batched = isinstance(first, torch.SymInt) and first.node.expr == self._batch.node.expr
        rest = made.shape[1:] if batched else made.shape
        shape = tuple(int(size) if isinstance(size, int) else -1 for size in rest)
        made_by = Node(name, operation, target, dict(arguments), shape, batched, _calls(node), _source(node))
        self.nodes.append(made_by)
        self.calls[name] = made_by.calls
        return Value(name)

    def _refused(self, node: fx.Node, reason: str) -> UnsupportedModel:
        calls, source = _calls(node), _source(node)
        place = f"module {calls[-1].path!r}" if calls and calls[-1].path else "its own forward"
        operation: Any = getattr(node.target, "_schema", None)
        label = operation.name.partition("::")[2] if operation else getattr(node.target, "__name__", str(node.target))
        return UnsupportedModel(
            f"{self._model} cannot be explained: {place}{f' ({source})' if source else ''} computes {label!r}, {reason}"
        )


class _Unused(NamedTuple):
    """A result that nothing may read, such as the indices of a max pooling."""

    operation: str
    what: str


_FIRST_COUNTS = frozenset(
    (
        *("_native_batch_norm_legit_no_training", "native_layer_norm", "native_group_norm", "native_dropout"),
        *("max_pool2d_with_indices", "adaptive_max_pool2d", "max", "min", "std_mean", "var_mean"),
        *("_fused_rms_norm",),
    )
)
"""Operations of several results of which the first is the value."""

_SPLITS = frozenset(("split", "split_with_sizes", "chunk", "unbind", "tensor_split"))


def _attribute(module: fx.GraphModule, target: str) -> Any:  # noqa: ANN401 - a tensor or a subgraph
    found: Any = module
    for part in target.split("."):
        found = getattr(found, part)
    return found.detach() if isinstance(found, torch.Tensor) else found


def _describe(output: Argument) -> str:
    if isinstance(output, torch.Tensor):
        return "a constant"
    if isinstance(output, tuple):
        return f"{len(output)} results"
    return type(output).__name__


def _has_batch_size(arguments: Iterable[Argument]) -> bool:
    return any(
        isinstance(part, BatchSize)
        or (isinstance(part, tuple) and not isinstance(part, Value) and _has_batch_size(part))
        for part in arguments
    )


def _count(function: Any, arguments: tuple[Argument, ...]) -> Argument:  # noqa: ANN401 - any function of numbers
    if any(isinstance(part, BatchSize) for part in arguments):
        return BatchSize(function, arguments)
    return function(*arguments) if all(isinstance(part, int | float | bool) for part in arguments) else None


def _as_list(argument: Argument) -> Any:  # noqa: ANN401 - as ATen takes it
    return [_as_list(part) for part in argument] if isinstance(argument, tuple) else argument


def _bind(target: Any, arguments: tuple[Argument, ...], keywords: Mapping[str, Argument]) -> dict[str, Argument]:  # noqa: ANN401
    """Name all arguments of a call as the operation's schema names them, defaults included."""
    bound: dict[str, Argument] = {}
    for place, argument in enumerate(target._schema.arguments):
        if place < len(arguments) and not argument.kwarg_only:
            bound[argument.name] = arguments[place]
        elif argument.name in keywords:
            bound[argument.name] = keywords[argument.name]
        else:
            default = argument.default_value
            bound[argument.name] = tuple(default) if isinstance(default, list) else default
    return bound


def _is_off(target: Any, arguments: tuple[Argument, ...], keywords: Mapping[str, Argument]) -> bool:  # noqa: ANN401
    """Whether a dropout does nothing."""
    bound = _bind(target, arguments, keywords)
    return bound.get("train", bound.get("training")) is False or 0 in (bound.get("p"), bound.get("dropout_p"))


def _calls(node: fx.Node) -> tuple[Call, ...]:
    stack = node.meta.get("nn_module_stack") or {}
    found = []
    for key, (path, kind) in stack.items():
        if path.startswith("_empty"):
            continue
        _, _, count = str(key).partition("@")
        clean = re.sub(r"@\d+", "", path)
        label = kind if isinstance(kind, str) else kind.__name__
        found.append(Call(clean, label.rpartition(".")[2], int(count) if count.isdigit() else 0))
    return tuple(found)


def _source(node: fx.Node) -> str:
    text = node.meta.get("stack_trace") or ""
    found = [place for place in re.findall(r'File "([^"]+)", line (\d+)', text) if not _is_library(place[0])]
    return f"{found[-1][0].rpartition('/')[2]}:{found[-1][1]}" if found else ""
