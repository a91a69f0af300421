"""Adapters: one folder for each vendor, each implementing ports of the pipeline and the calls.

What vendors share is here: `websocket` (a client connection), `transcription` (streaming recognition that survives
its connection) and `failures` (every vendor exception becomes a `ProviderError`). Only `app` imports this package.
"""
