"""Calls real servers with and without the sidecar between, and compares what they answer."""

import hashlib
import http.client
import os
import socket
import ssl
import sys
import time

WORK = sys.argv[1]
LARGE = os.urandom(3_000_017)
# Of one connection, of one moment, by how fast a program writes, or what the sidecar frames anew.
OWN = {"accept-ranges", "connection", "keep-alive", "date", "transfer-encoding", "content-length"}
context = ssl.create_default_context(cafile=f"{WORK}/servers.crt")
context.load_cert_chain(f"{WORK}/gateway.crt", f"{WORK}/gateway.key")


def chunks():
    for start in range(0, len(LARGE), 70_001):
        yield LARGE[start:start + 70_001]


EVERYWHERE = [
    ("GET", "/index.html", {}, None),
    ("HEAD", "/index.html", {}, None),
    ("GET", "/large.bin", {}, None),
    ("HEAD", "/large.bin", {}, None),
    ("GET", "/large.bin", {"range": "bytes=17-100020"}, None),
    ("GET", "/empty.txt", {}, None),
    ("GET", "/not-there", {}, None),
    ("GET", "/index.html", {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}, None),
]
SERVERS = {
    "nginx": (8001, EVERYWHERE + [
        ("GET", "/index.html", {"accept-encoding": "gzip"}, None),
        ("GET", "/teapot", {}, None),
        ("GET", "/nothing", {}, None),
        ("PUT", "/stored/{}/length", {}, LARGE),
        ("GET", "/stored/{}/length", {}, None),
        ("PUT", "/stored/{}/chunks", {}, chunks),
        ("GET", "/stored/{}/chunks", {}, None),
        ("PUT", "/stored/{}/empty", {}, b""),
        ("DELETE", "/stored/{}/length", {}, None),
        ("POST", "/index.html", {}, b"refused"),
    ]),
    "lighttpd": (8002, EVERYWHERE + [
        ("POST", "/cgi-bin/echo", {}, LARGE),
        ("POST", "/cgi-bin/echo", {}, chunks),
        ("POST", "/cgi-bin/echo", {}, b""),
    ]),
    # It closes after each answer.
    "busybox": (8003, EVERYWHERE),
}


def wait(port):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def ask(connection, side, method, path, headers, body):
    path, headers = path.format(side), {"host": "shop.example", **headers}
    if callable(body):
        body, headers = body(), {**headers, "transfer-encoding": "chunked"}
        connection.request(method, path, body=body, headers=headers, encode_chunked=True)
    else:
        connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    kept = sorted((name.lower(), value.replace(side, "-")) for name, value in answer.getheaders() if name.lower() not in OWN)
    length = answer.getheader("content-length") if method == "HEAD" else None
    return answer.status, kept, len(content), hashlib.sha256(content).hexdigest(), length


count = 0
for name, (port, exchanges) in SERVERS.items():
    wait(port)
    wait(port + 10_000)
    for keeps in (True, False):
        direct = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        through = http.client.HTTPSConnection("localhost", port + 10_000, timeout=60, context=context)
        for method, path, headers, body in exchanges:
            expected = ask(direct, "direct", method, path, headers, body)
            try:
                seen = ask(through, "through", method, path, headers, body)
            except (OSError, http.client.HTTPException) as error:
                sys.exit(f"{name}: {method} {path} {headers} through the sidecar: {error!r}")
            if expected != seen:
                sys.exit(f"{name}: {method} {path} {headers}\n  directly: {expected}\n  through:  {seen}")
            count += 1
            if not keeps:
                direct.close()
                through.close()
print(f"{count} answers of {', '.join(SERVERS)} are the same through the sidecar")
