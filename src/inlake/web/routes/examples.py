"""Bodies of the document that fit the schemas of `examples/`: who tries them out on `/docs` has a receipt."""

from __future__ import annotations

import hashlib

import msgspec

ARTWORK = {
    "acno": "T07844",
    "acquisitionYear": 2002,
    "all_artists": "Rebecca Horn",
    "catalogueGroup": {},
    "classification": "sculpture",
    "contributorCount": 1,
    "contributors": [
        {
            "birthYear": 1944,
            "date": "born 1944",
            "displayOrder": 1,
            "fc": "Rebecca Horn",
            "gender": "Female",
            "id": 2269,
            "mda": "Horn, Rebecca",
            "role": "artist",
        }
    ],
    "creditLine": "Purchased with assistance from Tate Members 2002",
    "dateRange": {"startYear": 1972, "endYear": 1972, "text": "1972"},
    "dateText": "1972",
    "depth": "",
    "dimensions": None,
    "foreignTitle": "Weisser Körperfächer",
    "groupTitle": None,
    "height": "",
    "id": 24,
    "inscription": None,
    "medium": "Fabric and metal",
    "movementCount": 0,
    "subjectCount": 0,
    "thumbnailUrl": None,
    "title": "White Body Fan",
    "units": "",
    "url": "http://www.tate.org.uk/art/artworks/horn-white-body-fan-t07844",
    "width": "",
}
"""Fits `tate.artwork` of `examples/schemas`."""
ARTWORK_TAGGED = ARTWORK | {
    "acquisitionYear": {"int": 2002},
    "classification": {"string": "sculpture"},
    "contributors": [],
    "contributorCount": 0,
    "creditLine": {"string": ARTWORK["creditLine"]},
    "dateRange": None,
    "foreignTitle": {"string": ARTWORK["foreignTitle"]},
    "medium": {"string": ARTWORK["medium"]},
}
"""The same, its unions in the tagged form."""
FILE = b"v 0 0 0"
"""A mesh of one point."""
OBJECT = {
    "record_id": "596c52d4-16d3-580c-a7db-1e59cdb5ccf1",
    "title": "A point",
    "kind": "MESH",
    "event": {"type": "PUBLICATION"},
    "file": {
        "name": "point.obj",
        "media_type": "model/obj",
        "byte_length": len(FILE),
        "sha256": hashlib.sha256(FILE).digest().decode("latin-1"),  # Avro's JSON of bytes
        "modified": 1337801620000,
        "megabytes": 0.000007,
    },
    "rights": {"licence": "CC0-1.0"},
    "source": {"repository": "example.org/meshes", "path": "point.obj"},
    "__resource_path__": None,
}
"""Fits `heritage.digital_object` of `examples/schemas`."""
ANNOUNCED = {
    "file": {
        "filename": "point.obj",
        "size": len(FILE),
        "sha256": hashlib.sha256(FILE).hexdigest(),
        "content_type": "model/obj",
    },
    "record": OBJECT,
}
"""A line of a shipment."""


def lines(*records: object) -> str:
    """NDJSON."""
    return "".join(msgspec.json.encode(record).decode() + "\n" for record in records)
