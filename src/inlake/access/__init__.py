"""Who sends a request, and what that one may do: API keys, tokens of an OIDC issuer, a proxy's word, and rights."""
