"""Container runtimes on a throw-away host: private roots, sockets, configuration and plugins."""

import contextlib
import json
import shutil
import subprocess
import sys
import time

import pytest

from tests.e2e import image as busybox_image
from tests.lab import packets
from tests.lab.host import Host
from tests.lab.nerdctl import CHAIN

# /sys as the machine has it, for the control groups; what runtimes write elsewhere is thrown away
_PREPARE = """
umount /sys
mkdir -p /run/etc/upper /run/etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc || exit
rm -rf /etc/cni/net.d && mkdir -p /etc/cni/net.d
mount -t tmpfs tmpfs /opt && mkdir -p /opt/cni/bin && mount --bind "$0" /opt/cni/bin
mount -t tmpfs tmpfs /dev/shm
"""
_CONTAINERD = """
version = 2
root = "/run/containerd/root"
state = "/run/containerd/state"
disabled_plugins = [{disabled}]
[grpc]
address = "/run/containerd/containerd.sock"
"""
_DISABLED = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    *(f"io.containerd.snapshotter.v1.{kind}" for kind in ("aufs", "btrfs", "devmapper", "zfs")),
]
_CONTAINERS = """
[containers]
default_sysctls = []
default_ulimits = ["nofile=512:512", "nproc=512:512"]  # a builder may not raise its own
log_driver = "k8s-file"
seccomp_profile = "unconfined"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "/run/podman/tmp"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
"""


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """The archive of the test image."""
    busybox = busybox_image.static_busybox()
    if busybox is None:
        pytest.skip("busybox-static is not installed")
    path = tmp_path_factory.mktemp("image") / "image.tar"
    busybox_image.write(path, busybox)
    return str(path)


@pytest.fixture
def runtime_host(binaries):
    """A throw-away host on which a runtime finds the plugins under test and no network yet."""
    host = Host(binaries)
    try:
        host.run("sh", "-c", _PREPARE, host.binaries)
        yield host
    finally:
        host.close()


@pytest.fixture
def outside(runtime_host):
    """A machine on the host's other link."""
    return packets.outside_machine(runtime_host)


@pytest.fixture
def servers():
    """Servers that end with the test."""
    running = packets.Servers()
    yield running
    running.close()


@pytest.fixture
def network():
    """The network list that containerd finds; a file of tests may have another one."""
    return {"cniVersion": "1.0.0", "name": "bridge", "plugins": CHAIN}


@pytest.fixture
def containerd(runtime_host, image, network):
    """containerd with one network, nerdctl's default."""
    _need("containerd", "ctr", "runc")
    runtime_host.write("/etc/cni/net.d/10-network.conflist", json.dumps(network))
    disabled = ", ".join(f'"{name}"' for name in _DISABLED)
    runtime_host.write("/run/containerd.toml", _CONTAINERD.format(disabled=disabled))
    command = runtime_host.command("containerd", "--config", "/run/containerd.toml")
    with _log_of(runtime_host, command) as log:
        ctr = Ctr(runtime_host)
        wait(lambda: ctr.try_run("version").returncode == 0, "containerd", log)
        ctr.run("image", "import", "--snapshotter", "native", image)
        yield ctr
        ctr.end()


@pytest.fixture
def podman(runtime_host, image):
    """podman with its CNI backend and an empty store."""
    _need("podman", "conmon", "runc")
    runtime_host.write("/run/podman/containers.conf", _CONTAINERS)
    runtime_host.run("mkdir", "-p", "/run/podman/tmp")
    caller = Podman(runtime_host)
    caller.run("load", "-q", "-i", image)
    yield caller
    caller.try_run("rm", "-f", "-a", "-t", "0")


class Ctr:
    """containerd's own client."""

    def __init__(self, host):
        self.host = host
        self._running = {}

    def try_run(self, *words):
        return self.host.try_run(
            "ctr", "--address", "/run/containerd/containerd.sock", *words, timeout=60
        )

    def run(self, *words):
        done = self.try_run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def once(self, *words):
        """What a container prints that ends by itself."""
        return self.run(
            "run", "--snapshotter", "native", "--rm", "--cni", busybox_image.NAME, "once", *words
        )

    def start(self, name, *words):
        """A container that runs until ``stop``; ctr waits for it, as it does in a terminal."""
        address = ("--address", "/run/containerd/containerd.sock")
        options = ("--snapshotter", "native", "--rm", "--cni")
        self._running[name] = subprocess.Popen(
            self.host.command("ctr", *address, "run", *options, busybox_image.NAME, name, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait(lambda: "RUNNING" in self.try_run("task", "list").stdout, name)
        wait(lambda: "inet " in self.execute(name, "ip", "address", "show", "eth0"), name)

    def execute(self, name, *words):
        """What a command prints inside a container."""
        return self.try_run(
            "task", "exec", "--exec-id", f"x{time.monotonic_ns()}", name, *words
        ).stdout

    def stop(self, name):
        """Kill it; ctr then has its network removed, without a namespace to name."""
        self.run("task", "kill", "--signal", "KILL", name)
        assert self._running.pop(name).wait(timeout=60) is not None

    def end(self):
        """Also of what was made and never started, where a plugin refused."""
        for name in list(self._running):
            self.stop(name)
        for name in self.run("task", "list", "--quiet").split():
            self.run("task", "delete", "--force", name)


class Podman:
    """podman, called as an administrator would."""

    def __init__(self, host):
        self.host = host

    def try_run(self, *words):
        options = ("--root", "/run/podman/root", "--runroot", "/run/podman/run")
        return self.host.try_run(
            *("env", "CONTAINERS_CONF=/run/podman/containers.conf"),
            *("podman", *options, "--storage-driver", "vfs", "--network-backend", "cni"),
            *words,
            timeout=120,
        )

    def run(self, *words):
        done = self.try_run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def start(self, name, *words, command=("httpd", "-f", "-p", "80", "-h", "/www")):
        """A container that runs in the background: a web server, unless told otherwise."""
        self.run("run", "-d", "--name", name, *words, busybox_image.NAME, *command)

    def execute(self, name, *words):
        """What a command prints inside a container."""
        return self.run("exec", name, *words)

    def inside(self, name):
        """The network namespace of a container, as a place to start servers in."""
        pid = self.run("inspect", "--format", "{{.State.Pid}}", name).strip()
        return Inside(self.host, f"/proc/{pid}/ns/net")

    def remove(self, name):
        self.run("rm", "-f", "-t", "0", name)


class Inside:
    """A network namespace that a runtime made."""

    def __init__(self, host, netns):
        self._host, self._netns = host, netns

    def command(self, *words):
        """The command line that runs ``words`` in it."""
        return self._host.command("nsenter", f"--net={self._netns}", "--", *words)


def fetch(place, address, port=80):
    """The page a web server gives to somebody at ``place``."""
    return place.run(sys.executable, "-c", _FETCH, f"http://{address}:{port}/").strip()


_FETCH = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""


def _need(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@contextlib.contextmanager
def _log_of(host, command):
    """Run a daemon; its log is what a failure shows."""
    with open("/dev/null", "rb") as nothing:
        process = subprocess.Popen(
            command, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def wait(condition, what, process=None):
    for _ in range(200):
        if condition():
            return
        if process is not None and process.poll() is not None:
            pytest.fail(f"{what} ended: {process.stdout.read().decode()}")
        time.sleep(0.1)
    pytest.fail(f"{what} did not start")
