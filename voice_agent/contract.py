"""The OpenAPI document of the REST interface: docs/openapi.json, from which clients are generated."""

import asyncio
import tempfile
from pathlib import Path

import orjson

from voice_agent.app import create_app
from voice_agent.settings import ServerSettings, Settings


def openapi_document() -> str:
    """Return the document as indented JSON; nothing is served for it."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(server=ServerSettings(data_dir=Path(folder))), "http://localhost:8000")
        try:
            return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2).decode() + "\n"
        finally:
            asyncio.run(app.state.server.close())
