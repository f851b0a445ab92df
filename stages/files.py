"""Files that are whole or absent: atomic writing, and reading that names what is wrong."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.errors import UserError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Puts `content` at `path` in one step: a reader sees the old file or the new, never a part."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(
            f"cannot write {path}: {error.strerror}.\n"
            f"Make room, or make {path.parent}/ a folder that can be written, and run this again"
        ) from None


def write_json(path: str | Path, content: Mapping) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def write_csv(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Rows of the same keys, which become the header. Written anew and whole, so that a file that
    grows by a row an epoch can be watched.
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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
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
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is damaged or not a safetensors file ({reason}).\n"
            f"Delete it and make it again: dvc repro"
        ) from None
