"""Schedulers use TLS or stay on the loopback, because whoever reaches one can run code on it."""

import pytest

from vae.errors import UserError

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://0.0.0.0:8786", "neither tls://HOST:PORT nor"),
        ("ws://127.0.0.1:8786", "neither tls://HOST:PORT nor"),
        ("tcp://127.0.0.1.example.org:8786", "neither tls://HOST:PORT nor"),
        ("tcp://127.0.0.1:1@node1:8786", "neither tls://HOST:PORT nor"),
        ("tls://a:1", "cannot be used .*TLS config"),
    ],
)
def test_an_address_without_tls_or_certificates_is_refused(address, message):
    from sweeps.cluster import workers_of

    with pytest.raises(UserError, match=message), workers_of(address):
        pass
