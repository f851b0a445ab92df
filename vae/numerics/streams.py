"""A random stream for each purpose, so that no draw for one purpose shifts another."""

import hashlib

import torch


def generator(device: torch.device | str, seed: int, purpose: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_of(seed, purpose))


def seed_of(seed: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed}: {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
