"""How a stage ends under DVC when a parameter is refused."""

import pytest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("model.latent_dim=0", "model.latent_dim = 0: should be greater than or equal to 1"),
        ("train.device=cuda:7", "train.device = 'cuda:7': this machine has no such device"),
    ],
)
def test_a_refusal_says_how_to_go_back_and_that_works(project, change, reason):
    before = {stage: project.outputs(stage) for stage in ("prepare", "train", "evaluate")}
    output = project.dvc("exp", "run", "-S", change, check=False)
    assert reason in output
    (advice,) = [line for line in output.splitlines() if "To go back" in line]
    command = advice.split("): ")[1]
    project.run("sh", "-c", command)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert {stage: project.outputs(stage) for stage in before} == before


def test_the_queue_does_not_say_how_to_go_back_in_a_workspace_it_never_touched(project):
    output = project.dvc("exp", "run", "--temp", "-S", "model.latent_dim=0", check=False)
    assert "model.latent_dim = 0: should be" in output
    assert "To go back" not in output
