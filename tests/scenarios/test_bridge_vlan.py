"""bridge with VLANs: what the port carries, and who hears whom (bridge.md 3.1)."""

import json

import pytest

from tests.lab.network import Network

pytestmark = pytest.mark.kernel("bridge VLAN filtering")

IPAM = {"type": "host-local", "subnet": "10.20.0.0/24"}
newer = pytest.mark.ours("Debian's release of the reference is older than this key")


def conf(**keys):
    return {"cniVersion": "1.0.0", "name": "n1", "type": "bridge", "bridge": "cbr1"} | keys


def vlans(host, port):
    """``VLAN: its flags`` of a port."""
    entries = json.loads(host.run("bridge", "-j", "vlan", "show", "dev", port))
    found = {}
    for entry in entries[0]["vlans"] if entries else []:
        for vlan in range(entry["vlan"], entry.get("vlanEnd", entry["vlan"]) + 1):
            found[vlan] = {"PVID": "P", "Egress Untagged": "U"}
            found[vlan] = "".join(found[vlan][flag] for flag in entry.get("flags", []))
    return found


def port_vlans(host, container, **keys):
    """The VLANs of the port that an ADD makes."""
    result = host.add(conf(**keys), container).json
    return vlans(host, result["interfaces"][1]["name"])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        pytest.param({"vlan": 42}, {42: "PU"}, marks=newer),
        pytest.param({"vlan": 42, "preserveDefaultVlan": True}, {1: "U", 42: "PU"}),
        pytest.param({"vlanTrunk": [{"id": 10}]}, {1: "PU", 10: ""}, marks=newer),
        pytest.param(
            {"vlan": 7, "vlanTrunk": [{"id": 10}, {"minID": 20, "maxID": 22}]},
            {7: "PU", 10: "", 20: "", 21: "", 22: ""},
            marks=newer,
        ),
        pytest.param({"vlanTrunk": [{"id": 1}]}, {1: "PU"}, marks=newer),
        pytest.param({"vlanTrunk": []}, {1: "PU"}, marks=newer),
        pytest.param(
            {"vlan": 7, "vlanTrunk": [{"minID": 6, "maxID": 8}]},
            {6: "", 7: "PU", 8: ""},
            marks=pytest.mark.ours("the reference makes the native VLAN a tagged one"),
        ),
    ],
    ids=["access", "default kept", "trunk", "access and trunk", "trunk of 1", "empty", "both"],
)
def test_a_port_carries_the_vlans_it_is_given(host, container, keys, expected):
    assert port_vlans(host, container, **keys) == expected
    (bridge,) = host.show("link", "show", "dev", "cbr1")
    assert bridge["linkinfo"]["info_data"]["vlan_filtering"] == 1


@newer
def test_a_bridge_that_does_not_filter_yet_is_told_to(host, container):
    host.run("ip", "link", "add", "cbr1", "type", "bridge")
    assert port_vlans(host, container, vlan=42) == {42: "PU"}
    (bridge,) = host.show("link", "show", "dev", "cbr1")
    assert bridge["linkinfo"]["info_data"]["vlan_filtering"] == 1


def test_containers_hear_their_own_vlan_only(host):
    containers = [host.container() for _ in range(3)]
    for number, (container, vlan) in enumerate(zip(containers, (5, 5, 6), strict=True), 1):
        host.add(conf(vlan=vlan), container)
        container.run("ip", "address", "add", f"10.9.0.{number}/24", "dev", "eth0")
    first, _, third = containers
    assert first.pings("10.9.0.2")
    assert not first.pings("10.9.0.3")
    assert not third.pings("10.9.0.1")


def test_the_gateway_of_a_vlan_is_a_link_of_its_own(host):
    first, second = host.container(), host.container()
    given = conf(vlan=42, isDefaultGateway=True, ipam=IPAM)
    result = host.add(given, first).json
    host.add(given, second)
    (link,) = host.show("address", "show", "dev", "cbr1.42")
    (address,) = [a["local"] for a in link["addr_info"] if a["family"] == "inet"]
    assert address == "10.20.0.1"
    assert result["interfaces"][3]["name"] == "cbr1.42"
    assert first.pings("10.20.0.1")
    assert first.pings("10.20.0.3")


@pytest.mark.ours("the link of the VLAN's gateway stays there (plugins PR 1175)")
def test_the_gateway_of_a_vlan_goes_with_its_last_container(host):
    first, second = host.container(), host.container()
    given = conf(vlan=42, isGateway=True, ipam=IPAM)
    for container in (first, second):
        host.add(given, container)
    host.delete(given, first)
    assert "cbr1.42" in host.links()
    host.delete(given, second)
    assert host.links() == {"lo", "cbr1"}


@pytest.mark.ours("the reference has no uplinkInterface")
def test_an_uplink_carries_the_container_s_vlan_with_its_tag(host, container):
    host.run("ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1")
    port_vlans(host, container, vlan=42, uplinkInterface="out0")
    assert vlans(host, "out0")[42] == ""


def test_a_gateway_whose_name_would_be_too_long_is_refused(host, container):
    given = conf(bridge="a-long-bridge", vlan=4000, isGateway=True, ipam=IPAM)
    assert not host.cni("ADD", given, container).ok


@newer
def test_check_and_del_work_with_vlans(host, container):
    network = Network(host, [conf(vlan=42, isGateway=True, ipam=IPAM)], name="n1")
    network.add(container)
    assert network.check(container).ok
    network.delete(container)
    assert container.links() == {"lo"}
