"""The README's Python runs as it stands, and its files exist."""

import re

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_code_runs_after_dvc_repro(reproduced):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    shapes = "print(mean.shape, logits.shape, probabilities.shape, digits.shape, bounds.shape)"
    done = reproduced.run("python", "-c", code + shapes)
    assert done.stdout.startswith("torch.Size([60, 12]) torch.Size([60, 784])")  # 60 in all
    assert done.stdout.endswith("torch.Size([16, 28, 28]) torch.Size([60])\n")


def test_the_files_and_folders_it_names_are_there(reproduced):
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    named = re.findall(r"`((?:stages|vae|tests|presets|plots|metrics|docs)/[\w/]+\.?\w*)`", README)
    assert len(links) > 3
    assert len(named) > 10
    for path in links + named:
        assert (reproduced.folder / path).exists(), path
