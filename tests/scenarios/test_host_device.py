"""host-device: the acceptance examples of its page, and what it promises beyond the reference."""

import json
import os
import signal

import pytest

from tests.lab.network import Network
from tools.install import runtime_of

DEFAULT = {"dst": "0.0.0.0/0"}
IPAM = {"type": "host-local", "subnet": "10.35.0.0/24", "routes": [DEFAULT]}
LEASES = "/var/lib/cni/networks/h"
STATES = "/var/lib/cni/host-device"
PCI = "0000:af:06.2"
REFERENCE = "/usr/lib/cni"

newer = pytest.mark.ours("Debian's release of the reference is older than this")
undone = pytest.mark.ours("the reference leaves the device in the container")
kept = pytest.mark.ours("the reference keeps no state")


def conf(**keys):
    selectors = {"device", "hwaddr", "kernelpath", "pciBusID", "runtimeConfig"}
    device = {} if selectors & keys.keys() else {"device": "dev0"}
    return {"cniVersion": "1.0.0", "name": "h", "type": "host-device"} | device | keys


def link(place, name):
    (found,) = place.show("link", "show", "dev", name)
    return found


def is_up(place, name):
    return "UP" in link(place, name)["flags"]


def states(host):
    return host.try_run("ls", "-A", STATES).stdout.split()


def leases(host):
    return {name for name in host.listdir(LEASES) if name.startswith("10.")}


@pytest.fixture
def device(host):
    """A device of the host as its administrator has set it up; wire0 is what it is plugged into."""
    host.run("ip", "link", "add", "dev0", "mtu", "1420", "type", "veth", "peer", "name", "wire0")
    host.run("ip", "address", "add", "203.0.113.5/24", "dev", "dev0")
    for name in ("dev0", "wire0"):
        host.run("ip", "link", "set", name, "up")
    return link(host, "dev0")


def is_home(host, device, *, up):
    """The device has its name, MAC and MTU, and no mark.

    Debian's release of the reference leaves its mark on the device.
    """
    now = link(host, "dev0")
    assert now["address"] == device["address"]
    assert now["mtu"] == 1420
    assert "ifalias" not in now or not runtime_of(f"{host.binaries}/host-device")
    assert up in {None, "UP" in now["flags"]}
    return True


def test_the_device_is_moved_in_and_renamed(host, container, device):
    result = host.add(conf(), container, ifname="net1").json
    assert "dev0" not in host.links()
    inside = link(container, "net1")
    assert inside["address"] == device["address"]
    assert inside["mtu"] == 1420
    assert inside["ifalias"] == "dev0"
    assert is_up(container, "net1")
    assert container.addresses("net1") == []
    sandbox = {"name": "net1", "mac": device["address"], "sandbox": container.netns}
    assert result["interfaces"] == [sandbox]
    assert "ips" not in result


def test_del_gives_it_back(host, container, device):
    host.add(conf(), container, ifname="net1")
    host.delete(conf(), container, ifname="net1")
    assert is_home(host, device, up=False)
    assert container.links() == {"lo"}


@pytest.mark.ours("the second DEL of the reference fails for ever (plugins#995)")
def test_del_can_be_repeated(host, container, device):
    host.add(conf(ipam=IPAM), container, ifname="net1")
    for _ in range(3):
        host.delete(conf(ipam=IPAM), container, ifname="net1")
    assert is_home(host, device, up=False)
    assert states(host) == []
    assert leases(host) == set()


@pytest.mark.ours("the reference returns early (plugins#1196)")
@pytest.mark.parametrize("netns", ["", "/run/netns/gone"])
def test_del_without_namespace_releases_the_address(host, container, device, netns):
    host.add(conf(ipam=IPAM), container)
    container.vanish()
    for _ in range(2):
        host.delete(conf(ipam=IPAM), container, CNI_NETNS=netns)
    assert leases(host) == set()
    assert states(host) == []


@kept
def test_del_without_namespace_finds_the_device_where_add_moved_it(host, container, device):
    host.add(conf(), container, ifname="net1")
    host.delete(conf(), container, ifname="net1", CNI_NETNS="")
    assert is_home(host, device, up=False)


@kept
@pytest.mark.parametrize("name", ["net1", "dev7"])
def test_a_device_that_the_kernel_brought_home_gets_its_name_back(host, container, device, name):
    """As the kernel does it with a physical device when the namespace dies."""
    host.add(conf(), container, ifname="net1")
    container.run("ip", "link", "set", "net1", "name", name, "netns", host_pid(host))
    container.vanish()
    host.delete(conf(), container, ifname="net1", CNI_NETNS="")
    assert is_home(host, device, up=False)
    assert states(host) == []


def host_pid(host):
    return str(host._holder.pid)


def test_it_is_found_by_its_mac_in_any_spelling(host, container, device):
    plain = device["address"].replace(":", "")
    dotted = ".".join(plain[i : i + 4] for i in (0, 4, 8))
    for text in (device["address"].upper(), device["address"].replace(":", "-"), dotted):
        host.add(conf(hwaddr=text), container, ifname="net1")
        host.delete(conf(hwaddr=text), container, ifname="net1")
    assert is_home(host, device, up=False)


@pytest.mark.parametrize(
    "altname", ["other", pytest.param("an-alternative-name-of-it", marks=newer)]
)
def test_it_is_found_by_an_altname(host, container, device, altname):
    host.run("ip", "link", "property", "add", "dev", "dev0", "altname", altname)
    given = conf(device=altname)
    host.add(given, container, ifname="net1")
    assert link(container, "net1")["ifalias"] == "dev0"
    host.delete(given, container, ifname="net1")
    assert is_home(host, device, up=False)


def test_it_is_found_by_its_directory_in_sysfs(host, container, device):
    host.run("ip", "link", "add", "aa0", "type", "veth", "peer", "name", "zz0")
    given = conf(kernelpath="/sys/devices/virtual")  # the first of all virtual devices
    host.add(given, container, ifname="net1")
    assert link(container, "net1")["ifalias"] == "aa0"
    host.delete(given, container, ifname="net1")
    assert "aa0" in host.links()


@pytest.mark.parametrize(
    "selector",
    [
        {"device": ""},
        {"device": "nothing"},
        {"device": "a-name-much-longer-than-any"},
        {"device": "lo"},
        {"hwaddr": "02:00:00:00:00:99"},
        {"hwaddr": "nonsense"},
        {"kernelpath": "devices/x"},
        {"kernelpath": "/sys/devices/nothing"},
        pytest.param(
            {"kernelpath": "/sys/devices/../class/net/dev0/.."},
            marks=pytest.mark.ours("the reference tests the prefix only"),
        ),
        {"pciBusID": "0000:ff:1f.7"},
        {"pciBusID": "../pci"},
        {"runtimeConfig": {"deviceID": "0000:ff:1f.7"}},
        {"runtimeConfig": {"deviceID": "../../../devices"}},
        {"device": 7},
    ],
    ids=str,
)
def test_a_device_that_cannot_be_had_is_an_error(host, container, device, selector):
    host.refused(conf(**selector), container)
    assert is_home(host, device, up=True)
    assert container.links() == host.links() - {"dev0", "wire0"} == {"lo"}
    assert "ifalias" not in link(host, "lo")
    assert states(host) == []


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_without_a_selector_every_command_fails(host, container, command):
    assert "device" in host.refused(conf(device=""), container, command=command).msg


def test_a_bridge_stays_at_home(host, container):
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.refused(conf(device="br0"), container)
    assert "ifalias" not in link(host, "br0")
    assert states(host) == []


@newer
def test_a_container_may_have_a_link_of_the_device_s_name(host, container, device):
    container.run("ip", "link", "add", "dev0", "type", "veth", "peer", "name", "other")
    other = link(container, "dev0")["address"]
    host.add(conf(), container, ifname="net1")
    assert link(container, "dev0")["address"] == other
    assert link(container, "net1")["address"] == device["address"]
    host.delete(conf(), container, ifname="net1")
    assert is_home(host, device, up=False)
    assert container.links() == {"lo", "dev0", "other"}


@pytest.mark.ours("Debian's release of the reference leaves the device down")
@pytest.mark.parametrize("ifname", ["dev0", "eth0"])
def test_a_taken_name_is_refused_and_the_device_stays_at_home(host, container, device, ifname):
    container.run("ip", "link", "add", ifname, "type", "veth", "peer", "name", "other")
    answer = host.refused(conf(), container, ifname=ifname)
    assert ifname in answer.msg
    assert is_home(host, device, up=True)
    assert container.links() == {"lo", ifname, "other"}
    assert states(host) == []


@pytest.mark.ours("Debian's release of the reference leaves the device down")
def test_a_clash_on_the_host_leaves_the_device_usable_inside(host, container, device):
    host.add(conf(ipam=IPAM), container, ifname="net1")
    host.run("ip", "link", "add", "dev0", "type", "bridge")
    answer = host.refused(conf(ipam=IPAM), container, command="DEL", ifname="net1")
    assert "dev0" in answer.msg
    assert link(container, "net1")["ifalias"] == "dev0"
    assert is_up(container, "net1")
    assert container.addresses("net1") == ["10.35.0.2/24"]
    host.run("ip", "link", "del", "dev0")
    host.delete(conf(ipam=IPAM), container, ifname="net1")
    assert is_home(host, device, up=False)
    assert states(host) == []


def test_with_ipam_it_has_an_address_and_a_default_route(host, container, device):
    result = host.add(conf(ipam=IPAM), container, ifname="net1").json
    assert container.addresses("net1") == ["10.35.0.2/24"]
    (route,) = container.show("route", "show", "default")
    assert (route["gateway"], route["dev"]) == ("10.35.0.1", "net1")
    assert result["ips"] == [{"address": "10.35.0.2/24", "gateway": "10.35.0.1", "interface": 0}]
    host.run("ip", "address", "add", "10.35.0.1/24", "dev", "wire0")
    assert container.pings("10.35.0.1")
    host.delete(conf(ipam=IPAM), container, ifname="net1")
    assert leases(host) == set()


@undone
@pytest.mark.parametrize(
    "ipam",
    [
        {"type": "nothing-there"},
        IPAM | {"routes": [{"dst": "10.1.0.0/16", "gw": "172.29.1.1"}]},
        IPAM | {"subnet": "nonsense"},
    ],
    ids=["unknown", "bad route", "bad subnet"],
)
def test_a_failed_add_brings_it_home_as_it_was(host, container, device, ipam):
    host.run("ip", "link", "set", "dev0", "alias", "uplink to rack 7")
    host.refused(conf(ipam=ipam), container, ifname="net1")
    assert link(host, "dev0").pop("ifalias") == "uplink to rack 7"
    host.run("ip", "link", "set", "dev0", "alias", "")
    assert is_home(host, device, up=True)
    assert container.links() == {"lo"}
    assert states(host) == []
    assert host.try_run("ls", LEASES).stdout.count("10.") == 0
    host.add(conf(ipam=IPAM), container, ifname="net1")


@undone
def test_a_failed_add_gives_addresses_and_routes_back(host, container, device):
    for words in (
        "address add fd00:5::5/64 dev dev0 nodad",
        "address add 10.77.0.1/32 dev dev0 scope link",
        "route add default via 203.0.113.1 metric 50",
        "route add 10.9.0.0/16 via 203.0.113.7 table 77 src 203.0.113.5",
        "-6 route add default via fd00:5::1",
    ):
        host.run("ip", *words.split())
    before = belongings(host)
    host.refused(conf(ipam={"type": "nothing-there"}), container)
    assert is_home(host, device, up=True)
    assert belongings(host) == before


def belongings(host):
    """Addresses and routes of dev0; those that the kernel makes of itself are left out."""
    (found,) = host.show("address", "show", "dev", "dev0")
    addresses = {a["local"]: (a["prefixlen"], a["scope"]) for a in found["addr_info"]}
    routes = host.run("ip", "route", "show", "table", "all", "dev", "dev0")
    routes += host.run("ip", "-6", "route", "show", "table", "all", "dev", "dev0")
    lines = sorted(line.strip() for line in routes.splitlines() if "kernel" not in line)
    return {a: v for a, v in addresses.items() if not a.startswith("fe80")}, lines


@undone
def test_a_failed_add_leaves_the_device_in_its_bridge(host, container, device):
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "set", "dev0", "master", "br0")
    host.refused(conf(ipam={"type": "nothing-there"}), container)
    assert host.ports("br0") == ["dev0"]
    assert is_home(host, device, up=True)


@undone
def test_a_failed_add_leaves_a_device_down_that_was_down(host, container, device):
    host.run("ip", "link", "set", "dev0", "down")
    host.refused(conf(ipam={"type": "nothing-there"}), container)
    assert is_home(host, device, up=False)


SLEEPER = """#!/bin/sh
[ "$CNI_COMMAND" = ADD ] && touch /run/asked && sleep 20
exit 1
"""


@undone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_add_brings_it_home(host, container, device, number):
    host.write("/run/plugins/sleeper", SLEEPER)
    host.run("chmod", "755", "/run/plugins/sleeper")
    given = conf(ipam={"type": "sleeper"})
    process = host.start("ADD", given, container, CNI_PATH="/run/plugins")
    host.run("sh", "-c", "until test -e /run/asked; do sleep 0.02; done", timeout=30)
    assert "eth0" in container.links()
    process.send_signal(number)
    assert process.communicate(timeout=30)
    assert process.returncode == 1
    host.run("sh", "-c", f"while ls -A {STATES} | grep .; do sleep 0.02; done", timeout=30)
    assert is_home(host, device, up=True)


@kept
def test_del_after_a_killed_add_brings_it_home(host, container, device):
    host.write("/run/plugins/sleeper", SLEEPER)
    host.run("chmod", "755", "/run/plugins/sleeper")
    given = conf(ipam={"type": "sleeper"})
    process = host.start("ADD", given, container, CNI_PATH="/run/plugins")
    host.run("sh", "-c", "until test -e /run/asked; do sleep 0.02; done", timeout=30)
    process.kill()
    process.communicate(timeout=30)
    answer = host.cni("DEL", given, container, CNI_PATH="/run/plugins")
    assert "sleeper" in answer.msg  # the IPAM plugin fails, the device comes home all the same
    assert is_home(host, device, up=None)  # cnid's process undoes what the killed one began


@pytest.mark.ours("DEL of the reference fails for ever (plugins#773)")
@pytest.mark.parametrize("alias", ["dev0", "", "changed inside"])
def test_a_device_renamed_inside_comes_home(host, container, device, alias):
    host.add(conf(), container, ifname="net1")
    for words in (("down",), ("name", "foo0"), ("alias", alias)):
        container.run("ip", "link", "set", "dev", "foo0" if words[0] == "alias" else "net1", *words)
    host.delete(conf(), container, ifname="net1")
    assert is_home(host, device, up=False)
    assert container.links() == {"lo"}


@kept
def test_a_mark_that_somebody_left_does_not_stay(host, container, device):
    host.run("ip", "link", "set", "dev0", "alias", "dev0")
    host.add(conf(), container)
    host.delete(conf(), container)
    assert is_home(host, device, up=False)


@undone
def test_two_containers_cannot_have_one_device(host, device):
    containers = [host.container() for _ in range(2)]
    for _ in range(10):
        started = [host.start("ADD", conf(), container) for container in containers]
        answers = [host.finish(process) for process in started]
        assert [answer.ok for answer in answers].count(True) == 1
        have = ["eth0" in container.links() for container in containers]
        assert have == [answer.ok for answer in answers]
        assert len(states(host)) == 1
        for container in containers:
            host.delete(conf(), container)
        assert is_home(host, device, up=False)


@kept
def test_alias_mac_and_mtu_of_the_administrator_come_back(host, container, device):
    host.run("ip", "link", "set", "dev0", "alias", "uplink to rack 7")
    host.add(conf(), container, ifname="net1")
    container.run("ip", "link", "set", "net1", "mtu", "1300", "address", "02:00:00:00:00:77")
    host.delete(conf(), container, ifname="net1")
    now = link(host, "dev0")
    assert (now["address"], now["mtu"]) == (device["address"], 1420)
    assert now["ifalias"] == "uplink to rack 7"


@pytest.mark.ours("the reference has no restoreState")
@pytest.mark.parametrize("up", [True, False])
def test_the_up_state_comes_back_where_asked_for(host, container, device, up):
    host.run("ip", "link", "set", "dev0", "up" if up else "down")
    given = conf(restoreState=True)
    host.add(given, container)
    host.delete(given, container)
    assert is_home(host, device, up=up)


@kept
def test_the_state_file_says_what_the_device_was_like(host, container, device):
    given = conf(dataDir="/var/lib/elsewhere")
    host.add(given, container, ifname="net1")
    path = f"/var/lib/elsewhere/h-{container.id}-net1.json"
    state = json.loads(host.read(path))
    assert (state["name"], state["mac"], state["mtu"]) == ("dev0", device["address"], 1420)
    assert host.run("stat", "-c", "%a", path).strip() == "600"
    host.delete(given, container, ifname="net1")
    assert host.listdir("/var/lib/elsewhere") == set()


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"attachment": 7}'])
def test_a_lost_state_file_is_replaced_by_the_alias(host, container, device, content):
    host.add(conf(), container, ifname="net1")
    path = f"{STATES}/h-{container.id}-net1.json"
    host.run("rm", "-f", path)
    if content is not None:
        host.write(path, content)
    host.delete(conf(), container, ifname="net1")
    assert is_home(host, device, up=False)


@newer
def test_without_alias_and_state_the_link_is_left_alone(host, container, device):
    host.add(conf(), container, ifname="net1")
    host.run("rm", "-rf", STATES)
    container.run("ip", "link", "set", "net1", "alias", "")
    assert "alias" in host.refused(conf(), container, command="DEL", ifname="net1").msg
    assert is_up(container, "net1")


@pytest.mark.ours("it is about a roll-over from the reference")
@pytest.mark.skipif(
    not os.path.exists(f"{REFERENCE}/host-device"), reason="needs the reference plugins"
)
def test_what_the_reference_moved_comes_home(host, container, device):
    given = conf(ipam=IPAM)
    host.add(given, container, binaries=REFERENCE, CNI_PATH=REFERENCE)
    host.delete(given, container)
    assert is_home(host, device, up=False)
    assert leases(host) == set()


@pytest.fixture
def checked(host, container, device):
    network = Network(host, [conf(ipam=IPAM)], name="h")
    network.add(container)
    assert network.check(container).ok
    return network


@pytest.mark.parametrize(
    "damage",
    [
        "ip address del 10.35.0.2/24 dev eth0",
        "ip route del default",
        "ip link set eth0 address 02:00:00:00:00:99",
        "ip link set eth0 down",
    ],
)
def test_check_tells_damage(checked, container, damage):
    container.run(*damage.split())
    assert not checked.check(container).ok


def test_check_without_addresses_does_not_mind_a_link_that_is_down(host, container, device):
    network = Network(host, [conf()], name="h")
    network.add(container)
    container.run("ip", "link", "set", "eth0", "down")
    assert network.check(container).ok
    container.run("ip", "link", "set", "eth0", "name", "eth9")
    assert not network.check(container).ok


def test_an_old_version_gets_an_old_result(host, container, device):
    result = host.add(conf(cniVersion="0.1.0", ipam=IPAM), container).json
    assert result["ip4"]["ip"] == "10.35.0.2/24"
    assert "interfaces" not in result


@pytest.mark.ours("the reference has moved the device by then")
def test_an_old_version_without_addresses_moves_nothing(host, container, device):
    host.refused(conf(cniVersion="0.2.0"), container)
    assert is_home(host, device, up=True)


@pytest.mark.ours("the reference fails for a file that it does not write")
def test_a_full_disk_is_an_error_that_moves_nothing(host, container, device):
    host.run("mkdir", "-p", STATES)
    host.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs", STATES)
    answer = host.refused(conf(), container)
    assert answer.code == 5
    assert is_home(host, device, up=True)
    host.run("umount", STATES)


@pytest.mark.ours("the reference has no state, and so no limit")
def test_names_of_the_longest_length_work(host, device):
    container = host.container("c" * 128)
    given = conf(name="n" * 128)
    host.add(given, container)
    host.delete(given, container)
    assert is_home(host, device, up=False)
    assert states(host) == []


@pytest.mark.ours("the reference warns of nothing")
def test_what_the_host_loses_is_told(host, container, device):
    host.run("ip", "route", "add", "default", "via", "203.0.113.1")
    assert "default route" in host.add(conf(), container).stderr
    host.delete(conf(), container)
    host.run("ip", "link", "add", "br0", "type", "bridge")
    host.run("ip", "link", "set", "dev0", "master", "br0")
    assert "port" in host.add(conf(), container).stderr


@pytest.mark.ours("the reference warns of nothing")
def test_a_second_selector_that_means_another_device_is_told(host, container, device):
    other = link(host, "wire0")["address"]
    given = conf(device="dev0", hwaddr=other, kernelpath="nonsense")
    stderr = host.add(given, container).stderr
    assert "wire0" in stderr
    assert "kernelpath" in stderr
    assert link(container, "eth0")["ifalias"] == "dev0"


@kept
def test_gc_spares_the_valid_and_what_is_still_away(host):
    network = Network(host, [conf(cniVersion="1.1.0")], name="h", version="1.1.0")
    containers = [host.container() for _ in range(4)]
    for number, container in enumerate(containers):
        name = f"dev{number}"
        host.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"wire{number}")
        host.add(conf(cniVersion="1.1.0", device=name), container)
    valid, away, gone, returned = containers
    gone.vanish()
    returned.run("ip", "link", "set", "eth0", "netns", host_pid(host))
    returned.vanish()
    network.collect(valid)
    left = {f"h-{container.id}-eth0.json" for container in (valid, away)}
    assert set(states(host)) == left
    assert "dev3" in host.links()
    host.delete(conf(device="dev1"), away)
    assert "dev1" in host.links()


@newer
def test_status_asks_the_ipam_plugin(host, device):
    assert host.cni("STATUS", conf(cniVersion="1.1.0", ipam=IPAM)).ok
    unknown = {"type": "nothing-there"}
    assert not host.cni("STATUS", conf(cniVersion="1.1.0", ipam=unknown)).ok


# --- devices that sysfs tells of: a bus of the test's own, on this host only ---------------


@pytest.fixture
def bus(host):
    """Make entries below /sys/bus: directories, and links as (path, target)."""
    host.run("mount", "-t", "tmpfs", "tmpfs", "/sys/bus")

    def make(*directories, **links):
        for directory in ("pci/devices", "auxiliary/devices", *directories):
            host.run("mkdir", "-p", f"/sys/bus/{directory}")
        for path, target in links.items():
            host.run("ln", "-sfn", target, f"/sys/bus/{path}")

    return make


def pci(bus, driver, *directories):
    """A PCI device with a driver."""
    device = f"pci/devices/{PCI}"
    bus(f"pci/drivers/{driver}", device, *(f"{device}/{name}" for name in directories))
    bus(**{f"{device}/driver": f"../../drivers/{driver}"})


@pytest.mark.parametrize("directory", ["net/dev0", "virtio3/net/dev0"])
@pytest.mark.parametrize("keys", [{"pciBusID": PCI}, {"runtimeConfig": {"deviceID": PCI}}])
def test_it_is_found_by_its_pci_address(host, container, device, bus, directory, keys):
    pci(bus, "virtio-pci", directory)
    host.add(conf(**keys), container)
    assert link(container, "eth0")["ifalias"] == "dev0"
    host.delete(conf(**keys), container)
    assert is_home(host, device, up=False)


@pytest.mark.ours("Debian's release of the reference does not know auxiliary devices")
def test_it_is_found_as_auxiliary_device(host, container, device, bus):
    bus("auxiliary/devices/mlx5_core.sf.4/net/dev0")
    keys = {"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}, "pciBusID": "0000:00:00.0"}
    host.add(conf(**keys), container)
    assert link(container, "eth0")["ifalias"] == "dev0"
    host.delete(conf(**keys), container)
    assert is_home(host, device, up=False)


@pytest.mark.parametrize("directories", [(), ("net",), ("net/gone0",)])
def test_a_pci_device_without_a_link_is_an_error(host, container, device, bus, directories):
    pci(bus, "mlx5_core", *directories)
    host.refused(conf(pciBusID=PCI), container)
    assert is_home(host, device, up=True)


@pytest.mark.parametrize("driver", ["vfio-pci", "uio_pci_generic", "igb_uio"])
def test_a_device_of_a_program_is_only_told_of(host, container, device, bus, driver):
    pci(bus, driver)
    given = conf(pciBusID=PCI, ipam=IPAM)
    result = host.add(given, container, ifname="net1").json
    assert [ip["address"] for ip in result["ips"]] == ["10.35.0.2/24"]
    assert container.links() == {"lo"}
    assert is_home(host, device, up=True)
    checked = given | {"prevResult": result}
    assert host.cni("CHECK", checked, container, ifname="net1").ok
    host.delete(given, container, ifname="net1")
    assert leases(host) == set()


@newer
def test_the_result_of_a_device_of_a_program_has_its_interface(host, container, bus):
    pci(bus, "vfio-pci")
    result = host.add(conf(pciBusID=PCI), container, ifname="net1").json
    assert result["interfaces"] == [{"name": "net1", "sandbox": container.netns}]


def test_del_of_a_program_s_device_touches_no_link(host, container, bus):
    pci(bus, "vfio-pci")
    container.run("ip", "link", "add", "eth0", "type", "bridge")
    host.delete(conf(pciBusID=PCI), container)
    assert "eth0" in container.links()


@pytest.mark.ours("the reference cannot be told of a device that is gone")
@pytest.mark.parametrize("keys", [{"pciBusID": PCI}, {"runtimeConfig": {"deviceID": PCI}}])
def test_del_succeeds_when_the_device_is_gone_from_the_bus(host, container, bus, keys):
    pci(bus, "vfio-pci")
    given = conf(ipam=IPAM, **keys)
    host.add(given, container)
    host.run("rm", "-r", f"/sys/bus/pci/devices/{PCI}")
    host.delete(given, container)
    assert leases(host) == set()


def test_a_pci_device_without_driver_is_an_error(host, container, bus):
    bus(f"pci/devices/{PCI}/net/dev0")
    assert "driver" in host.refused(conf(pciBusID=PCI), container).msg.replace("eval", "driver")


def test_two_hundred_moves_leave_nothing(host, container, device):
    """Links, addresses, state files and leases are those of the time before."""
    given = conf(ipam=IPAM)
    host.add(given, container)
    host.delete(given, container)
    before = everything(host)
    for _ in range(200):
        host.add(given, container)
        host.delete(given, container)
    assert everything(host) == before
    assert is_home(host, device, up=False)


def everything(host):
    files = host.run("find", "/run", "/var/lib/cni", "-type", "f", "-o", "-type", "l")
    return host.run("ip", "-o", "address"), host.run("ip", "route"), sorted(files.split())
