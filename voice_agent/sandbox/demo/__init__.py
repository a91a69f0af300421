"""The demo: a whole call on this machine, shown while it is held. docs/sandbox.md tells how to hold others."""
