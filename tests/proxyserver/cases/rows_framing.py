"""Where a request ends: Content-Length, Transfer-Encoding, chunks, trailers. RFC 9112 §6 and §7, RFC 9110 §8.6.

Each refusal here is a way to hide one request in another. What is refused before its body is read may not reach the
upstream at all; what breaks in the body may have begun to, but its end must not.
"""

from __future__ import annotations

from rows import HOST, Row, Seen, chunked, passes, post, refused, request, under, unfinished

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: pub.example\r\n\r\n"
POSTED = "POST / HTTP/1.1"
CHUNKED = (f"Host: {HOST}", "Transfer-Encoding: chunked")


def length(text: str, body: bytes = b"hi") -> bytes:
    return post(f"Content-Length: {text}", body=body)


def coding(text: str, body: bytes = b"0\r\n\r\n") -> bytes:
    return post(f"Transfer-Encoding: {text}", body=body)


def cut(name: str, body: bytes, *, status: int = 400, not_yet: str = "") -> Row:
    """Chunks that cannot be read: 400, closed, and no request ends at the upstream, nor does a hidden one begin."""
    return refused(name, chunked(body + HIDDEN), status=status, not_yet=not_yet)


def whole(name: str, body: bytes, decoded: bytes, *trailers: str) -> Row:
    return passes(name, chunked(body), line=POSTED, fields=CHUNKED, body=decoded, trailers=trailers)


ROWS: list[Row] = [
    *under(
        "RFC 9110 §8.6 Content-Length",
        passes(
            "a body of that length", length("2"), line=POSTED, fields=(f"Host: {HOST}", "Content-Length: 2"), body=b"hi"
        ),
        passes("zero", length("0", b""), line=POSTED, fields=(f"Host: {HOST}", "Content-Length: 0")),
        passes(
            "a GET with a body keeps it",
            request("Content-Length: 2", body=b"hi"),
            fields=(f"Host: {HOST}", "Content-Length: 2"),
            body=b"hi",
        ),
        passes(
            "a DELETE with a body keeps it",
            post("Content-Length: 2", body=b"hi", line="DELETE / HTTP/1.1"),
            line="DELETE / HTTP/1.1",
            fields=(f"Host: {HOST}", "Content-Length: 2"),
            body=b"hi",
        ),
        passes("a POST without one has no body", post(), line=POSTED),
        passes(
            "white space around it",
            length(" \t2 \t"),
            line=POSTED,
            fields=(f"Host: {HOST}", "Content-Length: 2"),
            body=b"hi",
        ),
        refused("repeated", post("Content-Length: 2", "Content-Length: 2", body=b"hi")),
        refused("in conflict", post("Content-Length: 2", "Content-Length: 3", body=b"hi!")),
        refused("in conflict, the other case", post("Content-Length: 2", "content-length: 3", body=b"hi!")),
        refused("a list of one value", length("2, 2")),
        refused("a list in conflict", length("2, 3", b"hi!")),
        refused("a list with an empty member", length("2,")),
        refused("a list with a leading comma", length(",2")),
        refused("empty", length("")),
        refused("a plus sign", length("+2")),
        refused("a minus sign", length("-2")),
        refused("minus zero", length("-0", b"")),
        refused("hexadecimal", length("0x2")),
        refused("hexadecimal digits", length("a", b"0123456789")),
        refused("an exponent", length("2e0")),
        refused("a decimal point", length("2.0")),
        refused("an underscore, as Python would read", length("1_0", b"0123456789")),
        refused("a space within", length("1 0", b"0123456789")),
        refused("a semicolon", length("2;")),
        refused("quotes", length('"2"')),
        refused("superscript two", length("\xb2")),
        refused("NUL behind it", length("2\x00")),
        refused("a vertical tab before it", length("\x0b2")),
        refused("letters", length("two")),
        refused("2**64", length("18446744073709551616"), status=(400, 413)),
        refused("2**64 + 2", length("18446744073709551618"), status=(400, 413)),
        refused("2**63", length("9223372036854775808"), status=(400, 413)),
        refused("a thousand digits", length("9" * 1000), status=(400, 413)),
        refused("two lengths for a GET", request("Content-Length: 0", f"Content-Length: {len(HIDDEN)}", body=HIDDEN)),
        unfinished("a body that ends too early", length("10")),
        passes(
            "what follows the body is the next request (RFC 9112 §6.3)",
            length("2") + HIDDEN,
            gets=(200, 200),
            seen=(Seen(POSTED, (f"Host: {HOST}", "Content-Length: 2"), b"hi"), Seen("GET /hidden HTTP/1.1")),
        ),
    ),
    *under(
        "RFC 9112 §6.1 Transfer-Encoding",
        whole("chunked", b"2\r\nhi\r\n0\r\n\r\n", b"hi"),
        passes("names of codings do not care for case", coding("CHUNKED"), line=POSTED, fields=CHUNKED),
        passes(
            "a GET with chunks keeps them",
            chunked(b"2\r\nhi\r\n0\r\n\r\n", line="GET / HTTP/1.1"),
            fields=CHUNKED,
            body=b"hi",
        ),
        refused("with Content-Length", chunked(b"0\r\n\r\n", "Content-Length: 5")),
        refused(
            "with Content-Length before it", post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
        ),
        refused(
            "with Content-Length that hides a request",
            chunked(b"0\r\n\r\n" + HIDDEN, f"Content-Length: {5 + len(HIDDEN)}"),
        ),
        refused("with Content-Length that ends in the chunks", chunked(b"2\r\nhi\r\n0\r\n\r\n", "Content-Length: 3")),
        refused("with a broken Content-Length", chunked(b"0\r\n\r\n", "Content-Length: x")),
        refused("twice", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")),
        refused("twice in a list", coding("chunked, chunked")),
        refused("chunked is not last", coding("chunked, gzip")),
        refused(
            "chunked is not last, on two lines",
            post("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", body=b"0\r\n\r\n"),
        ),
        refused(
            "identity on the second line",
            post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        ),
        refused(
            "identity on the first line",
            post("Transfer-Encoding: identity", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
            status=(400, 501),
        ),
        refused("identity", coding("identity", HIDDEN), status=(400, 501)),
        refused(
            "identity with a length",
            post("Transfer-Encoding: identity", "Content-Length: 2", body=b"hi"),
            status=(400, 501),
        ),
        refused("gzip before chunked: 501, as §6.1 has it", coding("gzip, chunked"), status=501),
        refused("an unknown coding before chunked", coding("cow, chunked"), status=501),
        refused("only gzip: a request cannot end with the connection (§6.3)", coding("gzip", b""), status=(400, 501)),
        refused("deflate alone", coding("deflate", b""), status=(400, 501)),
        refused("something like chunked", coding("xchunked"), status=(400, 501)),
        refused("chunked with something behind", coding("chunkedx"), status=(400, 501)),
        refused("chunked with a dash", coding("chunk-ed"), status=(400, 501)),
        refused("quoted", coding('"chunked"'), status=(400, 501)),
        refused("in single quotes", coding("'chunked'"), status=(400, 501)),
        refused("with a parameter", coding("chunked;q=1"), status=(400, 501)),
        refused("with an empty parameter", coding("chunked;"), status=(400, 501)),
        refused("empty", coding("")),
        refused("a comma", coding(","), status=(400, 501)),
        refused("NUL behind it", coding("chunked\x00")),
        refused("a vertical tab before it", coding("\x0bchunked")),
        refused("a vertical tab behind it", coding("chunked\x0b")),
        refused("a form feed behind it", coding("chunked\x0c")),
        refused("a no-break space before it", coding("\xa0chunked"), status=(400, 501)),
        refused(
            "a folded value", b"POST / HTTP/1.1\r\nHost: pub.example\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"
        ),
        refused("a bare CR before it", coding("\rchunked")),
        refused("two words", coding("chunked identity"), status=(400, 501)),
        refused("in HTTP/1.0 (§6.1: faulty framing)", chunked(b"0\r\n\r\n", line="POST / HTTP/1.0")),
        refused(
            "in HTTP/1.0 with keep-alive",
            chunked(b"0\r\n\r\n" + HIDDEN, "Connection: keep-alive", line="POST / HTTP/1.0"),
        ),
        refused(
            "nominated by Connection and with a length",
            chunked(b"0\r\n\r\n", "Connection: transfer-encoding", "Content-Length: 5"),
        ),
        passes(
            "nominated by Connection: framing stays",
            chunked(b"2\r\nhi\r\n0\r\n\r\n", "Connection: transfer-encoding"),
            line=POSTED,
            fields=CHUNKED,
            body=b"hi",
        ),
    ),
    *under(
        "RFC 9112 §7.1 chunks",
        whole("several", b"2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n", b"hiyou"),
        whole("sizes in capitals", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        whole("sizes in small letters", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        whole("leading zeros", b"002\r\nhi\r\n000\r\n\r\n", b"hi"),
        whole("CR and LF in the data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
        whole("what looks like an end in the data", b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
        whole("nothing", b"0\r\n\r\n", b""),
        cut("a space behind the size", b"2 \r\nhi\r\n0\r\n\r\n"),
        cut("a tab behind the size", b"2\t\r\nhi\r\n0\r\n\r\n"),
        cut("a space before the size", b" 2\r\nhi\r\n0\r\n\r\n"),
        cut("a plus sign", b"+2\r\nhi\r\n0\r\n\r\n"),
        cut("a minus sign", b"-2\r\nhi\r\n0\r\n\r\n"),
        cut("0x", b"0x2\r\nhi\r\n0\r\n\r\n"),
        cut("an underscore", b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
        cut("no digits", b"\r\nhi\r\n0\r\n\r\n"),
        cut("other letters", b"g\r\nhi\r\n0\r\n\r\n"),
        cut("a decimal point", b"2.0\r\nhi\r\n0\r\n\r\n"),
        cut("NUL behind the size", b"2\x00\r\nhi\r\n0\r\n\r\n"),
        cut("2**64 + 2", b"10000000000000002\r\nhi\r\n0\r\n\r\n"),
        cut("2**64", b"10000000000000000\r\n"),
        cut("-1 as 64 bits", b"ffffffffffffffff\r\nhi\r\n0\r\n\r\n"),
        cut("a hundred digits", b"0" * 99 + b"2\r\nhi\r\n0\r\n\r\n"),
        cut("bare LF behind the size", b"2\nhi\r\n0\r\n\r\n"),
        cut("bare CR behind the size", b"2\rhi\r\n0\r\n\r\n"),
        cut("CR CR LF behind the size", b"2\r\r\nhi\r\n0\r\n\r\n"),
        cut("bare LF behind the data", b"2\r\nhi\n0\r\n\r\n"),
        cut("bare CR behind the data", b"2\r\nhi\r0\r\n\r\n"),
        cut("nothing behind the data", b"2\r\nhi0\r\n\r\n"),
        cut("more data than said", b"2\r\nhi!\r\n0\r\n\r\n"),
        cut("less data than said", b"3\r\nhi\r\n0\r\n\r\n"),
        cut("bare LF as the end", b"0\r\n\n"),
        cut("bare LF behind the last size", b"0\n\r\n"),
        cut("an empty line before the first size", b"\r\n2\r\nhi\r\n0\r\n\r\n"),
        unfinished("the end is missing", chunked(b"2\r\nhi\r\n")),
        unfinished("the last empty line is missing", chunked(b"2\r\nhi\r\n0\r\n")),
        unfinished("it ends within a size", chunked(b"2")),
        unfinished("it ends within data", chunked(b"5\r\nhi")),
        passes(
            "what follows the last chunk is the next request",
            chunked(b"2\r\nhi\r\n0\r\n\r\n") + HIDDEN,
            gets=(200, 200),
            seen=(Seen(POSTED, CHUNKED, b"hi"), Seen("GET /hidden HTTP/1.1")),
        ),
    ),
    *under(
        "RFC 9112 §7.1.1 chunk extensions",
        whole("one", b"2;a=b\r\nhi\r\n0\r\n\r\n", b"hi"),
        whole("without a value", b"2;a\r\nhi\r\n0\r\n\r\n", b"hi"),
        whole("quoted", b'2;a="b c"\r\nhi\r\n0\r\n\r\n', b"hi"),
        whole("at the last chunk", b"2\r\nhi\r\n0;a=b\r\n\r\n", b"hi"),
        cut("bare LF in it: how TERM.EXT hides requests", b"2;a\nhi\r\n0\r\n\r\n"),
        cut("bare CR in it", b"2;a\rb\r\nhi\r\n0\r\n\r\n"),
        cut("NUL in it", b"2;a=\x00\r\nhi\r\n0\r\n\r\n"),
        cut("DEL in it", b"2;a=\x7f\r\nhi\r\n0\r\n\r\n"),
        cut("beyond any limit (§7.1.1: limit them)", b"2;" + b"a" * 100_000 + b"\r\nhi\r\n0\r\n\r\n"),
    ),
    *under(
        "RFC 9112 §7.1.2 trailers",
        whole("one", b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n", b"hi", "X-Sum: 1"),
        whole("two", b"2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", b"hi", "X-Sum: 1", "X-More: 2"),
        cut("a space before the colon", b"0\r\nX-A : 1\r\n\r\n"),
        cut("no colon", b"0\r\nX-A\r\n\r\n"),
        cut("no name", b"0\r\n: 1\r\n\r\n"),
        cut("a folded value", b"0\r\nX-A: 1\r\n 2\r\n\r\n"),
        cut("bare LF", b"0\r\nX-A: 1\nX-B: 2\r\n\r\n"),
        cut("bare CR", b"0\r\nX-A: 1\rX-B: 2\r\n\r\n"),
        cut("NUL", b"0\r\nX-A: \x00\r\n\r\n"),
        cut("above ASCII in a name", b"0\r\nX-\xdc: 1\r\n\r\n"),
        cut("a request line", b"0\r\nGET /hidden HTTP/1.1\r\nHost: pub.example\r\n\r\n"),
        cut("beyond any limit", b"0\r\n" + b"X-A: 1\r\n" * 20_000 + b"\r\n", status=431),
    ),
    *under(
        "RFC 9110 §6.5.1 what trailers may not hold",
        *(
            whole(
                f"{name} in a trailer stays apart from the head", f"0\r\n{name}: 1\r\n\r\n".encode(), b"", f"{name}: 1"
            )
            for name in ("X-Forwarded-For", "Authorization", "Cookie")
        ),
        *(
            refused(
                f"{name} in a trailer does not reach the upstream", chunked(b"0\r\n" + name.encode() + b": 1\r\n\r\n")
            )
            for name in ("Content-Length", "Transfer-Encoding", "Host")
        ),
    ),
]
