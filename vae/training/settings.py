"""How a model is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """`train` in params.yaml explains each field. Raises ValueError for combinations of values that
    mean nothing.
    """

    seed: int = 0
    decoder_bias: str = "random"
    epochs: int = 15
    batch_size: int = 32
    shards: int = 1
    learning_rate: float = 0.001
    schedule: str = "constant"
    weight_decay: float = 0.0
    objective: str = "bound"
    importance_samples: int = 1
    gradient: str = "reparameterized"
    kl_weight: float = 1.0
    keep: str = "last"
    grids: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        k = self.importance_samples
        if k > 1 and self.kl_weight != 1 and self.objective == "bound":
            raise ValueError(
                f"train.importance_samples = {k} with train.kl_weight = {self.kl_weight:g}: the "
                f"bound of several draws has no KL to weigh; set kl_weight to 1, or "
                f"importance_samples to 1"
            )
        if (self.gradient, k > 1) in {("stl", True), ("dreg", False)}:
            raise ValueError(
                f"train.gradient = {self.gradient!r} with train.importance_samples = {k}: stl is "
                f"for one draw (it is biased for more), dreg is its form for several"
            )
        lacking = {"dreg": self.objective != "bound", "stl": self.objective == "free_groups"}
        if lacking.get(self.gradient):
            raise ValueError(
                f"train.gradient = {self.gradient!r} with train.objective = {self.objective!r}: "
                f"there is no such estimator of its gradient; set train.gradient to reparameterized"
            )
        if self.batch_size % self.shards:
            raise ValueError(
                f"train.batch_size = {self.batch_size} with train.shards = {self.shards}: should "
                f"be a multiple of it, so that each shard has the same number of images"
            )
