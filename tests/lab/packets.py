"""Who answers on which port, and whom does the answering side see: servers and clients anywhere.

A place is a ``Host`` or one of its containers. Every server answers "<tag> <address of the peer>".
"""

import json
import subprocess
import sys
from typing import NamedTuple

HOST4, HOST6 = "192.0.2.1", "2001:db8:2::1"
OUTSIDE4, OUTSIDE6 = "192.0.2.50", "2001:db8:2::50"

_PYTHON = (sys.executable, "-I", "-S", "-c")
_SERVER = """
import selectors, socket, sys
tag, port = sys.argv[1], int(sys.argv[2])
selector = selectors.DefaultSelector()
for family in (socket.AF_INET, socket.AF_INET6):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        listening = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(("", port))
        if kind == socket.SOCK_STREAM:
            listening.listen(64)
        selector.register(listening, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj.type == socket.SOCK_DGRAM:
            _, peer = key.fileobj.recvfrom(100)
            key.fileobj.sendto(f"{tag} {peer[0]}".encode(), peer)
        else:
            connection, peer = key.fileobj.accept()
            connection.sendall(f"{tag} {peer[0]}".encode())
            connection.close()
"""
_CLIENT = """
import json, socket, sys
address, port, protocol, source_port, source = json.loads(sys.argv[1])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
asking = socket.socket(family, kind)
asking.settimeout(1)
asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
asking.bind((source, source_port))
answer = b""
try:
    asking.connect((address, port))
    if protocol == "udp":
        asking.send(b"?")
    answer = asking.recv(200)
except OSError:
    pass
print(answer.decode())
"""


class Reply(NamedTuple):
    """Who answered, and the address that they saw."""

    tag: str
    peer: str


class Servers:
    """Servers that live until ``close``."""

    def __init__(self):
        self._processes = []

    def start(self, place, tag, port=7000):
        """Answer on TCP and UDP, IPv4 and IPv6."""
        process = subprocess.Popen(
            _command(place, *_PYTHON, _SERVER, tag, str(port)), stdout=subprocess.PIPE, text=True
        )
        self._processes.append(process)
        assert process.stdout.readline() == "ready\n"

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()
            process.stdout.close()


def ask(place, address, port, protocol="tcp", source_port=0, source=""):
    """The reply that somebody at ``place`` gets, None without one."""
    question = json.dumps([address, port, protocol, source_port, source])
    words = place.run(*_PYTHON, _CLIENT, question).split()
    return Reply(*words) if words else None


def outside_machine(host):
    """A machine behind the host's link ``ext0`` that knows the host as its gateway."""
    machine = host.container("outside")
    pair = ("link", "add", "ext0", "type", "veth", "peer", "name", "ext0", "netns", machine.name)
    host.run("ip", *pair)
    for place, addresses in ((host, (HOST4, HOST6)), (machine, (OUTSIDE4, OUTSIDE6))):
        for address, length in zip(addresses, (24, 64), strict=True):
            place.run("ip", "address", "add", f"{address}/{length}", "dev", "ext0")
        place.run("ip", "link", "set", "ext0", "up")
    for gateway in (HOST4, HOST6):
        machine.run("ip", "route", "add", "default", "via", gateway)
    return machine


def _command(place, *words):
    if hasattr(place, "netns"):
        return place.host.command("ip", "netns", "exec", place.name, *words)
    return place.command(*words)
