"""The settings tree: read once from the environment (and `.env`), frozen, secrets typed as secrets.

`voice-agent settings` prints the table in docs/settings.md from these classes: the description of a field is its
documentation. Nothing else in the package reads the environment.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from voice_agent.errors import SettingsError

PLACEHOLDERS = frozenset({"changeme", "change-me", "your-key", "your_key", "xxx", "todo", "secret", "password", "..."})
"""Values that people leave in a copied example file; refused for every secret, in any letter case."""


def _real_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if text.lower() in PLACEHOLDERS or text.startswith("<"):
        raise ValueError("is a placeholder, not a real secret")
    return SecretStr(text)


def _base_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value.rstrip("/")


Secret = Annotated[SecretStr, AfterValidator(_real_secret)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]

_NO_SECRET = SecretStr("")


class _Area(BaseSettings):
    """One area of the tree. Empty variables count as absent, so that `KEY=` in a file means the default."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True,
        hide_input_in_errors=True,
    )


class ServerSettings(_Area):
    """The process itself."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    public_base_url: str = Field(
        "",
        description="The https:// address at which Twilio reaches this server. Webhook signatures are checked over it. "
        "Empty: the address listened on, which only the sandbox can reach.",
    )
    data_dir: Path = Field(Path("data"), description="Folder of recordings, transcripts and event logs.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe log lines shown.")
    max_calls: int = Field(80, ge=1, description="Calls held at once; the next caller hears that all lines are busy.")
    agent_file: Path | None = Field(
        None, description="YAML file of the agent that answers. Empty: the demo's receptionist."
    )
    ticket_secret: Secret = Field(
        _NO_SECRET, description="Signs media-stream tickets. Empty: a random one for each start, enough for one process."
    )


class TwilioSettings(_Area):
    """The telephone."""

    model_config = SettingsConfigDict(env_prefix="TWILIO_")

    account_sid: str = Field("", description="Account SID, AC followed by 32 hexadecimal digits.")
    auth_token: Secret = Field(_NO_SECRET, description="Auth token: checks webhook signatures and signs REST requests.")
    base_url: BaseUrl = Field(
        "https://api.twilio.com", description="REST address: a regional host, a proxy or the sandbox."
    )


class OpenAISettings(_Area):
    """OpenAI, or anything that speaks its protocol."""

    model_config = SettingsConfigDict(env_prefix="OPENAI_")

    api_key: Secret = Field(_NO_SECRET, description="API key.")
    base_url: BaseUrl = Field("https://api.openai.com/v1", description="REST address, `/v1` included.")
    transcription_model: str = Field(
        "gpt-live-transcribe", description="Realtime transcription model, where SPEECH_TO_TEXT=openai."
    )


class GoogleSettings(_Area):
    """Google Gemini."""

    model_config = SettingsConfigDict(env_prefix="GOOGLE_")

    api_key: Secret = Field(_NO_SECRET, description="API key.")
    base_url: BaseUrl = Field("https://generativelanguage.googleapis.com", description="REST address.")


class ElevenLabsSettings(_Area):
    """ElevenLabs speech, both directions."""

    model_config = SettingsConfigDict(env_prefix="ELEVENLABS_")

    api_key: Secret = Field(_NO_SECRET, description="API key.")
    base_url: BaseUrl = Field("https://api.elevenlabs.io", description="Address; a residency host or a double.")
    voice_id: str = Field("21m00Tcm4TlvDq8ikWAM", description="Voice where the agent names none.")
    fallback_voice_id: str = Field("", description="Voice asked where the first one fails.")
    tts_model: str = Field("eleven_flash_v2_5", description="Speech synthesis model.")
    stt_model: str = Field("scribe_v2_realtime", description="Speech recognition model.")


class StorageSettings(_Area):
    """Where things are kept."""

    database_url: Secret = Field(_NO_SECRET, description="Postgres or SQLite. Empty: SQLite in DATA_DIR.")
    redis_url: Secret = Field(_NO_SECRET, description="Redis for the cache shared by processes. Empty: in process.")
    supabase_url: str = Field("", description="Supabase project address.")


class PipelineSettings(_Area):
    """Who listens, thinks and speaks."""

    speech_to_text: Literal["auto", "elevenlabs", "openai", "local"] = Field(
        "auto", description="Speech recognition. auto: ElevenLabs with a key, else OpenAI with a key, else local."
    )
    text_to_speech: Literal["auto", "elevenlabs", "local"] = Field(
        "auto", description="Speech synthesis. auto: ElevenLabs with a key, else local."
    )
    language_model: str = Field(
        "", description="LangChain's provider:model, such as openai:MODEL or google_genai:MODEL. "
        "Empty: the scripted dialogue of the demo. No default: models are withdrawn too often."
    )
    fallback_model: str = Field("", description="provider:model asked where LANGUAGE_MODEL fails or is slow.")
    voice_activity: Literal["auto", "silero", "webrtc"] = Field(
        "auto", description="Voice activity model. auto: Silero where onnxruntime is installed, else WebRTC's."
    )


class Settings(BaseSettings):
    """Everything, read once."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    server: ServerSettings = Field(default_factory=ServerSettings)
    twilio: TwilioSettings = Field(default_factory=TwilioSettings)
    openai: OpenAISettings = Field(default_factory=OpenAISettings)
    google: GoogleSettings = Field(default_factory=GoogleSettings)
    elevenlabs: ElevenLabsSettings = Field(default_factory=ElevenLabsSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)
