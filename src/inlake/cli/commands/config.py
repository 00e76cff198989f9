"""`inlake config`: the settings in effect, and where each comes from."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from inlake.settings import Settings

HIDDEN = "••••"
_SECRET = re.compile(
    r"password|passphrase|passwd|secret|token|key|credential|auth$|oauthbearer_config$|_pem$", re.IGNORECASE
)
_USER = re.compile(r"(?<=//)[^/@\s]*@")
"""`user:password@` of a URL."""


class Setting(NamedTuple):
    """A variable in effect."""

    variable: str
    value: str
    """Empty if it has none."""
    source: str
    """`default`, `.env` or `environment`."""
    kafka_property: str | None = None


def config(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False) -> None:
    """Show the settings in effect, and where each comes from.

    Secrets are hidden. INLAKE_KAFKA_* are shown with the names of librdkafka, AWS_* if they are set. Names that are no
    settings are told on stderr. Whether a server answers is not asked: /health/ready of a gateway says that.

    Exit code: 0 the settings can be used; 2 one is wrong.
    """
    from inlake.cli.deployment import load_settings
    from inlake.cli.terminal import messages
    from inlake.settings import unknown_variables

    settings, environment = load_settings()
    found = [*_settings(settings, environment), *_others(environment)]
    _print_lines(found) if as_json else _print_table(found)
    for sentence in unknown_variables(environment):
        messages().print(f"Warning: {sentence}")
    sys.stdout.flush()
    import asyncio

    asyncio.run(_check(settings, environment))


def _settings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Setting]:
    from pydantic import SecretStr

    from inlake.settings import PREFIX

    for name, value in settings:
        variable = PREFIX + name.upper()
        secret = isinstance(value, SecretStr)
        text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        yield Setting(variable, HIDDEN if secret else _USER.sub(f"{HIDDEN}@", text), _source(variable, environment))


def _others(environment: Mapping[str, str]) -> Iterator[Setting]:
    """The variables of librdkafka, of the S3 client and of `inlake send`."""
    from inlake.settings import KAFKA_PREFIX, kafka_properties

    properties = kafka_properties(environment)
    for variable in sorted(environment):
        key = variable.removeprefix(KAFKA_PREFIX).lower().replace("_", ".")
        kafka = key if variable.startswith(KAFKA_PREFIX) and key in properties else None
        of_client = variable in {"INLAKE_URL", "INLAKE_TOKEN"}
        if kafka or of_client or variable.startswith("AWS_"):
            value = HIDDEN if _SECRET.search(variable) else _USER.sub(f"{HIDDEN}@", environment[variable])
            yield Setting(variable, value, _source(variable, environment), kafka)


def _source(variable: str, environment: Mapping[str, str]) -> str:
    if variable not in environment:
        return "default"
    return "environment" if os.environ.get(variable) else ".env"


def _print_lines(found: list[Setting]) -> None:
    from inlake.cli.terminal import as_json

    for setting in found:
        line = setting._asdict()
        if setting.kafka_property is None:
            del line["kafka_property"]
        sys.stdout.write(as_json(line) + "\n")


def _print_table(found: list[Setting]) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from inlake.cli.terminal import output, printable

    table = Table("variable", Column("value", overflow="fold"), "from", box=None, pad_edge=False)
    for setting in found:
        name = setting.variable + (f" ({setting.kafka_property})" if setting.kafka_property else "")
        style = "dim" if setting.source == "default" else ""
        table.add_row(*(Text(printable(cell), style) for cell in (name, setting.value, setting.source)))
    output().print(table)


async def _check(settings: Settings, environment: Mapping[str, str]) -> None:
    """`Failure` for what a gateway would refuse to start with, beyond the form of each value."""
    from inlake.settings import SettingsError
    from inlake.web.request.auth import Auth
    from inlake.wiring import connect

    # librdkafka looks for its servers as soon as it is made: what it says of them is not the question here
    logging.getLogger("inlake").addHandler(logging.NullHandler())
    try:
        await Auth(settings).close()
        await connect(settings, environment).close()
    except SettingsError as error:
        raise Failure(str(error)) from None
