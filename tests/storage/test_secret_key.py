"""The one secret."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from voice_agent.errors import SettingsError
from voice_agent.settings import ServerSettings
from voice_agent.storage.secret_key import FILE_NAME, SecretKey, load_secret_key


def settings(folder: Path, key: str = "") -> ServerSettings:
    return ServerSettings(data_dir=folder, secret_key=SecretStr(key))


def test_each_purpose_has_a_key_of_its_own_and_the_same_one_each_time() -> None:
    secret = SecretKey(b"s" * 32)

    assert secret.derive("tokens") == secret.derive("tokens")
    assert secret.derive("tokens") != secret.derive("links")
    assert secret.derive("tokens") != SecretKey(b"t" * 32).derive("tokens")
    assert len(secret.derive("tokens")) == 32


def test_hkdf_as_in_rfc_5869() -> None:
    """Extract and one block of expand: compared with the cryptography library's."""
    expected = HKDF(SHA256(), 32, salt=b"voice-agent", info=b"tokens").derive(b"s" * 32)
    assert SecretKey(b"s" * 32).derive("tokens") == expected


def test_without_a_setting_one_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = load_secret_key(settings(tmp_path / "data")).derive("x")

    assert load_secret_key(settings(tmp_path / "data")).derive("x") == first
    path = tmp_path / "data" / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [FILE_NAME]
    assert load_secret_key(settings(tmp_path / "other")).derive("x") != first


def test_a_setting_counts_if_it_is_long_enough(tmp_path: Path) -> None:
    assert load_secret_key(settings(tmp_path, "k" * 32)).derive("x") == SecretKey(b"k" * 32).derive("x")
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        load_secret_key(settings(tmp_path, "short"))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SettingsError, match=FILE_NAME):
        load_secret_key(settings(tmp_path / "data"))
