"""A Redis server of its own for the tests that need one: on a Unix socket, so that no port can be taken."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


def start_redis(folder: Path) -> "subprocess.Popen[bytes]":
    # Debian's redis-tools carries the server's binary under this name; which of its programs it is, argv[0] decides.
    binary = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    assert binary, "no Redis on this machine: `make setup` installs Debian's redis-tools"
    options = ["--port", "0", "--unixsocket", str(folder / "redis.sock"), "--dir", str(folder), "--save", ""]
    return subprocess.Popen(["redis-server", *options], executable=binary, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="package")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh server."""
    folder = tmp_path_factory.mktemp("redis")
    url = f"unix://{folder / 'redis.sock'}"
    server = start_redis(folder)
    try:
        with Redis.from_url(url) as client:
            deadline = time.monotonic() + 10
            while not _answers(client):
                assert server.poll() is None, "Redis ended at once"
                assert time.monotonic() < deadline, "Redis did not start within 10 s"
                time.sleep(0.02)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisConnectionError:
        return False
