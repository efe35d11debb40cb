"""What macvlan, ipvlan, vlan, dummy and tap have in common: nothing is left, whatever happens.

Each runs where the kernel has its kind of link: natively, or under User Mode Linux.
"""

import json
import signal

import pytest

from tests.lab.features import UNDER_UML, missing
from tests.lab.links import leases, link_of, plug_in
from tests.lab.waiting import until

CYCLES = 10 if UNDER_UML else 200
"""ADD and DEL, again and again: a Python start takes a second under User Mode Linux."""

IPAM = {"type": "host-local", "subnet": "10.35.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
NOT_IN_DEBIAN = pytest.mark.ours("Debian's release of the reference has no such plugin")
KEYS = {
    "macvlan": {"master": "eno1"},
    "ipvlan": {"master": "eno1"},
    "vlan": {"master": "eno1", "vlanId": 5},
    "dummy": {},
    "tap": {},
}
MARKS = {"dummy": [NOT_IN_DEBIAN], "tap": [NOT_IN_DEBIAN]}
WITH_MASTER = ["macvlan", "ipvlan", "vlan"]
MODULES = {
    "macvlan": ("modprobe macvlan", "CONFIG_MACVLAN"),
    "ipvlan": ("modprobe ipvlan", "CONFIG_IPVLAN"),
    "vlan": ("modprobe 8021q", "CONFIG_VLAN_8021Q"),
    "dummy": ("modprobe dummy", "CONFIG_DUMMY"),
}
SLOW_IPAM = """#!/bin/sh
[ "$CNI_COMMAND" = DEL ] && echo "$CNI_CONTAINERID" >> /run/slow/released && exit 0
echo $$ > /run/slow/pid
exec sleep 30
"""
FAILING_IPAM = """#!/bin/sh
[ "$CNI_COMMAND" = DEL ] && echo '{"code": 123, "msg": "no release"}' && exit 1
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.35.0.7/24"}]}'
"""


def each(names=KEYS):
    """The plugins, each with the kernel feature it needs."""
    return pytest.mark.parametrize(
        "plugin",
        [
            pytest.param(name, marks=[pytest.mark.kernel(name), *MARKS.get(name, [])])
            for name in names
        ],
    )


def conf(plugin, **keys):
    base = {"cniVersion": "1.0.0", "name": "n", "type": plugin, "ipam": IPAM}
    return base | KEYS[plugin] | keys


@pytest.fixture(autouse=True)
def eno1(host):
    return plug_in(host)


def install(host, name, script):
    """An IPAM plugin of ours; the directory to put into CNI_PATH."""
    host.write(f"/run/{name}/{name}", script)
    host.run("chmod", "+x", f"/run/{name}/{name}")
    return f"/run/{name}:{host.binaries}"


def state(host, container):
    """Everything an ADD could leave: links, addresses, routes and rules of both sides, files."""
    look = "ip -br link; ip -br address; ip route show table all; ip -6 route show table all"
    look += "; ip rule; ip -6 rule; ip neighbour"
    files = host.run("find", "/run", "/var/lib", "-type", "f", "-o", "-type", "l")
    return (container.run("sh", "-c", look), host.run("sh", "-c", look), host.rules(), files)


@each()
def test_many_attachments_come_and_go_without_a_trace(host, container, plugin):
    given = conf(plugin)
    first = None
    for _ in range(CYCLES):
        host.add(given, container)
        host.delete(given, container)
        first = first or state(host, container)
    assert state(host, container) == first
    assert container.links() == {"lo"}
    assert leases(host, "n") == set()


@pytest.mark.ours("the reference leaves the link, and the address is not asked back")
@each()
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_add_that_is_stopped_in_the_middle_is_undone(host, container, plugin, number):
    path = install(host, "slow", SLOW_IPAM)
    before = state(host, container)
    process = host.start("ADD", conf(plugin, ipam={"type": "slow"}), container, CNI_PATH=path)
    until(lambda: host.try_run("test", "-s", "/run/slow/pid").returncode == 0)
    assert container.links() == {"lo", "eth0"}
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert json.loads(stdout)["code"] == 11
    until(lambda: container.links() == {"lo"})
    until(lambda: host.try_run("test", "-s", "/run/slow/released").returncode == 0)
    assert host.read("/run/slow/released").strip() == container.id
    pid = host.read("/run/slow/pid").strip()
    assert host.try_run("kill", "-0", pid).returncode != 0
    host.run("rm", "/run/slow/pid", "/run/slow/released")
    assert state(host, container) == before


@pytest.mark.ours("the reference leaves the link, and a retry fails")
@each()
@pytest.mark.parametrize(
    "ipam",
    [{"type": "nosuch"}, IPAM | {"routes": [{"dst": "10.99.0.0/16", "gw": "172.31.9.9"}]}],
    ids=["no such plugin", "unreachable gateway"],
)
def test_a_failed_add_leaves_nothing_and_a_retry_succeeds(host, container, plugin, ipam):
    host.refused(conf(plugin, ipam=ipam), container)
    assert container.links() == {"lo"}
    assert leases(host, "n") == set()
    host.add(conf(plugin), container)


@pytest.mark.ours("the reference leaves a temporary link, or takes the other one for its own")
@each()
def test_a_name_that_is_taken_in_the_container_is_left_alone(host, container, plugin):
    container.run("ip", "link", "add", "eth0", "type", "bridge")
    before = link_of(container, "eth0")
    answer = host.refused(conf(plugin), container)
    assert "file exists" in answer.msg
    assert link_of(container, "eth0") == before
    assert container.links() == {"lo", "eth0"}
    assert leases(host, "n") == set()


@each()
def test_a_link_of_that_name_on_the_host_does_not_matter(host, container, plugin):
    host.run("ip", "link", "add", "eth0", "type", "bridge")
    before = link_of(host, "eth0")
    host.add(conf(plugin), container)
    host.delete(conf(plugin), container)
    assert link_of(host, "eth0") == before


@each()
def test_del_succeeds_whatever_is_gone_already(host, container, plugin):
    given = conf(plugin)
    host.add(given, container)
    host.delete(given, container, CNI_NETNS="")
    assert leases(host, "n") == set()
    host.delete(given, container)
    assert container.links() == {"lo"}
    host.delete(given, container)
    host.delete(given, container, CNI_NETNS="/run/netns/gone")


@pytest.mark.ours("the reference stops when the address cannot be released")
@each()
def test_del_removes_the_link_although_the_address_is_not_released(host, container, plugin):
    path = install(host, "failing", FAILING_IPAM)
    given = conf(plugin, ipam={"type": "failing"})
    host.add(given, container, CNI_PATH=path)
    answer = host.refused(given, container, command="DEL", CNI_PATH=path)
    assert (answer.code, answer.msg) == (123, "no release")
    assert container.links() == {"lo"}
    host.refused(given, container, command="DEL", CNI_PATH=host.binaries)  # it is not installed


@each(WITH_MASTER)
def test_a_value_of_the_wrong_type_is_refused_by_every_command(host, container, plugin):
    for keys in ({"master": 7}, {"mtu": "1400"}, {"dns": []}):
        for command in ("ADD", "DEL", "CHECK"):
            host.refused(conf(plugin, **keys), container, command=command)
    assert container.links() == {"lo"}


@pytest.mark.ours("the reference has done it all before it notices")
@each()
def test_the_host_s_own_namespace_is_refused_before_anything_is_done(host, container, plugin):
    before = host.links()
    answer = host.refused(conf(plugin), container, CNI_NETNS="/proc/self/ns/net")
    assert answer.code == 8
    host.run("ip", "link", "add", "eth0", "type", "bridge")
    answer = host.refused(conf(plugin), container, command="DEL", CNI_NETNS="/proc/self/ns/net")
    assert answer.code == 8
    assert host.links() == {*before, "eth0"}
    assert leases(host, "n") == set()


@each()
def test_an_address_only_version_reports_addresses_only(host, container, plugin):
    result = host.add(conf(plugin, cniVersion="0.2.0"), container).json
    assert result["ip4"]["ip"] == "10.35.0.2/24"
    assert "interfaces" not in result


@pytest.mark.ours("the reference has made the link by then")
@each(["macvlan", "vlan", "tap"])
def test_an_address_only_version_needs_addresses(host, container, plugin):
    answer = host.refused(conf(plugin, cniVersion="0.2.0", ipam=None), container)
    assert "cannot convert" in answer.msg
    assert container.links() == {"lo"}


@pytest.mark.ours("the reference drops the IPAM plugin's dns")
@each()
def test_dns_is_the_configuration_s_or_else_the_ipam_plugin_s(host, container, plugin):
    script = """#!/bin/sh
echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.35.0.7/24"}], "dns": {"domain": "ipam"}}'
"""
    path = install(host, "naming", script)
    given = conf(plugin, ipam={"type": "naming"})
    assert host.add(given, container, CNI_PATH=path).json["dns"] == {"domain": "ipam"}
    host.delete(given, container, CNI_PATH=path)
    own = given | {"dns": {"domain": "own"}}
    assert host.add(own, container, CNI_PATH=path).json["dns"] == {"domain": "own"}


@pytest.mark.ours("the reference puts no metrics on routes, and looks for them in one table")
@each()
def test_routes_have_their_metrics_and_are_found_in_their_table(host, container, plugin):
    route = {"dst": "10.99.0.0/16", "table": 150, "priority": 7, "mtu": 1300, "advmss": 1200}
    given = conf(plugin, cniVersion="1.1.0", ipam=IPAM | {"routes": [route]})
    result = host.add(given, container).json
    text = container.run("ip", "route", "show", "table", "150")
    assert all(word in text for word in ("metric 7", "mtu 1300", "advmss 1200"))
    assert host.cni("CHECK", given | {"prevResult": result}, container).ok
    container.run("ip", "route", "flush", "table", "150")
    after = host.cni("CHECK", given | {"prevResult": result}, container)
    assert "10.99.0.0/16" in after.stdout + after.stderr


@pytest.mark.ours("the reference has no GC")
@each()
def test_gc_has_the_ipam_plugin_release_what_is_not_valid(host, plugin):
    first, second = host.container(), host.container()
    given = conf(plugin, cniVersion="1.1.0")
    host.add(given, first)
    if plugin != "vlan":  # which is for one container
        host.add(given, second)
    valid = [{"containerID": second.id, "ifname": "eth0"}]
    answer = host.cni("GC", given | {"cni.dev/valid-attachments": valid})
    assert (answer.ok, answer.stdout) == (True, "")
    assert leases(host, "n") == ({"10.35.0.3"} if plugin != "vlan" else set())
    other = given | {"ipam": {"type": "failing"}, "cni.dev/valid-attachments": []}
    script = """#!/bin/sh
echo '{"code": 4, "msg": "unknown CNI_COMMAND: GC"}'; exit 1
"""
    assert host.cni("GC", other, CNI_PATH=install(host, "failing", script)).ok


@pytest.mark.ours("the reference asks the IPAM plugin only")
@each()
def test_status_asks_for_everything_that_add_needs(host, plugin):
    given = conf(plugin, cniVersion="1.1.0")
    assert host.cni("STATUS", given).ok
    missing_ipam = given | {"ipam": {"type": "nosuch"}}
    assert host.refused(missing_ipam, command="STATUS").code == 50
    assert host.links() == {"lo", "eno1", "eno1-far"}


@pytest.mark.ours("the reference asks the IPAM plugin only")
@each(WITH_MASTER)
def test_status_says_when_the_master_is_missing(host, plugin):
    given = conf(plugin, cniVersion="1.1.0", master="eno9")
    answer = host.refused(given, command="STATUS")
    assert (answer.code, '"eno9"' in answer.msg) == (50, True)
    assert host.cni("STATUS", given | {"linkInContainer": True}).ok


@pytest.mark.ours("the reference answers in the kernel's words")
@pytest.mark.parametrize("plugin", MODULES)
def test_a_kernel_without_such_links_is_told_with_what_to_do(host, container, plugin):
    if not missing([plugin]):
        pytest.skip(f"this kernel has {plugin}")
    module, option = MODULES[plugin]
    answer = host.refused(conf(plugin), container)
    assert module in answer.msg
    assert option in answer.msg
    assert container.links() == {"lo"}
    assert leases(host, "n") == set()
    status = host.refused(conf(plugin, cniVersion="1.1.0"), command="STATUS")
    assert (status.code, module in status.msg, option in status.msg) == (50, True, True)


@pytest.mark.ours("Debian's release of the reference has no tap")
@pytest.mark.kernel("tap")
def test_a_host_without_the_tap_device_is_told_with_what_to_do(host, container):
    host.run("sh", "-c", "mount -t tmpfs tmpfs /dev/net")
    for command, code in (("ADD", 999), ("STATUS", 50)):
        given = conf("tap", cniVersion="1.1.0")
        answer = host.refused(given, container, command=command)
        assert answer.code == code
        assert "/dev/net/tun: no such file" in answer.msg
        assert "CONFIG_TUN" in answer.msg
    assert container.links() == {"lo"}
