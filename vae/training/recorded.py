"""Steps on a GPU as graphs: recorded once, and then repeated without Python.

A step of the defaults launches some 150 small kernels, and waits for Python with each. On an H200
it took 2,720 µs, and 314 µs in a graph (torch 2.11, commit ee92564 and a script; not measured
since). What differs from step to step is read from tensors on the device, where a counter says.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from vae.model.vae import VAE
from vae.training.optimizer import AdamW
from vae.training.settings import Settings
from vae.training.steps import Plain

WARM_UP = 3  # steps before a recording, in which libraries choose their kernels


class Recorded(Plain):
    """The same steps as `Plain`, with a graph for each size of batch."""

    def __init__(self, model: VAE, optimizer: AdamW, settings: Settings):
        super().__init__(model, optimizer, settings)
        self.buffers: list[Tensor] = []  # pixels, noise, rates and progress of an epoch
        self.done: dict[int, int] = {}  # steps before recording, by size of batch
        self.replay: dict[int, Callable[[], None]] = {}
        self.records = next(model.parameters()).device.type == "cuda"

    def epoch(
        self, pixels: Tensor, stream: torch.Generator, rates: Tensor, progress: Tensor
    ) -> Tensor:
        batches = self.batches(len(pixels))
        noise = torch.cat([self.noise(batch, stream) for batch in batches], dim=1)
        self.fill([pixels, noise, rates, progress])
        for batch in tqdm(batches, unit="step", leave=False, disable=None):
            self.run(batch.stop - batch.start)
        return self.terms.clone()

    def fill(self, values: list[Tensor]) -> None:
        """Puts an epoch's values where the graphs read them, and goes to its first step."""
        if [its.shape for its in self.buffers] != [its.shape for its in values]:
            self.buffers = [its.clone() for its in values]
            pixels, noise, *_ = values
            self.terms = noise.new_zeros(2, len(pixels))
            self.first = torch.zeros((), dtype=torch.int64, device=pixels.device)  # of the batch
            self.number = torch.zeros_like(self.first)  # of the step
            self.replay.clear()
        for buffer, its in zip(self.buffers, values, strict=True):
            buffer.copy_(its)
        self.first.zero_()
        self.number.zero_()

    def run(self, size: int) -> None:
        """The next step of the epoch, of so many images."""
        done = self.done[size] = self.done.get(size, 0) + 1
        if done > WARM_UP and size not in self.replay and self.records:
            self.record(size)
        self.replay.get(size, lambda: self.step(size))()

    def step(self, size: int) -> None:
        """Takes everything from the buffers, so that a graph of it can be repeated."""
        pixels, noise, rates, progress = self.buffers
        rows = self.first + torch.arange(size, device=pixels.device)
        now = self.number.view(1)
        terms = self(
            pixels.index_select(0, rows), noise.index_select(1, rows),
            rates.index_select(0, now).view(()), progress.index_select(0, now).view(()),
        )  # fmt: skip
        self.terms.index_copy_(1, rows, terms)
        self.first += size
        self.number += 1

    def record(self, size: int) -> None:
        """If that fails, says so and goes on without."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.step(size)
            self.replay[size] = graph.replay
        except RuntimeError as error:
            self.records = False
            reason = str(error).splitlines()[0][:150]
            print(f"steps are not recorded, which would be faster: {reason}", file=sys.stderr)
