"""The names that a shell offers behind the Tab key, beyond those of commands and options."""

from __future__ import annotations

import os

import typer

SECONDS = 1.0
"""How long a person who pressed Tab may wait for the gateway."""


def schema_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of schemas that the gateway knows; none when it does not answer."""
    import json
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    url = context.params.get("url") or os.environ.get("INLAKE_URL") or "http://127.0.0.1:8000"
    token = context.params.get("token") or os.environ.get("INLAKE_TOKEN")
    if not url.startswith(("http://", "https://")):
        return []
    try:
        request = Request(f"{url.rstrip('/')}/schemas", headers={"Authorization": f"Bearer {token}"} if token else {})  # noqa: S310
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  its scheme is checked above
            names = [entry["name"] for entry in json.load(answer)["schemas"]]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if name.startswith(incomplete)]
