"""How a stage ends under DVC when a parameter is refused."""


def test_a_refusal_says_how_to_go_back_and_that_works(project):
    before = {stage: project.outputs(stage) for stage in ("prepare", "train", "evaluate")}
    refused = "exp", "run", "-S", "model.latent_dim=0"
    reason = "model.latent_dim = 0: should be greater than or equal to 1"
    output = project.dvc(*refused, "--temp", check=False)
    assert reason in output
    assert "To go back" not in output  # the queue never touched this workspace

    output = project.dvc(*refused, check=False)
    assert reason in output
    (advice,) = [line for line in output.splitlines() if "To go back" in line]
    command = advice.split("): ")[1]
    project.run("sh", "-c", command)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert {stage: project.outputs(stage) for stage in before} == before
