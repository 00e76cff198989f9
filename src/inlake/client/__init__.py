"""The Python client of a gateway: records and binaries out over HTTP, receipts back; no server library needed."""

from inlake.client.gateway import Client
from inlake.client.multipart import Upload
from inlake.client.problems import (
    ClientError,
    CutOff,
    Failed,
    FileChanged,
    NotAGateway,
    Problem,
    Refused,
    Unreachable,
)

__all__ = [
    "Client",
    "ClientError",
    "CutOff",
    "Failed",
    "FileChanged",
    "NotAGateway",
    "Problem",
    "Refused",
    "Unreachable",
    "Upload",
]
