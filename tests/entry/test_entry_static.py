"""Static files: text goes out compressed to whom can read that, everything else as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from jupyterhub.hub.web.pages.machine import StaticHandler
from jupyterhub.hub.web.render import STATIC_FILES

SCRIPT = (STATIC_FILES / "js" / "ui.js").read_bytes()


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    socket, port = bind_unused_port()
    server = HTTPServer(Application([(r"/static/(.*)", StaticHandler, {"path": str(STATIC_FILES)})]))
    server.add_socket(socket)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/static/") as client:
        yield client
    server.stop()
    await server.close_all_connections()


async def test_text_is_compressed_for_whom_can_read_that(http):
    packed = await http.get("js/ui.js", headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Vary"] == "Accept-Encoding"
    assert int(packed.headers["Content-Length"]) < len(SCRIPT) / 2 and packed.content == SCRIPT
    plain = await http.get("js/ui.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers and plain.headers["Vary"] == "Accept-Encoding"
    assert plain.content == SCRIPT


async def test_what_does_not_compress_goes_out_as_it_is(http):
    picture = await http.get("images/jupyterhub-80.png")
    assert "Content-Encoding" not in picture.headers and "Vary" not in picture.headers


async def test_head_and_not_modified_are_those_of_the_same_answer(http):
    asked = await http.get("js/ui.js")
    head = await http.head("js/ui.js")
    assert head.headers["Content-Length"] == asked.headers["Content-Length"]
    known = await http.get("js/ui.js", headers={"If-Modified-Since": asked.headers["Last-Modified"]})
    assert known.status_code == 304 and not known.content
    assert (await http.get("js/none.js")).status_code == 404
