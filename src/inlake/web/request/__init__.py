"""One request: all steps that every request takes."""
