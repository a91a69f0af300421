"""The HTTP edge: routers and the translation of errors. It decides nothing; services do."""
