"""A stage that is killed while it writes leaves whole files, and the next run does the rest."""

import pytest

from tests.project import OUTPUTS


@pytest.mark.parametrize(
    ("stage", "path"), [(stage, path) for stage, paths in OUTPUTS.items() for path in paths]
)
def test_killed_while_it_writes_an_output_a_stage_leaves_it_whole(stages, stage, path):
    old = stages.project.outputs(stage)
    changes = {
        "prepare": ("threshold: 128", "threshold: 100"),
        "train": ("learning_rate: 0.001", "learning_rate: 0.002"),
        "evaluate": ("elbo_samples: 2", "elbo_samples: 3"),
        "sample": ("columns: 4", "columns: 3"),
    }
    stages.project.set(*changes[stage])
    done = stages.run(stage, killed_at=path)
    assert done["code"] == -9
    left = stages.project.outputs(stage)
    assert stages.run(stage)["code"] == 0
    new = stages.project.outputs(stage)
    for output, content in left.items():
        rows_of_new = new[output].startswith(content) and output.endswith(".csv")
        assert content in (old[output], new[output]) or rows_of_new, output
    assert not list(stages.project.folder.rglob(".*.partial"))


def test_killed_while_it_writes_a_checkpoint_training_goes_on(stages):
    before = stages.project.outputs("train")
    assert stages.run("train", killed_at=".checkpoints/*")["code"] == -9
    assert stages.run("train")["code"] == 0
    assert stages.project.outputs("train") == before
    assert not list(stages.project.folder.glob(".checkpoints/*"))
