"""The decoder as a list of steps of four kinds, which decoder.js runs in the page.

torch.fx lists the decoder's operations. A new network needs no change here if it consists of linear
layers, convolutions, pixel shuffles, ReLU, additions and changes of shape.
"""

import base64
import contextlib
import io
import operator

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from vae.errors import in_short
from vae.numerics import Linear

RELU = {nn.ReLU, F.relu, torch.relu, "relu"}
ADD = {operator.add, torch.add, "add"}
RESHAPE = {  # they keep the order of the numbers
    nn.Flatten, nn.Unflatten, torch.flatten, torch.reshape,
    "flatten", "unflatten", "reshape", "view",
}  # fmt: skip


class CannotRun(Exception):
    """The page cannot run a model. The message says why, as the end of a sentence."""


class Tracer(fx.Tracer):
    """Treats this project's linear layer as one operation, like torch's own layers."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Linear) or super().is_leaf_module(module, name)


def program(decoder: nn.Module, latent: int) -> list[dict]:
    """The steps from z [latent] to the decoder's outputs, flattened, which the last step gives.

    Each step has a `kind` (relu, add, gather or scatter) and `inputs`: 0 is z, and i is the output
    of the i-th step. `_layer` adds what a gather and a scatter need. Raises CannotRun if torch.fx
    cannot trace the decoder, or if an operation or the output is not one of those above.
    """
    try:
        traced = fx.GraphModule(decoder, Tracer().trace(decoder))
        with contextlib.redirect_stderr(io.StringIO()):  # on which it prints a traceback
            ShapeProp(traced).propagate(torch.zeros(1, latent))
    except Exception as error:  # whatever the network's own code raises when it is traced
        reason = in_short(error.__cause__ or error)
        raise CannotRun(f"torch.fx cannot list its operations ({reason})") from error
    z, *nodes, output = traced.graph.nodes
    if not _is_tensor(output.args[0]):
        raise CannotRun("its decoder returns more or less than one tensor")
    steps, places = [], {z: 0}  # where the value of each node is
    for node in filter(_is_tensor, nodes):  # others are numbers, for changes of shape
        inputs = [value for value in [*node.args, *node.kwargs.values()] if _is_tensor(value)]
        module = traced.get_submodule(node.target) if node.op == "call_module" else None
        step = _step(node, module, [_shape(value) for value in inputs])
        if step:
            steps.append(step | {"inputs": [places[value] for value in inputs]})
        places[node] = len(steps) if step else places[inputs[0]]
    return steps[: places[output.args[0]]]


def _is_tensor(value: object) -> bool:
    return isinstance(value, fx.Node) and "tensor_meta" in value.meta


def _shape(node: fx.Node) -> torch.Size:
    return node.meta["tensor_meta"].shape


def _step(node: fx.Node, module: nn.Module | None, shapes: list[torch.Size]) -> dict | None:
    """The node's step without its inputs, which have `shapes`; None for a change of shape, after
    which the numbers are the same. Raises CannotRun.
    """
    operation = type(module) if module else node.target
    changes_input = getattr(module, "inplace", False) or node.kwargs.get("inplace")
    if operation in RESHAPE:
        return None
    if operation in RELU and not changes_input:
        return {"kind": "relu"}
    if operation in ADD and _adds_alike(node, shapes):
        return {"kind": "add"}
    if operation in (nn.Linear, Linear) and shapes[0][:-1] == (1,):
        everything = torch.arange(module.in_features).unsqueeze(0)
        return _layer("gather", module.weight, module.bias, everything, _shape(node))
    is_convolution = operation in (nn.Conv2d, nn.ConvTranspose2d)
    if is_convolution and shapes[0][:-3] == (1,) and _is_plain(module):
        return _convolution(module, shapes[0], _shape(node))
    if operation is nn.PixelShuffle:
        # Which number of the input stands at each place of the output.
        order = module(_numbered(shapes[0])).flatten()
        return _layer("gather", torch.ones(1, 1), torch.zeros(1), order.unsqueeze(1), _shape(node))
    name = str(module) if module else getattr(node.target, "__name__", node.target)
    raise CannotRun(f"the page does not know its operation {in_short(name)}")


def _adds_alike(node: fx.Node, shapes: list[torch.Size]) -> bool:
    """Whether the node has exactly two arguments, both tensors of the same shape."""
    return len(shapes) == len(node.args) + len(node.kwargs) == 2 and shapes[0] == shapes[1]


def _is_plain(module: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    chosen = module.groups, module.dilation, module.padding_mode
    return chosen == (1, (1, 1), "zeros") and not isinstance(module.padding, str)


def _convolution(
    module: nn.Conv2d | nn.ConvTranspose2d, before: torch.Size, after: torch.Size
) -> dict:
    """Its input and output have the shapes `before` and `after`, [1, channels, height, width]."""
    is_transposed = isinstance(module, nn.ConvTranspose2d)
    larger = after if is_transposed else before
    numbered = _numbered(larger) + 1  # unfold pads with zeros
    windows = F.unfold(numbered, module.kernel_size, 1, module.padding, module.stride)[0].T - 1
    weight = module.weight.flatten(1)
    if is_transposed:
        return _layer("scatter", weight.T, module.bias, windows, after)
    return _layer("gather", weight, module.bias, windows, after)


def _numbered(shape: torch.Size) -> Tensor:
    return torch.arange(float(shape.numel())).view(shape)


def _layer(
    kind: str, weight: Tensor, bias: Tensor | None, windows: Tensor, after: torch.Size
) -> dict:
    """A matrix that is multiplied with something at each place of a grid of pixels.

    windows [places, size] holds indices of numbers: of all channels within a window of the image,
    −1 where the window lies outside. gather takes them from its input: weight [out, size] times
    these is one pixel of each channel of the output. scatter takes one pixel of each channel of its
    input: weight [size, in] times these is added to the window's numbers in the output.
    A linear layer is a gather with one place. bias [out] may be missing.
    """
    return {
        "kind": kind,
        "weight": in_base64(weight),
        "bias": in_base64(torch.zeros(after[1]) if bias is None else bias),
        "windows": in_base64(windows),  # as float32, which is exact below 2²⁴
        "places": len(windows),
        "length": after.numel(),  # how many numbers the output has
    }


def in_base64(tensor: Tensor) -> str:
    """Little-endian float32."""
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()
