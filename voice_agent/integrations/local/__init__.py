"""Adapters that run on this machine, with no account: voice activity models, offline speech and a scripted dialogue."""
