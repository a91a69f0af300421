"""What is written about the image agrees: Dockerfile, steps, lock, compose. `make image` proves that it works."""

import asyncio
import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from voice_agent.calls.drain import GOODBYE_S
from voice_agent.settings import ServerSettings
from voice_agent.supervisor import OVERTIME_S

ROOT = Path(__file__).parent.parent
STEPS = (ROOT / "deploy/image/steps.sh").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
WRITTEN = [
    ROOT / "Dockerfile",
    ROOT / ".dockerignore",
    ROOT / "deploy/compose.yaml",
    *sorted((ROOT / "deploy/image").iterdir()),
    *sorted((ROOT / "scripts").glob("image*.py")),
    *sorted((ROOT / "requirements").iterdir()),
]
OWN_ADDRESSES = {"postgresql://voice_agent", "redis://redis", "http://127.0.0.1", "file://"}


def loaded(path: str) -> ModuleType:
    """Return a module that lies outside of any package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


image_file = loaded("scripts/image_file.py")
healthy = loaded("deploy/image/healthy.py")
STAGES = image_file.parse((ROOT / "Dockerfile").read_text("utf-8"))
LAST = STAGES[-1]


def test_the_dockerfile_runs_each_step_once_and_nothing_else() -> None:
    commands = [" ".join(step.words) for stage in STAGES for step in stage.steps if step.kind == "RUN"]
    run = [re.fullmatch(r"bash /usr/local/lib/voice-agent/steps\.sh (\w+)", command) for command in commands]
    offered = re.search(r"^    ([a-z |]+)\) \"\$1\" ;;$", STEPS, re.MULTILINE)

    assert offered is not None
    assert [match and match[1] for match in run] == offered[1].split(" | ")
    assert all(re.search(rf"^{name}\(\) {{$", STEPS, re.MULTILINE) for name in offered[1].split(" | "))


def test_what_installs_stays_behind() -> None:
    copied = [(step.origin, step.words) for step in LAST.steps if step.kind == "COPY"]

    assert LAST.parent == "base"
    assert copied == [("build", ("/opt/voice-agent", "/opt/voice-agent/"))]


def test_the_image_runs_without_root_and_writes_its_volume_alone() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", LAST.words["USER"])
    assert f"account_id={LAST.words['USER'].partition(':')[0]}\n" in STEPS
    assert LAST.words["VOLUME"] == LAST.environment["DATA_DIR"] == LAST.environment["HOME"]
    assert LAST.environment["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_image_serves_unless_told_otherwise_and_is_stopped_by_draining() -> None:
    assert LAST.lists["ENTRYPOINT"][-1] == "voice-agent"
    assert LAST.lists["CMD"] == ("serve",)
    assert LAST.words["STOPSIGNAL"] == "SIGTERM"


def test_the_health_check_is_in_the_image() -> None:
    copied = {word.rpartition("/")[2] for step in STAGES[0].steps for word in step.words[:-1] if step.kind == "COPY"}

    assert LAST.health_check[-1].rpartition("/")[2] in copied


def test_images_have_a_release_and_come_from_no_named_registry() -> None:
    own = {stage.name for stage in STAGES}
    images = [stage.parent for stage in STAGES if stage.parent not in own]
    images += [service["image"] for service in COMPOSE["services"].values()]

    assert not [
        image for image in images if not re.fullmatch(r"[a-z-]+:(?!latest)(\$\{VERSION:-local\}|[\w.-]+)", image)
    ]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_no_registry_is_named(path: Path) -> None:
    text = path.read_text("utf-8")

    assert set(re.findall(r"\w+://[\w.-]*", text)) <= OWN_ADDRESSES
    assert not re.findall(r"\b(?:[\w-]+\.)+(?:org|com|io|net)\b", text)


def test_what_is_copied_is_let_in_and_nothing_secret_is() -> None:
    patterns = image_file.patterns((ROOT / ".dockerignore").read_text("utf-8"))
    copied = [word for stage in STAGES for step in stage.steps for word in step.words[:-1] if step.kind == "COPY"]
    kept_out = [
        ".env",
        ".git/config",
        "data/secret.key",
        ".venv/bin/python",
        "tests/conftest.py",
        "voice_agent/__pycache__",
    ]

    assert not [name for name in copied if not name.startswith("/") and image_file.ignored(name, patterns)]
    assert not image_file.ignored("voice_agent/agents/library/receptionist.yaml", patterns)
    assert [name for name in kept_out if image_file.ignored(name, patterns)] == kept_out


def pins(name: str) -> dict[str, str]:
    """Return the locked requirements of a file, each with all that follows it."""
    text = (ROOT / "requirements" / name).read_text("utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    return {re.split(r"[ \\\n]", entry, maxsplit=1)[0]: entry for entry in entries if entry.strip()}


@pytest.mark.parametrize("name", ["runtime.txt", "build.txt"])
def test_the_lock_of_the_image_has_a_hash_for_every_file(name: str) -> None:
    assert not [pin for pin, entry in pins(name).items() if "==" not in pin or "--hash=sha256:" not in entry]


def test_what_is_tested_is_what_the_image_holds() -> None:
    assert not pins("runtime.txt").keys() - pins("dev.txt").keys()


def test_the_build_of_the_package_is_locked() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    locked = dict(pin.split("==") for pin in pins("build.txt"))

    assert all(Requirement(each).specifier.contains(locked[Requirement(each).name]) for each in wanted)


def test_compose_leaves_calls_the_time_to_end() -> None:
    minutes = int(COMPOSE["services"]["server"]["stop_grace_period"].removesuffix("m"))

    assert minutes * 60 >= ServerSettings(_env_file=None).drain_s + GOODBYE_S + OVERTIME_S


@pytest.mark.parametrize("name", ["server", "worker"])
def test_compose_gives_no_more_than_is_needed(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == ["data:/data"]
    assert service["environment"]["SECRET_KEY"].startswith("${SECRET_KEY:?")


@pytest.mark.parametrize(
    ("status", "is_healthy"), [(b"200 OK", True), (b"503 Service Unavailable", False), (b"", False)]
)
async def test_a_server_is_healthy_that_answers_200(status: bytes, is_healthy: bool) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n" if status else b"nonsense\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(healthy.is_healthy, port) is is_healthy
    assert asked == [b"GET /healthz HTTP/1.1"]


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    assert healthy.is_healthy(1) is False


@pytest.mark.parametrize("text", ["RUN x", "FROM a AS b\nADD x y", "FROM a AS b\nCOPY --chown=1 x y", "FROM a"])
def test_an_instruction_that_make_image_cannot_carry_out_is_refused(text: str) -> None:
    with pytest.raises(image_file.UnknownInstruction):
        image_file.parse(text)
