"""The stores that the contract is asked of: a new one is a line in `STORES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from inlake.ports import Store
from inlake.store.folder.store import FolderStore
from inlake.store.s3.store import S3Store
from tests.live_servers import S3_BUCKET, S3_ENDPOINT, S3_VARIABLES, require

Connect = Callable[[], Store]
"""Another store object on the same objects, as another process would have it."""


class Kind(NamedTuple):
    """A kind of store, and what it has."""

    open: Callable[[Path, str], Store]
    """A store on an empty folder of this machine, or below a prefix that no other test has."""
    is_direct: bool
    """Clients can send to the store itself."""
    server: tuple[str, str] | None = None
    """The name of the server that must answer, and its address."""


STORES = {
    "folder": Kind(lambda path, _: FolderStore(path / "store"), is_direct=False),
    "s3": Kind(
        lambda _, prefix: S3Store(S3_BUCKET, prefix, environment=S3_VARIABLES),
        is_direct=True,
        server=("S3", S3_ENDPOINT),
    ),
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.live] if kind.server else []) for name, kind in STORES.items()]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    return STORES[request.param]


@pytest.fixture
async def connect(kind: Kind, tmp_path: Path) -> AsyncIterator[Connect]:
    if kind.server:
        require(*kind.server)
    prefix, made = f"test/{uuid4()}", list[Store]()

    def another() -> Store:
        made.append(kind.open(tmp_path, prefix))
        return made[-1]

    yield another
    store = another()
    keys = [key async for key in store.list("")]
    await asyncio.gather(*[store.delete(key) for key in keys])
    for store in made:
        await store.close()


@pytest.fixture
def store(connect: Connect) -> Store:
    return connect()
