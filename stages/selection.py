"""Which weights training hands over: the last epoch's or the best's, as they are or averaged."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor


class Selection:
    """`vector` are the weights in training, which it changes only in `at_rest` and `hand_over`.

    ema: decay of an exponential moving average over the steps (Polyak & Juditsky 1992), 0 for none.
    keep: last | best, by the validation ELBO at the epochs' ends.
    """

    def __init__(self, vector: Tensor, ema: float, keep: str):
        self.vector, self.ema = vector, ema
        self.average = vector.clone() if ema else vector
        self.best = vector.clone() if keep == "best" else self.average

    def after_step(self, step: int) -> None:
        """`step` counts from 1: early on the average is over fewer steps."""
        if self.ema:
            decay = min(self.ema, step / (10 + step))
            self.average.mul_(decay).add_(self.vector, alpha=1 - decay)

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Within it the model has the averaged weights, for measuring them."""
        if not self.ema:
            yield
            return
        moving = self.vector.clone()
        self.vector.copy_(self.average)
        yield
        self.vector.copy_(moving)

    def after_epoch(self, elbos: list[float]) -> None:
        """elbos: the validation ELBO after each epoch so far."""
        if elbos[-1] == max(elbos) and self.best is not self.average:
            self.best.copy_(self.average)

    def hand_over(self) -> None:
        self.vector.copy_(self.best)

    def state(self) -> dict[str, Tensor]:
        """What has to be kept besides the weights in training."""
        state = {"average": self.average} if self.ema else {}
        return state | ({} if self.best is self.average else {"best": self.best})
