"""AdamW: Kingma & Ba 2015 (arXiv:1412.6980); Loshchilov & Hutter 2019 (arXiv:1711.05101)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

# Numbers that a block of a GPU's threads takes. The kernel itself gives each block up to 65,536, so
# that the defaults' weights kept 16 of an H200's 132 processors busy, for 70 µs of a step's 337.
PIECE = 16_384


class AdamW:
    """The fused kernel of torch.optim.AdamW, without the bookkeeping around it.

    With torch's class a step takes 1.05 to 1.07 times as long (benchmarks/choices.py at commit
    ee92564), and the first step loads torch's compiler, which takes 2.8 s of a processor. This
    class is no longer than the code that would move torch's state into a checkpoint and back.

    weight_decay times the learning rate is the share by which a step shrinks the matrices and
    convolutions of the encoder and the decoder. Biases and the prior do not shrink.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], weight_decay: float = 0.0, beta2: float = 0.999
    ):
        self.parameters, self.beta2 = dict(parameters), beta2
        self.means = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.squares = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        device = next(iter(self.parameters.values())).device
        self.steps = torch.zeros((), device=device)
        self.piece = PIECE if device.type == "cuda" else None
        self.groups: dict[float, list[str]] = {}  # names by weight decay
        for name, p in self.parameters.items():
            decay = weight_decay if "coder." in name and p.ndim > 1 else 0.0
            self.groups.setdefault(decay, []).append(name)

    def zero_grad(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: Tensor | float) -> None:
        self.steps += 1
        for decay, group in self.groups.items():
            gradients = [(name, self.parameters[name].grad) for name in group]
            used = {name: gradient for name, gradient in gradients if gradient is not None}
            parameters, means, squares = (
                self._pieces(its[name] for name in used)
                for its in (self.parameters, self.means, self.squares)
            )
            torch._fused_adamw_(
                parameters, self._pieces(used.values()), means, squares,
                [], [self.steps] * len(parameters),
                lr=learning_rate, beta1=0.9, beta2=self.beta2, eps=1e-8,
                weight_decay=decay, amsgrad=False, maximize=False,
            )  # fmt: skip

    def _pieces(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        if self.piece is None:
            return [*tensors]
        parts: list[Tensor] = []
        for its in tensors:  # those in another layout, as convolutions' are, stay whole
            parts.extend(its.view(-1).split(self.piece) if its.is_contiguous() else [its])
        return parts

    def state(self) -> dict[str, Tensor]:
        """The tensors, besides the parameters, that later steps depend on."""
        moments = {"mean": self.means, "square": self.squares}
        return {"steps": self.steps} | {
            f"{moment}/{name}": tensor
            for moment, tensors in moments.items()
            for name, tensor in tensors.items()
        }
