"""A stand-in for a single-user server that takes milliseconds to start: answers every path below its prefix with 200.

It needs nothing but the environment that a hub gives to each server. LIGHT_DELAY_S makes it wait before it listens.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from urllib.parse import urlsplit

ANSWER = b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nConnection: close\r\nContent-Length: %i\r\n\r\n%s"


def main() -> None:
    url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    body = f"{os.getpid()} {os.environ['JUPYTERHUB_SERVICE_PREFIX']}".encode()
    time.sleep(float(os.environ.get("LIGHT_DELAY_S", "0")))
    with socket.create_server((url.hostname or "127.0.0.1", url.port or 80), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                try:
                    connection.settimeout(5)
                    connection.recv(65536)
                    connection.sendall(ANSWER % (len(body), body))
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    continue


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
