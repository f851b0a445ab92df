"""The pipeline. Importing it chooses numerics that give every machine the same bits."""

import os

# Read when torch loads, hence here. With it, Intel's library multiplies matrices in one order
# whatever the instruction set and the number of threads; AMD processors take that order anyway.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
