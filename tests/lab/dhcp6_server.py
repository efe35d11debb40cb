"""A DHCPv6 server that does as a file says: ``python -m tests.lab.dhcp6_server IFNAME DIRECTORY``.

``DIRECTORY/orders.json`` is read for each packet: {"mode": "" | "silent" | "refuse", "lease", "t1",
"t2"}; the kind of every packet is noted in ``DIRECTORY/seen.jsonl``. It has its own idea of the
format, so that it does not share a mistake with the client.
"""

import json
import socket
import struct
import sys
from pathlib import Path

KINDS = {1: "SOLICIT", 3: "REQUEST", 5: "RENEW", 6: "REBIND", 8: "RELEASE"}
ADDRESS = "fd97::77"
SERVER_ID = bytes.fromhex("0003000102970000000a")


def options_of(data):
    options = {}
    while data:
        code, length = struct.unpack_from("!HH", data)
        options[code] = data[4 : 4 + length]
        data = data[4 + length :]
    return options


def option(code, value):
    return struct.pack("!HH", code, len(value)) + value


def answer(kind, asked, orders):
    lifetime = orders["lease"]
    address = socket.inet_pton(socket.AF_INET6, ADDRESS) + struct.pack("!II", lifetime, lifetime)
    inside = option(5, address)
    if orders.get("mode") == "refuse" and kind in {"RENEW", "REBIND"}:
        inside = option(13, struct.pack("!H", 3))
    timers = struct.pack("!II", orders.get("t1", 0), orders.get("t2", 0))
    association = option(3, asked[3][:4] + timers + inside)
    return option(1, asked[1]) + option(2, SERVER_ID) + association


def serve(ifname, directory):
    index = socket.if_nametoindex(ifname)
    listening = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:2") + struct.pack("=I", index)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    listening.bind(("::", 547))
    print("ready", flush=True)
    while True:
        data, peer = listening.recvfrom(4096)
        kind, asked = KINDS.get(data[0], str(data[0])), options_of(data[4:])
        with (directory / "seen.jsonl").open("a") as file:
            options = {code: value.hex() for code, value in asked.items()}
            row = {"kind": kind, "xid": data[1:4].hex(), "options": options}
            file.write(json.dumps(row) + "\n")
        orders = json.loads((directory / "orders.json").read_text())
        if orders.get("mode") != "silent":
            reply = b"\2" if kind == "SOLICIT" else b"\7"
            listening.sendto(reply + data[1:4] + answer(kind, asked, orders), peer)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
