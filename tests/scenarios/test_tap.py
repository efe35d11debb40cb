"""tap: the acceptance examples of its page, and what it promises beyond the reference."""

import pytest

from tests.lab.links import default_route, kind_of, leases, link_of, sysctl

pytestmark = [
    pytest.mark.kernel("tap"),
    pytest.mark.ours("Debian's release of the reference has no tap"),
]

IPAM = {"type": "host-local", "subnet": "10.34.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}


def conf(**keys):
    return {"cniVersion": "1.0.0", "name": "t", "type": "tap"} | keys


def test_a_container_has_a_tap_device_that_stays(host, container):
    result = host.add(conf(), container, ifname="tap5").json
    kind, info = kind_of(container, "tap5")
    assert (kind, info["type"], info["persist"]) == ("tun", "tap", True)
    assert not {"user", "group"} & info.keys()
    assert (info["pi"], info["vnet_hdr"], info["multi_queue"]) == (False, False, False)
    made = link_of(container, "tap5")
    assert "UP" in made["flags"]
    expected = {"name": "tap5", "mac": made["address"], "sandbox": container.netns}
    assert result["interfaces"] == [expected]
    assert set(result) == {"cniVersion", "interfaces"}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"owner": 1500, "group": 1600}, {"user": 1500, "group": 1600}),
        ({"owner": 0}, {"user": 0}),
        ({"group": 4294967294}, {"group": 4294967294}),
        ({"multiQueue": True}, {"multi_queue": True}),
        ({"vnetHdr": True}, {"vnet_hdr": True}),
        ({"mac": "02:00:00:00:05:01", "mtu": 1380}, {}),
        ({"mac": "02:00:00:00:05:01", "mtu": 1380, "owner": 1500, "group": 1600}, {"user": 1500}),
    ],
    ids=str,
)
def test_it_is_as_asked_for_and_check_agrees(host, container, keys, expected):
    given = conf(**keys)
    result = host.add(given, container).json
    found, info = link_of(container, "eth0"), numbers(host, container)
    assert {name: info.get(name) for name in expected} == expected
    assert {"user", "group"} & info.keys() == {"user", "group"} & ({*expected} | renamed(keys))
    assert found["mtu"] == keys.get("mtu", 1500)
    assert found["address"] == keys.get("mac", found["address"])
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok


def renamed(keys):
    return {{"owner": "user"}.get(key, key) for key in keys}


def numbers(host, container):
    """``ip`` shows names of users and groups that it knows."""
    info = kind_of(container, "eth0")[1]
    known = {"root": 0}
    return {
        key: known.get(value, value) if key in {"user", "group"} else value
        for key, value in info.items()
    }


def test_the_strongest_mac_wins(host):
    given = conf(mac="02:00:00:00:00:01")
    for keys, number in (({}, 2), ({"runtimeConfig": {"mac": "02:00:00:00:00:03"}}, 3)):
        container = host.container()
        host.add(given | keys, container, CNI_ARGS="MAC=02:00:00:00:00:02")
        assert link_of(container, "eth0")["address"] == f"02:00:00:00:00:0{number}"


@pytest.mark.parametrize(
    ("keys", "args"),
    [
        ({}, "MAC=02:00:00:00:00:02;FOO=1"),
        ({"mtu": -1}, ""),
        ({"mtu": 67}, ""),
        ({"mtu": 70000}, ""),
        ({"mtu": 2**40}, ""),
        ({"mac": "nonsense"}, ""),
        ({"mac": "01:00:00:00:00:01"}, ""),
        ({"owner": -1}, ""),
        ({"owner": "1"}, ""),
        ({"owner": 2**32}, ""),
        ({"owner": 2**32 - 1}, ""),
        ({"args": "x"}, ""),
        ({"bridge": "vmbr9"}, ""),
        ({"bridge": "lo"}, ""),
        ({"selinuxContext": "no:such:label"}, ""),
        ({"ipam": {"type": "nosuch"}}, ""),
        ({"cniVersion": "0.2.0"}, ""),
    ],
    ids=str,
)
def test_what_is_invalid_makes_nothing(host, container, keys, args):
    host.refused(conf(**keys), container, CNI_ARGS=args)
    assert container.links() == {"lo"}


def test_it_becomes_a_port_of_a_bridge_in_the_container(host, container):
    container.run("ip", "link", "add", "vmbr", "type", "bridge")
    given = conf(bridge="vmbr")
    result = host.add(given, container).json
    found = link_of(container, "eth0")
    assert (found["master"], "UP" in found["flags"]) == ("vmbr", True)
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    container.run("ip", "link", "set", "eth0", "nomaster")
    host.refused(given | {"prevResult": result}, container, command="CHECK")
    host.delete(given, container)
    assert container.links() == {"lo", "vmbr"}


def test_its_addresses_are_there_before_anybody_attaches(host, container):
    host.add(conf(ipam=IPAM), container)
    assert container.addresses() == ["10.34.0.2/24"]
    assert default_route(container) == ("10.34.0.1", "eth0")
    assert sysctl(container, "ipv4/conf/eth0/arp_notify") == "1"
    assert sysctl(container, "ipv6/conf/eth0/ndisc_notify") == "0"


def test_ipv6_addresses_are_not_waited_for(host, container):
    """Without a carrier they stay tentative, however long ADD waits."""
    ranges = [[{"subnet": "fd00:34::/64", "gateway": "fd00:34::1"}]]
    container.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/accept_dad")
    host.add(conf(ipam={"type": "host-local", "ranges": ranges}), container)
    assert container.addresses() == ["fd00:34::2/64"]
    assert "tentative" in container.run("ip", "address", "show", "dev", "eth0")


def test_a_program_exchanges_frames_with_the_container(host, container):
    """What is written into the device arrives at its address: an ARP request is answered."""
    host.add(conf(ipam=IPAM), container)
    assert container.run("python3", "-c", ASK, "10.34.0.2", timeout=30).strip() == "answered"


ASK = """
import fcntl, os, select, socket, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"eth0", 0x1002))
target, sender = socket.inet_aton(sys.argv[1]), socket.inet_aton("10.34.0.9")
mac = b"\\2\\0\\0\\0\\0\\x09"
arp = struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + mac + sender + bytes(6) + target
for _ in range(50):
    os.write(tap, b"\\xff" * 6 + mac + b"\\x08\\x06" + arp)
    while select.select([tap], [], [], 0.1)[0]:
        frame = os.read(tap, 2000)
        if frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\0\\2" and frame[28:32] == target:
            sys.exit(print("answered"))
"""


def test_the_name_may_be_taken_on_the_host_not_in_the_container(host):
    first, second = host.container(), host.container()
    host.run("ip", "link", "add", "tap5", "type", "bridge")
    host.add(conf(), first, ifname="tap5")
    second.run("ip", "tuntap", "add", "dev", "tap5", "mode", "tap")
    before = link_of(second, "tap5")
    host.refused(conf(), second, ifname="tap5")
    assert link_of(second, "tap5") == before
    assert second.links() == {"lo", "tap5"}


def test_check_holds_the_device_against_configuration_and_result(host, container):
    result = host.add(conf(ipam=IPAM), container).json
    good = conf(ipam=IPAM, prevResult=result)
    assert host.cni("CHECK", good, container).ok
    for keys in ({"owner": 7}, {"group": 7}, {"multiQueue": True}, {"mtu": 1400}, {"bridge": "x"}):
        host.refused(good | keys, container, command="CHECK")
    container.run("ip", "link", "set", "eth0", "down")
    host.refused(good, container, command="CHECK")
    container.run("ip", "link", "set", "eth0", "up")
    container.run("ip", "address", "flush", "dev", "eth0")
    host.refused(good, container, command="CHECK")


@pytest.mark.parametrize("other", [(), ("tuntap", "add", "dev", "eth0", "mode", "tun")])
def test_check_finds_that_the_device_is_gone(host, container, other):
    result = host.add(conf(), container).json
    container.run("ip", "link", "del", "eth0")
    if other:
        container.run("ip", *other)
        container.run("ip", "link", "set", "eth0", "up")
        result["interfaces"][0]["mac"] = ""
    host.refused(conf(prevResult=result), container, command="CHECK")


def test_del_releases_and_then_complains_about_arguments(host, container):
    host.add(conf(ipam=IPAM), container)
    host.refused(conf(ipam=None), container, command="DEL", CNI_ARGS="MAC")
    assert container.links() == {"lo"}
    host.delete(conf(ipam=IPAM), container)
    assert leases(host, "t") == set()
