"""Schedulers use TLS or stay on the loopback, because whoever reaches one can run code on it."""

import pytest

from vae.common.errors import UserError

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:1", "tls://node1:8786"]
)
def test_an_address_on_this_machine_or_with_tls_is_accepted(address):
    from sweeps.cluster import check_address

    check_address(address)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://node1:8786", "is neither TLS nor on this machine"),
        ("tcp://0.0.0.0:8786", "is neither TLS nor on this machine"),
        ("ws://127.0.0.1:8786", "is neither TLS nor on this machine"),
        ("tcp://127.0.0.1.example.org:8786", "is neither TLS nor on this machine"),
        ("127.0.0.1:8786", "is not an address"),
        ("tcp://127.0.0.1", "is not an address"),
        ("tcp://127.0.0.1:many", "is not an address"),
        ("tls://[::1", "is not an address"),
    ],
)
def test_any_other_address_is_refused(address, message):
    from sweeps.cluster import check_address

    with pytest.raises(UserError, match=message):
        check_address(address)


def test_certificates_and_a_scheduler_are_asked_for():
    from sweeps.cluster import scheduler

    with (
        pytest.raises(UserError, match="needs certificates"),
        scheduler("tls://127.0.0.1:1", None, None, None),
    ):
        pass
