"""Who may be called, for what and when: rule packs by country, consents, suppressions, checks of registries."""
