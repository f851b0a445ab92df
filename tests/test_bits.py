"""The same bits whatever the number of threads and the instruction set."""

import pytest

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}


@pytest.mark.parametrize(
    "surroundings",
    [{"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "3"}, {"OMP_NUM_THREADS": "1"} | AVX2],
    ids=["one thread", "three threads", "AVX2"],
)
def test_outputs_are_the_same_bytes(reproduced, project, tmp_path, surroundings):
    # A temporary folder of its own, or other tests' stages would get their share of the threads.
    for stage in "train", "evaluate", "sample":
        project.stage(stage, TMPDIR=str(tmp_path), **surroundings)
        assert project.outputs(stage) == reproduced.outputs(stage)
