"""What is changed on the way: Connection, hop-by-hop fields, Expect, Via, forwarding fields, Upgrade, connections.

RFC 9110 §7.6, §7.8 and §10.1.1, RFC 7239, RFC 9112 §9, RFC 6455 §4.
"""

from __future__ import annotations

from rows import (
    HOST,
    OK,
    AfterAnswers,
    AfterUpstreamSaw,
    Eof,
    Row,
    Says,
    Seen,
    chunked,
    passes,
    post,
    refused,
    request,
    under,
)

PLAIN = (f"Host: {HOST}",)
POSTED = "POST / HTTP/1.1"
POST_FIELDS = (f"Host: {HOST}", "Content-Length: 2")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", KEY)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
AGREES = Says(ACCEPTED)
SHAKEN = (f"Host: {HOST}", *HANDSHAKE)


def stays_here(name: str, *fields: str, kept: tuple[str, ...] = ()) -> Row:
    """Fields that are about this connection and must not reach the upstream."""
    return passes(name, request(*fields), fields=(f"Host: {HOST}", *kept))


def goes_on(name: str, *fields: str, dropped: tuple[str, ...] = ()) -> Row:
    return passes(name, request(*fields, *dropped), fields=(f"Host: {HOST}", *fields))


def not_upgraded(
    name: str, *fields: str, line: str = "GET / HTTP/1.1", closes: bool = False, kept: tuple[str, ...] = ()
) -> Row:
    """Forwarded without the Upgrade: an upstream that never hears of it cannot switch."""
    return passes(name, request(*fields, line=line), fields=(f"Host: {HOST}", *kept), closes=closes)


def many(name: str, *lines: str) -> Row:
    return passes(
        name,
        b"".join(request(line=line) for line in lines),
        gets=(200,) * len(lines),
        seen=tuple(Seen(line) for line in lines),
    )


ROWS: list[Row] = [
    *under(
        "RFC 9110 §7.6.1 Connection",
        stays_here("Connection itself", "Connection: keep-alive"),
        stays_here("a nominated field", "Connection: X-A", "X-A: 1"),
        stays_here("a nominated field, in another case", "Connection: x-a", "X-A: 1"),
        stays_here("several nominated fields", "Connection: X-A, X-B", "X-A: 1", "X-B: 1"),
        stays_here("nominated on two lines", "Connection: X-A", "Connection: X-B", "X-A: 1", "X-B: 1"),
        stays_here("nominated behind empty members", "Connection: ,, ,X-A", "X-A: 1"),
        stays_here("nominated behind the field", "X-A: 1", "Connection: X-A"),
        stays_here("every field of a nominated name", "Connection: X-A", "X-A: 1", "X-A: 2", "x-a: 3"),
        stays_here("nominated beside close-like words", "Connection: keep-alive, X-A", "X-A: 1"),
        stays_here("a nominated field that is not there", "Connection: X-A"),
        stays_here("an empty Connection", "Connection:"),
        goes_on("a field that a nominated one begins like", "X-AB: 1", dropped=("Connection: X-A",)),
        stays_here("Keep-Alive", "Keep-Alive: timeout=5"),
        stays_here("Proxy-Connection", "Proxy-Connection: keep-alive"),
        stays_here("TE", "TE: trailers", "Connection: TE"),
        stays_here("TE that is not nominated", "TE: gzip"),
        stays_here("Upgrade that is not nominated", "Upgrade: foo/2"),
        stays_here("Upgrade to something unknown", "Connection: upgrade", "Upgrade: foo/2"),
        stays_here("Proxy-Authorization (§11.7.2)", "Proxy-Authorization: Basic YTpi"),
        stays_here("HTTP2-Settings (RFC 7540 §3.2.1)", "Connection: HTTP2-Settings", "HTTP2-Settings: AAMAAABk"),
        goes_on("Authorization cannot be lost by accident", "Authorization: token x"),
        goes_on("Trailer is end to end", "Trailer: X-Sum"),
        goes_on("fields nobody has heard of", "X-Anything: 1", "Priority: u=1", "Sec-Fetch-Mode: cors"),
        passes("Host cannot be nominated away", request("Connection: Host"), fields=PLAIN),
        passes(
            "Content-Length cannot be nominated away",
            post("Connection: Content-Length", "Content-Length: 2", body=b"hi"),
            line=POSTED,
            fields=POST_FIELDS,
            body=b"hi",
        ),
        passes(
            "forwarding fields cannot be nominated away",
            request("Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host"),
            fields=(
                f"Host: {HOST}",
                "X-Forwarded-For: 127.0.0.1",
                "X-Forwarded-Proto: http",
                f"X-Forwarded-Host: {HOST}",
            ),
        ),
        passes("close", request("Connection: close"), closes=True),
        passes("close, in capitals and in company", request("Connection: X-A, CLOSE"), closes=True),
        passes("close on a second line", request("Connection: keep-alive", "Connection: close"), closes=True),
    ),
    *under(
        "RFC 9110 §7.6.3 Via, and what else passes",
        goes_on("Via of others stays", "Via: 1.1 first"),
        goes_on("Max-Forwards is for TRACE and OPTIONS (§7.6.2)", "Max-Forwards: 3"),
        goes_on("Range and If-Range", "Range: bytes=0-1", 'If-Range: "a"'),
        goes_on("conditional requests", 'If-None-Match: "a"', "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"),
        goes_on("Accept-Encoding is not ours to change", "Accept-Encoding: br;q=1.0, gzip;q=0.5"),
    ),
    *under(
        "RFC 9110 §10.1.1 Expect",
        passes(
            "100 Continue is the upstream's to give",
            post("Content-Length: 2", "Expect: 100-continue"),
            AfterUpstreamSaw(1),
            AfterAnswers(1),
            b"hi",
            line=POSTED,
            fields=(*POST_FIELDS, "Expect: 100-continue"),
            body=b"hi",
            gets=(100, 200),
            upstream=Says(OK.data, first=CONTINUE),
        ),
        passes(
            "a body that comes unasked passes",
            post("Content-Length: 2", "Expect: 100-continue", body=b"hi"),
            line=POSTED,
            fields=(*POST_FIELDS, "Expect: 100-continue"),
            body=b"hi",
        ),
        passes(
            "a refusal of the upstream comes instead of 100, and the body is not waited for",
            post("Content-Length: 2", "Expect: 100-continue"),
            AfterAnswers(1),
            gets=(417,),
            seen=(),
            closes=True,
            upstream=Says(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", after="head"),
        ),
        passes(
            "from HTTP/1.0 it means nothing",
            post("Content-Length: 2", "Expect: 100-continue", line="POST / HTTP/1.0", body=b"hi"),
            line=POSTED,
            fields=POST_FIELDS,
            body=b"hi",
            closes=True,
        ),
    ),
    *under(
        "RFC 7239 and X-Forwarded-*, from peers that are not trusted",
        passes(
            "what nobody said is said",
            request(host="pub.example:8000"),
            fields=(
                "Host: pub.example:8000",
                "X-Forwarded-For: 127.0.0.1",
                "X-Forwarded-Host: pub.example:8000",
                "X-Forwarded-Port: 8000",
                "X-Forwarded-Proto: http",
            ),
        ),
        *(
            passes(
                f"a forged {name}",
                request(f"{name}: {value}"),
                fields=(f"Host: {HOST}", *truth),
                flags=("--trusted-proxies", "none"),
            )
            for name, value, truth in (
                ("X-Forwarded-For", "6.6.6.6", ("X-Forwarded-For: 127.0.0.1",)),
                ("x-forwarded-for", "6.6.6.6", ("X-Forwarded-For: 127.0.0.1",)),
                ("X-Forwarded-Proto", "https", ("X-Forwarded-Proto: http",)),
                ("X-Forwarded-Host", "evil.example", (f"X-Forwarded-Host: {HOST}",)),
                ("X-Forwarded-Port", "443", ("X-Forwarded-Port: 80",)),
                ("Forwarded", "for=6.6.6.6;proto=https", ()),
            )
        ),
        passes(
            "trusted proxies are continued",
            request("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Host: front.example"),
            fields=(f"Host: {HOST}", "X-Forwarded-For: 192.0.2.7,127.0.0.1", "X-Forwarded-Host: front.example"),
            flags=("--trusted-proxies", "127.0.0.1"),
        ),
        passes(
            "Forwarded of trusted proxies passes",
            request("Forwarded: for=192.0.2.7"),
            fields=(f"Host: {HOST}", "Forwarded: for=192.0.2.7"),
            flags=("--trusted-proxies", "127.0.0.1"),
        ),
    ),
    *under(
        "RFC 9110 §7.8 Upgrade",
        not_upgraded(
            "h2c is not for us to agree to",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABk",
        ),
        not_upgraded("h2c without nomination", "Upgrade: h2c"),
        not_upgraded("h2c beside websocket", "Connection: Upgrade", "Upgrade: h2c, websocket"),
        not_upgraded("websocket without Connection", "Upgrade: websocket"),
        not_upgraded("Connection without Upgrade", "Connection: Upgrade"),
        not_upgraded("TLS (RFC 2817)", "Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/1.1"),
        not_upgraded("websocket with a version", "Connection: Upgrade", "Upgrade: websocket/13"),
        not_upgraded(
            "HTTP/1.0 cannot upgrade", "Connection: Upgrade", "Upgrade: websocket", line="GET / HTTP/1.0", closes=True
        ),
        passes(
            "POST with a body does not become a tunnel",
            post("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 2", body=b"hi"),
            line=POSTED,
            fields=POST_FIELDS,
            body=b"hi",
        ),
        refused(
            "a broken Upgrade among framing tricks",
            chunked(b"0\r\n\r\n", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"),
        ),
    ),
    *under(
        "RFC 6455 §4 opening handshake",
        passes(
            "101 joins the connections, and what follows is echoed",
            request(*HANDSHAKE),
            AfterAnswers(1),
            b"\x82\x00GET / HTTP/1.1\r\n\r\n",
            Eof(),
            fields=SHAKEN,
            gets=(101,),
            closes=True,
            upstream=AGREES,
        ),
        passes(
            "words do not care for case",
            request("Connection: keep-alive, UPGRADE", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13", KEY),
            Eof(),
            fields=SHAKEN,
            gets=(101,),
            closes=True,
            upstream=AGREES,
        ),
        passes("a refusal leaves the connection to HTTP", request(*HANDSHAKE), fields=SHAKEN),
        passes(
            "what is sent behind a refused handshake is a request",
            request(*HANDSHAKE) + request(line="GET /next HTTP/1.1"),
            gets=(200, 200),
            seen=(Seen("GET / HTTP/1.1", SHAKEN), Seen("GET /next HTTP/1.1")),
        ),
        passes(
            "a handshake behind another request on one connection",
            request(),
            AfterAnswers(1),
            request(*HANDSHAKE),
            AfterAnswers(2),
            Eof(),
            gets=(200, 101),
            seen=(Seen("GET / HTTP/1.1"), Seen("GET / HTTP/1.1", SHAKEN)),
            closes=True,
            upstream=(OK, AGREES),
        ),
        passes(
            "extensions and subprotocols pass",
            request(*HANDSHAKE, "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: v1.kernel"),
            Eof(),
            fields=(*SHAKEN, "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: v1.kernel"),
            gets=(101,),
            closes=True,
            upstream=AGREES,
        ),
    ),
    *under(
        "RFC 9112 §9.3 persistence and pipelining",
        *(
            passes(
                f"a client that ends behind {name} is let go at once",
                request() + rest,
                Eof(),
                closes=True,
                gets=(200, (400, 408, None)),
            )
            for name, rest in (
                ("an answered request and an empty line", b"\r\n"),
                ("an answered request and half a head", b"GET /2 HTTP/1.1\r\nHost: pub"),
            )
        ),
        many("two requests in one packet", "GET /1 HTTP/1.1", "GET /2 HTTP/1.1"),
        many("twenty requests in one packet", *(f"GET /{n} HTTP/1.1" for n in range(20))),
        many("an unsafe request between safe ones", "GET /1 HTTP/1.1", "DELETE /2 HTTP/1.1", "GET /3 HTTP/1.1"),
        passes(
            "nothing behind close is answered (§9.6)",
            request("Connection: close") + request(line="GET /2 HTTP/1.1"),
            seen=(Seen("GET / HTTP/1.1"),),
            closes=True,
        ),
        passes(
            "an error behind a good request ends the connection",
            request() + b"GET /2 HTTP/9.9\r\n\r\n",
            gets=(200, (400, 505)),
            seen=(Seen("GET / HTTP/1.1"),),
            closes=True,
        ),
        passes(
            "bytes behind a request that are none",
            request() + b"\x00\x01\x02\x03garbage\r\n\r\n",
            gets=(200, 400),
            seen=(Seen("GET / HTTP/1.1"),),
            closes=True,
        ),
        passes("HTTP/1.0 closes", request(line="GET / HTTP/1.0"), closes=True),
        passes("HTTP/1.0 keeps when it asks to", request("Connection: keep-alive", line="GET / HTTP/1.0")),
        passes(
            "HTTP/1.0 asks and takes back", request("Connection: keep-alive, close", line="GET / HTTP/1.0"), closes=True
        ),
        passes(
            "HTTP/1.0 with Proxy-Connection closes",
            request("Proxy-Connection: keep-alive", line="GET / HTTP/1.0"),
            closes=True,
        ),
        passes("HTTP/1.1 and Proxy-Connection: close means nothing", request("Proxy-Connection: close")),
        passes("a client that has shut down its side gets its answer (§9.6)", request(), Eof(), closes=True),
        passes(
            "an empty line between requests (§2.2)",
            request() + b"\r\n" + request(line="GET /2 HTTP/1.1"),
            gets=(200, 200),
            seen=(Seen("GET / HTTP/1.1"), Seen("GET /2 HTTP/1.1")),
        ),
        *(
            passes(
                f"{name} between requests (§2.2)",
                request() + rest + request(line="GET /2 HTTP/1.1"),
                gets=(200, 400),
                seen=(Seen("GET / HTTP/1.1"),),
                closes=True,
            )
            for name, rest in (("bare LF", b"\n"), ("bare CR", b"\r"), ("bare LF behind an empty line", b"\r\n\n"))
        ),
        Row(
            clause="",
            name="a connection without a request is closed without a word",
            steps=(Eof(),),
            gets=(),
            seen=(),
            closes=True,
        ),
        Row(clause="", name="an empty line is no request", steps=(b"\r\n", Eof()), gets=(), seen=(), closes=True),
    ),
    *under(
        "RFC 9110 §9.3.2 HEAD",
        passes(
            "the answer has a length and no body, and the next request is served",
            request(line="HEAD / HTTP/1.1") + request(line="GET /2 HTTP/1.1"),
            gets=(200, 200),
            seen=(Seen("HEAD / HTTP/1.1"), Seen("GET /2 HTTP/1.1")),
            upstream=(Says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), OK),
        ),
        passes(
            "the answer may speak of chunks",
            request(line="HEAD / HTTP/1.1") + request(line="GET /2 HTTP/1.1"),
            gets=(200, 200),
            seen=(Seen("HEAD / HTTP/1.1"), Seen("GET /2 HTTP/1.1")),
            upstream=(Says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), OK),
        ),
        passes(
            "the answer may have no framing at all",
            request(line="HEAD / HTTP/1.1") + request(line="GET /2 HTTP/1.1"),
            gets=(200, 200),
            seen=(Seen("HEAD / HTTP/1.1"), Seen("GET /2 HTTP/1.1")),
            upstream=(Says(b"HTTP/1.1 200 OK\r\n\r\n"), OK),
        ),
    ),
    *under(
        "RFC 9112 §9.5 answers before the request is whole",
        passes(
            "the answer is seen, and the connection closed",
            post("Content-Length: 1000", body=b"hi"),
            gets=(413,),
            seen=(),
            closes=True,
            upstream=Says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", after="head"),
        ),
        passes(
            "also when the upstream closes",
            post("Content-Length: 1000", body=b"hi"),
            gets=(413,),
            seen=(),
            closes=True,
            upstream=Says(
                b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "close", after="head"
            ),
        ),
        passes(
            "what the body was to be is no request",
            post("Content-Length: 100"),
            AfterAnswers(1),
            request(line="GET /hidden HTTP/1.1"),
            gets=(413,),
            seen=(),
            closes=True,
            upstream=Says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", after="head"),
        ),
    ),
]
