"""Where this machine's packages come from, handed into a clean root: apt's mirrors and pip's indexes.

They are asked for when they are needed, and written nowhere but into a folder that ends with the run.
"""

# ruff: noqa: S603 - no command here comes from outside the project

import ast
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PIP_SOURCES = frozenset(
    {"index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "no-index", "default-timeout", "retries"}
)
"""What pip's configuration says about where packages come from; the rest of it stays outside."""

PLACE = "/machine"
"""Where the folder lies in the root."""


@dataclass(frozen=True)
class Sources:
    """What a root needs in order to install packages."""

    mirror: str
    folder: Path
    """To be mounted at PLACE."""

    environment: dict[str, str]
    """Variables that have apt and pip use the folder."""

    local: tuple[Path, ...]
    """Folders of this machine that hold packages: to be mounted where they are."""


class NoMirror(Exception):
    """apt of this machine knows no mirror of the Debian release."""


def read_sources(release: str, folder: Path) -> Sources:
    """Ask apt and pip, and write their configuration for a root into a new folder. Raises NoMirror."""
    mirrors = _apt_mirrors(release)
    folder.mkdir()
    lines = [f"deb {uri} {suite} main\n" for uri, suite in mirrors]
    (folder / "sources.list").write_text("".join(lines), "utf-8")
    acquire = [line for line in _output("apt-config", "dump").splitlines() if line.startswith("Acquire::")]
    own = [
        f'Dir::Etc::sourcelist "{PLACE}/sources.list";',
        'Dir::Etc::sourceparts "-";',
        f'Acquire::https::CaInfo "{PLACE}/authorities.crt";',
    ]
    (folder / "apt.conf").write_text("\n".join([*acquire, *own, ""]), "utf-8")
    authorities = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    shutil.copyfile(authorities, folder / "authorities.crt")
    settings = _pip_settings()
    pip_lines = ["[global]", f"cert = {PLACE}/authorities.crt", *(f"{key} = {settings[key]}" for key in settings), ""]
    (folder / "pip.conf").write_text("\n".join(pip_lines), "utf-8")
    return Sources(
        mirror=next(uri for uri, suite in mirrors if suite == release),
        folder=folder,
        environment={"APT_CONFIG": f"{PLACE}/apt.conf", "PIP_CONFIG_FILE": f"{PLACE}/pip.conf"},
        local=_local_folders(settings),
    )


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _apt_mirrors(release: str) -> list[tuple[str, str]]:
    listed = _output(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"
    )
    rows = sorted({tuple(line.split()) for line in listed.splitlines()})
    suites = {release, f"{release}-updates", f"{release}-security"}
    mirrors = [(row[0], row[1]) for row in rows if row[1] in suites and row[2] == "main"]
    if release not in {suite for _, suite in mirrors}:
        raise NoMirror(f"apt of this machine knows no mirror of Debian's {release}")
    return mirrors


def _pip_settings() -> dict[str, str]:
    settings: dict[str, str] = {}
    for line in _output(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in PIP_SOURCES:
            settings[key] = " ".join(str(ast.literal_eval(value)).split())
    return settings


def _local_folders(settings: dict[str, str]) -> tuple[Path, ...]:
    """An index links to files beside it, so that the folder above is needed; a folder of files is enough by itself."""
    found = set()
    for key in ("index-url", "extra-index-url", "find-links"):
        for word in settings.get(key, "").split():
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.is_dir():
                found.add(path if key == "find-links" else path.parent)
    return tuple(sorted(found))
