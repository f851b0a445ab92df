"""What the pipeline costs besides its stages' work: imports, DVC, reading and writing."""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

LITTLE_WORK = {
    "validation_size: 5000": "validation_size: 59000",
    "epochs: 15": "epochs: 1",
    "elbo_samples: 10": "elbo_samples: 1",
    "importance_samples: 500": "importance_samples: 1",
}


def seconds(*command: str, cwd: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def overhead() -> tuple[float, float, float]:
    """Median seconds of `dvc repro` in a fresh copy whose stages have next to nothing to do, of
    `dvc repro` when nothing changed, and of `dvc version`. They take turns.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "project")
        files = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True)
        for file in files.stdout.split():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / file)
        params = (copy / "params.yaml").read_text()
        for old, new in LITTLE_WORK.items():
            params = params.replace(old, new)
        (copy / "params.yaml").write_text(params)
        subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
        cold = seconds("dvc", "repro", "-q", cwd=copy)
        pairs = [
            (seconds("dvc", "repro", "-q", cwd=copy), seconds("dvc", "version", cwd=copy))
            for _ in range(5)
        ]
    nothing, version = (statistics.median(times) for times in zip(*pairs, strict=True))
    return cold, nothing, version


def peak_megabytes(stage: str, importance_samples: int = 20) -> float:
    """Peak memory of one stage on the real data, for one epoch, in a temporary copy."""
    with tempfile.TemporaryDirectory() as folder:
        for name in "stages", "vae", "data", "models":
            shutil.copytree(name, Path(folder, name))
        params = Path("params.yaml").read_text().replace("epochs: 15", "epochs: 1")
        samples = f"importance_samples: {importance_samples}"
        Path(folder, "params.yaml").write_text(params.replace("importance_samples: 500", samples))
        process = subprocess.Popen(
            ["python", "-m", f"stages.{stage}"], cwd=folder, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the stage {stage} failed")
    return usage.ru_maxrss * 1024 / 1e6
