"""Campaigns: lists are called within their rules, each contact exactly as often as it should be."""
