"""Files that are whole or absent: atomic writing, and reading that names what is wrong."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stages.errors import UserError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Puts `content` at `path` in one step: a reader sees the old file or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def write_json(path: str | Path, content: Mapping) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


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
    write_atomically(path, content[:8] + text.ljust(start - 8) + content[start:])


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


class CsvLog:
    """A CSV file that grows by whole rows, for whoever watches it."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> "CsvLog":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "w", newline="", encoding="utf-8")
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def append(self, row: Mapping[str, object]) -> None:
        writer = csv.DictWriter(self.file, list(row), lineterminator="\n")
        if self.file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
        self.file.flush()
