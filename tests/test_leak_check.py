"""The leak check that every test runs under notices what it is there for, and nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

SUITE = """
import asyncio, os, threading
import pytest

kept = []

async def test_leaks_a_task():
    kept.append(asyncio.create_task(asyncio.Event().wait()))

def test_leaks_a_descriptor():
    kept.append(os.open(os.devnull, os.O_RDONLY))

def test_leaks_a_thread():
    stop = threading.Event()
    kept.append(stop)
    threading.Thread(target=stop.wait, name="left-over", daemon=True).start()

@pytest.fixture
async def server():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    task = asyncio.create_task(asyncio.Event().wait())
    yield server.sockets[0].getsockname()
    task.cancel()
    server.close()

async def test_what_fixtures_close_is_no_leak(server):
    reader, writer = await asyncio.open_connection(*server)
    assert await reader.read() == b""
    writer.close()

async def test_a_task_that_ends_a_moment_later_is_no_leak():
    asyncio.create_task(asyncio.sleep(0.05))

async def test_executor_threads_end_with_the_loop():
    await asyncio.to_thread(int)

def test_a_descriptor_on_a_reference_cycle_is_no_leak():
    class Owner:
        def __init__(self):
            self.me = self
            self.descriptor = os.open(os.devnull, os.O_RDONLY)
        def __del__(self):
            os.close(self.descriptor)
    Owner()
"""


def test_leaks_fail_the_test_that_made_them_and_no_other(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE, "utf-8")

    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-rEfp", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    leaked = set(re.findall(r"^ERROR test_suite\.py::(\w+)", done.stdout, re.MULTILINE))
    assert leaked == {"test_leaks_a_task", "test_leaks_a_descriptor", "test_leaks_a_thread"}, done.stdout
    assert "the test left 1 asyncio task(s) running" in done.stdout
    assert "/dev/null" in done.stdout
    assert "thread left-over" in done.stdout
    assert not re.findall(r"^FAILED", done.stdout, re.MULTILINE)
