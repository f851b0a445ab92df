"""What a sweep costs beside its experiments: `python -m benchmarks.sweeps`.

It takes some minutes. Run it in a repository whose HEAD has an experiment. It adds up the size of
the experiment's Git objects, puts a thousand others with as many random bytes into a bare clone,
and serves that clone by a Git server on the loopback interface.
"""

import argparse
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from sweeps.references import reference
from vae.common.git import git

DVC = sys.executable, "-m", "dvc"


def seconds(what: Callable[[], object], times: int = 1) -> float:
    """The median seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def experiment() -> str:
    """An experiment that starts from HEAD."""
    head = git("rev-parse", "HEAD")
    found = git("for-each-ref", "--format=%(refname)", f"{reference(head, '')}*").split()
    if not found:
        sys.exit("HEAD has no experiments; make one: python -m sweeps -S train.epochs=1")
    return found[0]


def weigh(ref: str) -> int:
    """Returns the bytes that an experiment adds to Git. Prints them and those of its data."""
    objects = git("rev-list", "--objects", "--disk-usage", "HEAD.." + ref)
    number = len(git("rev-list", "--objects", "HEAD.." + ref).splitlines())
    before, after = (_data(git("show", f"{commit}:dvc.lock")) for commit in ("HEAD", ref))
    new = {digest: size for digest, size in after.items() if digest not in before}
    print(f"an experiment in Git     {int(objects) / 1e3:8.0f} kB, {number} objects")
    print(f"its new data             {sum(new.values()) / 1e6:8.2f} MB, {len(new)} outputs")
    print(f"all data of its commit   {sum(after.values()) / 1e6:8.2f} MB")
    return int(objects)


def _data(lock: str) -> dict[str, int]:
    """The bytes of each output that DVC keeps, by digest."""
    ignored = set(re.findall(r"(?:metrics|plots)/\w+\.\w+", lock))  # these are kept in Git
    stages = YAML(typ="safe").load(lock)["stages"].values()
    outs = [out for stage in stages for out in stage["outs"] if out["path"] not in ignored]
    return {out["md5"]: out["size"] for out in outs}


def fill(bare: Path, head: str, number: int, size: int) -> list[str]:
    """Puts `number` experiments of `size` random bytes into `bare`; returns their names."""
    names = [f"sweep-{secrets.token_hex(6)}" for _ in range(number)]
    command = ["git", "-C", str(bare), "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        for name in names:
            content = secrets.token_bytes(size)
            process.stdin.write(
                f"commit {reference(head, name)}\ncommitter b <b@b> 0 +0000\ndata 0\nfrom {head}\n"
                f"M 100644 inline plots/samples.png\ndata {size}\n".encode()
                + content
                + b"\n"
            )
    return names


@contextmanager
def server(base: Path) -> Iterator[str]:
    """The URL of a Git server for the repositories in `base`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["git", "daemon", "--export-all", "--listen=127.0.0.1", f"--port={port}",
         "--enable=receive-pack", f"--base-path={base}"], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)
        yield f"git://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def transport(number: int, size: int) -> None:
    head = git("rev-parse", "HEAD")
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url:
        place = Path(folder)
        git("clone", "-q", "--bare", ".", str(place / "remote"))
        url += "/remote"
        git("clone", "-q", url, str(place / "clone"))
        print(f"clone                    {seconds(lambda: clone(url), 3):8.2f} s")
        names = fill(place / "remote", head, number, size)
        print(f"\nwith {number} experiments in the Git remote")
        listing = git("ls-remote", url)
        print(f"git ls-remote            {seconds(lambda: git('ls-remote', url), 5):8.2f} s, "
              f"{len(listing) / 1e3:.0f} kB")  # fmt: skip
        print(f"clone                    {seconds(lambda: clone(url), 3):8.2f} s")
        pull = [*DVC, "exp", "pull", "-q", "--no-cache", url]
        one = seconds(lambda: run(*pull, names[0], folder=place / "clone"))
        print(f"dvc exp pull of one      {one:8.2f} s")
        one = seconds(lambda: push(place / "clone", url, reference(head, names[0])))
        print(f"git push of one          {one:8.2f} s")
        if number <= 1000:  # else the names do not fit on a command line
            rest = seconds(lambda: run(*pull, *names, folder=place / "clone"))
            print(f"dvc exp pull of all      {rest:8.2f} s, {number * size / 1e6:.0f} MB")
            show = [*DVC, "exp", "show", "--csv"]
            first, again = (seconds(lambda: run(*show, folder=place / "clone")) for _ in range(2))
            print(f"dvc exp show             {first:8.2f} s the first time, {again:.2f} s again")
        git("clone", "-q", url, str(place / "other"))
        refspec = f"{reference(head, '')}*:refs/fetched/*"
        fetch = seconds(lambda: git("fetch", "-q", url, refspec, folder=place / "other"))
        print(f"git fetch of all         {fetch:8.2f} s")


def clone(url: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        git("clone", "-q", url, str(Path(place, "clone")))


def push(folder: Path, url: str, ref: str) -> None:
    git("push", "-q", url, f"{ref}:{ref}-again", folder=folder)


def data(size: int) -> None:
    """Times `dvc push` of one file of `size` bytes to a folder. For comparison, times `dvc
    version`, which does nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "project")
        git("init", "-q", str(place))
        run(*DVC, "init", "-q", folder=place)
        run(*DVC, "remote", "add", "-q", "-d", "store", str(Path(folder, "store")), folder=place)
        (place / "model").write_bytes(secrets.token_bytes(size))
        run(*DVC, "add", "-q", "model", folder=place)
        taken = seconds(lambda: run(*DVC, "push", "-q", folder=place))
    print(f"dvc push of {size / 1e6:4.1f} MB      {taken:8.2f} s")
    print(
        f"dvc version              {seconds(lambda: run(*DVC, 'version', folder=Path()), 3):8.2f} s"
    )


def scheduler(tasks: int) -> None:
    from sweeps.cluster import workers_here

    with workers_here(2) as client:
        client.gather(client.map(abs, range(10)))
        taken = seconds(
            lambda: client.gather([client.submit(abs, i - tasks) for i in range(tasks)])
        )
    print(f"\n{tasks} trivial tasks       {taken:8.2f} s, {tasks / taken:.0f} tasks a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1000, help="default 1000")
    arguments = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} processors")
    size = weigh(experiment())
    if arguments.experiments > 1000:
        size = 1000  # for the references alone, not gigabytes
    data(4_000_000)
    transport(arguments.experiments, size)
    scheduler(2000)


if __name__ == "__main__":
    main()
