"""Missing remotes are reported before any work, and published results are never replaced."""

import os

import pytest

from report.git import git
from sweeps.exchange import Exchange, find_exchange, head
from sweeps.slot import Slot, take_slot
from sweeps.work import publish
from vae.errors import UserError

STORE = """
[core]
remote = store
['remote "store"']
url = ../../store
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty DVC project with a Git remote. This process works in it."""
    git("init", "-q", "--bare", "-b", "main", str(tmp_path / "remote"))
    git("init", "-q", "-b", "main", str(tmp_path / "here"))
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / ".dvc").mkdir()
    (tmp_path / "here" / ".dvc" / "config").write_text("")
    commit()
    return tmp_path


def commit() -> str:
    git("add", "-A")
    who = "-c", "user.name=t", "-c", "user.email=t@t"
    git(*who, "commit", "-q", "--allow-empty", "-m", "state")
    return git("rev-parse", "HEAD")


def test_a_missing_setup_is_reported_with_what_to_do(repository):
    settings = repository / "here" / ".dvc" / "config"
    with pytest.raises(UserError, match="no default DVC remote"):
        find_exchange(head(), "origin")
    settings.write_text(STORE)
    with pytest.raises(UserError, match=r"\.dvc/config: not committed"):
        head()
    with pytest.raises(UserError, match="'origin' does not appear to be a git repository"):
        find_exchange(commit(), "origin")
    git("remote", "add", "origin", str(repository / "remote"))
    with pytest.raises(UserError, match="push origin HEAD"):
        find_exchange(head(), "origin")
    git("push", "-q", "origin", "main")
    exchange = find_exchange(head(), "origin")
    assert exchange.git == str(repository / "remote")
    assert exchange.dvc["remote"] == {"store": {"url": str(repository / "store")}}
    settings.write_text("[core")
    with pytest.raises(UserError, match="DVC cannot read its settings"):
        find_exchange(commit(), None)


@pytest.mark.parametrize("known_by", ["origin", "../remote"])
def test_a_relative_path_to_the_git_remote_holds_in_any_folder(repository, monkeypatch, known_by):
    (repository / "here" / ".dvc" / "config").write_text(STORE)
    git("remote", "add", "origin", "../remote")
    head = commit()
    git("push", "-q", "origin", "main")
    exchange = find_exchange(head, known_by)
    monkeypatch.chdir("/")
    assert git("ls-remote", exchange.git, "main").split()[0] == head
    assert exchange.published() == {}


def test_the_password_in_a_git_remotes_url_is_not_printed(repository):
    (repository / "here" / ".dvc" / "config").write_text(STORE)
    url = "http://user:secret@127.0.0.1:1/"
    with pytest.raises(UserError, match="git ls-remote failed") as error:
        find_exchange(commit(), url)
    assert "secret" not in str(error.value)
    git("config", f"url.{repository / 'remote'}.insteadOf", url)
    with pytest.raises(UserError, match=r"git push http://…@127\.0\.0\.1:1/ HEAD") as error:
        find_exchange(head(), url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "cache"), [("%(name)s", "of the repository"), ("100% [ü], #b", "of the clones")]
)
def test_clones_and_caches_may_be_in_folders_of_any_name(repository, monkeypatch, name, cache):
    (repository / "here").rename(repository / name)
    monkeypatch.chdir(repository / name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(repository / name / "user"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(repository / "dvc"))
    exchange, folder = find_exchange(head(), None), repository / name / ".dvc" / "cache"
    if cache == "of the clones":
        exchange = Exchange(exchange.commit, exchange.git, dvc={})
        folder = repository / name / "user" / "mnist-vae" / "sweeps" / "cache"
    with take_slot(exchange, "sweep-1") as slot:
        (slot.clone / "data").write_text("data")
        slot.run("dvc", "add", "data")
    assert [path.read_text() for path in folder.rglob("files/md5/*/*")] == ["data"]


@pytest.mark.parametrize("name", ["%(name)s", "jürgen"])
def test_a_dvc_remote_that_clones_could_not_name_is_refused_in_a_line(
    repository, monkeypatch, name
):
    (repository / "here").rename(repository / name)
    monkeypatch.chdir(repository / name)
    (repository / name / ".dvc" / "config").write_text(STORE.replace("../../", "../"))
    git("remote", "add", "origin", "../remote")
    head = commit()
    git("push", "-q", "origin", "main")
    with pytest.raises(UserError, match="Use a path in ASCII without") as refusal:
        find_exchange(head, "origin")
    assert str(refusal.value).startswith(f"DVC remote {repository / name / 'store'}: ")
    assert "\n" not in str(refusal.value)


def test_published_twice_it_stands_once_and_another_result_does_not_replace_it(
    repository, monkeypatch
):
    baseline = git("rev-parse", "HEAD")
    exchange = Exchange(baseline, str(repository / "remote"), dvc={})
    slot = Slot(repository / "here", repository / "log", os.open(repository / "lock", os.O_CREAT))

    def run_again(date: str, result: str) -> str:
        (repository / "here" / "result").write_text(result)
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"{date} 12:00:00")
        git("update-ref", exchange.reference("sweep-1"), commit())
        git("reset", "-q", "--hard", baseline)
        return git("rev-parse", exchange.reference("sweep-1"))

    first = run_again("2020-01-01", "1")
    publish(slot, exchange, "sweep-1")
    assert run_again("2020-01-02", "1") != first
    publish(slot, exchange, "sweep-1")
    run_again("2020-01-03", "2")
    with pytest.raises(UserError, match=r"another result is published .*\(result differs"):
        publish(slot, exchange, "sweep-1")
    assert exchange.published() == {"sweep-1": first}
