"""A hub for the client's tests: what servers and services see of one, and a memory of what they asked.

It runs in a thread with an event loop of its own, so that code under test may block on it.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import threading
from contextlib import contextmanager

from tornado import httpserver, netutil, web
from tornado.httputil import url_concat

SERVER_TOKEN = "server-token-0123456789abcdef"


def model(name, scopes, kind="user", **more):
    return {"kind": kind, "name": name, "admin": False, "groups": [], "scopes": scopes, "session_id": None, **more}


class StubHub:
    def __init__(self):
        self.version = "6.1.1"
        #: token -> what GET /user answers
        self.tokens = {}
        #: who is logged in at this hub's pages
        self.login_as = None
        self.codes = {}
        self.asked_for_user = 0
        self.token_requests = []
        self.activity = []
        self.changed = threading.Condition()
        #: answer everything with this status instead
        self.broken = None
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self):
        return f"{self.url}/hub/api"

    def wait_for_activity(self, number, within=20):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.activity) >= number, within), "no report of activity"

    @contextmanager
    def running(self):
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            self.loop.call_soon_threadsafe(self.stopped.set)
            thread.join(10)

    async def _serve(self, ready):
        self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        server = httpserver.HTTPServer(
            web.Application(
                [
                    ("/hub/api/?", Root),
                    ("/hub/api/user", WhoAmI),
                    ("/hub/api/users/([^/]+)/activity", Activity),
                    ("/hub/api/oauth2/authorize", Authorize),
                    ("/hub/api/oauth2/token", Token),
                    ("/hub/.*", Page),
                ],
                hub=self,
            )
        )
        server.add_sockets(sockets)
        ready.set()
        await self.stopped.wait()
        server.stop()
        await server.close_all_connections()


class Handler(web.RequestHandler):
    @property
    def hub(self):
        return self.settings["hub"]

    def prepare(self):
        self.set_header("X-JupyterHub-Version", self.hub.version)
        if self.hub.broken:
            self.set_status(self.hub.broken)
            self.finish({"status": self.hub.broken, "message": "out of order"})

    def token(self):
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token if scheme in ("token", "Bearer") else None


class Root(Handler):
    def get(self):
        self.write({"version": self.hub.version})


class WhoAmI(Handler):
    def get(self):
        self.hub.asked_for_user += 1
        known = self.hub.tokens.get(self.token())
        if known is None:
            self.set_status(403)
        self.write(known or {"status": 403, "message": "Missing or invalid credentials."})


class Activity(Handler):
    def post(self, name):
        with self.hub.changed:
            self.hub.activity.append((name, self.token(), json.loads(self.request.body)))
            self.hub.changed.notify_all()


class Authorize(Handler):
    def get(self):
        argument = self.get_query_argument
        assert argument("response_type") == "code"
        code = secrets.token_urlsafe(8)
        self.hub.codes[code] = {
            "client_id": argument("client_id"),
            "redirect_uri": argument("redirect_uri"),
            "challenge": argument("code_challenge"),
            "method": argument("code_challenge_method"),
            "user": self.hub.login_as,
        }
        self.set_cookie("jupyterhub-session-id", self.get_cookie("jupyterhub-session-id") or secrets.token_hex(16))
        self.redirect(url_concat(argument("redirect_uri"), {"code": code, "state": argument("state")}))


class Token(Handler):
    def post(self):
        body = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        self.hub.token_requests.append(body)
        known = self.hub.codes.pop(body.get("code"), None)
        digest = hashlib.sha256(body.get("code_verifier", "").encode()).digest()
        if (
            known is None
            or body["grant_type"] != "authorization_code"
            or body["client_secret"] != SERVER_TOKEN
            or (known["client_id"], known["redirect_uri"]) != (body["client_id"], body["redirect_uri"])
            or known["method"] != "S256"
            or known["challenge"] != base64.urlsafe_b64encode(digest).decode().rstrip("=")
        ):
            self.set_status(400)
            self.write({"error": "invalid_grant"})
            return
        token = secrets.token_hex(15)
        self.hub.tokens[token] = known["user"]
        self.write({"access_token": token, "token_type": "Bearer", "expires_in": 1209600, "scope": ""})


class Page(Handler):
    def get(self):
        self.write(f"hub page {self.request.path}")
