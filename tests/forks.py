"""Runs stages in forks of a process that has everything imported, which saves seconds a run.

Run in a project's folder: python -m tests.forks. Each line on standard input is a request as JSON:
the stage, the folder to run it in, the environment to add, the largest file it may write, and the
output at whose writing it is killed. The answer is a line of JSON: exit code, stdout, stderr.
"""

import importlib
import json
import os
import resource
import signal
import sys
from fnmatch import fnmatch

from vae.common.stage import run_stage

STAGES = {
    name: importlib.import_module(f"stages.{name}")
    for name in ("prepare", "train", "evaluate", "sample")
}


def die_before_replacing(path: str) -> None:
    """Kills this process after it has written the file and before it has put it into its place."""
    replace = os.replace

    def replace_or_die(source, target):
        if fnmatch(str(target), path):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die


def child(request: dict) -> int:
    os.chdir(request["folder"])
    os.environ |= request["env"]
    die_before_replacing(request["killed_at"])
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
    try:
        run_stage(request["stage"], STAGES[request["stage"]].main)
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
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
