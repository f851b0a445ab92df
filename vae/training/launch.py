"""Starts a stage in several processes by torchrun, and reports a failure in a line or two."""

import contextlib
import io
import logging
import os
import shlex
import signal
import tempfile

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

from vae.common.errors import Refusal, UserError
from vae.common.threads import affordable


def launch(module: str, options: str) -> None:
    """Runs `python -m module` in as many processes as torchrun's `options` ask for.

    If one of them fails, all end, and its error is raised here: a Refusal, a UserError, or a
    RuntimeError with its traceback. If one is killed, that is a UserError.
    """
    # Messages of its own would stand beside ours.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # Its own choice is one thread each; vae/common/threads.py shares the processors among them.
    os.environ.setdefault("OMP_NUM_THREADS", str(affordable(torch.get_num_threads())))
    with tempfile.TemporaryDirectory() as folder:
        words = io.StringIO()
        try:
            with contextlib.redirect_stderr(words):
                command = [*shlex.split(options), "--log-dir", folder, "-m", module]
                arguments = parse_args(command)
        except (SystemExit, ValueError) as error:
            reason = (words.getvalue().strip().splitlines() or [str(error)])[-1]
            raise Refusal(f"TORCHRUN = {options!r}: not options of torchrun ({reason})") from None
        try:
            run(arguments)
        except ValueError as error:  # such as --nproc-per-node=gpu without one
            raise Refusal(f"TORCHRUN = {options!r}: {error}") from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            signal.signal(error.sigval, signal.SIG_DFL)
            signal.raise_signal(error.sigval)
        except ChildFailedError as error:
            raise failure(error.failures) from None


def failure(failures: dict[int, ProcessFailure]) -> Exception:
    """The exception to raise for the processes that failed, which are given by rank."""
    for rank, its in failures.items():
        # torchrun ends the others by SIGTERM, and these complain of the one that is gone.
        if its.exitcode < 0 and its.exitcode != -signal.SIGTERM:
            return UserError(
                f"process {rank} of training was killed ({its.signal_name()}), and the others were "
                f"stopped.\nGo on from the last epoch that was done: dvc repro"
            )
    rank = min(failures, key=lambda rank: failures[rank].timestamp)
    told = failures[rank].message
    if not isinstance(told, dict):
        return UserError(f"process {rank} of training ended with {failures[rank].exitcode}")
    kind, _, text = told["message"].partition(": ")
    if kind in ("UserError", "Refusal"):
        return {"UserError": UserError, "Refusal": Refusal}[kind](text)
    return RuntimeError(f"process {rank} of training:\n{told['extraInfo']['py_callstack']}")
