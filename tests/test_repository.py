"""The repository's own files (citation, model card) are kept true."""

import json
import re
import subprocess
import tomllib

import yaml

from tests.project import ROOT, committed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read(path: str) -> str:
    return (ROOT / path).read_text()


def test_the_package_the_citation_and_the_changelog_have_one_version():
    citation = yaml.safe_load(read("CITATION.cff"))
    (latest, *_) = re.findall(r"^## (\S+)", read("CHANGELOG.md"), re.M)
    assert PROJECT["version"] == citation["version"] == latest
    assert PROJECT["license"] == citation["license"] == read("LICENSE").split()[0]


def test_the_model_card_has_the_committed_results():
    card = read("models/README.md").replace("−", "-")
    metrics = json.loads(committed("metrics/test.json"))
    model = yaml.safe_load(committed("params.yaml"))["model"]
    for value, stderr in ("elbo", "elbo_stderr"), ("log_likelihood", "log_likelihood_stderr"):
        assert f"{metrics[value]:.2f} ± {metrics[stderr]:.2f} nats" in card
    assert f"with {metrics['importance_samples']} draws" in card
    assert f"{metrics['active_units']} of {model['latent_dim']}" in card
    assert f"784–{'–'.join(map(str, [*model['hidden_dims'], model['latent_dim']]))} " in card


def test_a_clone_on_windows_has_the_committed_bytes(project, tmp_path):
    command = ["git", "clone", "-q", "-c", "core.autocrlf=true", str(project.folder), "clone"]
    subprocess.run(command, cwd=tmp_path, check=True)
    for path in "params.yaml", "stages/train.py", "presets/fast", "plots/training.csv":
        assert (tmp_path / "clone" / path).read_bytes() == project.read(path)
