"""The stages make whatever model is asked for of whatever images there are, or refuse it in one or
two lines.
"""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

import stages.evaluate
import stages.prepare
import stages.sample
import stages.train
from datasets import DATASETS
from pipeline import pictures
from tests.fuzz import FUZZ, INPUTS, is_used_or_refused
from tests.project import file_with
from vae.images import save_images
from vae.model import LIKELIHOODS, NETWORKS

SIDE = some.integers(1, 13) | some.sampled_from([4, 8, 12, 100])
SHAPES = some.tuples(some.sampled_from([*4 * [1, 3], 2, 4]), SIDE, SIDE)
PIXELS = [
    (binarization, likelihood)
    for binarization in ("threshold", "stochastic", "none") for likelihood in LIKELIHOODS
]  # fmt: skip
FITTING = [pair for pair in PIXELS if (pair[0] == "none") == (pair[1] == "logistic")]
DRAWS = [  # with the gradient and the weight of the KL; of the last three, each is refused
    *(2 * [(1, "reparameterized", weight) for weight in (0, 1, 5)]),
    *(3 * [(1, "stl", 5), (2, "dreg", 1), (2, "reparameterized", 1)]),
    (2, "stl", 1), (1, "dreg", 1), (2, "dreg", 5),
]  # fmt: skip
VALUES = {
    "prepare.binarization model.likelihood": 4 * FITTING + PIXELS,
    "train.importance_samples train.gradient train.kl_weight": DRAWS,
    "prepare.threshold": [0, 128, 254], "prepare.limit": [None, 2],
    "prepare.validation_size": [1, 1, 2, 3, 5], "model.network": ["mlp", *NETWORKS],
    "model.hidden_dims": [[3], [3, 3]], "model.residual": [False, True], "model.channels": [1, 2],
    "model.latent_dim": [1, 2, 3], "model.posterior": ["bounded", "gaussian", "flow"],
    "model.prior": ["standard", "mixture"], "train.seed": [0, 2**63 - 1],
    "train.decoder_bias": ["random", "random", "log_odds"], "train.batch_size": [2, 32],
    "train.shards": [1, 1, 2], "train.learning_rate": [0.001, 0.001, 0.001, 1000],
    "train.schedule": ["constant", "one_cycle"], "train.weight_decay": [0, 0.1],
    "train.keep": ["last", "best"], "train.grids": [0, 1], "train.epochs": [1, 2],
    "evaluate.elbo_samples": [1, 2], "evaluate.importance_samples": [1, 2, 7],
    "evaluate.proposal_steps": [0, 1], "sample.num_images": [1, 5], "sample.columns": [1, 3],
}  # fmt: skip
MODELS = some.fixed_dictionaries({name: some.sampled_from(its) for name, its in VALUES.items()})


class Given:
    """A data set of the test's."""

    title = "Given"
    splits: tuple

    def load(self, _):
        return self.splits


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which stages run in this process, without setting it up for their numerics, and
    draw their pictures without writing them, which would take most of the time.
    """
    for stage in stages.train, stages.evaluate, stages.sample:
        monkeypatch.setattr(stage, "start", lambda *_: torch.device("cpu"))
    monkeypatch.setattr(pictures, "_save", lambda *_: None)
    monkeypatch.setitem(DATASETS, "mnist", f"{__name__}:Given")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arrays(shape: tuple[int, ...], count: int, brightest: int) -> tuple[np.ndarray, np.ndarray]:
    size = count, *shape
    levels = np.arange(np.prod(size)) * 97 % (brightest + 1)
    return levels.reshape(size).astype(np.uint8), np.arange(count)


@given(
    changes=MODELS, shape=SHAPES, counts=some.tuples(some.integers(4, 9), some.integers(1, 5)),
    brightest=some.integers(2, 255),
    stale=some.none() | some.none()
    | some.tuples(some.sampled_from(["train", "validation", "test"]), SHAPES, some.booleans()),
)  # fmt: skip
@settings(FUZZ, max_examples=FUZZ.max_examples // 3)  # a training takes a tenth of a second
def test_any_model_of_any_images_is_trained_and_measured_or_refused(
    here, changes, shape, counts, brightest, stale
):
    """`stale`: a split, of which the file is of images of another shape, or of another data set."""
    changes = {
        name: value
        for names, its in changes.items()
        for name, value in zip(names.split(), its if " " in names else [its], strict=True)
    }
    (here / "params.yaml").write_text(file_with(changes))
    Given.splits = [arrays(shape, count, brightest) for count in counts]
    for stage in stages.prepare, stages.train, stages.evaluate, stages.sample:
        with contextlib.redirect_stdout(io.StringIO()):
            done = is_used_or_refused(lambda its=stage: its.main(INPUTS) or True)
        if not done:
            assert stage in (stages.prepare, stages.train) or stale
            return
        if stage is stages.prepare and stale:
            name, other, is_of_the_set = stale
            images, labels = map(torch.from_numpy, arrays(other, 3, 1))
            metadata = {"dataset": "Given" if is_of_the_set else "Other"}
            metadata["binarization"] = changes["prepare.binarization"]
            if metadata["binarization"] == "threshold":
                metadata["threshold"] = str(changes["prepare.threshold"])
            save_images(f"data/{name}.safetensors", images, labels.byte(), metadata)
    measured = json.loads((here / "metrics" / "test.json").read_text())
    assert np.isfinite([measured["elbo"], measured["log_likelihood"]]).all()
