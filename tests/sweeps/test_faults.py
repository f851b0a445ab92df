"""Workers and the driver die at the worst moments, and each experiment is published once."""

import os
import signal
import subprocess

import pytest

from tests.project import until

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")

SWEEP = (
    "python", "-m", "sweeps", "-S", "train.learning_rate=0.001,0.002,1000",
    "-S", "train.epochs=60", "--git-remote", "origin",
)  # fmt: skip


@pytest.mark.slow
def test_whoever_dies_each_experiment_stands_once_with_the_serial_results(shared, stages):
    project = shared.project
    listed = project.run(*SWEEP, "--list").stdout.splitlines()
    slow, quick, diverging = [line.split()[1] for line in listed]
    shared.faults(pre_receive=slow, post_receive=quick)

    driver = subprocess.Popen(SWEEP, cwd=project.folder, env=project.env)
    try:
        until(lambda: "epoch  2/60" in shared.log(slow))
        os.kill(shared.working_on(slow), signal.SIGKILL)
        until(lambda: quick in shared.published())
    finally:
        driver.kill()
        driver.wait()
    until(lambda: not shared.at_work(), seconds=10)
    tried = shared.log(diverging).count("exp run")

    driver = project.run(*SWEEP, "--workers", "2", check=False)
    assert driver.returncode == 1
    assert "2 of 3 are here" in driver.stdout
    assert driver.stdout.count("failed: ") == 1, driver.stdout
    assert "failed: training diverged in epoch 1" in driver.stdout
    assert "Traceback" not in driver.stdout + driver.stderr
    assert shared.log(diverging).count("exp run") == tried + 1
    assert "going on after epoch" in shared.log(slow)
    assert shared.log(slow).count("git push") >= 2  # 3, if the driver died during the second
    assert shared.log(quick).count("git push") == 1
    saw = (shared.bare / "seen.txt").read_text().splitlines()
    assert set(saw) == {f"{name} data first" for name in (quick, slow)}
    assert shared.published() == sorted([slow, quick])

    project.dvc("exp", "pull", "origin", slow)  # with its data
    project.dvc("exp", "apply", slow)
    applied = project.outputs("train")
    stages.succeed("train")
    assert project.outputs("train") == applied
