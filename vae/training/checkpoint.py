"""Checkpoints, from which training resumes after it was stopped in any way.

A checkpoint's name is a digest of everything that decides the result. Reading it runs no code.
"""

import json
import sys
from pathlib import Path

from torch import Tensor

from vae.errors import UserError
from vae.files import digest, load_tensors, save_tensors

Row = dict[str, float]  # a row of training.csv: the value of each column


class Checkpoint:
    def __init__(self, path: Path):
        self.path = path

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
            rows = json.loads(metadata["rows"])
        except (UserError, OSError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[0]
            print(f"checkpoint ignored, training starts anew: {reason}", file=sys.stderr)
            return None
        # Copies: Windows does not replace a file that is mapped into memory.
        return {name: tensor.clone() for name, tensor in tensors.items()}, rows

    def remove(self) -> None:
        """If that fails, it prints a warning."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            print(f"checkpoint not removed: {self.path}: {error.strerror}", file=sys.stderr)
