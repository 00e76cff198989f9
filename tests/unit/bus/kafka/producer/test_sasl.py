"""SCRAM and PLAIN: the examples of the RFCs, and servers that cheat."""

from __future__ import annotations

import pytest

from inlake.bus.kafka.oauth.tokens import Token
from inlake.bus.kafka.producer.sasl import NotTheServerError, prove, show
from inlake.bus.kafka.producer.wire import Refused

# RFC 5802, section 5
SHA_1 = (
    "SCRAM-SHA-1",
    "fyko+d2lbbFgONRv9qkxdawL",
    [
        "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    ],
    ["r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="],
)
# RFC 7677, section 3
SHA_256 = (
    "SCRAM-SHA-256",
    "rOprNGfwEbeRWgbNEkqO",
    [
        "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    ],
    [
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ],
)


class Server:
    """Gives one answer after the other, and keeps what it was told."""

    def __init__(self, answers: list[str]) -> None:
        self.told: list[str] = []
        self._answers = iter(answers)

    async def exchange(self, data: bytes) -> bytes:
        self.told.append(data.decode())
        return next(self._answers).encode("latin-1")


@pytest.mark.parametrize(("mechanism", "nonce", "ours", "theirs"), [SHA_1, SHA_256], ids=["RFC 5802", "RFC 7677"])
async def test_the_exchange_is_that_of_the_rfc(mechanism: str, nonce: str, ours: list[str], theirs: list[str]) -> None:
    server = Server(theirs)
    await prove(server.exchange, mechanism, "user", "pencil", nonce)
    assert server.told == ours


FIRST, LAST = SHA_256[3]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (FIRST, "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
        (FIRST, "v="),
        (FIRST, "v=!!!"),
        (FIRST, "e=invalid-proof"),
        (FIRST, ""),
        (FIRST, "\xff"),
        (FIRST.replace("r=r", "r=x"), LAST),
        (FIRST.replace("i=4096", "i=4095"), LAST),
        (FIRST.replace("i=4096", "i=1"), LAST),
        (FIRST.replace("i=4096", "i=1000001"), LAST),
        (FIRST.replace("i=4096", "i=-4096"), LAST),
        (FIRST.replace("i=4096", "i=many"), LAST),
        (FIRST.replace("i=4096", "i=" + "9" * 5000), LAST),
        (FIRST.replace(",i=4096", ""), LAST),
        (FIRST.replace("s=W22Z", "s=%%%"), LAST),
        (FIRST.replace("s=W22ZaJ0SNY7soEsUEjb6gQ==,", ""), LAST),
        ("m=must-be-understood," + FIRST, LAST),
        ("", LAST),
        ("\xff\xfe", LAST),
    ],
)
async def test_a_server_that_cheats_is_not_believed(first: str, last: str) -> None:
    server = Server([first, last])
    with pytest.raises(NotTheServerError):
        await prove(server.exchange, "SCRAM-SHA-256", "user", "pencil", SHA_256[1])


async def test_every_exchange_has_a_nonce_of_its_own() -> None:
    nonces = set()
    for _ in range(3):
        server = Server([""])
        with pytest.raises(NotTheServerError):
            await prove(server.exchange, "SCRAM-SHA-512", "user", "pencil")
        nonces.add(server.told[0].partition("r=")[2])
    assert len(nonces) == 3
    assert min(map(len, nonces)) >= 24


async def test_a_name_with_a_comma_or_an_equals_sign_is_escaped() -> None:
    server = Server([""])
    with pytest.raises(NotTheServerError):
        await prove(server.exchange, "SCRAM-SHA-512", "a,b=c", "pencil", "nonce")
    assert server.told == ["n,,n=a=2Cb=3Dc,r=nonce"]


async def test_plain_sends_name_and_password() -> None:
    server = Server([""])
    await prove(server.exchange, "PLAIN", "museum", "päss")
    assert server.told == ["\0museum\0päss"]


# RFC 7628, section 4.1 and 4.3
async def test_a_token_is_shown_with_its_extensions() -> None:
    server = Server([""])
    await show(server.exchange, Token("vF9dft4qmT", 0.0, (("logicalCluster", "lkc-1"),)))
    assert server.told == ["n,,\1auth=Bearer vF9dft4qmT\1logicalCluster=lkc-1\1\1"]


async def test_a_refused_token_is_acknowledged_and_refused() -> None:
    server = Server(['{"status":"invalid_token"}', ""])
    with pytest.raises(Refused) as caught:
        await show(server.exchange, Token("vF9dft4qmT", 0.0))
    assert server.told[1] == "\1"
    assert "vF9dft4qmT" not in str(caught.value)
