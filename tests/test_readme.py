"""The Python in README and docs/ runs as printed, and the files that they name exist."""

import contextlib
import re
import statistics

import pytest

from benchmarks.frontier import rows, table, timed
from tests.project import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_code_runs_after_dvc_repro(reproduced, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/model.md").read_text(), re.S)
    shapes = "print(q.mean.shape, logits.shape, probabilities.shape, digits.shape, bounds.shape)"
    with contextlib.chdir(reproduced.folder):
        exec(code + shapes, {})
    said = capsys.readouterr().out
    assert said.startswith("torch.Size([60, 12]) torch.Size([60, 1, 28, 28])")  # 60 in all
    assert said.endswith("torch.Size([16, 1, 28, 28]) torch.Size([60])\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_and_headings_it_names_are_there(reproduced, page):
    text = page.read_text()
    for path, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        headings = re.findall("^#+ (.+)$", target.read_text(), re.M) if heading else []
        assert not heading or heading in [h.lower().replace(" ", "-") for h in headings]
    named = re.findall(r"`((?:stages|vae|tests|presets|plots|metrics|docs)/[\w/]+\.?\w*)`", text)
    for path in named:
        assert (reproduced.folder / path).exists() or (ROOT / path).exists(), path


def test_every_page_is_in_the_readme():
    readme = PAGES[0].read_text()
    assert [page.name for page in PAGES[1:] if f"](docs/{page.name})" not in readme] == []
    assert len(readme.split()) <= 1000


def test_the_tables_of_presets_are_those_of_the_measured_files():
    presets = rows()
    assert table(presets) in (ROOT / "docs/numbers.md").read_text()
    lines = re.findall(r"^\| `dvc exp run \$\(cat .*$", PAGES[0].read_text(), re.M)
    assert lines
    for line in lines:
        its = presets[re.search(r"presets/([\w-]+)\)", line)[1]]
        for metric in "elbo", "log_likelihood":
            mean = statistics.mean(result["test"][metric] for result in its)
            stderr = its[0]["test"][f"{metric}_stderr"]
            assert f"| {mean:.2f} ± {stderr:.2f} |".replace("-", "−") in line
        bound = "" if timed(its)["alone"] else "≤ "
        assert f"| {bound}{timed(its)['training_seconds'] / 60:.0f} min |" in line
