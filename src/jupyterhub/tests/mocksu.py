"""What tests of plugins start in the place of a single-user server: answers where it is told to, and shows what it got.

``…/args`` gives its arguments and ``…/env`` its environment as JSON, everything else its own path.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    """Echoes."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.endswith("/args"):
            body = json.dumps(sys.argv)
        elif path.endswith("/env"):
            body = json.dumps(dict(os.environ))
        else:
            body = path
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        """Nothing: the output of tests is read by people."""


def main() -> None:
    """Serve at ``JUPYTERHUB_SERVICE_URL`` until the process is ended."""
    url = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:0/"))
    ThreadingHTTPServer((url.hostname or "127.0.0.1", url.port or 0), Handler).serve_forever()


if __name__ == "__main__":
    main()
