"""Training by several processes and machines, with the same bits for any number of them.

A batch is split into `train.shards` parts. The gradient of each part is computed separately, and
the gradients are added in a fixed order, so that it does not matter which process computed which.
torchrun starts the processes; TORCHRUN holds its options: TORCHRUN=--nproc-per-node=2 dvc repro.
"""

import contextlib
import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from vae.common.errors import Refusal
from vae.common.params import Train

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=1)  # with a process on another machine that no longer answers


def sizes(rows: int, shards: int) -> list[int]:
    """The sizes of the parts of a batch, larger ones first. They differ by at most one row."""
    return [rows // shards + (part < rows % shards) for part in range(shards)]


@dataclass(frozen=True)
class Processes:
    """This process and those that train with it. Each has the whole model and all images."""

    count: int = 1
    rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that reads checkpoints, writes and speaks."""
        return self.rank == 0

    def parts(self, rows: int, shards: int) -> list[tuple[int, slice]]:
        """This process's shards of a batch: the number of each, and its rows."""
        ends = [0, *itertools.accumulate(sizes(rows, shards))]
        every = [(shard, slice(*rows)) for shard, rows in enumerate(itertools.pairwise(ends))]
        its = shards // self.count
        return every[self.rank * its : (self.rank + 1) * its]

    def tree_sum(self, mine: list[Tensor]) -> Tensor:
        """The sum of all processes' tensors, given this one's, in one order for any count.

        Overwrites `mine`.
        """
        terms = mine
        if self.count > 1:
            gathered = mine[0].new_empty(self.count * len(mine), *mine[0].shape)
            distributed.all_gather_single(gathered, torch.stack(mine))
            terms = list(gathered)
        while len(terms) > 1:  # neighbours in pairs, then the pairs, and so on
            sums = [first.add_(second) for first, second in zip(terms[::2], terms[1::2])]  # noqa: B905
            terms = sums + terms[2 * len(sums) :]
        return terms[0]

    def whole(self, mine: Tensor) -> Tensor:
        """A tensor of which each process has a part, with zeros elsewhere."""
        if self.count > 1:
            distributed.all_reduce(mine)
        return mine

    def from_first(self, value: Value) -> Value:
        """The first process's value."""
        values = [value]
        if self.count > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def device(self, name: str) -> str:
        """`train.device` of this process: several on a machine have a GPU each.

        Raises Refusal if there are too few.
        """
        gpus = torch.cuda.device_count()
        if self.count == 1 or name not in ("cuda", "auto") or (name == "auto" and not gpus):
            return name
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        if here > gpus:
            raise Refusal(
                f"TORCHRUN = {os.environ.get('TORCHRUN')!r} starts {here} processes on a machine "
                f"with {gpus} GPUs: should be at most one for each"
            )
        return f"cuda:{os.environ['LOCAL_RANK']}"


ALONE = Processes()


def is_launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def together(params: Train) -> Iterator[Processes]:
    """The processes that torchrun has started, or this one alone.

    If something goes wrong in one of them, the launcher reports it, once.
    """
    if not is_launched():
        yield ALONE
        return
    end_with_launcher()
    try:
        count, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
        check_count(count, params.shards)
        if rank > 0:
            sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        backend = "gloo"
        if params.device != "cpu" and torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, timeout=PATIENCE)
        yield Processes(count, rank)
        distributed.destroy_process_group()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        get_error_handler().record_exception(error)
        sys.exit(1)


def check_count(count: int, shards: int) -> None:
    """Raises Refusal if the shards cannot be divided evenly among that many processes."""
    if shards % count:
        raise Refusal(
            f"TORCHRUN starts {count} processes, and train.shards = {shards}: each process "
            f"computes the same number of shards; set train.shards to a multiple of {count}"
        )


def end_with_launcher() -> None:
    """Ends this process with its launcher. Otherwise it would go on training and writing files."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # of prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
