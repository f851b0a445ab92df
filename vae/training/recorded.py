"""Steps on a GPU as graphs: recorded once for each size of batch, and then repeated.

Without a graph, a step launches many small kernels and waits for Python before each. With the
defaults on an H200, it takes 4,802 µs without and 305 µs with a graph (docs/gpu/NVIDIA-H200.md).
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from vae.model.objectives import loss
from vae.model.vae import VAE
from vae.training.optimizer import AdamW
from vae.training.settings import Settings
from vae.training.steps import Plain

WARM_UP = 3  # steps before a recording, in which libraries choose their kernels

# A training of so many steps, times the model's tensors, compiles its loss first. On the same H200
# this takes about 11 s for the defaults (12 tensors) and 15 s for `stochastic-30` (45), and then
# saves 123 and 782 µs a step: it pays from 90,000 and from 19,000 steps on.
COMPILED_FROM = 1_000_000


class Recorded(Plain):
    """The same steps as `Plain`: a graph repeats its kernels on the same memory."""

    def __init__(self, model: VAE, optimizer: AdamW, settings: Settings, steps: int):
        """steps: of the whole training."""
        super().__init__(model, optimizer, settings)
        if steps * len(optimizer.parameters) >= COMPILED_FROM:
            torch._dynamo.config.suppress_errors = True  # what cannot be compiled is not
            # Tells the compiler, too (machine.start has told the rest of torch).
            torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
            compiled = torch.compile(loss, dynamic=False)
            self.loss = lambda model, x, *others, **options: (
                compiled if len(x) == self.batch_size else loss  # an epoch's last batch is smaller
            )(model, x, *others, **options)
        self.done: dict[int, int] = {}  # steps before a recording, by size of batch
        self.inputs: dict[int, list[Tensor]] = {}  # what a graph reads
        self.terms: dict[int, Tensor] = {}  # and what it writes
        self.replay: dict[int, Callable[[], object]] = {}
        self.can_record = True

    def __call__(self, pixels: Tensor, noise: Tensor, rate: Tensor, progress: Tensor) -> Tensor:
        size, values = len(pixels), (pixels, noise, rate, progress)
        done = self.done[size] = self.done.get(size, 0) + 1
        if done > WARM_UP and size not in self.replay and self.can_record:
            self.inputs[size] = [its.clone() for its in values]
            try:
                self.record(size)
            except RuntimeError as error:  # it looks at values, say
                self.can_record = False
                reason = str(error).splitlines()[0][:150]
                print(f"steps are not recorded, which would be faster: {reason}", file=sys.stderr)
        if size not in self.replay:
            return super().__call__(*values)
        for buffer, its in zip(self.inputs[size], values, strict=True):
            buffer.copy_(its)
        self.replay[size]()
        return self.terms[size].clone()

    def record(self, size: int) -> None:
        """Records a step, without taking it. Raises RuntimeError if that cannot be done."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.terms[size] = super().__call__(*self.inputs[size])
        self.replay[size] = graph.replay
