"""Where the state of the gateway is, below the prefix of the store."""

STATE = ".inlake"
