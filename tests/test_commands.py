"""Every command that the README and docs/ print is run by a test, or says what it takes."""

import importlib
import json
import re
import sys

import pytest

from tests.project import ROOT, Project

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
PROGRAM = r"(?:\w+=\S+ )*(?:dvc|git|make|python|torchrun|pip|sbatch|dask|ssh|openssl|ruff|for) "

# Which test runs a command on small data: a pattern of it, the test's file, and words of the test.
TESTED = [
    (r"(make (repro|test|PYTHON|\.venv)|git clone)", ".ci/run", "make test"),
    (r"(make report|python -m report$)", "tests/report/test_inputs.py", 'stages.run("report")'),
    (r"make show", "tests/test_commands.py", '"show", "WITH='),
    (r"python -m report\.changes", "tests/report/test_changes.py", 'stages.run("report.changes"'),
    (r"dvc exp run --queue", "tests/test_queue.py", '"exp", "run", "--queue"'),
    (r"dvc queue (start|status|logs)", "tests/test_queue.py", "dvc queue start --jobs 2"),
    (r"dvc exp (apply|branch)", "tests/test_queue.py", '"exp", "branch", "seed2"'),
    (
        r"dvc exp run .*\$\(cat presets/",
        "tests/test_commands.py",
        "readme_block()",
    ),
    (
        r"dvc exp run -S prepare\.(dataset=(folder|shapes)|limit)",
        "tests/test_extending.py",
        "ROWS[row]",
    ),
    (r"dvc exp run -S prepare\.(dataset|binarization)=", "tests/test_pipeline.py", "fashion_mnist"),
    (r"dvc exp run -S model.conditional", "tests/test_pipeline.py", "model.conditional=true"),
    (r"git apply", "tests/test_extending.py", '"git", "apply"'),
    (r"dvc exp run -S (model|train)\.", "tests/test_pipeline.py", "model.network=conv"),
    (r"dvc plots (diff HEAD|show)", "tests/test_commands.py", '"plots", "diff", "HEAD"'),
    (r"dvc params", "tests/test_commands.py", '"params", "diff"'),
    (r"dvc exp show --only-changed", "tests/test_queue.py", '"exp", "show", "--only-changed"'),
    (r"dvc (exp show|exp run$|metrics|repro$)", "tests/test_commands.py", '"exp", "show"'),
    (r"dvc exp remove( NAME| -A|$)", "tests/test_commands.py", '"exp", "remove", "-A"'),
    (r"(TORCHRUN=|torchrun )", "tests/training/test_processes.py", "TORCHRUN"),
    (r"python -m sweeps.*--(workers|list|run)", "tests/sweeps/test_local.py", '"-m", "sweeps"'),
    (
        r"(PYTHONPATH=\. .*dask|python -m sweeps.*--sch)",
        "tests/sweeps/test_cluster.py",
        "workers_of(",
    ),
    (r"dvc exp (push|pull|list)", "tests/test_sharing.py", "docs.run("),
    (
        r"dvc (remote|push|pull|get|import|update|artifacts|status)",
        "tests/test_sharing.py",
        "docs.",
    ),
    (r"git (push|pull|tag|commit)", "tests/test_sharing.py", "docs.run("),
    (r"(python -m )?pip install", ".ci/run", "pip install"),
]
# Commands that no test runs, and words by which their page says what they take or do.
TAKES = [
    (r"make bench", "in about ten minutes"),
    (r"PIP_EXTRA_INDEX_URL=", "(not tried)"),
    (r"sbatch", "a batch system"),
    (r"ssh", "By ssh"),
    (r"openssl", "makes a certificate"),
    (r"dvc repro prepare", "On the second"),
    (r"dvc exp remove -g", "Delete old"),
    (r"dvc exp remove --queue", "delete all that wait"),
    (r"dvc gc", "free the space"),
    (r"git checkout main", "`HEAD detached`"),
    (r"dvc exp run --temp", "A bug of DVC"),
]


def commands(text: str) -> list[str]:
    """Those of the indented blocks, in order, without comments; and those between backquotes."""
    text = re.sub(r"\\\n +", "", text)
    lines = [re.sub(r" {2,}#.*", "", line) for line in re.findall(r"^    (\S.*)$", text, re.M)]
    between = re.findall(r"`([^`\n]+)`", text)  # `dvc plots`, say, names a program
    lines += [its for its in between if len(its.split()) > 2 or its.startswith("make ")]
    return [line for line in lines if re.match(PROGRAM, line)]


def readme_block() -> list[str]:
    """The commands under the README's Experiments, as printed."""
    section = (ROOT / "README.md").read_text().partition("## Experiments\n")[2].partition("\n|")[0]
    return [line for line in commands(section) if line.startswith(("dvc ", "git "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_tested_or_says_what_it_takes(page):
    text = page.read_text()
    words = " ".join(text.split())
    for command in commands(text):
        if command in readme_block():
            continue  # see below
        benchmark = re.search(r"python -m (benchmarks(?:\.\w+)?)", command)
        if benchmark:  # says in its docstring how long it takes
            name = benchmark[1] if "." in benchmark[1] else "benchmarks.__main__"
            assert re.search("minutes|hour|seconds", importlib.import_module(name).__doc__), command
            continue
        tested = [(file, its) for pattern, file, its in TESTED if re.match(pattern, command)]
        if tested:
            assert tested[0][1] in (ROOT / tested[0][0]).read_text(), command
            continue
        takes = [its for pattern, its in TAKES if re.match(pattern, command)]
        assert takes, f"{command}: no test runs it, and nothing says what it takes"
        assert takes[0] in words, command


def compare(project: Project) -> None:
    """The workspace's experiment with the last commit, in the ways that the documents show."""
    changes = project.dvc("metrics", "diff", "--json")
    assert json.loads(changes)["metrics/test.json"]["elbo"]["diff"] != 0
    assert "train.kl_weight" in project.dvc("params", "diff")
    table = project.dvc("exp", "show", "--csv")
    assert ",elbo," in table.splitlines()[0]
    assert "sharp" in table
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
