"""TwilioService against a REST double on a real port: the SDK, its HTTP client and our error mapping together."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiohttp import encode_basic_auth, web
from multidict import MultiDict

from voice_agent.calls.ports import CallRequest, TransferRequest
from voice_agent.errors import CarrierError
from voice_agent.integrations.twilio.service import TwilioCallControl, TwilioService
from voice_agent.integrations.twilio.twiml import transfer
from voice_agent.settings import TwilioSettings

ACCOUNT_SID = "AC" + "0" * 32
CALL_SID = "CA" + "1" * 32
ACCOUNT_PATH = f"/2010-04-01/Accounts/{ACCOUNT_SID}"
CALL_PATH = f"{ACCOUNT_PATH}/Calls/{CALL_SID}.json"
CALL = {"sid": CALL_SID, "status": "in-progress", "to": "+15550001111", "from": "+15550002222", "duration": None}
REQUEST = CallRequest(to="+15550001111", caller="+15550002222", url="https://calls.example.org/twilio/voice")


def refusal(code: int, status: int) -> web.Response:
    body = {"code": code, "message": "refused", "more_info": "https://www.twilio.com/docs", "status": status}
    return web.json_response(body, status=status)


@dataclass
class RestDouble:
    """Answers with what is planned, then with the call; remembers what it was asked."""

    plan: list[web.Response] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    forms: list[MultiDict[str]] = field(default_factory=list)
    authorisation: str = ""
    is_silent: bool = False
    waits_s: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path))
        form = await request.post()
        self.forms.append(MultiDict((name, value) for name, value in form.items() if isinstance(value, str)))
        self.authorisation = request.headers.get("Authorization", "")
        if self.is_silent:
            await asyncio.Event().wait()
        return self.plan.pop(0) if self.plan else web.json_response(CALL)

    async def sleep(self, delay_s: float) -> None:
        """Do not really wait between tries."""
        self.waits_s.append(delay_s)


@pytest.fixture
async def rest() -> AsyncIterator[tuple[RestDouble, str]]:
    double = RestDouble()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", double.answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield double, f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
def double(rest: tuple[RestDouble, str]) -> RestDouble:
    return rest[0]


def settings(base_url: str) -> TwilioSettings:
    return TwilioSettings.model_validate({"account_sid": ACCOUNT_SID, "auth_token": "tok", "base_url": base_url})


@pytest.fixture
async def service(rest: tuple[RestDouble, str]) -> AsyncIterator[TwilioService]:
    double, base_url = rest
    async with TwilioService(settings(base_url), timeout_s=5.0, sleep=double.sleep) as opened:
        yield opened


async def test_a_call_is_placed_with_what_was_asked_for(service: TwilioService, double: RestDouble) -> None:
    double.plan = [web.json_response({**CALL, "status": "queued"}, status=201)]

    call = await service.create_call(
        CallRequest(
            to="+15550001111",
            caller="+15550002222",
            url="https://calls.example.org/twilio/voice",
            status_callback="https://calls.example.org/twilio/status",
            ring_s=25,
        )
    )

    assert (call.call_sid, call.status, call.duration_s) == (CALL_SID, "queued", None)
    assert double.asked == [("POST", f"{ACCOUNT_PATH}/Calls.json")]
    form = double.forms[0]
    assert (form["To"], form["From"], form["Timeout"]) == ("+15550001111", "+15550002222", "25")
    assert form["StatusCallback"] == "https://calls.example.org/twilio/status"
    assert form.getall("StatusCallbackEvent") == ["initiated", "ringing", "answered", "completed"]
    assert "Twiml" not in form
    assert double.authorisation == encode_basic_auth(ACCOUNT_SID, "tok")


@pytest.mark.parametrize("status", [500, 503])
async def test_f36_a_call_is_never_posted_twice(service: TwilioService, double: RestDouble, status: int) -> None:
    double.plan = [refusal(20500, status)]

    with pytest.raises(CarrierError) as caught:
        await service.create_call(REQUEST)

    assert caught.value.status == status
    assert caught.value.is_unclear
    assert len(double.asked) == 1


async def test_f36_a_call_that_was_certainly_not_processed_is_asked_for_again(
    service: TwilioService, double: RestDouble
) -> None:
    double.plan = [refusal(20429, 429), refusal(20429, 429)]

    assert (await service.create_call(REQUEST)).call_sid == CALL_SID
    assert len(double.asked) == 3


async def test_calls_are_begun_no_faster_than_the_account_allows(rest: tuple[RestDouble, str]) -> None:
    double, base_url = rest
    paced = settings(base_url).model_copy(update={"calls_per_second": 100.0})
    async with TwilioService(paced, sleep=asyncio.sleep) as service:
        for _ in range(5):
            await service.create_call(REQUEST)
    slow = settings(base_url).model_copy(update={"calls_per_second": 0.5})
    async with TwilioService(slow, sleep=_stop) as service:
        await service.create_call(REQUEST)
        with pytest.raises(_Waited) as waited:
            await service.create_call(REQUEST)

    assert len(double.asked) == 6
    assert 1.7 < waited.value.delay_s <= 2.2  # a tenth more than the rate has it


class _Waited(Exception):
    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s


async def _stop(delay_s: float) -> None:
    raise _Waited(delay_s)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (20003, 401, "config"), (20404, 404, "gone"), (20429, 429, "retry_later"), (22005, 400, "retry_later"),
        (10004, 400, "retry_later"), (21210, 400, "config"), (21211, 400, "invalid_number"),
        (21217, 400, "invalid_number"), (13223, 400, "invalid_number"), (13224, 400, "unreachable"),
        (21214, 400, "unreachable"), (21215, 400, "config"), (13227, 400, "config"), (21216, 400, "blocked"),
        (573002, 400, "config"), (573005, 400, "config"), (21220, 400, "gone"), (99999, 400, "other"),
    ],
)  # fmt: skip
async def test_every_refusal_says_what_it_means(
    service: TwilioService, double: RestDouble, code: int, status: int, kind: str
) -> None:
    double.plan = [refusal(code, status) for _ in range(4)]

    with pytest.raises(CarrierError) as caught:
        await service.create_call(REQUEST)

    assert (caught.value.code, caught.value.kind) == (code, kind)
    assert not caught.value.is_unclear


async def test_who_answers_is_asked_beside_the_call_and_never_before_it(
    service: TwilioService, double: RestDouble
) -> None:
    await service.create_call(
        CallRequest(
            to="+15550001111",
            caller="+15550002222",
            url="https://calls.example.org/a",
            machine_detection="message_end",
            machine_callback="https://calls.example.org/m",
            is_recorded=True,
            recording_callback="https://calls.example.org/r",
        )  # fmt: skip
    )

    form = double.forms[0]
    assert (form["MachineDetection"], form["AsyncAmd"]) == ("DetectMessageEnd", "true")
    assert form["AsyncAmdStatusCallback"] == "https://calls.example.org/m"
    assert (form["RecordingChannels"], form["RecordingStatusCallback"]) == ("dual", "https://calls.example.org/r")
    assert form["Trim"] == "do-not-trim"
    assert form.getall("RecordingStatusCallbackEvent") == ["completed", "absent"]


async def test_calls_are_looked_up_by_their_numbers_and_moment(service: TwilioService, double: RestDouble) -> None:
    asked_for = datetime(2026, 11, 25, 9, tzinfo=UTC)
    early = CALL | {"sid": "CA" + "2" * 32, "date_created": "Wed, 25 Nov 2026 08:59:59 +0000"}
    late = CALL | {
        "date_created": "Wed, 25 Nov 2026 09:00:01 +0000", "price": "-0.0140", "price_unit": "USD", "duration": "61",
        "answered_by": "human",
    }  # fmt: skip
    double.plan = [web.json_response({"calls": [late, early], "next_page_uri": None})]

    (call,) = await service.list_calls(to="+15550001111", caller="+15550002222", started_after=asked_for)

    assert (call.call_sid, call.price, call.duration_s, call.answered_by) == (CALL_SID, 14_000, 61, "human")


async def test_a_call_that_was_answered_meanwhile_is_hung_up_instead_of_canceled(
    service: TwilioService, double: RestDouble
) -> None:
    double.plan = [refusal(21220, 400)]
    await service.cancel(CALL_SID)

    assert [form["Status"] for form in double.forms] == ["canceled", "completed"]


async def test_recordings_are_paused_fetched_and_deleted(service: TwilioService, double: RestDouble) -> None:
    double.plan = [
        web.json_response({"sid": "RE1"}),
        web.json_response({"sid": "RE1"}),
        web.Response(body=b"RIFF" * 100_000),
        web.Response(status=204),
    ]
    await service.pause_recording(CALL_SID)
    await service.resume_recording(CALL_SID)
    sound = b"".join([piece async for piece in service.download_recording("RE1")])
    await service.delete_recording("RE1")

    assert [form.get("Status") for form in double.forms[:2]] == ["paused", "in-progress"]
    assert sound == b"RIFF" * 100_000
    assert double.asked[-1] == ("DELETE", f"{ACCOUNT_PATH}/Recordings/RE1.json")


async def test_the_recordings_of_a_call_are_listed(service: TwilioService, double: RestDouble) -> None:
    recording = {"sid": "RE1", "call_sid": CALL_SID, "status": "completed", "duration": "7", "channels": 2}
    double.plan = [web.json_response({"recordings": [recording]}), refusal(20404, 404)]

    (found,) = await service.list_recordings(CALL_SID)
    assert (found.recording_sid, found.call_sid, found.status) == ("RE1", CALL_SID, "completed")
    assert (found.duration_s, found.channels, found.error_code) == (7, 2, 0)
    assert await service.list_recordings(CALL_SID) == ()
    assert len(double.asked) == 2


async def test_a_list_that_is_refused_says_so(service: TwilioService, double: RestDouble) -> None:
    double.plan = [refusal(20003, 401)]
    with pytest.raises(CarrierError, match="refused") as caught:
        await service.list_recordings(CALL_SID)
    assert caught.value.status == 401


async def test_a_recording_that_is_refused_is_not_gone(service: TwilioService, double: RestDouble) -> None:
    double.plan = [web.Response(status=500)]
    with pytest.raises(CarrierError, match="status 500") as caught:
        _ = [piece async for piece in service.download_recording("RE1")]
    assert (caught.value.status, caught.value.kind) == (500, "other")


async def test_a_recording_that_is_not_there_says_so(service: TwilioService, double: RestDouble) -> None:
    double.plan = [refusal(20404, 404), refusal(20404, 404), refusal(20404, 404)]
    await service.pause_recording(CALL_SID)
    await service.delete_recording("RE1")
    with pytest.raises(CarrierError, match="no such recording"):
        _ = [piece async for piece in service.download_recording("RE1")]


async def test_f36_a_lost_answer_is_an_unknown_outcome_and_not_posted_again(
    rest: tuple[RestDouble, str],
) -> None:
    double, base_url = rest
    double.is_silent = True

    async with TwilioService(settings(base_url), timeout_s=0.05, sleep=double.sleep) as service:
        with pytest.raises(CarrierError, match=r"did not answer within 0\.05 s") as caught:
            await service.create_call(REQUEST)

    assert (caught.value.code, caught.value.status) == (0, 0)
    assert len(double.asked) == 1


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [(21211, 400, "refused"), (20003, 401, "refused"), (21216, 403, "refused")],
)
async def test_refusals_carry_twilios_code(
    service: TwilioService, double: RestDouble, code: int, status: int, message: str
) -> None:
    double.plan = [refusal(code, status)]

    with pytest.raises(CarrierError, match=message) as caught:
        await service.create_call(REQUEST)

    assert (caught.value.code, caught.value.status) == (code, status)


async def test_a_problem_document_is_understood_too(service: TwilioService, double: RestDouble) -> None:
    body = {"type": "https://www.twilio.com/docs/x", "title": "Number not verified", "status": 400, "code": 21210}
    double.plan = [web.json_response(body, status=400)]

    with pytest.raises(CarrierError, match="Number not verified") as caught:
        await service.create_call(REQUEST)

    assert (caught.value.code, caught.value.status) == (21210, 400)


async def test_an_answer_that_is_no_json_is_a_carrier_error(service: TwilioService, double: RestDouble) -> None:
    double.plan = [web.Response(text="<html>gateway</html>", status=502)]

    with pytest.raises(CarrierError) as caught:
        await service.create_call(REQUEST)

    assert caught.value.status == 502


async def test_a_call_is_looked_up(service: TwilioService, double: RestDouble) -> None:
    double.plan = [web.json_response({**CALL, "status": "completed", "duration": "17"})]

    call = await service.fetch_call(CALL_SID)

    assert (call.status, call.duration_s, call.to, call.caller) == ("completed", 17, "+15550001111", "+15550002222")
    assert double.asked == [("GET", CALL_PATH)]


async def test_hanging_up_completes_the_call(service: TwilioService, double: RestDouble) -> None:
    await service.hang_up(CALL_SID)

    assert double.asked == [("POST", CALL_PATH)]
    assert dict(double.forms[0]) == {"Status": "completed"}


@pytest.mark.parametrize(("code", "status"), [(21220, 400), (20404, 404), (0, 404)])
async def test_f37_hanging_up_a_call_that_has_ended_is_no_error(
    service: TwilioService, double: RestDouble, code: int, status: int
) -> None:
    double.plan = [refusal(code, status)]

    await service.hang_up(CALL_SID)

    assert len(double.asked) == 1


async def test_f37_hanging_up_is_repeated_with_growing_waits(service: TwilioService, double: RestDouble) -> None:
    double.plan = [refusal(20429, 429), refusal(20500, 500), refusal(20503, 503)]

    await service.hang_up(CALL_SID)

    assert len(double.asked) == 4
    assert double.waits_s == [0.25, 0.5, 1.0]


async def test_f37_hanging_up_gives_up_in_the_end(service: TwilioService, double: RestDouble) -> None:
    double.plan = [refusal(20500, 500) for _ in range(9)]

    with pytest.raises(CarrierError):
        await service.hang_up(CALL_SID)

    assert len(double.asked) == 4


async def test_a_wrong_key_is_not_tried_again(service: TwilioService, double: RestDouble) -> None:
    double.plan = [refusal(20003, 401)]

    with pytest.raises(CarrierError) as caught:
        await service.hang_up(CALL_SID)

    assert caught.value.code == 20003
    assert len(double.asked) == 1


async def test_a_transfer_replaces_the_running_document(service: TwilioService, double: RestDouble) -> None:
    plan = TransferRequest(target="+15550003333", action_url="https://calls.example.org/twilio/dialled")

    await service.transfer(CALL_SID, plan)

    assert dict(double.forms[0]) == {"Twiml": transfer(plan)}


async def test_a_transfer_is_repeated_where_twilio_was_busy(service: TwilioService, double: RestDouble) -> None:
    double.plan = [refusal(20429, 429)]

    await service.replace_twiml(CALL_SID, "<Response/>")

    assert len(double.asked) == 2


async def test_a_transfer_of_unknown_outcome_is_not_repeated(service: TwilioService, double: RestDouble) -> None:
    """The target may be ringing already."""
    double.plan = [refusal(20500, 500)]

    with pytest.raises(CarrierError):
        await service.replace_twiml(CALL_SID, "<Response/>")

    assert len(double.asked) == 1


async def test_the_account_proves_the_credentials(service: TwilioService, double: RestDouble) -> None:
    double.plan = [web.json_response({"sid": ACCOUNT_SID, "status": "active", "type": "Trial"})]

    account = await service.fetch_account()

    assert (account.account_sid, account.status, account.kind) == (ACCOUNT_SID, "active", "Trial")
    assert double.asked == [("GET", f"{ACCOUNT_PATH}.json")]


async def test_nobody_listening_is_a_carrier_error(unused_tcp_port: int) -> None:
    async with TwilioService(settings(f"http://127.0.0.1:{unused_tcp_port}")) as service:
        with pytest.raises(CarrierError, match="cannot be reached") as caught:
            await service.fetch_account()

    assert caught.value.status == 0


async def test_a_closed_service_says_so(service: TwilioService) -> None:
    await service.close()
    await service.close()

    with pytest.raises(CarrierError, match="not connected"):
        await service.hang_up(CALL_SID)


async def test_edge_and_region_of_the_environment_do_not_move_the_host(
    rest: tuple[RestDouble, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    double, base_url = rest

    async with TwilioService(settings(base_url)) as service:
        await service.hang_up(CALL_SID)

    assert len(double.asked) == 1


async def test_an_agent_hangs_up_and_transfers_the_call_it_holds(service: TwilioService, double: RestDouble) -> None:
    control = TwilioCallControl(service, CALL_SID, dial_action_url="https://calls.example.org/dialled", language="es")

    await control.transfer("+15550003333")
    await control.hang_up()

    plan = TransferRequest(target="+15550003333", action_url="https://calls.example.org/dialled", language="es")
    assert [dict(form) for form in double.forms] == [{"Twiml": transfer(plan)}, {"Status": "completed"}]
    assert {path for _, path in double.asked} == {CALL_PATH}
