"""Who may do what, and who did: accounts, roles, API keys, the gate before every route, the audit log."""
