"""Products of matrices that have the same bits on Intel's and on AMD's processors, with any number
of threads.

Intel's library, in torch 2.14.1 and restricted to AVX2, sums in one order if

- every side of every matrix is at least 12 long, and there are at least 32 rows;
- the side that is summed over is none of 193 to 257 and no odd one of 259 to 383: there it cuts the
  sum into blocks of another size for each maker;
- the rows of the result are no longer than its columns, or at least 48 numbers long: the library
  shares longer rows among the threads, and 4 threads, the most that we take, should have 12 each.
  The result is also not as small as 15 times 15.

We found the first two by comparing an AMD processor with an emulated Intel one (qemu, Haswell), for
sums of 1 to 1,199 terms, and the third by comparing 1 to 4 threads on an AMD processor. Each side
is summed over in one of the forward and backward products. So zeros are added to a matrix until all
its sides are allowed. Autograd differentiates the padded product, and the backward pass keeps the
rule too.
"""

from functools import cache

from torch import Tensor, nn
from torch.nn import functional as F

NARROW = 12  # a shorter side is padded to this
FEW_ROWS = 32  # so are fewer rows than this
SHARED = 48  # shorter rows of a result are not to be shared among threads


class Rule:
    """Whether products keep the rule. `machine.start` sets it; there is one for a process."""

    portable = False


def allowed(side: int, least: int) -> int:
    """The shortest length, from `side` on, that the rule allows."""
    side = max(side, least)
    if 193 <= side <= 257:
        return 258
    return side + 1 if 258 < side < 384 and side % 2 else side


@cache  # without it, a step of the defaults takes 1.5% longer
def allowed_shape(rows: int, into: int, out: int) -> tuple[int, int, int]:
    """The smallest allowed shape of a product [rows, into] × [into, out] and of its gradients."""
    rows, into, out = allowed(rows, FEW_ROWS), allowed(into, NARROW), allowed(out, NARROW)
    if out < into < SHARED:  # the gradient of the weight, [out, into]
        out = into
    if max(into, out) < 16:
        out = 16
    if any(rows < side < SHARED for side in (into, out)):
        rows = SHARED
    return rows, into, out


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, the way in which the model multiplies matrices: [..., in] → [..., out].

    weight [out, in], bias [out].
    """
    if not Rule.portable or x.numel() == 0:
        return F.linear(x, weight, bias)
    (out, into), rows = weight.shape, x.numel() // x.shape[-1]
    shape = allowed_shape(rows, into, out)
    more_rows, more_in, more_out = shape[0] - rows, shape[1] - into, shape[2] - out
    if not (more_rows or more_in or more_out):
        return F.linear(x, weight, bias)
    padded = F.pad(x.reshape(rows, into), (0, more_in, 0, more_rows))
    weight = F.pad(weight, (0, more_in, 0, more_out))
    if bias is not None:
        bias = F.pad(bias, (0, more_out))
    return F.linear(padded, weight, bias)[:rows, :out].reshape(*x.shape[:-1], out)


class Linear(nn.Linear):
    """nn.Linear that multiplies as `linear` does."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
