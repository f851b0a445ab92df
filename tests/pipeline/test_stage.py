"""How a stage ends under DVC when a parameter is refused."""


def test_a_refusal_says_how_to_go_back_and_that_works(project):
    before = {stage: project.outputs(stage) for stage in ("prepare", "train", "evaluate")}
    output = project.dvc("exp", "run", "-S", "model.latent_dim=0", check=False)
    assert "model.latent_dim = 0: should be greater than or equal to 1" in output
    (advice,) = [line for line in output.splitlines() if "To go back" in line]
    command = advice.split("): ")[1]
    project.run("sh", "-c", command)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert {stage: project.outputs(stage) for stage in before} == before


def test_in_the_queues_copy_there_is_nothing_to_go_back_to(stages, tmp_path):
    stages.project.choose("model.latent_dim=0")
    of_dvc = {"DVC_STAGE": "train", "DVC_ROOT": str(stages.project.folder)}
    assert "To go back" in stages.run("train", **of_dvc)["stderr"]
    assert "To go back" not in stages.run("train", **of_dvc | {"DVC_ROOT": str(tmp_path)})["stderr"]
