"""Contacts: people and companies that can be called, their lists, and how they get here."""
