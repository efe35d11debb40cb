"""sbr and vrf are all or nothing: whichever act the kernel refuses, everything is as it was."""

import json
import os
import subprocess
from itertools import count

import pytest

from cnilib.errors import CniError, KernelError
from cnilib.kernel.netlink import NetlinkSocket
from cnilib.request import Request
from plugins.launch import load

PLUGINS = [
    pytest.param("sbr", {}, id="sbr"),
    pytest.param("sbr", {"addSourceHints": True}, id="sbr with hints"),
    pytest.param("vrf", {"vrfname": "blue"}, id="vrf", marks=pytest.mark.kernel("vrf")),
]
SETUP = """
link add eth0 type veth peer name far0
link add eth1 type veth peer name far1
link set far0 up
link set far1 up
link set eth0 up
link set eth1 up
address add 10.9.0.2/24 dev eth0
address add 10.9.0.3/24 dev eth0
address add fd09::2/64 dev eth0 nodad
address add fd08::2/64 dev eth1 nodad
route add default via 10.9.0.1
route add 192.168.6.0/24 dev eth0
route add 10.70.0.0/16 via 192.168.6.1 metric 77 mtu 1300
route add ::/0 nexthop via fd09::1 nexthop via fd08::1
"""


@pytest.fixture
def quiet(container, ip):
    """The container with two interfaces and a shared IPv6 default."""
    build(container)
    return container


def build(container):
    name = os.path.basename(container.path)
    subprocess.run(["ip", "-n", name, "-b", "-"], input=SETUP, text=True, check=True)


@pytest.fixture
def refuse(monkeypatch):
    """Have the kernel refuse the n-th change from now on, once; tells whether it came to that."""
    act = NetlinkSocket.act

    def at(number):
        numbers, refused = count(), []

        def acting(self, message, kind, flags, what, thing):
            if next(numbers) == number:
                refused.append(what)
                raise KernelError(what, thing, 105)
            act(self, message, kind, flags, what, thing)

        monkeypatch.setattr(NetlinkSocket, "act", acting)
        return refused

    return at


def state(ip, container):
    """Rules, routes, masters and addresses, less what IPv6 does with some delay."""
    words = [("rule",), ("-6", "rule"), ("route", "show", "table", "all")]
    words += [("-6", "route", "show", "table", "all"), ("-o", "link"), ("-o", "address")]
    lines = [line.strip() for some in words for line in ip(container, *some).splitlines()]
    own = ("fe80:", "ff00::", "anycast", "l3mdev-table")
    states = (" state ", "LOWER_UP", "NO-CARRIER")
    return sorted(
        line.split("mtu 1500")[0] if any(word in line for word in states) else line
        for line in lines
        if not any(word in line for word in own)
    )


def call(command, plugin, keys, container):
    address = {"interface": 1, "address": "10.9.0.2/24", "gateway": "10.9.0.1"}
    ips = [address, address | {"address": "10.9.0.3/24"}]
    ips.append({"interface": 1, "address": "fd09::2/64", "gateway": "fd09::1"})
    interfaces = [{"name": "vh"}, {"name": "eth0", "sandbox": container.path}]
    previous = {"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips}
    document = {"cniVersion": "1.0.0", "name": "n", "type": plugin, "prevResult": previous} | keys
    environ = {"CNI_COMMAND": command, "CNI_CONTAINERID": "c", "CNI_IFNAME": "eth0"}
    environ |= {"CNI_NETNS": container.path, "CNI_PATH": "/nowhere"}
    return load(plugin).run(Request(plugin, environ, json.dumps(document).encode(), document))


@pytest.mark.parametrize(("plugin", "keys"), PLUGINS)
def test_an_add_that_fails_anywhere_changes_nothing(quiet, ip, refuse, plugin, keys):
    before = state(ip, quiet)
    for number in count():
        refused = refuse(number)
        if refused_call("ADD", plugin, keys, quiet):
            assert state(ip, quiet) == before, refused
        if not refused:
            break
    assert number > 6
    assert state(ip, quiet) != before


@pytest.mark.parametrize(("plugin", "keys"), PLUGINS)
def test_a_del_that_fails_anywhere_is_completed_by_the_next(quiet, ip, refuse, plugin, keys):
    """A route or address that the kernel refused may be lost; a rule, table or VRF is not left."""
    for number in count():
        before = state(ip, quiet)
        refuse(-1)
        call("ADD", plugin, keys, quiet)
        refused = refuse(number)
        if not refused_call("DEL", plugin, keys, quiet):
            break
        refuse(-1)
        call("DEL", plugin, keys, quiet)
        now = "\n".join(state(ip, quiet))
        left = ("lookup 1", "table 1", "blue")
        assert not [line for line in now.splitlines() if any(w in line for w in left)], refused
        start_again(quiet, ip)
    assert number > 3
    assert state(ip, quiet) == before


def refused_call(command, plugin, keys, container):
    try:
        call(command, plugin, keys, container)
    except CniError:
        return True
    return False


def start_again(container, ip):
    for name in ("eth0", "eth1"):
        ip(container, "link", "del", name)
    build(container)
