"""Convolutions of 3x3 kernels with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Owns the transforms and how much of a batch is transformed at once. Must not know rules, layers or files.

Tiles of 4x4 outputs see 6x6 inputs. In the transformed domain a tile costs 36 products for each pair of channels
where the direct sum takes 144. The result is the same up to rounding; in float32 the rounding error is about three
times that of the direct sum, far below what the order of summation does to the relevance of a deep network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

CHUNK_ELEMENTS = 2**22
"""Elements of the transformed input of one chunk of images, which should stay in the processor's cache."""


TILE, SPAN = 4, 6
_POINTS = (0.0, 3 / 2, -3 / 2, 2 / 3, -2 / 3)
"""Where the polynomials of a tile are evaluated, infinity aside. The usual 0, 1, -1, 2, -2 round twice as badly: of the
1,820 choices of four that were tried beside 0 (a dozen fractions from 1/4 to 2), these came out best on random maps."""


def _transforms() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Work out the float64 transforms of inputs (span, span), kernels (span, 3) and outputs (tile, span): Toom-Cook."""
    points = torch.tensor(_POINTS, dtype=torch.float64)
    inputs = torch.zeros(SPAN, SPAN, dtype=torch.float64)
    for row, left_out in enumerate((*range(SPAN - 1), None)):
        coefficients = torch.ones(1, dtype=torch.float64)
        for place, point in enumerate(_POINTS):
            if place != left_out:  # multiply by (x - point); the lowest power first
                coefficients = F.pad(coefficients, (1, 0)) - point * F.pad(coefficients, (0, 1))
        inputs[row, : len(coefficients)] = coefficients
    others = points[:, None] - points + torch.eye(SPAN - 1, dtype=torch.float64)
    at_infinity = [F.one_hot(torch.tensor([power - 1]), power).double() for power in (3, TILE)]
    kernels = torch.cat((points[:, None] ** torch.arange(3) / others.prod(1, keepdim=True), at_infinity[0]))
    outputs = torch.cat((points[:, None] ** torch.arange(TILE), at_infinity[1])).T
    return inputs, kernels, outputs.contiguous()


_INPUT, _KERNEL, _OUTPUT = _transforms()


def fills_tiles(size: Sequence[int]) -> bool:
    """Whether little of the tiles that cover a map of this (height, width) is wasted."""
    covered = [-(-n // TILE) * TILE for n in size]
    return size[0] * size[1] >= 0.7 * covered[0] * covered[1]


def arrange(weight: torch.Tensor) -> torch.Tensor:
    """Lay (n_outputs, n_inputs, 3, 3) kernels out as the (9, n_inputs, n_outputs) that `convolve` takes."""
    n_outputs, n_inputs = weight.shape[:2]
    return weight.permute(2, 3, 1, 0).reshape(9, n_inputs, n_outputs).contiguous()


def _transform_kernels(taps: torch.Tensor, *, transposed: bool) -> torch.Tensor:
    """Transform to (span * span, n_inputs, n_outputs), or to the transposed convolution's, from outputs to inputs.

    Made anew for each convolution: it costs little beside the products, and all layers' kernels together would be the
    largest thing in memory.
    """
    both = torch.kron(_KERNEL, _KERNEL).to(taps)
    if transposed:  # a transposed convolution is one with the kernels turned round
        both = both.flip(1)
    made = (both @ taps.view(9, -1)).view(-1, *taps.shape[1:])
    return made.transpose(1, 2) if transposed else made


def convolve(
    values: torch.Tensor,
    taps: torch.Tensor,
    padding: tuple[int, int],
    *,
    bias: torch.Tensor | None = None,
    transposed: bool = False,
) -> torch.Tensor:
    """Convolve with stride 1.

    Parameters
    ----------
    values : (n, n_inputs, height, width) float, channels last
    taps : (9, n_inputs, n_outputs) float
        Made by `arrange`.
    padding : (rows, columns)
        Of `values`; for a transposed convolution 2 minus what was padded there.
    bias : (n_outputs,) float, optional
    transposed : bool
        From the convolution's outputs back to its inputs, which then change places above.

    Returns
    -------
    (n, n_outputs, height + 2 * rows - 2, width + 2 * columns - 2) float, channels last
    """
    n, n_inputs, height, width = values.shape
    rows, columns = height + 2 * padding[0] - 2, width + 2 * padding[1] - 2
    n_tiles = -(-rows // TILE), -(-columns // TILE)
    transformed = _transform_kernels(taps, transposed=transposed)
    n_outputs = transformed.shape[2]
    each = SPAN * SPAN * n_tiles[0] * n_tiles[1]
    at_once = min(n, max(1, CHUNK_ELEMENTS // (each * max(n_inputs, n_outputs))))
    result = values.new_empty((n, rows, columns, n_outputs))
    of_inputs, of_outputs = (torch.kron(one, one).to(values) for one in (_INPUT, _OUTPUT))
    # one set of buffers for all chunks: fresh memory has to be cleared by the system, which takes longer than the sums
    frame = values.new_zeros((at_once, *(TILE * t + SPAN - TILE for t in n_tiles), n_inputs))
    inside = frame[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    cut, seen = values.new_empty((2, each * at_once * n_inputs))
    product = values.new_empty(each * at_once * n_outputs)
    made = values.new_empty(TILE * TILE * n_tiles[0] * n_tiles[1] * at_once * n_outputs)
    for start in range(0, n, at_once):
        m = min(at_once, n - start)
        inside[:m] = values[start : start + m].permute(0, 2, 3, 1)
        tiles = _tiles(frame[:m], n_tiles)
        places = tiles.numel() // (SPAN * SPAN * n_inputs)
        torch.mm(
            of_inputs,
            _first(cut, tiles.shape).copy_(tiles).view(SPAN * SPAN, -1),
            out=_first(seen, (SPAN * SPAN, places * n_inputs)),
        )
        torch.bmm(
            _first(seen, (SPAN * SPAN, places, n_inputs)),
            transformed,
            out=_first(product, (SPAN * SPAN, places, n_outputs)),
        )
        pieces = _first(made, (TILE * TILE, places * n_outputs))
        torch.mm(of_outputs, _first(product, (SPAN * SPAN, places * n_outputs)), out=pieces)
        if bias is not None:
            pieces.view(-1, n_outputs).add_(bias)
        whole = pieces.view(TILE, TILE, m, *n_tiles, n_outputs).permute(2, 3, 0, 4, 1, 5)
        target = result[start : start + m]
        if (rows, columns) == (TILE * n_tiles[0], TILE * n_tiles[1]):
            target.view(m, n_tiles[0], TILE, n_tiles[1], TILE, n_outputs).copy_(whole)
        else:
            target.copy_(whole.reshape(m, TILE * n_tiles[0], TILE * n_tiles[1], n_outputs)[:, :rows, :columns])
    return result.permute(0, 3, 1, 2)


def _first(buffer: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """View the beginning of a flat buffer in a shape."""
    return buffer[: math.prod(shape)].view(*shape)


def _tiles(frame: torch.Tensor, n_tiles: tuple[int, int]) -> torch.Tensor:
    """View the overlapping tiles of padded maps: (span, span, n, tile rows, tile columns, channels)."""
    image, row, column, _ = frame.stride()
    shape = (SPAN, SPAN, len(frame), *n_tiles, frame.shape[3])
    return frame.as_strided(shape, (row, column, image, TILE * row, TILE * column, 1))
