"""Writing that leaves files whole or absent, and reading whose errors name what is wrong."""

import csv
import hashlib
import io
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vae.errors import UserError, in_short

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: str | Path, content: bytes) -> None:
    """Puts `content` at `path` in one step: a reader sees the old file or the new, never a part.

    Any number of processes may write one path at once; one of them is the last.
    Raises UserError if the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "xb") as file:
            if fcntl:
                with suppress(OSError):  # some network file systems have no locks
                    fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed, or this process ends
                if not partial.exists():  # another writer has removed it before it was locked
                    return write_atomically(path, content)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if fcntl:
                os.replace(partial, path)
        if fcntl:
            _remove_what_the_killed_left(path)
        else:  # Windows does not move a file that is open
            os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}.\n"
            f"Make room, or make {path.parent}/ a folder that can be written, and run this again"
        ) from None
    finally:
        with suppress(OSError):  # it is there only if something went wrong
            partial.unlink()


def _remove_what_the_killed_left(path: Path) -> None:
    """Removes the partial files of `path` that no living process holds a lock on."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        with suppress(OSError), open(partial, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def write_json(path: str | Path, content: Mapping[str, object]) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Writes rows with the same keys, which become the header. The file is replaced as a whole, so
    that readers can watch a file that grows by a row each epoch.
    """
    content = io.StringIO()
    writer = csv.DictWriter(content, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, content.getvalue().encode())


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file whose bytes depend on nothing but its content."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = safetensors.torch.save(tensors, dict(metadata))
    # The library writes the metadata in an order that changes from run to run: sort it.
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    parts = content[:8], text.ljust(start - 8), memoryview(content)[start:]
    write_atomically(path, b"".join(parts))


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; runs no code of the file's.

    Raises UserError if the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with: dvc repro") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or not a safetensors file ({in_short(error)}).\n"
            f"Delete it and make it again: dvc repro"
        ) from None


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """SHA-256 of `text` and of the tensors with their names, types and shapes."""
    result = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        result.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # As bytes, because NumPy has no bfloat16.
        result.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return result.hexdigest()
