"""Tables in GitHub's Markdown."""

import json
import math
import re

from vae.errors import without_passwords

LONGEST = 80  # letters of a value


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: float, sign: str = "") -> str:
    """Whole numbers as they are, others to 1e-4, as the metrics are rounded."""
    return f"{value:{sign},{'d' if isinstance(value, int) else '.4f'}}".replace("-", "−")


def cell(value: object) -> str:
    """A value that DVC read. None stands for a missing value and gives an empty cell."""
    if value is None:
        return ""
    return number(value) if is_number(value) else code(value)


def code(value: object) -> str:
    """Any value as code, so that nothing in it acts as Markdown, HTML, a link or a mention."""
    text = without_passwords(value if isinstance(value, str) else json.dumps(value))
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    safe = re.sub(r"[^A-Za-z0-9 ,]", lambda letter: f"&#{ord(letter[0])};", text)
    return f"<code>{safe}</code>"


def table(header: list[str], rows: list[str]) -> str:
    """A table of rows whose cells are already joined by |."""
    lines = [" | ".join(header), " | ".join("---" for _ in header), *rows]
    return "\n".join(f"| {line} |" for line in lines)
