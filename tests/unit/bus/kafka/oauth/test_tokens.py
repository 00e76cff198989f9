"""A token is got once for all who want it, anew before it ends, and kept when no other can be had."""

from __future__ import annotations

import asyncio
import time

import pytest

from inlake.bus.kafka.oauth.tokens import Token, TokenError, Tokens


class Source:
    """Gives tokens that are good for so many seconds; each is numbered."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.given, self.broken = seconds, 0, False

    def __call__(self) -> Token:
        if self.broken:
            raise TokenError("the OAuth server is away")
        self.given += 1
        return Token(str(self.given), time.time() + self.seconds)


async def test_all_who_ask_share_one_token() -> None:
    tokens = Tokens(source := Source(600))
    assert {token.value for token in await asyncio.gather(*[tokens.current() for _ in range(20)])} == {"1"}
    assert (await tokens.current()).value == "1"
    assert source.given == 1


async def test_a_token_is_got_anew_when_most_of_its_time_is_over() -> None:
    tokens = Tokens(Source(0.5))
    assert (await tokens.current()).value == "1"
    await asyncio.sleep(0.2)
    assert (await tokens.current()).value == "1"
    await asyncio.sleep(0.25)
    assert (await tokens.current()).value == "2"


async def test_a_token_that_a_broker_refused_is_not_shown_again() -> None:
    tokens = Tokens(Source(600))
    await tokens.current()
    tokens.forget()
    assert (await tokens.current()).value == "2"


async def test_while_no_other_can_be_had_a_token_is_used_to_its_end() -> None:
    tokens = Tokens(source := Source(0.5))
    await tokens.current()
    source.broken = True
    await asyncio.sleep(0.42)
    assert (await tokens.current()).value == "1"
    await asyncio.sleep(0.1)
    with pytest.raises(TokenError, match="away"):
        await tokens.current()
