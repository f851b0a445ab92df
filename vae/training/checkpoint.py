"""What training needs to go on after it was stopped, however it was stopped.

A checkpoint is a file that neither Git nor DVC knows of, named after everything that decides the
result. It is read without running any code of it, and removed when training ends.
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


def fingerprint(params: Params, device: torch.device, files: Iterable[str | Path]) -> str:
    """A digest of all that decides the result of training: the parameters, the device, the
    version of torch, and the content of `files`, data and code.
    """
    chosen = {"model": params.model.model_dump(), "train": params.train.model_dump()}
    chosen |= {"device": device.type, "torch": torch.__version__}
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

    def save(self, state: dict[str, Tensor], rows: list[dict]) -> None:
        """Keeps the state after len(rows) epochs. A failure costs a warning, not the training."""
        text = json.dumps(rows)
        try:
            save_tensors(self.path, state, {"rows": text, "sha256": digest(state, text)})
        except UserError as error:
            print(f"no checkpoint this time: {str(error).splitlines()[0]}", file=sys.stderr)

    def read(self) -> tuple[dict[str, Tensor], list[dict]] | None:
        """The state that was saved, and a row for each epoch that is done; None if there is no
        usable checkpoint.
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
        """A failure costs a warning, not the training."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            print(f"checkpoint not removed: {self.path}: {error.strerror}", file=sys.stderr)
