"""Ends with advice, not with a traceback, if Python lacks a package that the project needs."""

import sys
from importlib.util import find_spec

NEEDED = "torch", "pydantic", "safetensors"

if missing := [name for name in NEEDED if find_spec(name) is None]:
    sys.exit(
        f"error: {sys.executable or 'python'} has no {', '.join(missing)}.\n"
        f"Activate the environment (. .venv/bin/activate), or run: make repro"
    )
