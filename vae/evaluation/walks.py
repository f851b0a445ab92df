"""Latents for the pictures: straight lines, and samples with their upper groups held fixed."""

import math

import torch
from torch import Tensor

from vae.evaluation.bounds import variance_over_images

STEPS = 11  # points on a line


def between(first: Tensor, second: Tensor) -> Tensor:
    """Points on the straight line from each first to its second, evenly, both ends included:
    [N, latent] each → [N·STEPS, latent].
    """
    share = (torch.arange(STEPS, device=first.device) / (STEPS - 1)).view(1, -1, 1)
    return ((1 - share) * first.unsqueeze(1) + share * second.unsqueeze(1)).flatten(0, 1)


def along(mean: Tensor, std: Tensor, dimensions: list[int], reach: float) -> Tensor:
    """Lines that change one of `dimensions` and leave the others at their mean over the images:
    `reach` standard deviations of the aggregate posterior both ways → [N·STEPS, latent].

    mean and std [N, latent]: the posteriors of N images.
    """
    center = mean.mean(0)
    variance = variance_over_images(mean) + std.double().square().mean(0)
    far = torch.zeros(len(dimensions), len(center), device=mean.device)
    for row, dimension in enumerate(dimensions):
        far[row, dimension] = reach * math.sqrt(variance[dimension].item())
    return between(center - far, center + far)


def held(center: Tensor, groups: list[int], noise: Tensor) -> Tensor:
    """Latents whose first groups, none at first and all but the last at the end, are those of
    `center` [latent], and the others those of noise [STEPS, latent] → [len(groups)·STEPS, latent].
    """
    ends = [sum(groups[:number]) for number in range(len(groups))]
    return torch.cat(
        [torch.cat([center[:end].expand(len(noise), -1), noise[:, end:]], -1) for end in ends]
    )
