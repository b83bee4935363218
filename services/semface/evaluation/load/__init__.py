"""Load and speed of the running system: from the bare network to the gateway, overload, memory, growth, rivals."""
