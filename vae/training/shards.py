"""Training by several processes and machines, with the same bits for any number of them.

A batch is split into `train.shards` parts. The gradient of each part is computed separately, and
the gradients are added in a fixed order, so that it does not matter which process computed which.
torchrun starts the processes; TORCHRUN holds its options: TORCHRUN=--nproc-per-node=2 dvc repro.
"""

import contextlib
import ctypes
import io
import logging
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, distributed

from vae.errors import Refusal, UserError
from vae.model.objectives import loss
from vae.model.vae import VAE
from vae.numerics.threads import affordable
from vae.training.optimizer import AdamW
from vae.training.settings import Settings
from vae.training.steps import Plain

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

Value = TypeVar("Value")
PATIENCE = timedelta(minutes=1)  # with a process on another machine that no longer answers


@dataclass(frozen=True)
class Processes:
    """This process and those that train with it. Each has the whole model and all images."""

    count: int = 1
    rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that reads checkpoints, writes and speaks."""
        return self.rank == 0

    def mine(self, shards: int) -> range:
        """The numbers of this process's shards."""
        its = shards // self.count
        return range(self.rank * its, (self.rank + 1) * its)

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

    def from_first(self, value: Value) -> Value:
        """The first process's value."""
        values = [value]
        if self.count > 1:
            distributed.broadcast_object_list(values)
        return values[0]


ALONE = Processes()


class Sharded(Plain):
    """The sum of the gradients of all shards, of which each process computes some."""

    def __init__(self, model: VAE, optimizer: AdamW, settings: Settings, processes: Processes):
        """Raises Refusal if the network keeps averages of whole batches."""
        super().__init__(model, optimizer, settings)
        self.shards, self.processes = settings.shards, processes
        if any(True for _ in model.buffers()):
            raise Refusal(
                f"train.shards = {settings.shards} with model.network = "
                f"{model.architecture.network!r}: it keeps averages of whole batches (BatchNorm); "
                f"set train.shards to 1"
            )

    def __call__(self, pixels: Tensor, noise: Tensor, rate: Tensor, progress: Tensor) -> Tensor:
        x = self.model.scaled(pixels)
        # For the network's own randomness, the same in every process.
        seed = int(torch.randint(2**62, ()))
        images, noises = x.tensor_split(self.shards), noise.tensor_split(self.shards, 1)
        results = []
        for shard in self.processes.mine(self.shards):
            torch.manual_seed(seed + shard)
            count = len(images[shard])
            # An empty shard takes an image with weight zero: torch's pixel shuffle fails without.
            its = (images[shard], noises[shard]) if count else (x[:1], noise[:, :1])
            self.optimizer.zero_grad()
            value, terms = loss(self.model, *its, progress, **self.options)
            value.backward(value.new_tensor(count / len(x)))
            of_batch = x.new_zeros(2, len(x))
            of_batch.tensor_split(self.shards, 1)[shard].copy_(terms[:, :count])
            used = [p for p in self.model.parameters() if p.grad is not None]
            gradients = [p.grad.flatten() for p in used if p.grad is not None]
            results.append(torch.cat([*gradients, of_batch.flatten()]))
        torch.manual_seed(seed - 1)
        total = self.processes.tree_sum(results)
        *sums, of_batch = total.split([*(p.numel() for p in used), 2 * len(x)])
        for parameter, its in zip(used, sums, strict=True):
            # In the parameter's own order in memory, which for a convolution may be another one.
            parameter.grad = torch.empty_like(parameter).copy_(its.view_as(parameter))
        self.optimizer.step(rate)
        return of_batch.view(2, len(x))


def launch(module: str, options: str) -> None:
    """Runs `python -m module` in as many processes as torchrun's `options` ask for.

    If one of them fails, all end, and its error is raised here: a Refusal or a UserError.
    """
    from torch.distributed.elastic.multiprocessing import api, errors  # these take a moment
    from torch.distributed.run import parse_args, run

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we speak for it
    # Its own choice is one thread each; vae/numerics/threads.py shares the processors among them.
    os.environ.setdefault("OMP_NUM_THREADS", str(affordable(torch.get_num_threads())))
    words = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with contextlib.redirect_stderr(words):
                command = [*shlex.split(options), "--log-dir", folder, "-m", module]
                arguments = parse_args(command)
            run(arguments)
        except (SystemExit, ValueError) as error:  # unknown; or --nproc-per-node=gpu without one
            reason = (words.getvalue().strip().splitlines() or [str(error)])[-1]
            raise Refusal(f"TORCHRUN = {options!r}: not options of torchrun ({reason})") from None
        except api.SignalException as error:
            signal.signal(error.sigval, signal.SIG_DFL)
            signal.raise_signal(error.sigval)
        except errors.ChildFailedError as error:
            raise _reason(list(error.failures.values())) from None


def _reason(failures: "list[ProcessFailure]") -> Exception:
    """The exception to raise for the processes that failed."""
    # torchrun ends the others by SIGTERM, and these complain of the one that is gone.
    killed = [its for its in failures if its.exitcode < 0 and its.exitcode != -signal.SIGTERM]
    first = min(killed or failures, key=lambda its: its.timestamp)
    if killed or not isinstance(first.message, dict):
        how = f"was killed ({first.signal_name()})" if killed else f"ended with {first.exitcode}"
        return UserError(
            f"process {first.local_rank} of training {how}, and the others were stopped.\n"
            f"Go on from the last epoch that was done: dvc repro"
        )
    kind, _, text = first.message["message"].partition(": ")
    if kind in ("UserError", "Refusal"):
        return {"UserError": UserError, "Refusal": Refusal}[kind](text)
    return RuntimeError(f"a process of training:\n{first.message['extraInfo']['py_callstack']}")


def is_launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def together(device: str, shards: int) -> Iterator[tuple[Processes, str]]:
    """The processes that torchrun has started, or this one alone; and this one's device.

    If something goes wrong in one of them, the launcher reports it, once.
    """
    if not is_launched():
        yield ALONE, device
        return
    if sys.platform == "linux":  # ends with its launcher, instead of going on and writing files
        set_parent_death_signal = 1  # the constant PR_SET_PDEATHSIG of prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    try:
        count, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
        check_count(count, shards)
        if rank > 0:
            sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        device, backend = own_device(device), "gloo"
        if device.startswith("cuda:") and int(device[5:]) < torch.cuda.device_count():
            torch.cuda.set_device(torch.device(device))
            backend = "cpu:gloo,cuda:nccl"
        distributed.init_process_group(backend, timeout=PATIENCE)
        yield Processes(count, rank), device
        distributed.destroy_process_group()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        # torchrun sends SIGTERM to the others once one is killed.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        get_error_handler().record_exception(error)
        sys.exit(1)


def check_count(count: int, shards: int) -> None:
    """Raises Refusal if the shards cannot be divided evenly among that many processes."""
    if shards % count:
        raise Refusal(
            f"TORCHRUN starts {count} processes, and train.shards = {shards}: each process "
            f"computes the same number of shards; set train.shards to a multiple of {count}"
        )


def own_device(name: str) -> str:
    """`train.device` of this process: several on a machine have a GPU each.

    Raises Refusal if there are too few.
    """
    gpus, here = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
    if name.startswith("cuda:") and here > 1:
        raise Refusal(
            f"train.device = {name!r} with TORCHRUN = {os.environ.get('TORCHRUN')!r}: its {here} "
            f"processes need a GPU each; set train.device to cuda"
        )
    if name not in ("cuda", "auto") or not gpus:
        return name
    if here > gpus:
        raise Refusal(
            f"TORCHRUN = {os.environ.get('TORCHRUN')!r} starts {here} processes on a machine "
            f"with {gpus} GPUs: should be at most one for each"
        )
    return f"cuda:{os.environ['LOCAL_RANK']}"
