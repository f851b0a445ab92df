"""Schedulers use TLS or stay on the loopback, because whoever reaches one can run code on it."""

import gc

import pytest

from vae.errors import UserError

pytest.importorskip("distributed", reason="needs: pip install -e '.[sweep]'")


@pytest.mark.parametrize(
    "address",
    [
        "tcp://node1:8786", "tcp://0.0.0.0:8786", "ws://127.0.0.1:8786", "127.0.0.1:8786",
        "tcp://127.0.0.1.example.org:8786", "tcp://127.0.0.1:1@node1:8786", "tcp://127.0.0.1:many",
    ],
)  # fmt: skip
def test_an_address_of_another_machine_without_tls_is_refused(address):
    from sweeps.cluster import workers_of

    with pytest.raises(UserError, match="neither tls://HOST:PORT nor"), workers_of(address):
        pass


@pytest.mark.parametrize(
    ("address", "reason"), [("tls://127.0.0.1:1", "TLS config"), ("tcp://127.0.0.1:1", "Timed out")]
)
def test_certificates_and_a_scheduler_are_asked_for(address, reason):
    from dask import config

    from sweeps.cluster import workers_of

    gc.collect()  # of an earlier client: if Dask ends it in the thread of this one, both wait
    with (
        config.set({"distributed.comm.timeouts.connect": 1}),
        pytest.raises(UserError, match=f"cannot be used .*{reason}"),
        workers_of(address),
    ):
        pass
