"""SASL OAUTHBEARER: where the gateway's tokens come from."""
