"""The Python client of a gateway: records and binaries out over HTTP, receipts back; no server library needed."""

from inlake.client.gateway import Address
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
from inlake.client.session import Client

__all__ = [
    "Address",
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
