"""The socket of a call: Twilio's protocol and what the caller heard are pure; `connection`, `server` do I/O."""
