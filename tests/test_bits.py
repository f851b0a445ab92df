"""Training gives the same bits with any number of threads and any instruction set."""

import json
import os
import subprocess
import sys

from tests.project import ROOT

AVX2 = {
    "OMP_WAIT_POLICY": "passive",  # threads that wait leave the processors to others
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


def digests(folder, **surroundings: str) -> dict[str, str]:
    # A temporary folder of its own, or other tests' stages would get their share of the threads.
    env = os.environ | {"TMPDIR": str(folder)} | surroundings
    command = [sys.executable, "-m", "tests.bits"]
    return json.loads(subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=-1).stdout)


def test_every_model_and_objective_trains_to_the_same_bits(tmp_path):
    on_one_thread = digests(tmp_path, OMP_NUM_THREADS="1")
    assert len({its for name, its in on_one_thread.items() if name.startswith("products")}) == 1
    assert digests(tmp_path, OMP_NUM_THREADS="3", **AVX2) == on_one_thread


def test_outputs_are_the_same_bytes(reproduced, stages, tmp_path):
    threads = "import torch; torch.set_num_threads(3)"
    stages.succeed("train", "evaluate", "sample", first=threads, TMPDIR=str(tmp_path), **AVX2)
    for stage in "train", "evaluate", "sample":
        assert stages.project.outputs(stage) == reproduced.outputs(stage)
