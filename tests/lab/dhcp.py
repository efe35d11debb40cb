"""A link with a DHCP server at its other end, and the daemon that asks it.

The server, real (dnsmasq) or scripted, and the daemon run on the throw-away host; the container has
the other end of the host's link ``srv0``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.waiting import until

ROOT = Path(__file__).parents[2]
_SMALL = 1 << 20  # bytes; the reference's executables are larger
SOCKET = "/run/cni/dhcp.sock"
SERVER4, SERVER6 = "10.97.0.1", "fd97::1"
QUICK = ("-timeout", "1s", "-resendmax", "2s")
GIVES_UP = ("-resendtimeout", "6s")  # newer than Debian's release of the reference

needs_dnsmasq = pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed")


class Lan:
    """A host, a container on the link ``srv0``, and what serves it."""

    def __init__(self, host, directory):
        self.host, self.directory = host, directory
        self.container = host.container()
        self.daemon = None
        self._processes = []
        self._logs = 0
        pair = ("type", "veth", "peer", "name", "eth0", "netns", self.container.name)
        host.run("ip", "link", "add", "srv0", *pair)
        host.run("ip", "address", "add", f"{SERVER4}/16", "dev", "srv0")
        host.run("ip", "address", "add", f"{SERVER6}/64", "dev", "srv0", "nodad")
        host.run("ip", "link", "set", "srv0", "up")

    def conf(self, version="1.0.0", name="lan", **ipam):
        return {
            "cniVersion": version,
            "name": name,
            "type": "dhcp",
            "ipam": {"type": "dhcp", **ipam},
        }

    def add(self, conf=None, **environ):
        return self.host.add(conf or self.conf(), self.container, **environ).json

    def delete(self, conf=None, **environ):
        return self.host.delete(conf or self.conf(), self.container, **environ)

    def check(self, conf=None, **environ):
        return self.host.cni("CHECK", conf or self.conf(), self.container, **environ)

    def use_address(self, address="10.97.0.10/16", *, router=SERVER4):
        """What the interface plugin does with a result."""
        self.container.run("ip", "address", "add", address, "dev", "eth0")
        self.container.run("ip", "route", "add", "default", "via", router)

    # the daemon

    def start_daemon(self, *flags, socket=SOCKET):
        binary = f"{self.host.binaries}/dhcp"
        gives_up = () if os.path.getsize(binary) > _SMALL else GIVES_UP
        self.daemon = self.start(binary, "daemon", *QUICK, *gives_up, *flags)
        until(lambda: self.daemon.poll() is not None or self._listens(socket))
        assert self.daemon.poll() is None, self.daemon.log.read_text()
        return self.daemon

    def stop_daemon(self, number=signal.SIGTERM):
        """End it; its exit status."""
        self.daemon.send_signal(number)
        return self.daemon.wait(30)

    def log(self):
        return self.daemon.log.read_text()

    def lease_files(self):
        return self.host.listdir(f"{SOCKET}.leases")

    def _listens(self, path):
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
        return self.host.try_run(sys.executable, "-I", "-S", "-c", code).returncode == 0

    # servers

    def script(self, **orders):
        """What the scripted server shall do from now on."""
        fresh = self.directory / "orders.new"
        fresh.write_text(json.dumps({"lease": 3600} | orders))
        fresh.rename(self.directory / "orders.json")

    def start_server(self, **orders):
        """The scripted server."""
        self.script(**orders)
        words = (sys.executable, "-m", "tests.lab.dhcp_server", "srv0", str(self.directory))
        server = self.start(*words, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)})
        until(lambda: "ready" in server.log.read_text())
        return server

    def received(self, kind=None):
        """Every packet that the scripted server was sent."""
        file = self.directory / "seen.jsonl"
        rows = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        return [row for row in rows if kind in {None, row["kind"]}]

    def seen(self, kind=None):
        """The same without what was sent again because a busy machine did not answer in time."""
        return list({(row["kind"], row["xid"]): row for row in self.received(kind)}.values())

    def renewals(self):
        return [row for row in self.received("REQUEST") if row["ciaddr"] != "0.0.0.0"]

    def start_server6(self, **orders):
        """The scripted DHCPv6 server."""
        self.script(**orders)
        words = (sys.executable, "-m", "tests.lab.dhcp6_server", "srv0", str(self.directory))
        server = self.start(*words, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)})
        until(lambda: "ready" in server.log.read_text())
        return server

    def start_dnsmasq(
        self, *more, interface="srv0", pool="10.97.0.100,10.97.0.103,255.255.0.0", inside=()
    ):
        """The real server; it listens when this returns. ``inside`` are words to run it by."""
        words = [
            *inside,
            "dnsmasq",
            "--no-daemon",
            "--conf-file=/dev/null",
            "--port=0",
            "--no-ping",
        ]
        words += [f"--interface={interface}", "--except-interface=lo", "--bind-interfaces"]
        words += ["--dhcp-authoritative", "--dhcp-sequential-ip", "--log-dhcp", "--log-facility=-"]
        words += ["--pid-file=", f"--dhcp-leasefile={self.directory}/leases"]
        words += [f"--dhcp-range={pool},10m", "--user=root"]
        server = self.start(*words, *more)
        until(lambda: "DHCP, " in server.log.read_text() or server.poll() is not None)
        assert server.poll() is None, server.log.read_text()
        return server

    def leases(self):
        """dnsmasq's own record: (address, client id, host name) of each lease."""
        file = self.directory / "leases"
        rows = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(row[2], row[4], row[3]) for row in rows if len(row) == 5]

    # processes

    def start(self, *words, env=None):
        """A program on the host, its output in ``.log``."""
        self._logs += 1
        log = self.directory / f"log{self._logs}"
        with log.open("w") as file:
            process = subprocess.Popen(
                self.host.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=env or {"PATH": os.environ["PATH"]},
            )
        process.log = log
        self._processes.append(process)
        return process

    def end(self, process):
        process.kill()
        process.wait()

    def close(self):
        for process in self._processes:
            self.end(process)
