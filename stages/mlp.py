"""Fully connected networks with a backward pass by hand, for training that wastes nothing.

At 32 images a step most of an ordinary step is not arithmetic: autograd's bookkeeping, megabytes
of gradients allocated and freed, Adam visiting a dozen tensors. Here all parameters are one
vector, and `backward` writes each gradient where Adam reads it.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


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
            if i > 0:
                # ReLU's derivative: 1 where its output, the layer's input, is positive.
                by_input = gradient @ layer.weight
                gradient = torch.ops.aten.threshold_backward(by_input, inputs[i], 0)
        return gradient @ self.layers[0].weight if to_input else None


class FlatAdam:
    """Adam (Kingma & Ba 2015) over all parameters of a model as one vector, torch's fused kernel.

    Moves the model's parameters into the vector: they become windows on it, and their `.grad`
    windows on its gradient.
    """

    def __init__(self, model: nn.Module, learning_rate: float):
        parameters = list(model.parameters())
        self.learning_rate = learning_rate
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

    def step(self) -> None:
        adam(
            [self.vector], [self.gradient], [self.mean], [self.square], [], [self.steps],
            fused=True, amsgrad=False, maximize=False, weight_decay=0.0,
            lr=self.learning_rate, beta1=0.9, beta2=0.999, eps=1e-8,
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
