"""A container runtime reduced to what concerns CNI: it calls plugins as nerdctl does."""

import hashlib
import json
import os
import subprocess
import time
from typing import Any, NamedTuple

NETWORK: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "bridge",
    "nerdctlID": hashlib.sha256(b"bridge").hexdigest(),
    "nerdctlLabels": {"nerdctl/default-network": "true"},
    "plugins": [
        {
            "type": "bridge",
            "bridge": "nerdctl0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "ranges": [[{"gateway": "10.4.0.1", "subnet": "10.4.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "type": "host-local",
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall", "ingressPolicy": "same-bridge"},
        {"type": "tuning"},
    ],
}
"""What nerdctl writes to /etc/cni/net.d/nerdctl-bridge.conflist for its default network."""


class DemoError(Exception):
    """A plugin, or a program the demo runs, did not do what it should."""


class Step(NamedTuple):
    """One plugin that was run: its time in milliseconds and the result so far."""

    plugin: str
    milliseconds: float
    result: dict[str, Any]


class Sandbox:
    """A network namespace that lives as long as a process sleeping in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        command = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep 3600"]
        self._sleeper = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if self._sleeper.stdout is None or not self._sleeper.stdout.readline():
            raise DemoError(f"cannot make a network namespace for {name}: unshare failed")
        self.pid = self._sleeper.pid
        self._programs: list[subprocess.Popen[bytes]] = []
        self.run("ip", "link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """How nerdctl names the namespace to plugins."""
        return f"/proc/{self.pid}/ns/net"

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` inside."""
        return ["nsenter", f"--net={self.path}", "--", *words]

    def run(self, *words: str) -> str:
        """Run a program inside; what it printed."""
        return run(*self.command(*words))

    def start(self, *words: str) -> None:
        """Start a program inside that runs as long as the sandbox."""
        self._programs.append(subprocess.Popen(self.command(*words)))

    def stop(self) -> None:
        """End every process; the kernel then removes the namespace and what is in it."""
        for process in (*self._programs, self._sleeper):
            process.kill()
            process.wait()
        if self._sleeper.stdout:
            self._sleeper.stdout.close()


class Container:
    """A sandbox on the network: ADD when it starts, DEL after its process has gone."""

    def __init__(self, name: str, binaries: str, ports: list[dict[str, Any]]) -> None:
        self.name = name
        self.id = f"default-{hashlib.sha256(name.encode()).hexdigest()}"
        self.ports = ports
        self.sandbox = Sandbox(name)
        self.result: dict[str, Any] = {}
        self._binaries = binaries

    @property
    def address(self) -> str:
        """Its first address, without the prefix length."""
        return str(self.result["ips"][0]["address"]).partition("/")[0]

    def add(self) -> list[Step]:
        """Run the chain, each plugin with the result of the one before it."""
        steps = []
        for plugin in NETWORK["plugins"]:
            step = self._call("ADD", plugin, self.sandbox.path)
            self.result = step.result
            steps.append(step)
        return steps

    def delete(self) -> list[Step]:
        """Run the chain backwards. The process is gone by then, so there is no namespace."""
        self.sandbox.stop()
        return [self._call("DEL", plugin, "") for plugin in reversed(NETWORK["plugins"])]

    def _call(self, command: str, plugin: dict[str, Any], netns: str) -> Step:
        environ = {
            "CNI_ARGS": f"IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME={self.name}",
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.id,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": netns,
            "CNI_PATH": self._binaries,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        started = time.perf_counter()
        done = subprocess.run(
            [os.path.join(self._binaries, plugin["type"])],
            input=self._configuration(plugin).encode(),
            env=environ,
            capture_output=True,
            check=False,
        )
        milliseconds = (time.perf_counter() - started) * 1000
        if done.returncode:
            said = (done.stdout or done.stderr).decode(errors="replace")
            raise DemoError(f"{command} of {plugin['type']} for {self.name} failed:\n{said}")
        result = json.loads(done.stdout) if done.stdout else {}
        return Step(plugin["type"], milliseconds, result)

    def _configuration(self, plugin: dict[str, Any]) -> str:
        """What libcni makes of a plugin's entry in the list."""
        document = {"cniVersion": NETWORK["cniVersion"], "name": NETWORK["name"], **plugin}
        if self.result:
            document["prevResult"] = self.result
        if "portMappings" in plugin.get("capabilities", {}) and self.ports:
            document["runtimeConfig"] = {"portMappings": self.ports}
        return json.dumps(document, sort_keys=True)


def run(*words: str) -> str:
    """Run a program; what it printed.

    Raises:
        DemoError: it is missing or its exit status is not 0.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise DemoError(f"{words[0]} is missing: install it (tools/packages.sh demo)") from missing
    if done.returncode:
        raise DemoError(f"{' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
