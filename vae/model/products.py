"""Products of matrices that have the same bits on Intel's and on AMD's processors.

Intel's library, in torch 2.14.1 and restricted to AVX2, sums in the same order on both if every
side of every matrix is at least 12 long and none is between 193 and 256. We found this by comparing
an AMD processor with an emulated Intel one (qemu, Haswell). The library's order for SSE2, which it
calls COMPATIBLE, is the same on both for all shapes, but it takes twice as long and depends on the
threads.
"""

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.functional import linear, pad

if TYPE_CHECKING:
    from vae.model.vae import VAE

NARROW = 12  # sides shorter than this


class Linear(nn.Linear):
    """nn.Linear whose short sides are padded with zeros to NARROW before it multiplies."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (max(0, NARROW - side) for side in self.weight.shape)
        if not rows and not columns:
            return super().forward(x)
        weight, bias = pad(self.weight, (0, columns, 0, rows)), pad(self.bias, (0, rows))
        return linear(pad(x, (0, columns)), weight, bias)[..., : self.out_features]


def agree_in_avx2(model: "VAE", batches: Iterable[int] = ()) -> bool:
    """Whether all products of a model have the same bits on both; with `batches`, those of its
    training with batches of these sizes too.

    It knows the products of linear layers only. For another layer, such as a convolution, it
    returns False.
    """
    matrices = [matrix.shape for matrix in model.prior.parameters() if matrix.ndim > 1]
    for module in [*model.encoder.modules(), *model.head.modules(), *model.decoder.modules()]:
        if isinstance(module, nn.Linear):
            least = NARROW if isinstance(module, Linear) else 0
            matrices.append([max(least, side) for side in module.weight.shape])
        elif any(True for _ in module.parameters(recurse=False)):
            return False
    sides = itertools.chain(batches, *matrices)
    return all(side >= NARROW and not 192 < side <= 256 for side in sides)
