"""Calls: their life cycle, and what each of them leaves behind."""
