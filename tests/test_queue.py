"""DVC's queue runs two experiments at a time, which share the processors automatically."""

import pytest

from tests.project import Project, until


def states(project: Project) -> dict[str, str]:
    """Whether each experiment is queued, running, a success or failed."""
    # Beside its table, DVC sometimes fails on a worker's file that is just being written.
    status = project.run("dvc", "queue", "status", check=False).stdout
    rows = [line.split() for line in status.splitlines() if line]
    return {name: row[-1] for row in rows for name in ("seed1", "seed2", "broken") if name in row}


@pytest.mark.slow
def test_two_at_a_time_succeed_with_the_bits_of_one_after_another(project):
    serial = {}
    for seed in 1, 2:
        project.set(f"seed: {seed - 1}  ", f"seed: {seed}  ")
        project.stage("train")
        serial[f"seed{seed}"] = project.read("metrics/train.json")
    project.run("git", "checkout", "-q", ".")

    for seed in 1, 2:
        project.dvc("exp", "run", "--queue", "-n", f"seed{seed}", "-S", f"train.seed={seed}")
    project.dvc("exp", "run", "--queue", "-n", "broken", "-S", "train.learning_rate=1000")
    # The workers get no pipe of ours: DVC sometimes leaves one running when the queue is empty, and
    # we would wait until it closed the pipe.
    project.run("sh", "-c", "dvc queue start --jobs 2 >/dev/null 2>&1")
    expected = {"seed1": "Success", "seed2": "Success", "broken": "Failed"}
    until(lambda: states(project) == expected, seconds=600)
    assert "training diverged in epoch 1" in project.dvc("queue", "logs", "broken")
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    for name, metrics in serial.items():
        (ref,) = (ref for ref in refs if ref.endswith(f"/{name}"))
        assert project.run("git", "show", f"{ref}:metrics/train.json").stdout.encode() == metrics
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert "Failed" in project.dvc("exp", "show", "--only-changed", "--csv")
    project.dvc("exp", "branch", "seed2", "kept")
    assert project.run("git", "show", "kept:metrics/train.json").stdout.encode() == serial["seed2"]
    project.dvc("queue", "stop")
