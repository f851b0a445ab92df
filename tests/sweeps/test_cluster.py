"""Schedulers use TLS or stay on the loopback, because whoever reaches one can run code on it."""

import pytest

from vae.errors import UserError

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")


@pytest.mark.parametrize(
    "address",
    [
        "tcp://0.0.0.0:8786", "ws://127.0.0.1:8786", "127.0.0.1:8786",
        "tcp://127.0.0.1.example.org:8786", "tcp://127.0.0.1:1@node1:8786", "tcp://127.0.0.1:many",
    ],
)  # fmt: skip
def test_an_address_of_another_machine_without_tls_is_refused(address):
    from sweeps.cluster import workers_of

    with pytest.raises(UserError, match="neither tls://HOST:PORT nor"), workers_of(address):
        pass


def test_certificates_are_asked_for():
    from sweeps.cluster import workers_of

    with pytest.raises(UserError, match=r"cannot be used .*TLS config"), workers_of("tls://a:1"):
        pass
