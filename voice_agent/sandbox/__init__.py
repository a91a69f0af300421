"""The sandbox: a carrier, speech and language providers and callers to test agents with, no account needed.

It stands beside the application: it may import what it doubles, and only the command line, tests and benchmarks
import it. Nothing of it runs in a production call.
"""
