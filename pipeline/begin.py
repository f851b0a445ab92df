"""What `stages` does before anything else: it refuses a Python without the project's packages, and
notes the code as it is.

torch takes seconds to import. Without the note, an edit in these seconds to a file that Python has
already read would be recorded as what ran.
"""

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = "torch", "pydantic", "safetensors"
CODE = "stages", "pipeline", "datasets", "vae"  # the rooms that stages are made of

if missing := [name for name in NEEDED if find_spec(name) is None]:
    sys.exit(
        f"error: {sys.executable or 'python'} has no {', '.join(missing)}.\n"
        f"Activate the environment (. .venv/bin/activate), or run: make repro"
    )


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


AT_START = {  # by absolute path
    path.absolute(): sha256(path) for room in CODE for path in Path(room).rglob("*.py")
}
