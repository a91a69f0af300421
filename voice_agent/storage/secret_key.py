"""The one secret from which all others are derived: SECRET_KEY, or a file in DATA_DIR made at the first start.

Each use has a key of its own, derived by HKDF with its name, so that a token of one kind is never good for another.
Source: RFC 5869.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from voice_agent.errors import SettingsError
from voice_agent.settings import ServerSettings

SHORTEST = 32
"""Characters. Shorter ones can be guessed."""

FILE_NAME = "secret.key"


class SecretKey:
    """Derives keys. Keep it out of logs: it has no readable form."""

    def __init__(self, secret: bytes) -> None:
        self._extracted = hmac.digest(b"voice-agent", secret, hashlib.sha256)

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for one purpose, the same ones each time."""
        return hmac.digest(self._extracted, purpose.encode() + b"\x01", hashlib.sha256)


def load_secret_key(settings: ServerSettings) -> SecretKey:
    """Return the process's secret. Raises SettingsError where SECRET_KEY is too short or the file cannot be used."""
    given = settings.secret_key.get_secret_value()
    if given:
        if len(given) < SHORTEST:
            raise SettingsError(f"SECRET_KEY needs at least {SHORTEST} characters")
        return SecretKey(given.encode())
    path = settings.data_dir / FILE_NAME
    try:
        return SecretKey(_read_or_make(path))
    except OSError as error:
        raise SettingsError(f"SECRET_KEY is not set, and {path} cannot be used: {error.strerror}") from error


def _read_or_make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        with open(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(secrets.token_hex(32).encode())
        try:
            os.link(new, path)  # fails where another process was faster: then its secret counts
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return path.read_bytes()
