"""The loop, the optimizer, the learning rate over time, checkpoints."""

SCHEDULES = {  # train.schedule: from the share of the steps taken to the share of the learning rate
    "constant": "vae.training.schedule:constant",
    "one_cycle": "vae.training.schedule:one_cycle",
}
