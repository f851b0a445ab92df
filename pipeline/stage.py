"""How a stage starts and ends: its output, its errors, its inputs.

When something is wrong, it ends in one or two lines and a non-zero exit code.
"""

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import torch

import vae.numerics
from pipeline.begin import ROOT
from pipeline.inputs import Inputs
from pipeline.params import load_params
from vae.errors import Refusal, UserError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BACK = (
    "\nTo go back to the last commit's parameters and results (dvc repro makes what is missing): "
    "git checkout HEAD -- params.yaml dvc.lock metrics plots && dvc checkout --force"
)


class Unfailing(io.FileIO):
    """A standard stream that ignores write errors.

    A stage's results are files. If the reader of its output leaves (`| head`), or the disk of its
    log is full, the stage continues instead of losing a training. Ctrl-C still ends it.
    """

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def unfailing(stream: TextIO | None) -> TextIO:
    """A stream that writes to `stream` and escapes characters that its encoding lacks."""
    if stream is None:  # closed
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):  # a console of Windows, say
        return stream
    raw: io.RawIOBase = Unfailing(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, "backslashreplace", line_buffering=True
    )


def dvc_has_deleted_outputs() -> bool:
    """Whether DVC runs this stage, and so has deleted its outputs, in the user's own workspace and
    not in the temporary copy that the queue works in.
    """
    root = os.environ.get("DVC_ROOT", os.curdir)
    return "DVC_STAGE" in os.environ and os.path.realpath(root) == os.path.realpath(os.curdir)


def run(main: Callable[[], None]) -> None:
    """Runs `main`; a mistake of the user's ends in a message, not in a traceback.

    Ctrl-C leaves by the signal itself, so that DVC and the shell see a failure.
    """
    sys.stdout, sys.stderr = unfailing(sys.stdout), unfailing(sys.stderr)
    try:
        main()
    except UserError as error:
        deleted = isinstance(error, Refusal) and dvc_has_deleted_outputs()
        sys.exit(f"error: {error}{BACK if deleted else ''}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except (MemoryError, RuntimeError) as error:
        reason = str(error) or "out of memory"
        if "have a deterministic implementation" in reason:  # of a network's operation, on a GPU
            sys.exit(
                f"error: {reason.partition(', but')[0]}.\n"
                f"Set train.numerics and evaluate.numerics to native, or replace the operation"
            )
        if not re.search("out of memory|t allocate memory|nable to allocate", reason):
            raise
        sys.exit(
            f"error: not enough memory ({' '.join(reason.split())[:150]}).\n"
            f"Use a smaller network or train.batch_size, or a machine or GPU that has more"
        )
    except OSError as error:
        # A full disk, a read-only folder, a file that is a folder: the system's words name it.
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        sys.exit(f"error: {what}")


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Holds the stage of this name in this workspace; its lock file says which process does.

    The system frees the lock when the process ends in any way. Where there is no `fcntl`, or no
    folder of DVC's that can be written, nothing is held.
    Raises UserError if another process holds it.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            path = Path(".dvc", "tmp", f"{name}.running")
            lock = held.enter_context(open(path, "a+", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read()
                raise UserError(
                    f"the stage {name} already runs in this folder, as process {holder}.\n"
                    f"Wait for its end, or stop it: kill {holder}"
                ) from None
            lock.truncate(0)
            print(os.getpid(), end="", file=lock, flush=True)
        yield


def run_stage(name: str, main: Callable[[Inputs], None], launched: bool = False) -> None:
    """Runs a stage's `main` as `run` does, and fails if an input changes while it runs, or if the
    stage runs here already, unless it was `launched` as one of several processes.

    `main` may check earlier, where it would throw away something that the next run can use.
    """

    def checked() -> None:
        if Path("dvc.yaml").exists() and Path("pipeline").exists() and not ROOT.samefile("."):
            raise UserError(
                f"the code that runs is that of {ROOT}, and not of this folder, {Path().absolute()}"
                f".\nUnset PYTHONPATH and PYTHONSAFEPATH, and run it again"
            )
        if sys.argv[1:]:
            raise Refusal(
                f"{' '.join(sys.argv[1:])}: a stage takes no arguments; edit params.yaml, or set "
                f"parameters by dvc exp run -S"
            )
        load_params()  # what is no table of parameters is refused before anything reads it
        with contextlib.nullcontext() if launched else alone(name):
            inputs = Inputs(name)
            main(inputs)
            inputs.check()

    run(checked)


def start(
    device: str, parameter: str, numerics: str = "portable", precision: str = "float32"
) -> torch.device:
    """Makes ready for computing, before anything is computed, and returns the device to use.

    `device` is cpu, cuda, cuda:N, mps or auto, the value of `parameter` (for the message).
    `numerics`: portable (the same bits on every processor, with any number of threads, at some
    cost) or native.
    Raises Refusal if this machine lacks the device.
    """
    present = ["cpu"]
    if torch.cuda.is_available():
        present += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        present.append("mps")
    if device == "auto":
        device = present[1] if len(present) > 1 else "cpu"
        print(f"{parameter} = auto: using {device}")
    if ("cuda:0" if device == "cuda" else device) not in present:
        raise Refusal(
            f"{parameter} = {device!r}: this machine has no such device (it has: "
            f"{', '.join(present)}); set {parameter} to one of these, or to auto"
        )
    if device == "cpu" and precision == "bfloat16" and not _has_bfloat16():
        name = f"{parameter.partition('.')[0]}.precision"
        print(
            f"{name} = bfloat16: this processor has no instructions for it, so that a step takes "
            f"about 13 times as long as with {name} = float32",  # stochastic-30, two AMD cores
            file=sys.stderr,
        )
    vae.numerics.start(torch.device(device), numerics == "portable")
    return torch.device(device)


def _has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
