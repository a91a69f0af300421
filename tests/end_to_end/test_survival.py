"""What a call survives: its worker's death, a drain, a database that is away. Real processes, real sockets."""

import time
from pathlib import Path

import aiohttp

from tests.end_to_end.processes import Running, running, until
from tests.servers.postgres import PostgresServer
from voice_agent.calls import repository
from voice_agent.calls.record import call_files
from voice_agent.calls.replay import replay
from voice_agent.pipeline import events as ev
from voice_agent.sandbox.callers.scenario import HangUp, Say, Silence, WaitForAgent
from voice_agent.sandbox.carrier.journal import StreamOpened
from voice_agent.sandbox.providers import Service
from voice_agent.storage.database import Database

ASK_TWICE = (
    WaitForAgent(),
    Say(text="what does it cost?"),
    WaitForAgent(),
    Silence(seconds=4),
    Say(text="and when can I come?"),
    WaitForAgent(),
    HangUp(),
)


def _last_question(server: Running) -> str:
    """Return the body of the last request to the language model."""
    return str(server.doubles.journal.exchanges(Service.OPENAI_CHAT)[-1])


async def _not_ready(server: Running) -> None:
    """Return once the server says that it takes no new calls: within a second."""
    deadline = time.monotonic() + 1.0
    async with aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"{server.url}/readyz") as answer:
                if answer.status == 503:
                    assert (await answer.json())["reasons"] == {"calls": "draining"}
                    return
            assert time.monotonic() < deadline, "still ready"


async def test_f47_a_killed_workers_call_goes_on_with_another(tmp_path: Path) -> None:
    async with running(tmp_path, "--workers", "2") as server:
        calling = server.begin_call(*ASK_TWICE)
        call_sid = await server.heard(2)
        server.holder(call_sid).kill()
        await until(lambda: server.count(call_sid, ev.PlaybackStarted, 1))
        await calling
        resumed = server.log(call_sid, 1)
        assert resumed is not None
        assert isinstance(resumed.entries[0].event, ev.CallResumed)
        assert replay(call_files(server.data_dir, call_sid, 1).event_log).is_same
        question = _last_question(server)
        assert "what does it cost" in question
        assert "and when can I come" in question
        streams = [entry for entry in server.carrier.journal.of_call(call_sid) if isinstance(entry, StreamOpened)]
        assert len(streams) == 2


async def test_f49_sigterm_lets_the_call_end_and_then_ends_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        calling = server.begin_call(*ASK_TWICE)
        call_sid = await server.heard(2)
        server.terminate()
        await _not_ready(server)
        await calling
        assert await server.ended() == 0
        log = server.log(call_sid)
        assert log is not None
        assert log.is_complete
        assert server.count(call_sid, ev.PlaybackFinished) >= 3


async def test_f49_at_the_deadline_the_caller_hears_a_goodbye_and_is_hung_up(tmp_path: Path) -> None:
    async with running(tmp_path, environment={"DRAIN_S": "0.2"}) as server:
        calling = server.begin_call(WaitForAgent(), Silence(seconds=25), HangUp())
        call_sid = await server.heard(1)
        server.terminate()
        assert await server.ended() == 0
        await calling
        log = server.log(call_sid)
        assert log is not None
        assert server.count(call_sid, ev.EndRequested) == 1
        assert "have to end our call" in str(log.entries)
        assert server.count(call_sid, ev.PlaybackFinished) == 2


async def test_f49_a_second_sigterm_gives_the_call_to_another_process(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        calling = server.begin_call(WaitForAgent(), Silence(seconds=20), HangUp())
        call_sid = await server.heard(1)
        server.terminate()
        await _not_ready(server)
        server.terminate()
        assert await server.ended() == 0
        await calling
        log = server.log(call_sid)
        assert log is not None
        assert log.entries[-1].event == ev.CallEnded(at=log.entries[-1].event.at, reason="shutdown")


async def test_f40_a_live_call_does_not_notice_a_database_that_is_away(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    stored_at = postgres.fresh_database()
    url = stored_at.set(drivername="postgresql").render_as_string(hide_password=False)
    async with running(tmp_path, environment={"DATABASE_URL": url}) as server:
        calling = server.begin_call(*ASK_TWICE)
        call_sid = await server.heard(1)
        postgres.stop()
        try:
            await server.heard(3)
        finally:
            postgres.start()
        await calling
        files = call_files(server.data_dir, call_sid)
        await until(lambda: files.shipped.exists() and files.shipped.read_text("ascii"))
        written = files.event_log.read_text("utf-8").splitlines()
        log = server.log(call_sid)
        assert log is not None
        assert log.is_complete
    database = Database(stored_at)
    async with database.read() as session:
        call = await repository.by_sid(session, call_sid)
        assert call is not None
        lines = await repository.event_lines(session, call.id)
    await database.close()
    assert [row.line for row in lines] == list(range(1, len(written) + 1))
    assert [row.body for row in lines] == written
