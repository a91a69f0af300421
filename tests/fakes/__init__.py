"""Each port in memory, driven by the test: nothing happens until the test makes it happen, or asks for it ahead."""
