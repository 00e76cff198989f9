"""How fast Inlake is beside the limits of the machine it runs on: `make bench`, see docs/performance.md."""

LAG = "/benchmark/lag"
"""Where a measured gateway tells how late its event loop ran since it was last asked: a list of seconds, as JSON."""
