"""A Redis server of its own for the tests: on a Unix socket, so that no port can be taken."""

import shutil
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

PATIENCE_S = 10.0


class RedisServer:
    """One server, in a folder of its own; `stop` and `start` may follow each other, and it forgets everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder / 'redis.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        # Debian's redis-tools carries the server's binary under this name; argv[0] decides which of its programs it is.
        binary = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        assert binary, "no Redis on this machine: `make setup` installs Debian's redis-tools"
        options = ["--port", "0", "--unixsocket", str(self._folder / "redis.sock"), "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            ["redis-server", *options, "--save", ""], executable=binary, stdout=subprocess.DEVNULL
        )
        with Redis.from_url(self.url) as client:
            deadline = time.monotonic() + PATIENCE_S
            while not _answers(client):
                assert self._process.poll() is None, "Redis ended at once"
                assert time.monotonic() < deadline, "Redis did not start"
                time.sleep(0.02)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False
