"""What every route of the REST interface has in common: transactions, pages, ETags, idempotency, rate limits."""
