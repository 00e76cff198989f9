"""The command `inlake`: a module for each group of commands."""
