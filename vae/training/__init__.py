"""The loop, the optimizer, the learning rate over time, checkpoints."""
