"""The Git remote's hook checks that the data of a new experiment is already there, and kills
workers at moments that only the remote knows. Runs as `hook.py pre-receive` and `post-receive`.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

hook, faults = sys.argv[1], json.loads(Path("faults.json").read_text())
for line in sys.stdin:
    _, new, ref = line.split()
    if not ref.startswith("refs/exps/"):
        continue
    name = ref.rpartition("/")[2]
    if hook == "pre-receive":
        lock = subprocess.run(["git", "show", f"{new}:dvc.lock"], capture_output=True, text=True)
        (digest,) = set(re.findall(r"models/vae.safetensors\n.*\n +md5: (\w+)", lock.stdout))
        there = Path(faults["storage"], "files", "md5", digest[:2], digest[2:]).exists()
        with open("seen.txt", "a") as seen:
            print(name, "data first" if there else "no data", file=seen)
    if faults.get(hook) == name:
        faults[hook] = "done"
        Path("faults.json").write_text(json.dumps(faults))
        for lock in Path(faults["folder"]).glob("*.lock"):
            process, working_on = lock.read_text().split()
            if working_on == name:
                with suppress(ProcessLookupError):
                    os.kill(int(process), 9)
        sys.exit(1)  # before it is received: then it is not
