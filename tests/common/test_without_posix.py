"""Without the functions that only POSIX systems have, the pipeline gives the same results."""

import pytest

# Run by Python when it starts. The project's own imports of these modules fail, and its `os` and
# `signal` lack what those of Windows lack; the libraries, which know Windows, see them all.
SITECUSTOMIZE = '''
import builtins, os, signal, types

MODULES = "fcntl", "grp", "pwd", "resource", "termios"
NAMES = """
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK chown chroot fchmod fchown fork forkpty getegid
    geteuid getgid getgroups getloadavg getpgid getpriority getsid getuid killpg mkfifo nice openpty
    posix_fallocate posix_spawn pread pwrite sched_getaffinity sched_setaffinity sched_yield
    sendfile setpgid setsid setuid statvfs sync sysconf uname wait3 wait4
    SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pthread_sigmask setitimer
    sigwait
""".split()
import_module = builtins.__import__


def replace(source, target):
    """Windows moves no open file."""
    for descriptor in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{descriptor}"
        if os.path.exists(link) and os.path.samefile(link, source):
            raise PermissionError(13, "The process cannot access the file", str(source))
    os.replace(source, target)


def hidden(module):
    twin = types.ModuleType(module.__name__)
    twin.__dict__.update({k: v for k, v in vars(module).items() if k not in NAMES})
    return twin


twins = {"os": hidden(os), "signal": hidden(signal)}
if os.path.exists("/proc/self/fd"):
    twins["os"].replace = replace


def importing(name, globals=None, locals=None, fromlist=(), level=0):
    package = (globals or {}).get("__package__") or ""
    if level == 0 and package.partition(".")[0] in ("vae", "stages"):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in twins:
            return twins[name]
    return import_module(name, globals, locals, fromlist, level)


builtins.__import__ = importing
'''


@pytest.fixture
def surroundings(tmp_path) -> dict[str, str]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    # Nor is a file read or written in UTF-8 unless that is said.
    not_utf8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    return {"PYTHONPATH": str(folder)} | not_utf8


def test_every_stage_runs_to_the_same_outputs(project, reproduced, surroundings):
    for stage in "prepare", "train", "evaluate", "sample":
        for path in project.outputs(stage):
            (project.folder / path).unlink()
        project.stage(stage, **surroundings)
        assert project.outputs(stage) == reproduced.outputs(stage)


def test_the_simulated_system_lacks_posix(project, surroundings):
    program = (
        "import vae.common.threads as threads; "
        "print(threads.fcntl, hasattr(threads.os, 'getuid'), hasattr(threads.os, 'replace'))"
    )
    done = project.run("python", "-c", program, **surroundings)
    assert done.stdout == "None False True\n"
