"""The proxy that comes with the hub: the same program interface as configurable-http-proxy, without Node.js.

What it does is in ``proxyserver``, a program of its own; here is how the hub starts it, finds it again and adopts it. A
proxy that has outlived its hub is not replaced: open connections and WebSockets go on while the hub restarts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from traitlets import Bool, Enum, Integer, List, Tuple, Unicode, default

from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.spawners.processes import ProcessId, command_line


class BuiltinProxy(ConfigurableHTTPProxy):
    """Starts and drives ``jupyterhub.proxyserver``; ``ConfigurableHTTPProxy.command`` puts another in its place."""

    sni_certificates = List(
        Tuple(Unicode(), Unicode()),
        help="""Further certificates of the public address, as pairs of files: `[(certificate, key), …]`. Clients that
        ask for one of the DNS names in such a certificate get it; all others get `JupyterHub.ssl_cert`.""",
    ).tag(config=True)
    redirect_port = Integer(
        None,
        allow_none=True,
        help="""A port on which plain HTTP is redirected to HTTPS: 80, for most.""",
    ).tag(config=True)
    hsts = Integer(
        None,
        allow_none=True,
        help="""For how many seconds browsers shall come by HTTPS only (Strict-Transport-Security), counted from each
        answer. 31536000 is a year. Browsers that stay away do not hear of another number: begin with less.""",
    ).tag(config=True)
    hsts_subdomains = Bool(False, help="Whether `hsts` holds for all subdomains as well.").tag(config=True)

    acme_names = List(
        Unicode(),
        help="""The hosts for which the proxy fetches a certificate by ACME and renews it, instead of
        `JupyterHub.ssl_cert`. Makes `JupyterHub.bind_url` https. Needs `pip install jupyterhub[acme]`.""",
    ).tag(config=True)
    acme_directory = Unicode(
        "jupyterhub-acme", help="Where the proxy keeps its account and certificates. Only its user can read it."
    ).tag(config=True)
    acme_accept_terms = Bool(
        False, help="Set it when you have read the terms of service of the authority and agree to them."
    ).tag(config=True)
    acme_email = Unicode(help="Where the authority can reach you, if you want to be reached.").tag(config=True)
    acme_url = Unicode(help="The ACME directory of the authority. Default: Let's Encrypt.").tag(config=True)
    acme_challenge = Enum(
        ["", "http-01", "tls-alpn-01"],
        "",
        help="""How the authority sees that the names are ours: `http-01`, at `redirect_port`, which must be port 80 for
        the world (the default if it is set), or `tls-alpn-01`, at the public address, which must be port 443.""",
    ).tag(config=True)

    @default("command")
    def _our_own_proxy(self) -> list[str]:
        return [sys.executable, "-m", "jupyterhub.proxyserver"]

    def get_command(self) -> list[str]:
        command = super().get_command()
        for certificate, key in self.sni_certificates:
            command += ["--ssl-sni", certificate, key]
        if self.redirect_port is not None:
            command += ["--redirect-port", str(self.redirect_port)]
        if self.hsts is not None:
            command += ["--hsts", str(self.hsts)]
        if self.hsts_subdomains:
            command.append("--hsts-subdomains")
        for name in self.acme_names:
            command += ["--acme-name", name]
        if self.acme_names:
            for name in ("directory", "url", "email", "challenge"):
                if value := getattr(self, f"acme_{name}"):
                    command += [f"--acme-{name}", value]
            if self.acme_accept_terms:
                command.append("--acme-accept-terms")
        return command

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

        With another address, log level or error target it would go on as it was, whatever was configured.
        """
        if command_line(process.pid) != self.get_command():
            return False
        if self.command != self._our_own_proxy() and self._certificates_are_newer():
            return False  # ours loads them by itself
        return await self._knock() == 200

    def _certificates_are_newer(self) -> bool:
        """Whether certificate or key were renewed since the proxy began."""
        try:
            began = Path(self.pid_file).stat().st_mtime
            files = [self.ssl_key, self.ssl_cert, *(path for each in self._internal_files().values() for path in each)]
            return any(os.stat(path).st_mtime > began for path in files if path)
        except OSError:
            return True
