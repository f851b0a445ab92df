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

    weight: Tensor  # [out, in]
    transposed: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor


class MLP(nn.Sequential):
    """Linear layers with ReLU between them: [..., dims[0]] → [..., dims[-1]]."""

    def __init__(self, *dims: int):
        layers = []
        for fan_in, fan_out in pairwise(dims):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        super().__init__(*layers[:-1])

    def bind(self) -> None:
        """To be called before the methods below: parameters and `.grad` stay where they are now."""
        self.layers = [
            Layer(
                linear.weight.data, linear.weight.data.t(), linear.bias.data,
                linear.weight.grad, linear.bias.grad,
            )
            for linear in list(self)[::2]
        ]  # fmt: skip

    def forward_keeping_inputs(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[N, dims[0]] → the output, and each layer's input, which `backward` needs."""
        inputs, last = [x], self.layers[-1]
        for layer in self.layers[:-1]:
            inputs.append(torch.addmm(layer.bias, inputs[-1], layer.transposed).relu_())
        return torch.addmm(last.bias, inputs[-1], last.transposed), inputs

    def backward(self, inputs: list[Tensor], gradient: Tensor, to_input: bool) -> Tensor | None:
        """From the loss's gradient by the output [N, dims[-1]]: overwrites every parameter's
        `.grad`, and returns the gradient by the input [N, dims[0]] if asked for.
        """
        for i in reversed(range(len(inputs))):
            layer = self.layers[i]
            torch.mm(gradient.t(), inputs[i], out=layer.weight_grad)
            torch.sum(gradient, 0, out=layer.bias_grad)
            if i > 0 or to_input:
                gradient = by_input(gradient, layer.weight)
            if i > 0:
                # ReLU's derivative: 1 where its output, the layer's input, is positive.
                gradient = torch.ops.aten.threshold_backward.default(gradient, inputs[i], 0)
        return gradient if to_input else None


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
    """Adam (Kingma & Ba 2015) over all parameters of a model as one vector, torch's fused kernel.

    Moves the model's parameters into the vector: they become windows on it, and their `.grad`
    windows on its gradient.
    """

    def __init__(self, model: nn.Module):
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
                module.bind()
        layers = [weight + bias for weight, bias in zip(sizes[::2], sizes[1::2], strict=True)]
        vectors = self.vector, self.gradient, self.mean, self.square
        self.by_layer = [vector.split(layers) for vector in vectors]

    def step(self, learning_rate: float) -> None:
        self.steps += 1
        # The kernel of torch.optim.Adam(fused=True), whose bookkeeping takes 5% of a small step.
        torch._fused_adam_(
            *self.by_layer, [], [self.steps] * len(self.by_layer[0]),
            lr=learning_rate, beta1=0.9, beta2=0.999, eps=1e-8,
            weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on; the parameters are in `vector`."""
        names = "vector", "mean", "square", "steps"
        return {name: getattr(self, name) for name in names}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what `state` gave. Raises ValueError if it is not of the same model."""
        for name, mine in self.state().items():
            if name not in state or state[name].shape != mine.shape:
                raise ValueError(f"it has no {name} of shape {tuple(mine.shape)}")
        for name, mine in self.state().items():
            mine.copy_(state[name])
