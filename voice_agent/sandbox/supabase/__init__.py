"""Doubles of Supabase's services on a real port."""
