"""Who may call, at the gateway and at the gRPC services alike: API keys and tokens with tenant, scopes and limits."""
