"""The README, docs/ and the repository's other texts are true, and their Python runs as printed."""

import ast
import contextlib
import json
import re
import statistics
import subprocess
import tomllib
from importlib.util import find_spec

import pytest
import yaml

from benchmarks.frontier import rows, table, timed
from tests.project import ROOT, committed
from vae import VAE

DOCS = sorted((ROOT / "docs").glob("*.md"))


def read(path: str) -> str:
    return (ROOT / path).read_text()


def test_the_code_runs_after_dvc_repro_and_trains_on_arrays(reproduced, tmp_path, capsys):
    code, training = re.findall(r"```python\n(.*?)```", read("docs/model.md"), re.S)
    shapes = "print(q.mean.shape, logits.shape, probabilities.shape, digits.shape, bounds.shape)"
    with contextlib.chdir(reproduced.folder):
        exec(code + shapes, {})
    said = capsys.readouterr().out
    assert said.startswith("torch.Size([60, 12]) torch.Size([60, 1, 28, 28])")  # 60 in all
    assert said.endswith("torch.Size([16, 1, 28, 28]) torch.Size([60])\n")
    with contextlib.chdir(tmp_path):
        exec(training, {})
        assert VAE.load("mine.safetensors").sample(2).shape == (2, 3, 12, 20)
    first, second = map(ast.literal_eval, capsys.readouterr().out.splitlines())
    assert first["validation_elbo"] < second["validation_elbo"]


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *DOCS], ids=lambda page: page.name)
def test_the_files_headings_and_programs_it_names_are_there(reproduced, page):
    text = page.read_text()
    for path, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        headings = re.findall("^#+ (.+)$", target.read_text(), re.M) if heading else []
        assert not heading or heading in [h.lower().replace(" ", "-") for h in headings]
    named = re.findall(r"`((?:stages|vae|tests|presets|plots|metrics|docs)/[\w/]+\.?\w*)`", text)
    for path in named:
        assert (reproduced.folder / path).exists() or (ROOT / path).exists(), path
    for module in re.findall(r"python -m (\w+(?:\.\w+)*)", text):
        assert find_spec(module), module
    for target in re.findall(r"(?:^    |`)make (\w+)", text, re.M):
        assert re.search(rf"^{target}:", read("Makefile"), re.M), target


def test_every_page_is_in_the_readme():
    readme = read("README.md")
    assert [page.name for page in DOCS if f"](docs/{page.name})" not in readme] == []
    assert len(readme.split()) <= 1000


def test_the_tables_of_presets_are_those_of_the_measured_files():
    presets = rows()
    assert table(presets) in read("docs/numbers.md")
    lines = re.findall(r"^\| `dvc exp run \$\(cat .*$", read("README.md"), re.M)
    assert lines
    for line in lines:
        its = presets[re.search(r"presets/([\w-]+)\)", line)[1]]
        for metric in "elbo", "log_likelihood":
            mean = statistics.mean(result["test"][metric] for result in its)
            stderr = its[0]["test"][f"{metric}_stderr"]
            assert f"| {mean:.2f} ± {stderr:.2f} |".replace("-", "−") in line
        bound = "" if timed(its)["alone"] else "≤ "
        assert f"| {bound}{timed(its)['training_seconds'] / 60:.0f} min |" in line


def test_the_package_the_citation_and_the_changelog_have_one_version():
    project, citation = tomllib.loads(read("pyproject.toml"))["project"], read("CITATION.cff")
    (latest, *_) = re.findall(r"^## (\S+)", read("CHANGELOG.md"), re.M)
    assert project["version"] == yaml.safe_load(citation)["version"] == latest
    assert project["license"] == yaml.safe_load(citation)["license"] == read("LICENSE").split()[0]


def test_the_model_card_has_the_committed_results():
    card = read("models/README.md").replace("−", "-")
    metrics = json.loads(committed("metrics/test.json"))
    model = yaml.safe_load(committed("params.yaml"))["model"]
    for value, stderr in ("elbo", "elbo_stderr"), ("log_likelihood", "log_likelihood_stderr"):
        assert f"{metrics[value]:.2f} ± {metrics[stderr]:.2f} nats" in card
    assert f"with {metrics['importance_samples']} draws" in card
    assert f"{metrics['active_units']} of {model['latent_dim']}" in card
    assert f"784–{'–'.join(map(str, [*model['hidden_dims'], model['latent_dim']]))} " in card


def test_a_clone_on_windows_has_the_committed_bytes(reproduced, tmp_path):
    command = ["git", "clone", "-q", "-c", "core.autocrlf=true", reproduced.folder, tmp_path / "it"]
    subprocess.run(command, check=True)
    for path in "params.yaml", "stages/train.py", "presets/fast", "plots/training.csv":
        assert (tmp_path / "it" / path).read_bytes() == reproduced.read(path)
