"""A DHCPv4 server that does as a file says: ``python -m tests.lab.dhcp_server IFNAME DIRECTORY``.

``DIRECTORY/orders.json`` is read for each packet: {"mode": "" | "silent" | "nak", "lease", "t1",
"t2", "options": {code: hexadecimal}}. Every packet is noted in ``DIRECTORY/seen.jsonl``.
"""

import json
import select
import sys
from ipaddress import IPv4Address
from pathlib import Path

from cnilib.kernel import dhcp4
from cnilib.kernel.links import get_link
from cnilib.kernel.netns import Namespace
from cnilib.kernel.packets import BROADCAST, BROADCAST_MAC, Datagram, PacketSocket

SERVER, MASK = IPv4Address("10.97.0.1"), IPv4Address("255.255.0.0")
FIRST = IPv4Address("10.97.0.10")
KINDS = {1: "DISCOVER", 3: "REQUEST", 4: "DECLINE", 7: "RELEASE"}


class Server:
    def __init__(self, ifname, directory):
        self.directory = Path(directory)
        namespace = Namespace.current()
        self.mac = get_link(namespace, ifname).mac
        self.socket = PacketSocket(namespace, ifname, dhcp4.SERVER_PORT)
        self.addresses = {}

    def serve(self):
        print("ready", flush=True)
        while True:
            select.select([self.socket], [], [])
            datagram = self.socket.receive()
            message = dhcp4.decode(datagram.payload) if datagram else None
            if message:
                self.note(datagram, message)
                self.answer(message)

    def note(self, datagram, message):
        row = {
            "kind": KINDS.get(message.kind, str(message.kind)),
            "xid": message.xid,
            "flags": message.flags,
            "ciaddr": message.ciaddr,
            "source": datagram.source,
            "target": datagram.target,
            "target_mac": datagram.target_mac,
            "options": {str(code): value.hex() for code, value in message.options.items()},
        }
        with (self.directory / "seen.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def answer(self, message):
        orders = json.loads((self.directory / "orders.json").read_text())
        identity = message.options.get(dhcp4.CLIENT_ID)
        if message.kind == dhcp4.RELEASE:
            self.addresses.pop(identity, None)
        if orders.get("mode") == "silent" or message.kind not in {dhcp4.DISCOVER, dhcp4.REQUEST}:
            return
        refuses = orders.get("mode") == "nak" and message.kind == dhcp4.REQUEST
        if refuses:
            self.addresses.pop(identity, None)
            self.send(message, dhcp4.NAK, "0.0.0.0", {})
            return
        kind = dhcp4.OFFER if message.kind == dhcp4.DISCOVER else dhcp4.ACK
        self.send(message, kind, str(self.address_for(identity, message)), grant(orders))

    def address_for(self, identity, message):
        if identity not in self.addresses:
            used = set(self.addresses.values())
            number = len(used)
            while FIRST + number in used:
                number += 1
            known = IPv4Address(message.ciaddr)
            self.addresses[identity] = FIRST + number if known.is_unspecified else known
        return self.addresses[identity]

    def send(self, message, kind, address, options):
        fixed = {dhcp4.MESSAGE_TYPE: bytes((kind,)), dhcp4.SERVER_ID: SERVER.packed}
        reply = message._replace(options=fixed | options, yiaddr=address, is_reply=True)
        to_all = message.flags & dhcp4.BROADCAST_FLAG or kind == dhcp4.NAK
        self.socket.send(
            Datagram(
                self.mac,
                str(SERVER),
                dhcp4.SERVER_PORT,
                BROADCAST_MAC if to_all else message.client_mac,
                BROADCAST if to_all else address,
                dhcp4.CLIENT_PORT,
                dhcp4.encode(reply),
            )
        )


def grant(orders):
    options = {int(code): bytes.fromhex(text) for code, text in orders.get("options", {}).items()}
    times = {dhcp4.LEASE_TIME: "lease", dhcp4.T1: "t1", dhcp4.T2: "t2"}
    for code, name in times.items():
        if name in orders:
            options[code] = orders[name].to_bytes(4, "big")
    return {dhcp4.SUBNET_MASK: MASK.packed, dhcp4.ROUTERS: SERVER.packed} | options


if __name__ == "__main__":
    Server(sys.argv[1], sys.argv[2]).serve()
