import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from voice_agent.sandbox.providers.__main__ import read_config
from voice_agent.sandbox.providers.config import DoublesConfig


def test_the_configuration_file(tmp_path: Path) -> None:
    assert read_config(None) == DoublesConfig()
    file = tmp_path / "doubles.yaml"
    file.write_text("api_key: mine\n")
    assert read_config(file).api_key == "mine"
    file.write_text("api_kee: mine\n")
    with pytest.raises(msgspec.ValidationError, match="api_kee"):
        read_config(file)


async def test_a_process_of_its_own_says_where_it_listens_and_ends_by_a_signal(tmp_path: Path) -> None:
    file = tmp_path / "doubles.yaml"
    file.write_text("api_key: mine\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voice_agent.sandbox.providers", "--port", "0", "--config", os.fspath(file),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    environment = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    assert environment["GOOGLE_API_KEY"] == "mine"
    journal = f"{environment['GOOGLE_BASE_URL']}/sandbox/journal"
    async with aiohttp.ClientSession() as client, client.get(journal) as response:
        assert (await response.json())["exchanges"] == []
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
