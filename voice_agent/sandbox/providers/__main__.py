"""Run the doubles as a process of their own: `python -m voice_agent.sandbox.providers --port 9100 --config FILE`.

One line of JSON on standard output says that they listen: the variables that point a server at them. SIGINT and
SIGTERM end the process.
"""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from voice_agent.sandbox.providers.config import DoublesConfig
from voice_agent.sandbox.providers.server import ProviderDoubles


def read_config(path: Path | None) -> DoublesConfig:
    """Read a YAML or JSON file; the defaults without one. Raises msgspec.ValidationError naming the field."""
    return DoublesConfig() if path is None else msgspec.yaml.decode(path.read_bytes(), type=DoublesConfig)


async def serve(config: DoublesConfig, host: str, port: int) -> None:
    """Serve until a signal comes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with await ProviderDoubles.start(config, host=host, port=port) as doubles:
        gc.collect()
        gc.freeze()
        sys.stdout.write(msgspec.json.encode(doubles.environment()).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m voice_agent.sandbox.providers", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9100, help="port to listen on; 0 takes a free one")
    parser.add_argument("--config", type=Path, default=None, help="YAML or JSON file, see docs/sandbox-providers.md")
    options = parser.parse_args(arguments)
    uvloop.run(serve(read_config(options.config), options.host, options.port))


if __name__ == "__main__":
    main()
