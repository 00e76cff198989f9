"""librdkafka takes the time-outs of a transaction, whatever a deployment says of them."""

from __future__ import annotations

import pytest

from inlake.bus.kafka.librdkafka.producer import PRODUCER
from inlake.bus.kafka.librdkafka.transaction import TransactionalProducer
from inlake.bus.kafka.librdkafka.transactions import Transactions


@pytest.mark.parametrize("open_ms", [None, "1000", "2000", "10000", "60000"])
@pytest.mark.parametrize("timeout", [0.5, 2.0, 20.0, 300.0])
def test_a_producer_can_be_made(open_ms: str | None, timeout: float) -> None:
    given = {"transaction.timeout.ms": open_ms} if open_ms else {}
    config = {**PRODUCER, "bootstrap.servers": "127.0.0.1:1", "log_level": 0, **given}
    transactions = Transactions(config, timeout=timeout)
    TransactionalProducer(transactions._config, timeout=timeout).close()
