"""Vendors behind the ports: one folder each. Only the composition root imports them."""
