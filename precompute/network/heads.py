"""From what a network gives to one logit for each class, and from logits to probabilities.

Owns the kinds of tasks (classes, binary, labels), which of several outputs counts, and the second side of a single
logit. Must not know data, files or relevance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from precompute.config import Task
from precompute.errors import ModelError
from precompute.printing.numbers import plural


@dataclass(frozen=True)
class Head:
    """Turns a network's output into (n, n_classes) logits; registered on the network as a forward hook.

    A hook leaves the names of layers and weights as they are, and its operations belong to the network's graph as any
    other.

    Attributes
    ----------
    key : str
        Which of several outputs counts: a key, or a place in a tuple; empty where there is only one.
    two_sides : bool
        The one logit z becomes (-z, z): what speaks for the one class speaks against the other as much.
    """

    key: str = ""
    two_sides: bool = False

    def __call__(self, _module: nn.Module, _inputs: object, output: Any) -> torch.Tensor:  # noqa: ANN401 - any network
        """Compute the logits."""
        values: torch.Tensor = _tensors(output)[self.key] if self.key else output
        values = values.unsqueeze(1) if values.ndim == 1 else values.flatten(1)
        return torch.cat((values * -1.0, values), dim=1) if self.two_sides else values


def attach_head(module: nn.Module, shape: tuple[int, int, int], *, task: Task, key: str, name: str) -> int:
    """See what a network gives, and make logits of it.

    Parameters
    ----------
    module : nn.Module
        On the CPU, in eval mode; gets a forward hook where its output is not (n, n_classes) logits already.
    shape : (int, int, int)
        Channels, height and width of one input.
    task : str
        ``classes`` (one of several, softmax), ``binary`` (one logit, sigmoid) or ``labels`` (any of several, sigmoid).
    key : str
        Which output counts where there are several; empty where there is one.
    name : str
        The network's, for messages.

    Returns
    -------
    int
        Number of classes.

    Raises
    ------
    ModelError
        The network does not take such an input, or its output is no row of logits of that task.
    """
    output = _run(module, shape, name)
    values = _select(output, key, name)
    size = _check_shape(values, name)
    if size == 1 and task != "binary":
        raise ModelError(
            f"{name} gives a single number for each image. If it is the logit of two classes (trained with "
            'BCEWithLogitsLoss), set `task = "binary"` in [model]: the class of label 1 is explained by the logit, '
            "that of "
            "label 0 by minus the logit. A network that estimates a quantity cannot be explained yet"
        )
    if size > 1 and task == "binary":
        raise ModelError(
            f"{name} gives {size} logits for each image, but model.task is 'binary', which is for a single one; remove "
            "the "
            'line (each image has one class) or set `task = "labels"` (an image can have several)'
        )
    head = Head(key, two_sides=size == 1)
    if head != Head() or values.ndim != 2:
        module.register_forward_hook(head)
    return max(size, 2)


def compute_probabilities(logits: torch.Tensor, task: Task) -> torch.Tensor:
    """Turn (n, n_classes) logits into probabilities, in float64.

    The two sides of a single logit z are (-z, z), whose sigmoids add up to 1.
    """
    logits = logits.double()
    return logits.softmax(dim=-1) if task == "classes" else logits.sigmoid()


def _run(module: nn.Module, shape: tuple[int, int, int], name: str) -> Any:  # noqa: ANN401 - any network
    """Give a network two black images; one would hide an output that lacks the axis of images."""
    parameter = next(module.parameters(), torch.zeros(()))
    try:
        with torch.inference_mode():
            return module(torch.zeros((2, *shape), dtype=parameter.dtype))
    except Exception as error:  # a user's own model may raise anything
        text = next(iter(str(error).splitlines()), type(error).__name__)
        channels = re.search(r"to have (\d+) channels, but got (\d+) channels", text)
        if channels and int(channels[2]) == shape[0]:
            raise ModelError(
                f"{name} takes {plural(int(channels[1]), 'input channel')}, and gets {shape[0]}. Set `channels = "
                f"{_example_channels(int(channels[1]))} in [preprocessing], with mean and std of as many numbers"
            ) from error
        raise ModelError(
            f"{name} fails on inputs of shape {(2, *shape)}: {text}. Is preprocessing.crop the size that it was "
            "trained "
            "with?"
        ) from error


def _example_channels(n_channels: int) -> str:
    known = {1: '["grey"]`', 3: '["red", "green", "blue"]`'}
    return known.get(n_channels, f"[…]` ({n_channels} names of red, green, blue, grey, black and white)")


def _select(output: Any, key: str, name: str) -> torch.Tensor:  # noqa: ANN401 - any network
    """Take the output that counts, or say how to name it."""
    if isinstance(output, torch.Tensor):
        if key:
            raise ModelError(f"{name} gives one tensor, so there is no output {key!r}; remove model.output")
        return output
    outputs = _tensors(output)
    if not outputs:
        raise ModelError(
            f"{name} gives {type(output).__name__}, expected logits of shape (n, n_classes), or several tensors of "
            "which "
            "model.output names one"
        )
    if key not in outputs:
        shapes = ", ".join(f"{found!r} of shape {tuple(tensor.shape)}" for found, tensor in outputs.items())
        example = next((found for found, tensor in outputs.items() if tensor.ndim == 2), next(iter(outputs)))
        asked = f", none of them {key!r}" if key else ""
        raise ModelError(
            f"{name} gives several outputs for two images: {shapes}{asked}. Name the logits in [model], for example "
            f'`output = "{example}"`'
        )
    return outputs[key]


def _tensors(output: Any) -> dict[str, torch.Tensor]:  # noqa: ANN401 - any network
    """List the tensors of a mapping, a sequence or a record, by key or place."""
    if isinstance(output, Mapping):
        items: Iterable[tuple[Any, Any]] = output.items()
    elif isinstance(output, tuple | list):
        items = enumerate(output)
    else:
        items = getattr(output, "__dict__", {}).items()
    return {str(key): value for key, value in items if isinstance(value, torch.Tensor)}


def _check_shape(values: torch.Tensor, name: str) -> int:
    """Return how many logits there are for each of two images."""
    if values.ndim == 0 or len(values) != 2:
        raise ModelError(
            f"{name} gives {tuple(values.shape)} for two images, expected a row of logits for each: (n, n_classes). "
            "Does it "
            "squeeze or average over the images?"
        )
    if values.ndim > 2 and values[0].numel() != values.shape[1]:
        raise ModelError(
            f"{name} gives {tuple(values.shape)} for two images, expected logits of shape (n, n_classes). Of a map for "
            "each "
            "class, return the mean over its places"
        )
    if not values.is_floating_point():
        raise ModelError(
            f"{name} gives {str(values.dtype).removeprefix('torch.')}, expected logits in floating point; return them "
            "before the decision"
        )
    return values[0].numel()
