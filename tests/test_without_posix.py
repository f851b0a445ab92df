"""Without the functions that only POSIX systems have, the pipeline gives the same results."""

from tests.project import OUTPUTS

# What the libraries, which know Windows, have imported is gone when the project's code comes.
WITHOUT = """
import os, signal, sys, warnings

sys.modules |= dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios"])
for name in '''
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK chown chroot fchmod fchown fork forkpty getegid
    geteuid getgid getgroups getloadavg getpgid getpriority getsid getuid killpg mkfifo nice openpty
    posix_fallocate posix_spawn pread pwrite sched_getaffinity sched_setaffinity sched_yield
    sendfile setpgid setsid setuid statvfs sync sysconf uname wait3 wait4
    SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pthread_sigmask setitimer
    sigwait
'''.split():
    for module in os, signal:
        vars(module).pop(name, None)
# Nor is a file in UTF-8 unless that is said. A container's limits, in threads.py, are in ASCII.
ours = "stages|pipeline|datasets|vae(?!.numerics.threads)"
warnings.filterwarnings("error", category=EncodingWarning, module=ours)
move = os.replace


def replace(source, target):  # Windows moves no open file
    for descriptor in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{descriptor}"
        if os.path.exists(link) and os.path.samefile(link, source):
            raise PermissionError(13, "The process cannot access the file", str(source))
    move(source, target)


if os.path.exists("/proc/self/fd"):
    os.replace = replace
"""


def test_every_stage_runs_to_the_same_outputs(stages, reproduced):
    for stage in OUTPUTS:
        for path in stages.project.outputs(stage):
            (stages.project.folder / path).unlink()
        done = stages.run(stage, first=WITHOUT)
        assert done["code"] == 0, done["stderr"]
        assert stages.project.outputs(stage) == reproduced.outputs(stage)
