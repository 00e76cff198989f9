"""A folder of schema files."""
