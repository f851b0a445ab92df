"""Workers and the driver die at the worst moments, and each experiment is published once."""

import os
import signal
import subprocess

import pytest

from tests.project import until

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")

RATES = "0.001", "0.002", "1000"
SWEEP = (
    "python", "-m", "sweeps", "-S", f"train.learning_rate={','.join(RATES)}",
    "-S", "train.epochs=60", "--git-remote", "origin",
)  # fmt: skip


def run_serially(stages, rate: str) -> None:
    project = stages.project
    project.run("git", "checkout", "-q", "params.yaml")
    project.set("learning_rate: 0.001", f"learning_rate: {rate}")
    project.set("epochs: 3 ", "epochs: 60 ")
    for stage in "train", "evaluate":
        assert stages.run(stage)["code"] == 0


@pytest.mark.slow
def test_whoever_dies_each_experiment_stands_once_with_the_serial_results(shared, stages):
    project = shared.project
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
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

    for name, rate in (quick, RATES[1]), (slow, RATES[0]):
        run_serially(stages, rate)
        for file in "metrics/train.json", "metrics/test.json":
            published = project.run("git", "show", f"refs/exps/{head[:2]}/{head[2:]}/{name}:{file}")
            assert published.stdout == project.read(file).decode()
    model = project.read("models/vae.safetensors")
    project.run("git", "checkout", "-q", ".")
    project.dvc("exp", "pull", "origin", slow)
    project.dvc("exp", "apply", slow)
    assert project.read("models/vae.safetensors") == model
