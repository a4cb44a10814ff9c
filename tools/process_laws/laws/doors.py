"""Owns the laws of listeners: what each serves, who is let in, and that a port may be shared.

Invariant: what is expected word for word was seen on etcd 3.5.1, but for listeners of HTTP alone,
which came with 3.5.8.
"""

import http.client
import os
import socket
import stat

import grpc

from interop import peers

from .place import END_SECONDS_MAX, Place, check

ORIGINS = "Access-Control-Allow-Origin"


def _asked(place, path="/version", method="GET", **headers):
    return place.http(method, path, headers=headers)


def _said(place, wanted, path="/version", method="GET", **headers):
    """Status and origin of an answer must be these."""
    status, fields, _ = _asked(place, path, method, **headers)
    found = (status, fields.get(ORIGINS))
    check(found == wanted, f"{method} {path} {headers}: {found} and not {wanted}")
    return fields


def pages_are_for_the_hosts_and_origins_that_are_named(bench):
    flags = ["--host-whitelist=127.0.0.1,good.com", "--cors=http://a.com:80,http://b.org:81"]
    place = Place(bench, "doors-names", flags=flags)
    try:
        place.start()
        _said(place, (200, None), Host="good.com:99")
        _said(place, (200, "http://a.com:80"), Host="good.com", Origin="http://a.com:80")
        fields = _said(place, (200, "http://b.org:81"), "/any", "OPTIONS", Origin="http://b.org:81")
        check(fields["Content-Length"] == "0", f"a body of {fields['Content-Length']}")
        methods = fields["Access-Control-Allow-Methods"]
        check(methods == "POST, GET, OPTIONS, PUT, DELETE", methods)
        _said(place, (200, None), "/v3/kv/put", "OPTIONS", Origin="http://a.com")
        _said(place, (404, "http://a.com:80"), "/nothing", Origin="http://a.com:80")
        for host in ("evil.com", "GOOD.COM", "[::1]:2379", "good.com."):
            fields = _said(place, (421, None), Host=host, Origin="http://a.com:80")
            check(fields["X-Content-Type-Options"] == "nosniff", f"{fields}")
        _, _, body = _asked(place, Host="evil.com:80")
        check(len(body) == 370 and '--host-whitelist "evil.com"' in body, body)
        check(_ranges(f"127.0.0.1:{place.port}") == 0, "a call is no page")
        check("rejecting HTTP request to prevent DNS rebinding attacks" in place.said(), "no line")
    finally:
        place.destroy()


def http_may_have_listeners_of_its_own(bench):
    calls = peers.free_port()
    place = Place(bench, "doors-split")
    place.extra += [f"--listen-client-urls=http://127.0.0.1:{calls}",
                    f"--advertise-client-urls=http://127.0.0.1:{calls}",
                    f"--listen-client-http-urls=http://127.0.0.1:{place.port}"]
    try:
        place.start()
        _said(place, (200, "*"))
        check(_ranges(f"127.0.0.1:{calls}") == 0, "calls go to their own listener")
        refused = _error_of(f"127.0.0.1:{place.port}")
        check(refused == grpc.StatusCode.UNIMPLEMENTED, f"a call to the other: {refused}")
        page = http.client.HTTPConnection("127.0.0.1", calls, timeout=10)
        try:
            page.request("GET", "/version")
            check(False, f"a page from the listener of calls: {page.getresponse().status}")
        except (http.client.HTTPException, ConnectionError):
            pass
        finally:
            page.close()
    finally:
        place.destroy()


def clients_may_come_through_a_socket_file(bench):
    place = Place(bench, "doors-file")
    path = f"{place.home}/s"
    urls = f"http://127.0.0.1:{place.port},unix://{path}"
    place.extra += [f"--listen-client-urls={urls}", f"--listen-metrics-urls=unix://{path}m"]
    with open(f"{place.home}/kept", "w") as out:
        out.write("x")
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(path)
    leftover.close()
    try:
        place.start()
        check(stat.S_ISSOCK(os.stat(path).st_mode), "no socket file")
        check(_ranges(f"unix:{path}") == 0, "calls through a file")
        for file, page in ((path, "/version"), (f"{path}m", "/metrics")):
            check(_page(file, page).startswith(b"HTTP/1.1 200 "), f"{page} through {file}")
        check(_page(f"{path}m", "/version").startswith(b"HTTP/1.1 404 "), "metrics alone")
        place.stop()
        check(not os.path.exists(path) and not os.path.exists(f"{path}m"), "files are left")
    finally:
        place.destroy()


def a_port_is_shared_by_those_who_ask(bench):
    first = Place(bench, "doors-first", flags=["--socket-reuse-port", "--socket-reuse-address"])
    second = Place(bench, "doors-second", flags=["--socket-reuse-port"])
    third = Place(bench, "doors-third")
    second.port = third.port = first.port
    try:
        first.start()
        second.start()
        third.launch()
        check(third.ended(END_SECONDS_MAX) == 1, "a port was shared with one who did not ask")
        check("bind: address already in use" in third.said(), third.said())
    finally:
        for place in (first, second, third):
            place.destroy()


def _ranges(target):
    """The number of keys below a range that nobody wrote."""
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(END_SECONDS_MAX)
        call = channel.unary_unary("/etcdserverpb.KV/Range")
        reply = call(b"\x0a\x04none", timeout=END_SECONDS_MAX)
        # The count is field 4; a reply without rows ends with its header.
        return reply.count(b"\x20\x01")


def _error_of(target):
    try:
        _ranges(target)
        return None
    except grpc.RpcError as error:
        return error.code()


def _page(path, page):
    """The beginning of an answer through a socket file."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(END_SECONDS_MAX)
        stream.connect(path)
        stream.sendall(f"GET {page} HTTP/1.0\r\n\r\n".encode())
        return stream.recv(4096)
