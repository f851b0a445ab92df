"""Runs stages, and the report, in forks of a process that has imported the libraries. This saves
seconds a run.

python -m tests.forks. Each line on standard input is a request as JSON: the module, the folder
whose code to run in it, the environment to add, the largest file it may write, the output at whose
writing it gets a signal, the signal, and Python to run first. The answer is a line of JSON: exit
code, stdout, stderr.
"""

import ctypes
import json
import os
import resource
import runpy
import sys
from fnmatch import fnmatch
from importlib import import_module

import torchvision  # noqa: F401

for name in "prepare", "train", "evaluate", "sample":
    import_module(f"stages.{name}")
import_module("report.__main__")
for name in list(sys.modules):  # of what they import, forks keep the libraries
    if name.partition(".")[0] in ("stages", "pipeline", "datasets", "vae", "report"):
        del sys.modules[name]


def obey_permissions() -> None:
    """Takes root's power to write where permissions forbid it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "capset"):  # Linux has it
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        sets[0] &= ~2  # CAP_DAC_OVERRIDE, among those in effect
        libc.capset(header, sets)


def signal_before_replacing(path: str, number: int) -> None:
    """Sends this process the signal when the file is written, before it is put in its place."""
    replace = os.replace

    def signal_and_replace(source, target):
        if fnmatch(str(target), path):
            os.kill(os.getpid(), number)
        replace(source, target)

    os.replace = signal_and_replace


def child(request: dict) -> int:
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    os.environ |= request["env"]
    signal_before_replacing(request["killed_at"], request["by"])
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
    sys.argv[1:] = []
    exec(request["first"], {})
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        print(ending.code, file=sys.stderr)
        return 1
    return 0


def run(request: dict) -> dict:
    (from_out, out), (from_err, err) = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        os.dup2(out, 1)
        os.dup2(err, 2)
        code = child(request)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.close(out)
    os.close(err)
    _, status = os.waitpid(process, 0)
    with open(from_out) as out, open(from_err) as err:
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "stdout": out.read(), "stderr": err.read()}


def main() -> None:
    obey_permissions()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
