"""A conditional VAE, of images whose classes are known (Sohn et al. 2015; Kingma et al. 2014,
arXiv:1406.5298): p(x|y) = ∫ p(x|z, y) p(z) dz, with q(z|x, y).

The prior does not depend on the class. One that each class shifts would give the same models, since
the first layer of a decoder is linear in the latents and in the class beside them.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn


class Classes(nn.Module):
    """How the encoder and the decoder know an image's class."""

    def __init__(self, count: int, outputs: int):
        super().__init__()
        self.count = count
        self.to_outputs = nn.Linear(count, outputs, bias=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What `labelled` joined: images [N, C, H, W] and their classes, [N]."""
        return x[:, :-1], x[:, -1, 0, 0]

    def outputs(self, labels: Tensor) -> Tensor:
        """What a class adds to the encoder's outputs: [N] → [N, outputs]."""
        return self.to_outputs(self._one_hot(labels))

    def beside(self, z: Tensor, labels: Tensor) -> Tensor:
        """What the decoder takes: [..., N, latent] and [N] → [..., N, latent + count]."""
        return torch.cat([z, self._one_hot(labels).expand(*z.shape[:-1], -1)], -1)

    def _one_hot(self, labels: Tensor) -> Tensor:
        """[N], whole numbers of any type → [N, count]. torch's own reads the labels on the host."""
        classes = torch.arange(self.count, device=labels.device)
        return (labels.unsqueeze(-1) == classes).to(self.to_outputs.weight.dtype)

    def checked(self, labels: ArrayLike | None, count: int) -> Tensor:
        """Labels that a person gives. Raises ValueError unless they are so many of the classes."""
        if labels is None:
            raise ValueError("a conditional model needs labels")
        try:
            its = torch.as_tensor(labels, device=self.to_outputs.weight.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"no array of labels: {error}") from None
        if its.numel() and (its.is_floating_point() or its.is_complex()):
            raise ValueError(f"labels are {its.dtype}: should be integers")
        its = its.long()
        if its.shape != (count,):
            raise ValueError(f"labels of shape {tuple(its.shape)}: should be [{count}]")
        if len(wrong := its[(its < 0) | (its >= self.count)]):
            raise ValueError(f"a label is {wrong[0]}: should be 0 to {self.count - 1}")
        return its


def labelled(pixels: Tensor, labels: Tensor) -> Tensor:
    """[N, C, H, W] → [N, C + 1, H, W]. Each pixel of the last channel is the image's class, so that
    images and classes go the same way through batches, shards, blocks and recordings.
    """
    plane = labels.to(pixels.dtype).view(-1, 1, 1, 1).expand(-1, 1, *pixels.shape[2:])
    return torch.cat([pixels, plane], 1)
