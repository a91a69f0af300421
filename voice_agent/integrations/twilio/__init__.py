"""Twilio: its REST interface, the signature of its requests to us, and the documents that steer a call."""
