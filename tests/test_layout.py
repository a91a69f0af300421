"""The tree keeps its own rules: what import contracts and linters cannot see."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "voice_agent"
BANNED_NAMES = {"manager", "helper", "helpers", "util", "utils", "common", "base", "misc", "data", "info"}
DECLARATIONS = {f"voice_agent/{slice_}/ports.py" for slice_ in ("calls", "campaigns", "contacts", "pipeline")}
"""Nothing but Protocols and records: tests/fakes proves that each can be implemented."""

SHAPES = "schemas.py"
"""What a slice's routes take and give, and nothing else: its test_routes.py reads and writes all of it."""

SCHEMA = ("voice_agent/storage/tables/", "voice_agent/storage/migrations/")
"""Tables and their history: tests/storage/test_database proves that one makes the other."""

MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(module: Path) -> Iterator[str]:
    """Yield the absolute names that a module imports."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def tool_settings() -> dict[str, Any]:
    tools: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    return tools


def test_every_module_has_its_test_file() -> None:
    missing = [
        relative(mirror)
        for module in MODULES
        if not module.name.startswith("__") and module.name != SHAPES and relative(module) not in DECLARATIONS
        if not relative(module).startswith(SCHEMA)
        if not (mirror := ROOT / "tests" / module.parent.relative_to(PACKAGE) / f"test_{module.name}").is_file()
    ]

    assert not missing, "\n".join(missing)


def test_every_module_says_what_it_is() -> None:
    assert not [relative(module) for module in MODULES if not ast.get_docstring(ast.parse(module.read_text("utf-8")))]


def test_no_module_has_a_name_that_says_nothing() -> None:
    words = {module: set(re.split(r"\W|_", str(module.relative_to(PACKAGE)))) for module in MODULES}

    assert not [relative(module) for module in MODULES if words[module] & BANNED_NAMES]


def test_every_test_folder_is_a_package() -> None:
    folders = {test.parent for test in (ROOT / "tests").rglob("test_*.py")}

    assert not [relative(folder) for folder in folders if not (folder / "__init__.py").is_file()]


def test_no_python_folder_is_empty() -> None:
    packages = {module.parent for module in MODULES if module.name == "__init__.py"}

    assert not [relative(folder) for folder in packages if len(list(folder.iterdir())) == 1]


def test_only_the_session_joins_media_stream_and_pipeline() -> None:
    """The composition root and the sandbox build both; no other module needs both."""
    joined = []
    for module in MODULES:
        names = set(imports(module))
        if all(any(name.startswith(f"voice_agent.{area}") for name in names) for area in ("media_stream", "pipeline")):
            joined.append(relative(module))

    composing = {"voice_agent/app.py", "voice_agent/planning.py", "voice_agent/providers.py"}
    allowed = {"voice_agent/calls/session.py", *composing}
    assert not [each for each in joined if each not in allowed and not each.startswith("voice_agent/sandbox/")]


def test_the_import_contract_and_the_coverage_gate_name_the_same_pure_modules() -> None:
    tool = tool_settings()
    (pure,) = [each["source_modules"] for each in tool["importlinter"]["contracts"] if "source_modules" in each]

    assert [f"{module.replace('.', '/')}.py" for module in pure] == tool["coverage"]["run"]["include"]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = re.findall(r"(?:\]\(|src=\")([^)\"#\s]+)", text)

    missing = [t for t in targets if not re.match(r"[a-z]+:", t) and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_in_pages_exist(page: Path) -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    text = page.read_text("utf-8")
    assert set(re.findall(r"`make ([a-z]+)[^`]*`|^make ([a-z]+)", text, re.MULTILINE)) <= {
        pair for verb in verbs for pair in ((verb, ""), ("", verb))
    }


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(page.name[:4]) for page in sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))]

    assert numbers == list(range(1, len(numbers) + 1))


def test_requirements_name_no_index() -> None:
    for requirements in (ROOT / "requirements").glob("*.txt"):
        lines = requirements.read_text("utf-8").splitlines()
        assert lines
        assert not [line for line in lines if "://" in line or line.startswith("-") or "@" in line.split("#")[0]]
