"""A throw-away host and its containers: namespaces that go with the processes holding them."""

import itertools
import json
import os
import subprocess
import time
from typing import NamedTuple

_SETUP = """
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && mount -t sysfs sysfs /sys || exit
mkdir -p /run/netns /run/cni /var/lib/cni
for which in all default; do echo 0 > /proc/sys/net/ipv6/conf/$which/accept_dad; done
ip link set lo up
echo ready
exec sleep infinity
"""
_NUMBERS = itertools.count(1)


class Answer(NamedTuple):
    """How a call of a plugin ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def ok(self):
        return self.status == 0

    @property
    def json(self):
        return json.loads(self.stdout)

    @property
    def code(self):
        return self.json["code"]

    @property
    def msg(self):
        return self.json["msg"]

    @property
    def addresses(self):
        """Of a result of 0.3.0 and later."""
        return [ip["address"].split("/")[0] for ip in self.json["ips"]]


def _pings(place, address):
    """Whether one of two packets is answered: the first may come before a link's queue is there."""
    ping = ("ping", "-c1", "-W1", "-n", address)
    return any(place.try_run(*ping).returncode == 0 for _ in range(2))


class Container:
    """A network namespace of a host, and the id a runtime would give it."""

    def __init__(self, host, container_id):
        self.host, self.id = host, container_id
        self.name = f"c{next(_NUMBERS)}"
        self.netns = f"/run/netns/{self.name}"
        host.run("ip", "netns", "add", self.name)
        self.run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")

    def run(self, *words, **options):
        """What a program inside prints; it must succeed."""
        return self.host.run("ip", "netns", "exec", self.name, *words, **options)

    def try_run(self, *words):
        """The finished process."""
        return self.host.try_run("ip", "netns", "exec", self.name, *words)

    def show(self, *words):
        """What ``ip -j`` answers inside."""
        return json.loads(self.run("ip", "-j", "-d", *words) or "[]")

    def addresses(self, ifname="eth0"):
        """The global addresses of an interface with their prefix lengths."""
        (link,) = self.show("address", "show", "dev", ifname)
        return [
            f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"
        ]

    def links(self):
        return {link["ifname"] for link in self.show("link")}

    def pings(self, address):
        return _pings(self, address)

    def vanish(self):
        """The namespace goes, as when a container's last process was killed."""
        self.host.run("ip", "netns", "del", self.name)


class Host:
    """Network and mount namespaces of its own: private /run, /var/lib and /sys.

    ``binaries`` is the directory of plugins it has.
    """

    with_cnid = False
    """Whether hosts run cnid; ``pytest --with-cnid`` sets it."""

    def __init__(self, binaries):
        self.binaries = str(binaries)
        self._cnid = None
        self._holder = subprocess.Popen(
            [*("unshare", "--net", "--mount", "--propagation", "private"), "sh", "-c", _SETUP],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._holder.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError("cannot make namespaces: root is needed")
        if self.with_cnid:
            self.start_cnid()

    def start_cnid(self):
        """Run the plugin server here until the host goes; its process."""
        program = self.command(f"{self.binaries}/cnid")
        self._cnid = process = subprocess.Popen(program, stdin=subprocess.DEVNULL)
        for _ in range(100):
            if self.try_run("test", "-S", "/run/cni/cnid/socket").returncode == 0:
                return process
            time.sleep(0.05)
        raise RuntimeError("cnid does not start")

    def close(self):
        """End the holder; the kernel removes the rest."""
        if self._cnid:
            self._cnid.terminate()
            self._cnid.wait()
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    def command(self, *words):
        """The command line that runs ``words`` on the host."""
        namespaces = f"/proc/{self._holder.pid}/ns"
        return ["nsenter", f"--net={namespaces}/net", f"--mount={namespaces}/mnt", "--", *words]

    def try_run(self, *words, **options):
        """The finished process."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, **options
        )

    def run(self, *words, **options):
        """What a program prints; it must succeed."""
        done = self.try_run(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def show(self, *words):
        """What ``ip -j`` answers."""
        return json.loads(self.run("ip", "-j", "-d", *words) or "[]")

    def links(self):
        return {link["ifname"] for link in self.show("link")}

    def pings(self, address):
        return _pings(self, address)

    def ports(self, bridge):
        return [link["ifname"] for link in self.show("link", "show", "master", bridge)]

    def sysctl(self, key):
        return self.run("cat", f"/proc/sys/{key}").strip()

    def read(self, path):
        return self.run("cat", path)

    def write(self, path, text):
        self.run("sh", "-c", 'mkdir -p "${0%/*}"; cat > "$0"', path, input=text)

    def listdir(self, path):
        return set(self.run("ls", "-A", path).split())

    def rules(self):
        """Everything that filters or translates: nftables, and iptables in its own words."""
        legacy = "for tool in iptables ip6tables; do $tool -S; $tool -t nat -S; done"
        return self.run("nft", "list", "ruleset") + self.run("sh", "-c", legacy)

    def container(self, container_id=None):
        return Container(self, container_id or f"{next(_NUMBERS):064x}")

    def environ(self, command, container=None, ifname="eth0", **more):
        """The variables a runtime sets; those that are None are left out."""
        variables = {
            "CNI_COMMAND": command,
            "CNI_PATH": self.binaries,
            "CNI_IFNAME": ifname if container else None,
            "CNI_CONTAINERID": container.id if container else None,
            "CNI_NETNS": container.netns if container else None,
            "PATH": os.environ["PATH"],
        } | more
        return {name: value for name, value in variables.items() if value is not None}

    def start(self, command, conf, container=None, ifname="eth0", plugin=None, **environ):
        """Start a plugin; ``conf`` on its stdin may also be text."""
        text = conf if isinstance(conf, str) else json.dumps(conf)
        executable = f"{environ.pop('binaries', self.binaries)}/{plugin or conf['type']}"
        process = subprocess.Popen(
            self.command(executable),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ(command, container, ifname, **environ),
        )
        try:
            process.stdin.write(text)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it needed no more than it has read
        process.stdin = None
        return process

    def cni(self, command, conf, container=None, **options):
        """Call a plugin as a runtime does."""
        process = self.start(command, conf, container, **options)
        return self.finish(process)

    @staticmethod
    def finish(process):
        """The answer of a plugin that was started."""
        stdout, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        return Answer(process.returncode, stdout, stderr)

    def add(self, conf, container, **options):
        """ADD that must succeed."""
        answer = self.cni("ADD", conf, container, **options)
        assert answer.ok, answer
        return answer

    def refused(self, conf, container=None, command="ADD", **options):
        """The error of a call that must fail: one document, as the specification has it."""
        answer = self.cni(command, conf, container, **options)
        assert answer.status == 1, answer
        assert isinstance(answer.code, int)
        assert answer.msg
        return answer

    def delete(self, conf, container, **options):
        """DEL that must succeed."""
        answer = self.cni("DEL", conf, container, **options)
        assert (answer.ok, answer.stdout) == (True, ""), answer
        return answer
