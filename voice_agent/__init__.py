"""Self-hosted AI phone calls: Twilio Media Streams, streaming speech, language models, barge-in."""

__version__ = "0.1.0"
