"""Reference pages made from the code: `python tools/docs.py` writes them, `--check` fails when one is out of date."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from inlake.cli.app import build
from inlake.errors import InlakeError, every_error
from inlake.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Made by tools/docs.py from the code: `python tools/docs.py` writes it anew. -->\n"

SETTINGS_HEAD = """
Environment variables, or lines `NAME=value` of a file `.env` in the folder where the gateway is started; a variable of
the environment stands above one of the file, an option of `inlake serve` above both. An empty variable counts as not
set. Sizes are in bytes, times in seconds unless the name says otherwise. A wrong value stops the start with a sentence
that names the variable; a name that is no setting is warned of.

Three URLs describe a deployment: `INLAKE_BUS`, `INLAKE_STORE` and `INLAKE_REGISTRY`.

- **Kafka**: any librdkafka property is set by `INLAKE_KAFKA_` and its name with `_` for `.`
  ([what each changes](../how-to/kafka.md#tls-and-authentication)):
  `INLAKE_KAFKA_SECURITY_PROTOCOL=SASL_SSL`, `INLAKE_KAFKA_SASL_MECHANISM`, `INLAKE_KAFKA_SASL_USERNAME`,
  `INLAKE_KAFKA_SASL_PASSWORD`, `INLAKE_KAFKA_SSL_CA_LOCATION`.
- **S3**: endpoint and credentials come from the standard variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
  `AWS_SESSION_TOKEN`, `AWS_REGION` and `AWS_ENDPOINT_URL` (for MinIO, Ceph and their like).
"""

ERRORS_HEAD = """
Errors are `application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail`, `instance` (the id of the
request) and `code`. A program decides by `status` and `code`: both are stable. `detail` is for a person. Where a retry
may help, the answer carries `Retry-After`.
"""

CLI_HEAD = """
`pip install .` in a clone, or a wheel made of it (nothing is on a public index), brings `inlake send`, `inlake map`,
`inlake schemas infer`, `inlake promise` and `inlake keys`; the other commands come with `pip install '.[server]'`.
Errors are one sentence on stderr; `inlake --debug COMMAND`, or `INLAKE_DEBUG=1`, shows where an unexpected one came
from. `inlake --version` prints the version.

`inlake --install-completion` makes the Tab key complete commands and options in bash, zsh and fish, and for `send` the
names of schemas, which the gateway of `INLAKE_URL` is asked for; `inlake --show-completion` prints what that installs.

| exit code | meaning |
| --- | --- |
| 0 | all went well |
| 1 | some of what was sent was refused; `check`: some records do not fit |
| 2 | the command, a setting or an input file is wrong; nothing was sent |
| 3 | a gateway or a service behind it cannot be reached or failed; another attempt may help |
| 130 | ended by Ctrl-C |
| 141 | who read the output went away |
"""


def main() -> int:
    """0 when all pages are as the code wants them, 1 when `--check` finds one that is not."""
    stale = []
    for name, make in PAGES:
        path, page = REFERENCE / name, make()
        if path.is_file() and path.read_text() == page:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page)
    if stale and "--check" in sys.argv[1:]:
        print(f"Out of date: {', '.join(stale)}. Type: python tools/docs.py")
        return 1
    print("Written: " + ", ".join(stale) if stale else "The reference pages are up to date.")
    return 0


def settings_page() -> str:
    lines = ["# Settings", NOTE, SETTINGS_HEAD.strip(), "", "| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {_cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def errors_page() -> str:
    texts = tomllib.loads((ROOT / "tools" / "errors.toml").read_text())
    # the root is described once, by InternalError, which has its status and code
    errors = sorted((e for e in every_error() if e is not InlakeError), key=lambda error: error.status)
    lines = [
        "# Errors",
        NOTE,
        ERRORS_HEAD.strip(),
        "",
        "| status | code | title | retry after |",
        "| --- | --- | --- | --- |",
    ]
    for error in errors:
        retry = "" if error.retry_after is None else f"{error.retry_after} s"
        lines.append(f"| {error.status} | [`{error.code}`](#{error.code}) | {_cell(error.title())} | {retry} |")
    for error in errors:
        lines += ["", f"## {error.code}", f"{error.status}: {error.title()}. {texts[error.code]}"]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    lines = ["# Commands", NOTE, CLI_HEAD.strip()]
    for words, command in _commands(typer.main.get_command(build()), "inlake"):
        lines += ["", f"## {words}", *_command_lines(words, command)]
    return "\n".join(lines) + "\n"


def _commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Typer's commands in the order of the help, groups opened."""
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{words} {name}")
        else:
            yield f"{words} {name}", child


def _command_lines(words: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = "".join(
        f" {name}" if a.required else f" [{name}]"
        for a in arguments
        for name in [a.metavar + ("..." if a.nargs == -1 else "")]
    )
    yield f"`{words}{usage}{' [OPTIONS]' if options else ''}`"
    yield ""
    yield re.sub(r"\n(?!\n)(?<!\n\n)", " ", (command.help or "").strip())
    yield ""
    yield "| argument or option | default | meaning |"
    yield "| --- | --- | --- |"
    for argument in arguments:
        yield f"| `{argument.metavar}` | | {_cell(argument.help or '')} |"
    for option in options:
        yield f"| {_option_names(option)} | {_option_default(option)} | {_cell(option.help or '')} |"


def _option_names(option: Any) -> str:
    names = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _option_default(option: Any) -> str:
    shown = "" if option.is_flag or option.default is None else f"`{option.default}`"
    return (
        f"`{option.envvar}`, else {shown}"
        if option.envvar and shown
        else f"`{option.envvar}`"
        if option.envvar
        else shown
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


PAGES: list[tuple[str, Callable[[], str]]] = [
    ("settings.md", settings_page),
    ("errors.md", errors_page),
    ("cli.md", cli_page),
]

if __name__ == "__main__":
    sys.exit(main())
