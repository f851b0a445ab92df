"""A stage that is killed while it writes leaves whole files, and the next run does the rest."""

import pytest

MOVED = """
import os

replace = os.replace
os.replace = lambda source, target: (replace(source, target), print("moved", target))
"""


@pytest.mark.parametrize(
    ("stage", "change", "path"),
    [
        ("prepare", "prepare.threshold=100", "data/validation.safetensors"),
        ("train", "train.learning_rate=0.002", "plots/epochs/2.png"),
        ("train", "train.learning_rate=0.002", "models/vae.safetensors"),
        ("evaluate", "evaluate.elbo_samples=3", "plots/splits.csv"),
        ("sample", "sample.columns=3", "plots/samples.png"),
    ],
)
def test_killed_while_it_writes_an_output_a_stage_leaves_it_whole(stages, stage, change, path):
    old = stages.project.outputs(stage)
    stages.project.choose(change)
    assert stages.run(stage, killed_at=path)["code"] == -9
    left = stages.project.outputs(stage)
    said = stages.succeed(stage, first=MOVED)
    new = stages.project.outputs(stage)
    for output, content in left.items():
        rows_of_new = new[output].startswith(content) and output.endswith(".csv")
        assert content in (old[output], new[output]) or rows_of_new, output
    assert not list(stages.project.folder.rglob(".*.partial"))
    assert all(f"moved {output}\n" in said for output in new if "epochs" not in output)


def test_killed_while_it_writes_a_checkpoint_training_goes_on(stages):
    before = stages.project.outputs("train")
    assert stages.run("train", killed_at=".checkpoints/*")["code"] == -9
    stages.succeed("train")
    assert stages.project.outputs("train") == before
    assert not list(stages.project.folder.glob(".checkpoints/*"))
