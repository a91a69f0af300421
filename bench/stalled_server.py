"""The product, served with an event loop that stands still for 100 ms once a second, for bench/underruns.py.

What a slow disk, a full garbage collection or a library that blocks does to a server, put on purpose: the loop sleeps.
"""

import asyncio
import sys
import time

from voice_agent.serving import serve
from voice_agent.settings import load_settings

STALL_S = 0.1
EVERY_S = 1.0


def stall(loop: asyncio.AbstractEventLoop) -> None:
    """Stand still now, and again in a second."""
    loop.call_later(EVERY_S, stall, loop)
    time.sleep(STALL_S)


def on_listening(address: str) -> None:
    """Tell the address and begin to stall. On the server's loop."""
    sys.stdout.write(f"Listening at {address}\n")
    sys.stdout.flush()
    stall(asyncio.get_running_loop())


if __name__ == "__main__":
    serve(load_settings(), on_listening=on_listening)
