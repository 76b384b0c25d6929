"""The proxy that comes with the hub: the same program interface as configurable-http-proxy, without Node.js.

What it does is in ``proxyserver``, a program of its own; here is how the hub starts it, finds it again and adopts it. A
proxy that has outlived its hub is not replaced: open connections and WebSockets go on while the hub restarts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from traitlets import default

from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.spawners.processes import ProcessId, command_line


class BuiltinProxy(ConfigurableHTTPProxy):
    """Starts and drives ``jupyterhub.proxyserver``; ``ConfigurableHTTPProxy.command`` puts another in its place."""

    @default("command")
    def _our_own_proxy(self) -> list[str]:
        return [sys.executable, "-m", "jupyterhub.proxyserver"]

    async def start(self) -> None:
        """Adopt the proxy that a former hub has left, if it is the very one that we would start; else replace it."""
        left = self._previous()
        if left is not None and await self._is_as_we_want_it(left):
            self.log.info("Going on with the proxy that runs already (process %i)", left.pid)
            self._running = left
            self.proxy_process = None
            self._supervise()
            return
        await super().start()

    async def _is_as_we_want_it(self, process: ProcessId) -> bool:
        """Whether it has the command line that we would give it, and answers to our secret.

        With another address, certificate, log level or error target it would go on as it was, whatever was configured.
        """
        if command_line(process.pid) != self.get_command():
            return False
        if self._certificates_are_newer(process):
            return False
        return await self._knock() == 200

    def _certificates_are_newer(self, process: ProcessId) -> bool:
        """Whether certificate or key were renewed since it began: it may still serve the old ones."""
        try:
            began = Path(self.pid_file).stat().st_mtime
            return any(os.stat(path).st_mtime > began for path in (self.ssl_key, self.ssl_cert) if path)
        except OSError:
            return True
