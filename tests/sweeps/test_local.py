"""A sweep on one machine needs no remote: it uses this repository and its cache."""

import json

import pytest

SWEEP = "python", "-m", "sweeps", "-S", "evaluate.elbo_samples=3,4"
WITHOUT_DASK = (
    "import runpy, sys; sys.modules['distributed'] = None; sys.argv[0] = 'sweeps';"
    "runpy.run_module('sweeps', run_name='__main__')"
)


@pytest.mark.slow
def test_one_by_a_job_of_its_own_and_the_rest_by_a_worker(project):
    refused = project.run("python", "-c", WITHOUT_DASK, *SWEEP[3:], check=False).stderr
    assert refused.startswith("error: sweeps over workers need distributed.\nInstall it: pip")
    alone = project.run("python", "-c", WITHOUT_DASK, *SWEEP[3:], "--run", "1").stdout
    assert "evaluate.elbo_samples=4  test ELBO" in alone
    pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")
    done = project.run(*SWEEP).stdout
    assert "2 experiments, 1 published before" in done
    assert "2 of 2 are here" in done
    assert project.run("git", "status", "--porcelain").stdout == ""

    three, four = [line.split()[1] for line in project.run(*SWEEP, "--list").stdout.splitlines()]
    assert sorted(project.dvc("exp", "list", "--name-only").split()) == sorted([three, four])
    project.set("elbo_samples: 2", "elbo_samples: 4")
    project.stage("evaluate")
    serial = json.loads(project.read("metrics/test.json"))
    project.run("git", "checkout", "-q", ".")
    project.dvc("exp", "apply", four)
    assert json.loads(project.read("metrics/test.json")) == serial

    refused = project.run(*SWEEP, check=False).stderr
    assert "not committed, and workers see only what is" in refused
