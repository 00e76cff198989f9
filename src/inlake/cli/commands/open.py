"""`inlake open`: the console in a browser."""

from __future__ import annotations

import typer

from inlake.cli.gateway import Token, Url, connect
from inlake.cli.terminal import messages


def open_(url: Url = None, token: Token = None) -> None:
    """Open the console of a gateway in a browser.

    Exit code: 0 opened, or its address printed where there is no browser; 2 the command is wrong; 3 the gateway cannot
    be reached.
    """
    import webbrowser

    with connect(url, token) as client:
        client.check_alive()
        address = f"{client.url.rstrip('/')}/"
    typer.echo(address)
    if not webbrowser.open(address):
        messages().print("There is no browser here: open the address where there is one.")
