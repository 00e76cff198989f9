"""A client in Python, made by openapi-generator: python generated_client.py GATEWAY

sends a record, a stream, a binary and a tus upload, and prints what came back.
"""

from __future__ import annotations

import json
import sys
from uuid import UUID

from generated import ApiClient, Configuration, IngressApi, UploadsApi

TUS = "1.0.0"
SCAN = b"v 0 0 0\n"


def main(gateway: str) -> None:
    client = ApiClient(Configuration(host=gateway))
    ingress, uploads = IngressApi(client), UploadsApi(client)
    record = ingress.post_ingress_record_json({"title": "one"}, var_schema="note")
    lines, kind = '{"title": "two"}\n{"title": 3}\n', {"Content-Type": "application/x-ndjson"}
    # the method made for the route takes a record only
    request = client.param_serialize("POST", "/ingress/record-json", None, [("schema", "note")], kind, body=lines)
    stream = client.call_api(*request)
    binary = ingress.post_ingress_binary(SCAN, filename="spot.obj", _content_type="application/octet-stream")
    made = uploads.post_uploads_with_http_info(tus_resumable=TUS, upload_length=str(len(SCAN)), body=b"")
    puuid = UUID(made.headers["location"].rpartition("/")[2])
    sent = uploads.patch_uploads_puuid_with_http_info(puuid, tus_resumable=TUS, upload_offset="0", body=SCAN)
    claimed = ingress.post_ingress_record_json({"title": "four", "__resource_path__": str(puuid)}, var_schema="note")
    told = {
        "record": record.to_dict(),
        "stream": stream.read().decode(),
        "binary": binary.to_dict(),
        "upload": [made.status_code, sent.status_code],
        "claimed": claimed.to_dict(),
    }
    print(json.dumps(told, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
