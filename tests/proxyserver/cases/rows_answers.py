"""What upstreams answer, and what the client sees of it. RFC 9110 §6, §8, §15; RFC 9112 §4 to §9.

An upstream is a person's program: what it answers wrongly is its own fault (502), and never touches another answer.
"""

from __future__ import annotations

from rows import AfterAnswers, Row, Says, answered, bad_gateway, post, request, under

PLAIN = request()


def ok(*fields: str, body: bytes = b"", status: str = "200 OK", version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}", *fields, "", ""]).encode("latin-1") + body


def broken(name: str, says: bytes, *, then: str = "close", not_yet: str = "") -> Row:
    return bad_gateway(name, Says(says, then), not_yet=not_yet)


CHUNKED = "Transfer-Encoding: chunked"
HELLO = b"2\r\nhi\r\n0\r\n\r\n"

ROWS: list[Row] = [
    *under(
        "RFC 9112 §4 status line",
        answered(
            "passes with its reason phrase",
            ok("Content-Length: 0", status="299 Mostly Fine"),
            gets=(299,),
            reason="Mostly Fine",
        ),
        answered("without a reason phrase", ok("Content-Length: 0", status="200 "), reason=""),
        answered("without the space behind the status", ok("Content-Length: 0", status="200")),
        answered("obs-text in the reason phrase", ok("Content-Length: 0", status="200 \xc4h"), reason="\xc4h"),
        answered("a status that nobody has heard of", ok("Content-Length: 0", status="599 Odd"), gets=(599,)),
        answered("HTTP/1.0 leaves as HTTP/1.1", ok("Content-Length: 2", body=b"hi", version="1.0"), body=b"hi"),
        broken("no HTTP at all", b"hello world\r\n\r\n"),
        broken("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
        broken("nothing", b""),
        broken("an empty line", b"\r\n\r\n"),
        broken("HTTP/0.9", b"<html>hi</html>"),
        broken("ICY", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
        broken("HTTP/2.0", ok("Content-Length: 0", version="2.0")),
        broken("lower case", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        broken("two digits of status", ok("Content-Length: 0", status="20 OK")),
        broken("four digits of status", ok("Content-Length: 0", status="2000 OK")),
        broken("a status of letters", ok("Content-Length: 0", status="abc OK")),
        broken("status 000", ok("Content-Length: 0", status="000 OK")),
        broken("two spaces before the status", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
        broken("a bare CR in the reason phrase", ok("Content-Length: 0", status="200 O\rK")),
        broken("NUL in the reason phrase", ok("Content-Length: 0", status="200 O\x00K")),
        broken("a space before it", b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        broken("a request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        broken("TLS", b"\x15\x03\x03\x00\x02\x02\x28"),
    ),
    *under(
        "RFC 9112 §5 field lines of answers",
        answered(
            "pass as they are",
            ok("Content-Length: 0", "X-A: 1", "x-a: 2", "Server: up/1"),
            fields=("Content-Length: 0", "X-A: 1", "x-a: 2", "Server: up/1"),
        ),
        answered(
            "several cookies",
            ok("Content-Length: 0", "Set-Cookie: a=1", "Set-Cookie: b=2"),
            fields=("Content-Length: 0", "Set-Cookie: a=1", "Set-Cookie: b=2"),
        ),
        answered("obs-text", ok("Content-Length: 0", "X-A: \xe4"), fields=("Content-Length: 0", "X-A: \xe4")),
        broken("a space before the colon (§5.1)", ok("Content-Length: 0", "X-A : 1")),
        broken("no colon", ok("Content-Length: 0", "X-A")),
        broken("no name", ok("Content-Length: 0", ": 1")),
        broken("a folded value", ok("Content-Length: 0", "X-A: 1", " 2")),
        broken("NUL", ok("Content-Length: 0", "X-A: a\x00b")),
        broken("bare CR", ok("Content-Length: 0", "X-A: a\rSet-Cookie: evil=1")),
        broken("bare LF in a value", ok("Content-Length: 0", "X-A: a\nSet-Cookie: evil=1")),
        broken("bare LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        broken("a name above ASCII", ok("Content-Length: 0", "X-\xdc: 1")),
        broken("a head beyond the limit", ok("Content-Length: 0", "X-A: " + "a" * 600_000)),
        broken("many fields beyond the limit", ok("Content-Length: 0", *["X-A: " + "a" * 1000] * 600)),
        broken("it closes within the head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        bad_gateway("it resets within the head", Says(b"HTTP/1.1 200 OK\r\nContent-Le", "reset")),
        bad_gateway("it resets before the head", Says(b"", "reset")),
        answered(
            "a head of 30 KiB passes",
            ok("Content-Length: 0", "X-A: " + "a" * 30_000),
            fields=("Content-Length: 0", "X-A: " + "a" * 30_000),
        ),
    ),
    *under(
        "RFC 9112 §6.3 where an answer ends",
        answered("at its length", ok("Content-Length: 2", body=b"hi"), body=b"hi"),
        answered("at the last chunk", ok(CHUNKED, body=HELLO), body=b"hi"),
        answered("at the end of the connection", Says(ok(body=b"hi"), "close"), body=b"hi", closes=True),
        answered(
            "at the end of the connection, of HTTP/1.0",
            Says(ok(body=b"hi", version="1.0"), "close"),
            body=b"hi",
            closes=True,
        ),
        answered("at once, with a length of zero", ok("Content-Length: 0"), body=b""),
        answered(
            "equal lengths are one length (RFC 9110 §8.6)",
            ok("Content-Length: 2", "Content-Length: 2", body=b"hi"),
            fields=("Content-Length: 2",),
            body=b"hi",
        ),
        broken("two lengths", ok("Content-Length: 2", "Content-Length: 3", body=b"hi!")),
        broken("a list of two lengths", ok("Content-Length: 2, 3", body=b"hi!")),
        broken("a length that is none", ok("Content-Length: two", body=b"hi")),
        broken("a negative length", ok("Content-Length: -1")),
        broken("a length with a plus sign", ok("Content-Length: +2", body=b"hi")),
        broken("an empty length", ok("Content-Length:", body=b"hi")),
        broken("a length of 2**64", ok("Content-Length: 18446744073709551616")),
        broken("length and chunks", ok("Content-Length: 2", CHUNKED, body=HELLO)),
        broken("chunked twice", ok(CHUNKED, CHUNKED, body=HELLO)),
        broken("chunked is not last", ok("Transfer-Encoding: chunked, gzip", body=HELLO)),
        broken("a coding that nobody asked for", ok("Transfer-Encoding: gzip, chunked", body=HELLO)),
        broken("something like chunked", ok("Transfer-Encoding: xchunked", body=HELLO)),
        broken("chunks in HTTP/1.0 (§6.1)", ok(CHUNKED, body=HELLO, version="1.0")),
        answered(
            "it breaks off within its length",
            Says(ok("Content-Length: 10", body=b"hi"), "close"),
            is_cut=True,
            closes=True,
        ),
        answered(
            "it breaks off within chunks", Says(ok(CHUNKED, body=b"2\r\nhi\r\n"), "close"), is_cut=True, closes=True
        ),
        answered("it breaks off within a chunk", Says(ok(CHUNKED, body=b"5\r\nhi"), "close"), is_cut=True, closes=True),
        answered(
            "it breaks off before the last empty line",
            Says(ok(CHUNKED, body=b"2\r\nhi\r\n0\r\n"), "close"),
            is_cut=True,
            closes=True,
        ),
    ),
    *under(
        "RFC 9112 §7.1 chunks of answers",
        answered("extensions do not hurt", ok(CHUNKED, body=b"2;a=b\r\nhi\r\n0\r\n\r\n"), body=b"hi"),
        answered("trailers do not hurt", ok(CHUNKED, body=b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"), body=b"hi"),
        *(
            row
            for name, data in (
                ("a size that is none", b"x\r\nhi\r\n0\r\n\r\n"),
                ("a size with a sign", b"+2\r\nhi\r\n0\r\n\r\n"),
                ("a size beyond 64 bits", b"10000000000000000\r\nhi\r\n"),
                ("a space behind the size", b"2 \r\nhi\r\n0\r\n\r\n"),
                ("more data than said", b"2\r\nhi!\r\n0\r\n\r\n"),
                ("bare LF behind the size", b"2\nhi\r\n0\r\n\r\n"),
                ("bare LF behind the data", b"2\r\nhi\n0\r\n\r\n"),
                ("bare CR in an extension", b"2;a\rb\r\nhi\r\n0\r\n\r\n"),
                ("a trailer that is none", b"0\r\nX-A : 1\r\n\r\n"),
                ("a trailer with bare LF", b"0\r\nX-A: 1\nX-B: 2\r\n\r\n"),
            )
            for row in (
                bad_gateway(f"{name}, seen with the head", Says(ok(CHUNKED, body=data))),
                answered(
                    f"{name}, seen when the head has gone",
                    Says(data, first=ok(CHUNKED, body=b"2\r\nhi\r\n")),
                    sent=(post("Content-Length: 2"), AfterAnswers(1), b"hi"),
                    body=b"hi",
                    is_cut=True,
                    closes=True,
                ),
            )
        ),
    ),
    *under(
        "RFC 9110 §6.4.1 answers without a body",
        *(
            answered(name, ok(*fields, status=status), gets=(int(status[:3]),), body=b"")
            for name, status, fields in (
                ("204", "204 No Content", ()),
                ("204 with a length (§8.6)", "204 No Content", ("Content-Length: 5",)),
                ("204 that speaks of chunks", "204 No Content", (CHUNKED,)),
                ("304", "304 Not Modified", ('ETag: "a"',)),
                ("304 with a length", "304 Not Modified", ("Content-Length: 5",)),
                ("304 that speaks of chunks", "304 Not Modified", (CHUNKED,)),
            )
        ),
        answered("204 loses its length", ok("Content-Length: 5", status="204 No Content"), gets=(204,), fields=()),
        answered(
            "304 keeps its length: that of the 200",
            ok("Content-Length: 5", status="304 Not Modified"),
            gets=(304,),
            fields=("Content-Length: 5",),
        ),
        answered("205 with a length of zero", ok("Content-Length: 0", status="205 Reset"), gets=(205,), body=b""),
        answered(
            "a body behind 204 is nobody's answer",
            ok(status="204 No Content", body=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
            gets=(204,),
        ),
        answered(
            "a body behind 304 is nobody's answer",
            ok("Content-Length: 4", status="304 Not Modified", body=b"evil"),
            gets=(304,),
        ),
        answered(
            "a body behind the answer to HEAD is nobody's answer",
            ok("Content-Length: 4", body=b"evil"),
            line="HEAD / HTTP/1.1",
            body=b"",
        ),
        answered(
            "bytes behind an answer are nobody's answer (RFC 9112 §9.2)",
            ok("Content-Length: 2", body=b"hi" + ok("Content-Length: 4", body=b"evil")),
            body=b"hi",
        ),
        answered(
            "bytes behind the last chunk are nobody's answer",
            ok(CHUNKED, body=HELLO + ok("Content-Length: 4", body=b"evil")),
            body=b"hi",
        ),
    ),
    *under(
        "RFC 9110 §7.6.1 fields of the upstream's connection",
        *(
            answered(
                f"{fields[0].partition(':')[0]} stays there{more}",
                ok("Content-Length: 0", *fields),
                fields=("Content-Length: 0",),
            )
            for more, fields in (
                ("", ("Connection: keep-alive",)),
                ("", ("Keep-Alive: timeout=5",)),
                ("", ("Proxy-Connection: close",)),
                (", and what it nominates", ("Connection: X-A", "X-A: 1")),
                (", and what it nominates twice", ("Connection: X-A", "Connection: X-B", "X-A: 1", "X-B: 1")),
                ("", ("Upgrade: h2c",)),
                (", and an Upgrade", ("Connection: upgrade", "Upgrade: h2c")),
            )
        ),
        answered(
            "close is about the upstream's connection only",
            Says(ok("Content-Length: 0", "Connection: close"), "close"),
            fields=("Content-Length: 0",),
        ),
        answered(
            "Alt-Svc, HSTS and the like pass",
            ok("Content-Length: 0", "Strict-Transport-Security: max-age=1"),
            fields=("Content-Length: 0", "Strict-Transport-Security: max-age=1"),
        ),
        answered(
            "WWW-Authenticate passes",
            ok("Content-Length: 0", "WWW-Authenticate: Basic", status="401 No"),
            gets=(401,),
            fields=("Content-Length: 0", "WWW-Authenticate: Basic"),
        ),
        answered(
            "Content-Encoding passes",
            ok("Content-Length: 2", "Content-Encoding: gzip", body=b"hi"),
            fields=("Content-Length: 2", "Content-Encoding: gzip"),
            body=b"hi",
        ),
        answered(
            "Via of others passes (§7.6.3)",
            ok("Content-Length: 0", "Via: 1.1 up"),
            fields=("Content-Length: 0", "Via: 1.1 up"),
        ),
    ),
    *under(
        "RFC 9110 §6.6.1 Date",
        answered(
            "of the upstream stays",
            ok("Content-Length: 0", "Date: Mon, 01 Jan 2024 00:00:00 GMT"),
            fields=("Content-Length: 0", "Date: Mon, 01 Jan 2024 00:00:00 GMT"),
        ),
    ),
    *under(
        "RFC 9110 §15.2 interim answers",
        answered("103 passes", ok("Link: </a>", status="103 Early Hints") + ok("Content-Length: 0"), gets=(103, 200)),
        answered("102 passes", ok(status="102 Processing") + ok("Content-Length: 0"), gets=(102, 200)),
        answered(
            "100 that nobody waits for may pass or be dropped",
            ok(status="100 Continue") + ok("Content-Length: 0"),
            gets=(100, 200),
        ),
        answered("several", ok(status="102 P") * 3 + ok("Content-Length: 0"), gets=(102, 102, 102, 200)),
        answered(
            "HTTP/1.0 gets none",
            ok(status="103 Early Hints") + ok("Content-Length: 0"),
            line="GET / HTTP/1.0",
            closes=True,
        ),
        answered(
            "a length in one means nothing (§8.6)",
            ok("Content-Length: 5", status="103 Early Hints") + ok("Content-Length: 0"),
            gets=(103, 200),
        ),
        answered("only interim answers, then the end", Says(ok(status="102 P"), "close"), gets=(102, (502, 503))),
    ),
    *under(
        "RFC 9110 §15.2.2 101",
        broken("to a request that did not ask", ok("Connection: Upgrade", "Upgrade: websocket", status="101 S")),
        broken("to h2c", ok("Connection: Upgrade", "Upgrade: h2c", status="101 S")),
        broken("without Upgrade", ok(status="101 S")),
        *(
            bad_gateway(
                name,
                Says(ok(*fields, status="101 S"), "close"),
                closes=True,
                sent=request(
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                ),
            )
            for name, fields in (
                ("to a handshake, but for another protocol", ("Connection: Upgrade", "Upgrade: h2c")),
                ("to a handshake, but without Upgrade", ()),
            )
        ),
    ),
    *under(
        "RFC 9110 §15.4 redirects and other final answers pass",
        *(
            answered(
                f"{status}",
                ok("Content-Length: 0", f"Location: {location}", status=f"{status} X"),
                gets=(status,),
                fields=("Content-Length: 0", f"Location: {location}"),
            )
            for status, location in ((301, "/a"), (302, "https://other.example/"), (307, "../b"), (201, "/c"))
        ),
        *(
            answered(f"{status}", ok("Content-Length: 2", body=b"no", status=f"{status} X"), gets=(status,), body=b"no")
            for status in (400, 403, 404, 418, 500, 502, 503)
        ),
    ),
    *under(
        "RFC 9112 §6.1 answers to HTTP/1.0",
        answered(
            "chunks are unpacked: it cannot read them",
            ok(CHUNKED, body=HELLO),
            line="GET / HTTP/1.0",
            body=b"hi",
            fields=("Connection: close",),
            closes=True,
        ),
        answered(
            "a length stays",
            ok("Content-Length: 2", body=b"hi"),
            line="GET / HTTP/1.0",
            body=b"hi",
            fields=("Content-Length: 2", "Connection: close"),
            closes=True,
        ),
        answered(
            "keep-alive is granted",
            ok("Content-Length: 2", body=b"hi"),
            sent=request("Connection: keep-alive", line="GET / HTTP/1.0"),
            body=b"hi",
            fields=("Content-Length: 2", "Connection: keep-alive"),
        ),
        answered(
            "keep-alive is not granted where only the end tells the end",
            ok(CHUNKED, body=HELLO),
            sent=request("Connection: keep-alive", line="GET / HTTP/1.0"),
            body=b"hi",
            closes=True,
        ),
    ),
]
