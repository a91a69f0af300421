"""Agents: who answers the telephone, with which words, voice, model and limits."""
