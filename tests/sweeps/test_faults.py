"""Workers and the driver die at the worst moments, and each experiment is published once all the
same."""

import csv
import io
import os
import signal
import threading

import pytest

from tests.sweeps.conftest import Shared, until

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")

RATES = "0.001", "0.002", "1000"
SWEEP = (
    "python", "-m", "sweeps", "-S", f"train.learning_rate={','.join(RATES)}",
    "-S", "train.epochs=60", "--git-remote", "origin",
)  # fmt: skip
RESULTS = "metrics/train.json", "metrics/test.json", "models/vae.safetensors"


def kill_in_training(shared: Shared, name: str) -> None:
    until(lambda: "epoch  2/60" in shared.log(name))
    os.kill(shared.working_on(name), signal.SIGKILL)


def serial(stages, rate: str) -> dict[str, bytes]:
    """The results of the stages without a sweep."""
    project = stages.project
    project.run("git", "checkout", "-q", "params.yaml")
    project.set("learning_rate: 0.001", f"learning_rate: {rate}")
    project.set("epochs: 3 ", "epochs: 60 ")
    for stage in "train", "evaluate":
        assert stages.run(stage)["code"] == 0
    return {file: project.read(file) for file in RESULTS}


@pytest.mark.slow
def test_whoever_dies_each_experiment_stands_once_with_the_serial_results(shared, stages):
    project = shared.project
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    listed = project.run(*SWEEP, "--list").stdout.splitlines()
    slow, quick, diverging = [line.split()[1] for line in listed]
    shared.faults(pre_receive=slow, post_receive=quick)
    killer = threading.Thread(target=kill_in_training, args=(shared, slow), daemon=True)
    killer.start()

    driver = shared.start(*SWEEP, "--workers", "2")
    until(lambda: quick in shared.references())
    driver.kill()
    driver.wait()
    until(lambda: not shared.at_work(), seconds=10)
    tried = shared.log(diverging).count("exp run")

    driver = shared.start(*SWEEP, "--workers", "2")
    output, _ = driver.communicate(timeout=200)
    killer.join()
    assert driver.returncode == 1
    assert "2 of 3 are here" in output
    assert output.count("failed: ") == 1, output
    assert "failed: training diverged in epoch 1" in output
    assert shared.log(diverging).count("exp run") == tried + 1
    assert "going on after epoch" in shared.log(slow)
    assert shared.log(slow).count("git push") >= 2  # 3, if the driver died during the second
    assert shared.log(quick).count("git push") == 1
    assert set(shared.server_saw()) == {f"{name} data first" for name in (quick, slow)}
    assert sorted(shared.references()) == sorted([slow, quick])

    table = csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv")))
    assert sorted(row["Experiment"] for row in table if row["Experiment"]) == sorted([slow, quick])
    for name, rate in (quick, RATES[1]), (slow, RATES[0]):
        results = serial(stages, rate)
        for file in "metrics/train.json", "metrics/test.json":
            ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
            assert project.run("git", "show", f"{ref}:{file}").stdout == results[file].decode()
    project.run("git", "checkout", "-q", ".")
    project.dvc("exp", "pull", "origin", slow)
    project.dvc("exp", "apply", slow)
    assert project.read("models/vae.safetensors") == results["models/vae.safetensors"]
