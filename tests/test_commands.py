"""The README's experiments run as printed, and DVC shows them in the ways that the docs name."""

import json
import re
import sys

import pytest

from tests.project import ROOT, Project


def readme_block() -> list[str]:
    """The commands of DVC and Git under the README's Experiments."""
    section = (ROOT / "README.md").read_text().partition("## Experiments\n")[2].partition("\n|")[0]
    return re.findall(r"^    ((?:dvc|git) .*?)(?: {2,}#.*)?$", section, re.M)


def compare(project: Project) -> None:
    """The workspace's experiment with the last commit, in the ways that the documents show."""
    assert "train.kl_weight" in project.dvc("params", "diff")
    environment = f"VENV={sys.prefix}", f"--assume-old={sys.prefix}/installed"
    table = project.run("make", *environment, "show", "WITH=effective_samples").stdout
    for column in ("Experiment", "log_likelihood", "effective_samples", "train.kl_weight"):
        assert column in table.splitlines()[1]
    project.dvc("plots", "diff", "HEAD", "workspace")
    page = project.read("dvc_plots/index.html").decode()
    for title in ("ELBO in nats per image", "Reconstruction, E", "KL of the posterior"):
        assert title in page
    for picture in ("samples", "reconstructions", "latent", "interpolations", "traversals"):
        assert f"plots_{picture}.png" in page
    show = json.loads(project.dvc("plots", "show", "--json", "ELBO"))
    fields = re.findall(r"(train_elbo|validation_elbo)", json.dumps(show))
    assert set(fields) == {"train_elbo", "validation_elbo"}  # on one chart


@pytest.mark.slow
def test_the_readmes_experiments_run_as_printed(project):
    (name,) = {its for line in readme_block() for its in re.findall(r"presets/(stoch[\w-]+)", line)}
    for long, short in [
        ("epochs=60", "epochs=2"), ("proposal_steps=50", "proposal_steps=2"),
        ("bfloat16", "float32"),  # which takes minutes on a processor that has to imitate it
    ]:  # fmt: skip
        project.set(long, short, f"presets/{name}")
    project.commit()
    lines = readme_block()
    assert len(lines) >= 5
    for line in lines:
        said = project.run("bash", "-euo", "pipefail", "-c", line).stdout
        if line == "dvc metrics diff":
            assert "log_likelihood" in said
            compare(project)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert "sharp" in project.dvc("exp", "list")
    project.dvc("exp", "remove", "sharp")
    project.dvc("exp", "remove", "-A")
    assert project.dvc("exp", "list").split() == []
