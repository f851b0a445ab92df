"""Fully connected networks with a backward pass by hand, for training that wastes nothing.

At 32 images a step most of an ordinary step is not arithmetic: autograd's bookkeeping, megabytes
of gradients allocated and freed, Adam visiting a dozen tensors. Here all parameters are one
vector, and `backward` writes each gradient where Adam reads it.

The two big layers are most of what remains, and what they cost depends on which core has their
weights in its cache. MKL gives each thread a contiguous share of a layer's rows, for outputs and
for weight gradients; Adam and `backward` share them out in the same way. Where two cores have no
cache in common, as happens on rented ones, this makes a step a third faster.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Layer(NamedTuple):
    """A linear layer's tensors, at hand: to ask the module for them takes 4% of a small step."""

    weight: Tensor  # [out, in]; with `transposed` and `bias` in the type that is computed with
    transposed: Tensor
    bias: Tensor
    parameters: tuple[Tensor, Tensor]  # weight and bias that are trained, in float32
    weight_grad: Tensor
    bias_grad: Tensor
    skips: bool  # adds its input to its output


class MLP(nn.Sequential):
    """Linear layers with ReLU between them: [..., dims[0]] → [..., dims[-1]].

    residual: a hidden layer that is as wide as its input adds it to its output.
    """

    def __init__(self, *dims: int, residual: bool = False):
        layers = []
        for fan_in, fan_out in pairwise(dims):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        super().__init__(*layers[:-1])
        self.skips = [residual and fan_in == fan_out for fan_in, fan_out in pairwise(dims[:-1])]
        self.skips.append(False)

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = list(self)[::2]
        for linear, skips in zip(hidden, self.skips, strict=False):
            active = linear(x).relu()
            x = x + active if skips else active
        return last(x)

    def bind(self, precision: torch.dtype = torch.float32) -> None:
        """To be called before the methods below: parameters and `.grad` stay where they are now.

        precision: of the matrix products, if less than the parameters'.
        """
        self.layers = []
        for linear, skips in zip(list(self)[::2], self.skips, strict=True):
            parameters = linear.weight.data, linear.bias.data
            weight, bias = parameters
            if precision == torch.bfloat16:
                weight, bias = weight.bfloat16(), bias.bfloat16()
            gradients = linear.weight.grad, linear.bias.grad
            self.layers.append(Layer(weight, weight.t(), bias, parameters, *gradients, skips))

    def forward_keeping(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor | None]]]:
        """[N, dims[0]] → the output, and what `backward` needs of each layer: its input, and the
        ReLU's output before it, which the first has not.
        """
        for layer in self.layers:
            if layer.weight.dtype != x.dtype:  # rounded anew, for the parameters have changed
                torch._foreach_copy_([layer.weight, layer.bias], layer.parameters)
        dtype, last = x.dtype, self.layers[-1]
        x, active, kept = x.to(last.weight.dtype), None, []
        for layer in self.layers[:-1]:
            kept.append((x, active))
            active = torch.addmm(layer.bias, x, layer.transposed).relu_()
            x = x + active if layer.skips else active
        kept.append((x, active))
        return torch.addmm(last.bias, x, last.transposed).to(dtype), kept

    def backward(
        self, kept: list[tuple[Tensor, Tensor | None]], gradient: Tensor, to_input: bool
    ) -> Tensor | None:
        """From the loss's gradient by the output [N, dims[-1]]: overwrites every parameter's
        `.grad`, and returns the gradient by the input [N, dims[0]] if asked for.
        """
        dtype = gradient.dtype
        by_output = gradient = gradient.to(self.layers[0].weight.dtype)
        for layer, (x, active) in zip(reversed(self.layers), reversed(kept), strict=True):
            if gradient.dtype == layer.weight_grad.dtype:
                torch.mm(gradient.t(), x, out=layer.weight_grad)
            else:
                layer.weight_grad.copy_(gradient.t() @ x)
            torch.sum(gradient, 0, dtype=layer.bias_grad.dtype, out=layer.bias_grad)
            if active is None and not to_input:
                return None
            by_x = by_input(gradient, layer.weight)
            if layer.skips:
                by_x += by_output
            by_output = by_x
            if active is not None:
                # ReLU's derivative: 1 where its output is positive.
                gradient = torch.ops.aten.threshold_backward.default(by_x, active, 0)
        return by_output.to(dtype)


def by_input(gradient: Tensor, weight: Tensor) -> Tensor:
    """gradient [N, out] @ weight [out, in], as a sum over both halves of the weight's rows.

    As one product, it would let each thread read all rows, and so take them out of the cache of
    the thread that updates them. Small layers stay whole: there it matters less, and products over
    200 to 256 rows have other bits on Intel's processors than on AMD's.
    """
    rows, columns = weight.shape
    if rows % 2 or rows <= 512:
        return gradient @ weight
    halves = gradient.view(-1, 2, rows // 2).transpose(0, 1)  # [2, N, out/2]
    first, second = torch.bmm(halves, weight.view(2, rows // 2, columns))
    return first.add_(second)


class FlatAdam:
    """AdamW over all parameters of a model as one vector, torch's fused kernel.

    Kingma & Ba 2015; Loshchilov & Hutter 2019 (arXiv:1711.05101).
    Moves the model's parameters into the vector: they become windows on it, and their `.grad`
    windows on its gradient. precision: of the model's matrix products in training.
    weight_decay: share of the learning rate by which a step shrinks the layers' matrices.
    """

    def __init__(
        self,
        model: nn.Module,
        precision: torch.dtype = torch.float32,
        weight_decay: float = 0.0,
    ):
        parameters = list(model.parameters())
        self.vector = nn.utils.parameters_to_vector(parameters).detach()
        self.gradient, self.mean, self.square = torch.zeros(3, *self.vector.shape).to(self.vector)
        self.steps = torch.zeros((), device=self.vector.device)
        sizes = [parameter.numel() for parameter in parameters]
        windows = zip(parameters, self.vector.split(sizes), self.gradient.split(sizes), strict=True)
        for parameter, data, gradient in windows:
            parameter.data = data.view_as(parameter)
            parameter.grad = gradient.view_as(parameter)
        for module in model.modules():
            if isinstance(module, MLP):
                module.bind(precision)
        matrices = {module.weight for module in model.modules() if isinstance(module, nn.Linear)}
        vectors = self.vector, self.gradient, self.mean, self.square
        pieces = list(zip(*(vector.split(sizes) for vector in vectors), strict=True))
        self.groups = []  # each: weight decay, pieces of every vector
        for decay, chosen in (weight_decay, True), (0.0, False):
            group = [
                piece
                for piece, parameter in zip(pieces, parameters, strict=True)
                if (parameter in matrices) == chosen
            ]
            self.groups.append((decay, list(zip(*group, strict=True))))

    def step(self, learning_rate: float) -> None:
        self.steps += 1
        for decay, pieces in self.groups:
            # The kernel of torch.optim.AdamW(fused=True), whose bookkeeping takes 5% of a small
            # step.
            torch._fused_adamw_(
                *pieces, [], [self.steps] * len(pieces[0]),
                lr=learning_rate, beta1=0.9, beta2=0.999, eps=1e-8,
                weight_decay=decay, amsgrad=False, maximize=False,
            )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on; the parameters are in `vector`."""
        names = "vector", "mean", "square", "steps"
        return {name: getattr(self, name) for name in names}
