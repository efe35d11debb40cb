"""ADD and DEL fail at each of their requests to the kernel in turn: nothing is left in the end."""

import sys

import pytest

from tests.conftest import ROOT

RANGES = [[{"subnet": "10.30.0.0/24"}], [{"subnet": "fd00:30::/64"}]]
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
COMMON = {
    "cniVersion": "1.0.0",
    "name": "n1",
    "ipam": {"type": "host-local", "ranges": RANGES, "routes": ROUTES},
}
PLUGINS = {
    "ptp": {"type": "ptp", "ipMasq": True},
    "bridge": {"type": "bridge", "isGateway": True, "ipMasq": True, "macspoofchk": True},
    "host-device": {"type": "host-device", "device": "dev0"},
}
FEWEST_REQUESTS = 10

_RUN = """#!{python}
import os, signal, sys
sys.path.insert(0, {root!r})
from cnilib.errors import KernelError
from cnilib.kernel.netlink import NetlinkSocket

left, send = int(os.environ["FAIL_AT"]), NetlinkSocket._send

def count(self, message, kind, flags, act, thing):
    global left
    left -= 1
    if left == 0 and os.environ["HOW"] == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    elif left == 0:
        raise KernelError(act, thing, 5)
    send(self, message, kind, flags, act, thing)

NetlinkSocket._send = count
from plugins.launch import run
run(os.path.basename(sys.argv[0]))
"""


@pytest.fixture
def failing(tmp_path):
    """A directory of plugins whose request number FAIL_AT fails."""
    for name in PLUGINS:
        path = tmp_path / name
        path.write_text(_RUN.format(python=sys.executable, root=str(ROOT)))
        path.chmod(0o755)
    return str(tmp_path)


@pytest.fixture
def device(host):
    host.run("ip", "link", "add", "dev0", "type", "veth", "peer", "name", "wire0")
    host.run("ip", "link", "set", "dev0", "alias", "uplink", "up")
    host.run("ip", "address", "add", "203.0.113.5/24", "dev", "dev0")
    host.run("ip", "route", "add", "default", "via", "203.0.113.1")


def traces(host, container):
    """What an ADD must not leave; a bridge may stay (bridge.md 7.1), and so may empty tables."""
    links = {
        (*(link.get(key) for key in ("ifname", "address", "mtu", "ifalias")), "UP" in link["flags"])
        for link in host.show("link")
        if link["ifname"] != "cni0"
    }
    addresses = [
        host.run(*f"ip -4 -o {what} show dev dev0".split()) for what in ("address", "route")
    ]
    rules = host.rules()
    files = host.run("find", "/var/lib/cni", "-type", "f", "-name", "*[.:]*").split()
    kept = [name for name in files if "last_reserved_ip" not in name]
    return links, addresses, container.links(), container.id in rules, "10.30.0." in rules, kept


@pytest.mark.ours("it fails what our own code asks of the kernel")
@pytest.mark.parametrize("how", ["error", "signal"])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_add_leaves_nothing_wherever_it_fails(host, container, device, failing, plugin, how):
    conf = COMMON | PLUGINS[plugin]
    before = traces(host, container)
    for number in range(1, 200):
        options = {"binaries": failing, "FAIL_AT": str(number), "HOW": how}
        answer = host.cni("ADD", conf, container, **options)
        if answer.ok:
            break
        assert traces(host, container) == before, (number, answer)
    assert number > FEWEST_REQUESTS
    assert "eth0" in container.links()


@pytest.mark.ours("it fails what our own code asks of the kernel")
@pytest.mark.parametrize("plugin", PLUGINS)
def test_del_wherever_it_fails_is_completed_by_the_next(host, container, device, failing, plugin):
    conf = COMMON | PLUGINS[plugin] | {"restoreState": True}
    host.add(conf, container)
    host.delete(conf, container)
    host.run("ip", "address", "flush", "dev", "dev0")  # DEL of host-device does not restore any
    before = traces(host, container)
    for number in range(1, 200):
        host.add(conf, container)
        if plugin == "host-device":
            container.run("ip", "link", "set", "eth0", "mtu", "1400", "alias", "lost")
        answer = host.cni(
            "DEL", conf, container, binaries=failing, FAIL_AT=str(number), HOW="error"
        )
        if answer.ok:
            break
        host.delete(conf, container)
        assert traces(host, container) == before, (number, answer)
    assert number > 1
    assert traces(host, container) == before
