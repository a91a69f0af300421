"""Supabase: its users' access tokens."""
