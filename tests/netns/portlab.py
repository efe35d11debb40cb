"""A laboratory for port forwarding: an outside client, a host, containers on a bridge, packets.

Everything is made by hand with ip(8), so that a test of portmap depends on no other plugin.
"""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading

from cnilib.kernel.netns import Namespace
from tests.lab.host import Answer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST4, HOST4B, HOST6 = "192.0.2.1", "192.0.2.2", "2001:db8:2::1"
CLIENT4, CLIENT4B, CLIENT6 = "192.0.2.50", "192.0.2.51", "2001:db8:2::50"
GATEWAY4, GATEWAY6 = "10.60.0.1", "fd60::1"
BRIDGE = "cni-web"
_OWN_RUN = 'mount --rbind /run/netns "$0/netns" && mount --rbind "$0" /run && exec "$@"'
"""Run a command, given behind a directory that becomes its /run, inside ``ip netns exec``."""
_numbers = itertools.count()


class Container:
    """A network namespace with one address of each family on the bridge."""

    def __init__(self, lab, number, ifname):
        self.lab, self.ifname = lab, ifname
        self.id = f"container{number}"
        self.namespace = lab.namespace()
        self.netns = f"/run/netns/{self.namespace}"
        self.ip4, self.ip6 = f"10.60.0.{number + 1}", f"fd60::{number + 1:x}"
        lab.plug(self.namespace, ifname, (f"{self.ip4}/24", f"{self.ip6}/64"))

    @property
    def result(self):
        return {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": BRIDGE}, {"name": self.ifname, "sandbox": self.netns}],
            "ips": [
                {"interface": 1, "address": f"{self.ip4}/24", "gateway": GATEWAY4},
                {"interface": 1, "address": f"{self.ip6}/64", "gateway": GATEWAY6},
            ],
        }

    def conf(self, *mappings, name="web", **keys):
        return {
            "cniVersion": "1.0.0",
            "name": name,
            "type": "portmap",
            "capabilities": {"portMappings": True},
            "prevResult": self.result,
            "runtimeConfig": {"portMappings": list(mappings)},
        } | keys

    def call(self, command, conf, **environ):
        environ = {"CNI_NETNS": self.netns, "CNI_IFNAME": self.ifname} | environ
        return self.lab.plugin(command, conf, CNI_CONTAINERID=self.id, **environ)

    def add(self, *mappings, **keys):
        conf = self.conf(*mappings, **keys)
        outcome = self.call("ADD", conf)
        assert outcome.ok, outcome
        return conf

    def delete(self, conf, **environ):
        outcome = self.call("DEL", conf, **environ)
        assert outcome.ok, outcome
        return outcome

    def serve(self, port=7000, tag="", protocols=("tcp", "udp")):
        self.lab.serve(self.namespace, port, tag or self.id, protocols)


class Lab:
    """The host, the client and everything made for one test."""

    def __init__(self):
        self._namespaces, self._servers = [], []
        self._containers = itertools.count(1)
        self._run = tempfile.TemporaryDirectory()
        os.mkdir(f"{self._run.name}/netns")
        self.host, self.client = self.namespace(), self.namespace()
        self._connect_client()
        self.ip(self.host, "link", "add", BRIDGE, "type", "bridge")
        for address in (f"{GATEWAY4}/24", f"{GATEWAY6}/64"):
            self.address(self.host, BRIDGE, address)
        self.ip(self.host, "link", "set", BRIDGE, "up")
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self.run("sh", "-c", f"echo 1 > /proc/sys/net/{key}")

    def close(self):
        for server in self._servers:
            server.close()
        for name in self._namespaces:
            subprocess.run(["ip", "netns", "del", name], check=False)
        self._run.cleanup()

    def namespace(self):
        name = f"cnitest-pm{os.getpid()}n{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self._namespaces.append(name)
        quiet = "for i in all default; do echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad; done"
        self.run("sh", "-c", quiet, namespace=name)
        self.ip(name, "link", "set", "lo", "up")
        return name

    def container(self, ifname="eth0"):
        return Container(self, next(self._containers), ifname)

    def plug(self, namespace, ifname, addresses):
        """A veth pair between a namespace and the bridge; both ends hairpin."""
        port = f"veth{next(_numbers)}"
        self._pair(self.host, port, namespace, ifname)
        self.ip(self.host, "link", "set", port, "master", BRIDGE)
        self.run("bridge", "link", "set", "dev", port, "hairpin", "on")
        for address in addresses:
            self.address(namespace, ifname, address)
        for gateway in (GATEWAY4, GATEWAY6):
            self.ip(namespace, "route", "add", "default", "via", gateway)

    def _connect_client(self):
        self._pair(self.host, "ext0", self.client, "ext0")
        for address in (f"{HOST4}/24", f"{HOST4B}/24", f"{HOST6}/64"):
            self.address(self.host, "ext0", address)
        for address in (f"{CLIENT4}/24", f"{CLIENT4B}/24", f"{CLIENT6}/64"):
            self.address(self.client, "ext0", address)

    def _pair(self, first, first_name, second, second_name):
        peer = ("peer", "name", second_name, "netns", second)
        self.ip(first, "link", "add", first_name, "type", "veth", *peer)
        for namespace, name in ((first, first_name), (second, second_name)):
            self.ip(namespace, "link", "set", name, "up")

    def address(self, namespace, link, address):
        extra = ("nodad",) if ":" in address else ()
        self.ip(namespace, "address", "add", address, "dev", link, *extra)

    def ip(self, namespace, *words):
        subprocess.run(["ip", "-n", namespace, *words], check=True, capture_output=True)

    def run(self, *command, namespace=None, **keys):
        return subprocess.run(
            ["ip", "netns", "exec", namespace or self.host, *command],
            check=True,
            capture_output=True,
            text=True,
            **keys,
        ).stdout

    def plugin(self, command, conf, plugin="portmap", **environ):
        """One call inside the host: of CNI_BIN when set, else from source."""
        binaries = os.environ.get("CNI_BIN")
        words = (
            [f"{binaries}/{plugin}"]
            if binaries
            else [sys.executable, "-m", "plugins.launch", plugin]
        )
        done = subprocess.run(
            ["ip", "netns", "exec", self.host, "sh", "-c", _OWN_RUN, self._run.name, *words],
            input=json.dumps(conf),
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | {"CNI_COMMAND": command, "CNI_PATH": "/nonexistent"} | environ,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def sysctl(self, key):
        return self.run("cat", f"/proc/sys/{key}").strip()

    def rules(self):
        """All of nftables, and what iptables shows of table nat."""
        tools = [self.run(tool, "-t", "nat", "-S") for tool in ("iptables", "ip6tables")]
        return "\n".join([self.run("nft", "list", "ruleset"), *tools])

    def serve(self, namespace, port, tag, protocols=("tcp", "udp")):
        """Answer everybody on a port with "<tag> <address of the peer>"."""
        self._servers.append(_Server(namespace, port, tag, protocols))

    def ask(self, namespace, address, port, protocol="tcp", source_port=0):
        """The answer as (tag, peer), or None when there is none."""
        with inside(namespace):
            asking = _socket(socket.AF_INET6 if ":" in address else socket.AF_INET, protocol)
        tries = 3 if protocol == "udp" else 1
        with asking:
            asking.settimeout(0.6)
            with contextlib.suppress(OSError):
                if source_port:
                    asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    asking.bind(("", source_port))
                asking.connect((address, port))
                for _ in range(tries):
                    with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                        if protocol == "udp":
                            asking.send(b"?")
                        answer = asking.recv(200).decode()
                        return tuple(answer.split()) if answer else None
        return None


class _Server:
    def __init__(self, namespace, port, tag, protocols):
        self._tag, self._closed = tag, False
        self._sockets = []
        with inside(namespace):
            for protocol in protocols:
                for family in (socket.AF_INET, socket.AF_INET6):
                    self._sockets.append(self._listen(family, protocol, port))
        self._threads = [threading.Thread(target=self._loop, args=(s,)) for s in self._sockets]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _listen(family, protocol, port):
        listening = _socket(family, protocol)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        if protocol != "udp":
            listening.listen(16)
        listening.settimeout(0.1)
        return listening

    def _loop(self, listening):
        while not self._closed:
            with contextlib.suppress(OSError):
                if listening.type == socket.SOCK_DGRAM:
                    _, peer = listening.recvfrom(100)
                    listening.sendto(f"{self._tag} {peer[0]}".encode(), peer)
                else:
                    connection, peer = listening.accept()
                    with connection:
                        connection.sendall(f"{self._tag} {peer[0]}".encode())

    def close(self):
        self._closed = True
        for thread in self._threads:
            thread.join()
        for listening in self._sockets:
            listening.close()


def _socket(family, protocol):
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    return socket.socket(family, kind, socket.IPPROTO_SCTP if protocol == "sctp" else 0)


@contextlib.contextmanager
def inside(namespace):
    with Namespace.open(f"/run/netns/{namespace}") as entered, entered.entered():
        yield
