"""JSON Schema, drafts 4 to 2020-12: a schema from the registry becomes a codec that validates and writes JSON.

- `codec`: the two paths, and what the port promises.
- `numbers`: JSON numbers as Python values that lose nothing.
- `documents`: the schema and its references, compiled; a `$ref` never leaves them.
- `keywords`: one subschema as its draft reads it.
- `explain`: why a record is refused, all reasons with their places.
- `words`: the words and codes of those reasons.
- `example`: a value that fits; `pattern_text`: a text that matches a pattern.
"""
