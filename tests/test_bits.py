"""The same bits whatever the number of threads and the instruction set."""

import pytest

OUTPUTS = [
    "models/vae.safetensors", "metrics/train.json", "metrics/test.json", "plots/training.csv",
    "plots/samples.png", "plots/reconstructions.png", "plots/latent.png",
]  # fmt: skip
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
def test_outputs_are_the_same_bytes(reproduced, project, surroundings):
    for stage in "train", "evaluate", "sample":
        project.stage(stage, **surroundings)
    for output in OUTPUTS:
        assert project.read(output) == reproduced.read(output), output
