"""The double answers as Supabase Storage does: what our adapter never asks for is proved here."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from voice_agent.sandbox.supabase.storage import SupabaseStorageDouble

SECRET = "sb_secret_1234567890"


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        SupabaseStorageDouble(tmp_path, buckets=frozenset({"b"}), secret_key=SECRET) as double,
        aiohttp.ClientSession(base_url=f"{double.url}/storage/v1/", headers={"apikey": SECRET}) as http,
    ):
        yield http


async def test_an_object_is_replaced_only_where_that_is_asked_for(http: aiohttp.ClientSession) -> None:
    async with http.post("object/b/a/1.wav", data=b"one") as answer:
        assert (answer.status, (await answer.json())["Key"]) == (200, "b/a/1.wav")
    async with http.post("object/b/a/1.wav", data=b"two") as answer:
        assert (answer.status, (await answer.json())["statusCode"]) == (400, "409")
    async with http.post("object/b/a/1.wav", data=b"two", headers={"x-upsert": "true"}) as answer:
        assert answer.status == 200
    async with http.get("object/b/a/1.wav", headers={"Range": "bytes=1-"}) as answer:
        assert (answer.status, await answer.read()) == (206, b"wo")


@pytest.mark.parametrize(
    ("path", "status"), [("object/b/absent", "404"), ("object/elsewhere/a", "404"), ("object/b/a//b", "400")]
)
async def test_errors_are_http_400_with_the_real_status_in_the_body(
    http: aiohttp.ClientSession, path: str, status: str
) -> None:
    async with http.get(path) as answer:
        assert (answer.status, (await answer.json())["statusCode"]) == (400, status)


async def test_without_the_key_nothing_is_given(http: aiohttp.ClientSession) -> None:
    async with http.get("object/b/a", headers={"apikey": "another"}) as answer:
        assert (answer.status, (await answer.json())["statusCode"]) == (400, "403")


@pytest.mark.parametrize("token", ["", "1", "1.2", "x.y", "99999999999.0"])
async def test_a_signed_address_of_somebody_else_gives_nothing(http: aiohttp.ClientSession, token: str) -> None:
    async with http.post("object/b/a", data=b"one") as answer:
        assert answer.status == 200
    async with http.get(f"object/sign/b/a?token={token}", headers={"apikey": ""}) as answer:
        assert answer.status == 400
