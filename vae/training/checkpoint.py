"""Checkpoints, from which training resumes after it was stopped in any way.

A checkpoint is a file that neither Git nor DVC tracks. Its name is a digest of everything that
decides the result. Reading it runs no code, and training removes it at the end.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from vae.common.errors import UserError
from vae.common.files import digest, load_tensors, save_tensors
from vae.common.params import Params

Row = dict[str, float]  # of training.csv, by column


def fingerprint(params: Params, device: torch.device, files: Iterable[str | Path]) -> str:
    """A digest of everything that decides the result of training: the parameters, the device, the
    version of torch, and the content of `files`, which are data and code.
    """
    chosen = {
        "model": params.model.model_dump(),
        "train": params.train.model_dump(),
        "device": device.type,
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    for path in files:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()[:32]


class Checkpoint:
    def __init__(self, name: str):
        # In experiments of DVC's queue the working folder is a temporary copy, and DVC_ROOT names
        # the repository that outlives it.
        root = Path(os.environ.get("DVC_ROOT", "."))
        self.path = root / ".checkpoints" / f"{name}.safetensors"

    def save(self, state: dict[str, Tensor], rows: list[Row]) -> None:
        """Saves the state after len(rows) epochs. If that fails, it prints a warning, and training
        continues.
        """
        text = json.dumps(rows)
        try:
            save_tensors(self.path, state, {"rows": text, "sha256": digest(state, text)})
        except UserError as error:
            print(f"no checkpoint this time: {str(error).splitlines()[0]}", file=sys.stderr)

    def read(self) -> tuple[dict[str, Tensor], list[Row]] | None:
        """The saved state and a row for each finished epoch, or None if there is no usable
        checkpoint.
        """
        try:
            if not self.path.exists():
                return None
            tensors, metadata = load_tensors(self.path)
            if metadata["sha256"] != digest(tensors, metadata["rows"]):
                raise ValueError(f"{self.path} is not what was written")
        except (UserError, OSError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[0]
            print(f"checkpoint ignored, training starts anew: {reason}", file=sys.stderr)
            return None
        # Copies: Windows does not replace a file that is mapped into memory.
        return {name: tensor.clone() for name, tensor in tensors.items()}, json.loads(
            metadata["rows"]
        )

    def remove(self) -> None:
        """If that fails, it prints a warning."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            print(f"checkpoint not removed: {self.path}: {error.strerror}", file=sys.stderr)
