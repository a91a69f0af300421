"""Work that outlives the request that asked for it. `service` is what the others use."""
