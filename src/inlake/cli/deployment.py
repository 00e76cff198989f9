"""The deployment a command works on: its settings, and the registry and bus that they name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from inlake.ports import Bus, Registry
    from inlake.settings import Settings


def load_settings(options: Mapping[str, object] | None = None) -> tuple[Settings, dict[str, str]]:
    """Settings and the environment they come from; `options` (by setting; None is not given) stand above both."""
    from inlake.settings import PREFIX, SettingsError, load, read_environment

    given = {PREFIX + name.upper(): str(value) for name, value in (options or {}).items() if value is not None}
    environment = read_environment(environ={**os.environ, **given})
    try:
        return load(environment), environment
    except SettingsError as error:
        raise Failure(str(error)) from None


@asynccontextmanager
async def open_registry(settings: Settings) -> AsyncIterator[Registry]:
    from inlake.settings import SettingsError
    from inlake.wiring import connect_registry

    try:
        registry = connect_registry(settings)
    except SettingsError as error:
        raise Failure(str(error)) from None
    try:
        yield registry
    finally:
        await registry.close()


@asynccontextmanager
async def open_bus(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[Bus]:
    from inlake.settings import SettingsError
    from inlake.wiring import connect_bus

    try:
        bus = connect_bus(settings, environment)
    except SettingsError as error:
        raise Failure(str(error)) from None
    try:
        yield bus
    finally:
        await bus.close()
