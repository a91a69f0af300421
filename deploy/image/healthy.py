"""Ask the server in this container for /healthz; exit code 0 where it answers. The image's health check."""

import http.client
import os
import sys

TIMEOUT_S = 4.0


def is_healthy(port: int) -> bool:
    """Tell whether the server on a port of this machine answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_healthy(int(os.environ.get("PORT") or "8000")))
