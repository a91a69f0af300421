"""ElevenLabs: streaming speech recognition and synthesis over its WebSockets."""
