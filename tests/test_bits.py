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


def test_every_model_and_objective_trains_to_the_same_bits(stages, tmp_path):
    on_one_thread = json.loads(stages.succeed("tests.bits"))
    assert len({its for name, its in on_one_thread.items() if name.startswith("products")}) == 1
    # A temporary folder of its own, or other tests' stages would get their share of the threads.
    env = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "3"} | AVX2
    command = [sys.executable, "-m", "tests.bits"]
    said = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True).stdout
    assert json.loads(said) == on_one_thread


def test_outputs_are_the_same_bytes(reproduced, stages, tmp_path):
    threads = "import torch; torch.set_num_threads(3)"
    stages.succeed("train", "evaluate", "sample", first=threads, TMPDIR=str(tmp_path), **AVX2)
    for stage in "train", "evaluate", "sample":
        assert stages.project.outputs(stage) == reproduced.outputs(stage)
