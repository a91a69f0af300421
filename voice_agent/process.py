"""What every process that serves has: a socket, a log, an end. Light: the parent of several loads nothing more."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from voice_agent.settings import ServerSettings

OnListening = Callable[[str], None]
"""Told the public address, once the server is ready."""

BACKLOG = 1_024


def listen(settings: ServerSettings) -> tuple[socket.socket, str]:
    """Return the listening socket, and the public address."""
    listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    host, port = listener.getsockname()[:2]
    return listener, settings.public_base_url or f"http://{host}:{port}"


READY = b"ready\n"
"""What a worker writes to its standard output once it serves."""


def configure_logging(level: str) -> None:
    """JSON lines on standard error, for our own log and the libraries' warnings."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without local variables: what callers say, and secrets, are among them.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def end_with_stdin() -> None:
    """End this process as SIGTERM does once its standard input closes: whoever started it is gone. In a thread."""
    # Straight from the descriptor: a thread that waits inside sys.stdin would hold its lock when the interpreter ends.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
