"""Convolutions of 3x3 kernels with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Owns the transforms and how much of a batch is transformed at once. Must not know rules, layers or files.

Tiles of 4x4 outputs see 6x6 inputs. In the transformed domain a tile costs 36 products for each pair of channels
where the direct sum takes 144. The result is the same up to rounding; in float32 the rounding error is about three
times that of the direct sum, far below what the order of summation does to the relevance of a deep network.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

TILE, SPAN = 4, 6
CHUNK_ELEMENTS = 2**22
"""Elements of the transformed input of one chunk of images, which should stay in the processor's cache."""

_INPUT = torch.tensor(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
     [0, 4, 0, -5, 0, 1]], dtype=torch.float64,
)  # fmt: skip
_KERNEL = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
) / 24  # fmt: skip
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)


def fills_tiles(size: Sequence[int]) -> bool:
    """Whether little of the tiles that cover a map of this (height, width) is wasted."""
    covered = [-(-n // TILE) * TILE for n in size]
    return size[0] * size[1] >= 0.7 * covered[0] * covered[1]


def transform_weight(weight: torch.Tensor) -> torch.Tensor:
    """Transform (n_outputs, n_inputs, 3, 3) kernels to the (36, n_inputs, n_outputs) float that `convolve` takes."""
    n_outputs, n_inputs = weight.shape[:2]
    result = weight.new_empty((SPAN * SPAN, n_inputs, n_outputs))
    both = torch.kron(_KERNEL, _KERNEL).to(weight.device)
    # in pieces: all in float64 at once would be the largest tensor of a whole run
    for start in range(0, n_inputs, 64):
        taps = weight[:, start : start + 64].double().permute(2, 3, 1, 0).reshape(9, -1)
        result[:, start : start + 64] = (both @ taps).view(SPAN * SPAN, -1, n_outputs)
    return result


def transform_transposed(weight: torch.Tensor) -> torch.Tensor:
    """Transform the kernels of the transposed convolution, from outputs back to inputs."""
    return transform_weight(weight.flip(2, 3).transpose(0, 1))


def convolve(values: torch.Tensor, transformed: torch.Tensor, padding: tuple[int, int]) -> torch.Tensor:
    """Convolve with stride 1.

    Parameters
    ----------
    values : (n, n_inputs, height, width) float, channels last
    transformed : (36, n_inputs, n_outputs) float
    padding : (rows, columns)

    Returns
    -------
    (n, n_outputs, height + 2 * rows - 2, width + 2 * columns - 2) float, channels last
    """
    n, _, height, width = values.shape
    rows, columns = height + 2 * padding[0] - 2, width + 2 * padding[1] - 2
    n_tiles = -(-rows // TILE), -(-columns // TILE)
    each = SPAN * SPAN * n_tiles[0] * n_tiles[1] * max(transformed.shape[1:])
    result = values.new_empty((n, rows, columns, transformed.shape[2]))
    both = {name: torch.kron(one, one).to(values) for name, one in (("input", _INPUT), ("output", _OUTPUT))}
    for part, made in zip(*(torch.split(one, max(1, CHUNK_ELEMENTS // each)) for one in (values, result)), strict=True):
        tiles = _cut_tiles(part, padding, n_tiles)
        product = torch.bmm((both["input"] @ tiles.reshape(SPAN * SPAN, -1)).view(SPAN * SPAN, -1, tiles.shape[-1]),
                            transformed)  # fmt: skip
        pieces = (both["output"] @ product.view(SPAN * SPAN, -1)).view(TILE, TILE, len(part), *n_tiles, -1)
        whole = pieces.permute(2, 3, 0, 4, 1, 5)
        if (rows, columns) == (TILE * n_tiles[0], TILE * n_tiles[1]):
            made.view(len(part), n_tiles[0], TILE, n_tiles[1], TILE, -1).copy_(whole)
        else:
            made.copy_(whole.reshape(len(part), TILE * n_tiles[0], TILE * n_tiles[1], -1)[:, :rows, :columns])
    return result.permute(0, 3, 1, 2)


def _cut_tiles(values: torch.Tensor, padding: tuple[int, int], n_tiles: tuple[int, int]) -> torch.Tensor:
    """View overlapping tiles of the padded input: (6, 6, n, tile rows, tile columns, channels)."""
    after = [
        TILE * t + SPAN - TILE - size - pad for t, size, pad in zip(n_tiles, values.shape[2:], padding, strict=True)
    ]
    padded = F.pad(values.permute(0, 2, 3, 1), (0, 0, padding[1], after[1], padding[0], after[0])).contiguous()
    image, row, column, _ = padded.stride()
    shape = (SPAN, SPAN, len(padded), *n_tiles, padded.shape[3])
    return padded.as_strided(shape, (row, column, image, TILE * row, TILE * column, 1))
