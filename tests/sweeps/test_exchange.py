"""Missing remotes are reported before any work, and published results are never replaced."""

import os
import subprocess

import pytest

from sweeps.exchange import Exchange, head, through_remotes
from sweeps.references import reference, remote_references
from sweeps.slot import Slot
from sweeps.work import publish
from vae.common.errors import UserError
from vae.common.git import git


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty DVC project with a Git remote. This process works in it."""
    for key in "AUTHOR", "COMMITTER":
        monkeypatch.setenv(f"GIT_{key}_NAME", "t")
        monkeypatch.setenv(f"GIT_{key}_EMAIL", "t@t")
    git("init", "-q", "--bare", "-b", "main", str(tmp_path / "remote"))
    git("init", "-q", "-b", "main", str(tmp_path / "here"))
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / ".dvc").mkdir()
    (tmp_path / "here" / ".dvc" / "config").write_text("")
    commit()
    return tmp_path


def commit() -> str:
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "state")
    return git("rev-parse", "HEAD")


def test_a_missing_setup_is_reported_with_what_to_do(repository):
    for setting, message in [
        (None, "there is no Git remote 'origin'"),
        (["git", "remote", "add", "origin", str(repository / "remote")], "no default DVC remote"),
        (["dvc", "remote", "add", "-q", "-d", "store", str(repository)], "push origin HEAD"),
    ]:
        if setting:
            subprocess.run(setting, check=True)
        with pytest.raises(UserError, match=message):
            through_remotes(commit(), "origin", None)
    with pytest.raises(UserError, match="no DVC remote 'other'; known: store"):
        through_remotes(commit(), "origin", "other")
    git("push", "-q", "origin", "main")
    exchange = through_remotes(head(), "origin", None)
    assert (exchange.dvc_remote, exchange.dvc_url) == ("store", str(repository))
    (repository / "here" / ".dvc" / "config").write_text("")
    with pytest.raises(UserError, match=r"\.dvc/config: not committed"):
        head()


def test_published_twice_it_stands_once_and_another_result_does_not_replace_it(
    repository, monkeypatch
):
    baseline = git("rev-parse", "HEAD")
    exchange = Exchange(baseline, str(repository / "remote"), cache="unused")
    ref = reference(baseline, "sweep-1")
    slot = Slot(repository / "here", repository / "log", os.open(repository / "lock", os.O_CREAT))

    def run_again(date: str) -> str:
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{date} 12:00:00")
        git("update-ref", ref, commit())
        git("reset", "-q", "--hard", baseline)
        return git("rev-parse", ref)

    (repository / "here" / "result").write_text("1")
    first = run_again("2020-01-01")
    publish(slot, exchange, ref)
    (repository / "here" / "result").write_text("1")
    assert run_again("2020-01-02") != first
    publish(slot, exchange, ref)
    (repository / "here" / "result").write_text("2")
    run_again("2020-01-03")
    with pytest.raises(UserError, match=r"another result is published .*\(result differ"):
        publish(slot, exchange, ref)
    assert remote_references(exchange.git, ref) == {ref: first}
