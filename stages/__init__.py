"""The pipeline: its four stages. Python runs this file before any of them."""

import sys
from importlib.util import find_spec

missing = [name for name in ("torch", "pydantic", "safetensors") if find_spec(name) is None]
if missing:
    sys.exit(
        f"error: {sys.executable or 'python'} has no {', '.join(missing)}.\n"
        f"Activate the environment (. .venv/bin/activate), or run: make repro"
    )
