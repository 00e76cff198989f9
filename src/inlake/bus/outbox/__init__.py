"""Events that wait on the gateway's disk while the bus is away."""
