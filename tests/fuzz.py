"""What the fuzz tests share. hypothesis makes the inputs, the same ones each time. Their number is
bounded, and so is the time; FUZZ_EXAMPLES sets it.
"""

import os
from types import SimpleNamespace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some

from vae.errors import UserError

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None, derandomize=True,
    database=None, suppress_health_check=list(HealthCheck),
)  # fmt: skip
INPUTS = SimpleNamespace(check=lambda: None)  # of a stage: nobody changes them

scalars = (
    some.none() | some.booleans() | some.integers() | some.floats() | some.text()
    | some.sampled_from([2**63, 10**30, -1, 0, 1e300, "1e-3", "010", "cuda:99", "file://", "[", ""])
)  # fmt: skip
values = some.recursive(
    scalars, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=5
)

DAMAGE = some.fixed_dictionaries({
    "how": some.sampled_from(["flipped", "header flipped", "cut", "inserted", "replaced"]),
    "where": some.floats(0, 1), "bits": some.integers(1, 255), "other": some.binary(max_size=300),
})  # fmt: skip


def damaged(content: bytes, how: str, where: float, bits: int, other: bytes, header: int) -> bytes:
    place = int(where * (min(header, len(content)) if how == "header flipped" else len(content)))
    place = min(place, len(content) - 1)
    return {
        "cut": content[:place],
        "inserted": content[:place] + other + content[place:],
        "replaced": other,
    }.get(how, content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])


def is_used_or_refused(read, *arguments) -> object:
    """What `read` returns, or None if it refused with one or two lines."""
    try:
        return read(*arguments)
    except UserError as refusal:
        message = str(refusal)
    assert 1 <= len(message.splitlines()) <= 2, message
    assert len(message) < 1000
    return None
