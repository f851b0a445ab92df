"""The code as it was when a stage started.

`stages` imports this before anything else, because torch takes seconds to import. Otherwise an edit
in these seconds to a file that Python has already read would be recorded as what ran.
"""

import hashlib
from pathlib import Path


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


AT_START = {  # by absolute path
    path.absolute(): sha256(path)
    for folder in ("stages", "vae")
    for path in Path(folder).rglob("*.py")
}
