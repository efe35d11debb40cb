"""Links made for plugins: undone by index, found from elsewhere, made under another label."""

import json
import os
import sys
from ipaddress import ip_address

import pytest

from cnilib import container_link, labelled
from cnilib.errors import CniError
from cnilib.kernel import links, routes, virtual_links
from cnilib.kernel.children import find_child
from cnilib.kernel.netns import Namespace
from cnilib.request import Request
from cnilib.undo import Undo
from plugins.main import tap
from tests.conftest import ROOT

pytestmark = pytest.mark.netns


@pytest.fixture
def card(host):
    """eno1 of the host, with its wire."""
    links.add_veth(host, "eno1", peer_namespace=host, peer_name="wire")
    links.set_up(host, "eno1")
    links.set_up(host, "wire")
    return virtual_links.Master(host, links.get_link(host, "eno1"))


def make_macvlan(card, container, undo, ifname="eth0"):
    def create(name):
        virtual_links.add_macvlan(card, container, name, mode="bridge", mac="02:00:00:00:00:01")

    return container_link.make_link(container, ifname, undo, create)


@pytest.mark.kernel("macvlan")
def test_undo_finds_the_link_under_whatever_name_it_has(card, container):
    undo = Undo()
    link = make_macvlan(card, container, undo)
    links.rename_link(container, link.name, "renamed")
    links.add_veth(container, "eth0", peer_namespace=container, peer_name="eth1")
    undo.run()
    assert links.find_link(container, "renamed") is None
    assert links.find_link(container, "eth0") is not None


@pytest.mark.kernel("macvlan")
@pytest.mark.parametrize("after", [links.add_link, links.rename_link, links.get_link])
def test_undo_takes_the_link_wherever_making_it_was_interrupted(
    card, container, monkeypatch, after
):
    """A signal strikes as soon as one of the acts is done."""

    def interrupted(*arguments, **options):
        after(*arguments, **options)
        raise KeyboardInterrupt

    for module in (container_link, virtual_links):
        if hasattr(module, after.__name__):
            monkeypatch.setattr(module, after.__name__, interrupted)
    undo = Undo()
    with pytest.raises(KeyboardInterrupt):
        make_macvlan(card, container, undo)
    monkeypatch.undo()
    assert len(links.list_links(container)) == 2
    undo.run()
    assert [link.name for link in links.list_links(container)] == ["lo"]


def test_what_could_not_be_made_is_not_undone(container):
    """Somebody else's link has the name that ours was to get."""
    links.add_veth(container, "eth0", peer_namespace=container, peer_name="eth1")
    undo = Undo()

    def create(name):
        links.add_link(container, name, [("IFLA_INFO_KIND", "bridge")], [])

    with pytest.raises(CniError, match=r"eth0 in .*: file exists"):
        container_link.make_link(container, "eth0", undo, create, born_as="eth0")
    undo.run()
    assert links.find_link(container, "eth0") is not None


def test_what_was_made_before_making_it_failed_is_undone(container):
    undo = Undo()

    def create(name):
        links.add_link(container, name, [("IFLA_INFO_KIND", "bridge")], [])
        raise CniError("and then it failed")

    with pytest.raises(CniError, match="and then it failed"):
        container_link.make_link(container, "eth0", undo, create)
    undo.run()
    assert [link.name for link in links.list_links(container)] == ["lo"]


@pytest.mark.kernel("dummy")
def test_a_link_that_is_refused_for_its_own_reasons_costs_nobody_else_s(container):
    links.add_veth(container, "eth0", peer_namespace=container, peer_name="eth1")
    undo = Undo()

    def create(name):
        virtual_links.add_dummy(container, name, mac="01:00:00:00:00:01")

    with pytest.raises(CniError):
        container_link.make_link(container, "eth0", undo, create, born_as="eth0")
    undo.run()
    assert links.find_link(container, "eth0") is not None


@pytest.mark.kernel("macvlan")
def test_a_child_is_found_in_another_namespace_and_not_that_of_another_master(card, container):
    assert find_child(card, "macvlan") is None
    link = make_macvlan(card, container, Undo())
    found = find_child(card, "macvlan")
    assert found is not None
    assert (os.path.basename(found[0]), found[1].index) == (
        os.path.basename(container.path),
        link.index,
    )
    assert find_child(card, "vlan") is None
    wire = virtual_links.Master(card.namespace, links.get_link(card.namespace, "wire"))
    assert find_child(wire, "macvlan") is None


@pytest.mark.kernel("macvlan")
def test_a_child_beside_its_master_is_found(card, host):
    virtual_links.add_macvlan(card, host, "m0", mode="bridge", mac="02:00:00:00:00:01")
    found = find_child(card, "macvlan")
    assert found is not None
    assert found[1].name == "m0"


@pytest.mark.parametrize("kind", ["veth", "bridge"])
def test_asking_for_a_kind_of_link_makes_none(host, kind):
    before = _links(host)
    assert virtual_links.has_kind(host, kind)
    assert _links(host) == before


def _links(host):
    return [link._replace(link_info=None) for link in links.list_links(host)]


def test_a_link_is_found_by_its_altname(host, card, ip):
    long_name = "the-card-in-the-first-slot"
    for name in ("lan", long_name):
        ip(host, "link", "property", "add", "dev", "eno1", "altname", name)
        assert links.get_link(host, name).name == "eno1"
    for name in ("", "x" * 16, "x" * 127, "x" * 300):
        assert links.find_link(host, name) is None


def test_a_multipath_route_is_told_once_for_each_hop(host, card, ip):
    ip(host, "address", "add", "192.0.2.1/24", "dev", "eno1")
    ip(host, "address", "add", "198.51.100.1/24", "dev", "wire")
    hops = ("nexthop", "via", "198.51.100.9", "nexthop", "via", "192.0.2.9")
    ip(host, "route", "add", "default", *hops)
    found = [r.gateway for r in routes.list_routes(host, family=4) if not r.dst.prefixlen]
    assert found == [ip_address("198.51.100.9"), ip_address("192.0.2.9")]
    assert routes.find_default_device(host) == links.get_link(host, "wire").index


def test_a_route_that_leads_nowhere_has_no_device(host, card, ip):
    ip(host, "route", "add", "blackhole", "default")
    assert routes.find_default_device(host) is None


@pytest.mark.kernel("tap")
def test_a_tap_device_is_made_by_a_process_of_the_label(container, monkeypatch, tmp_path):
    """All but SELinux itself: that takes the label is what is replaced here."""
    labels, program = [], tmp_path / "tap"
    monkeypatch.setattr(labelled, "_set_label", labels.append)
    run = "from plugins.launch import run; run('tap')"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{run}"\n')
    program.chmod(0o755)
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "tap", "selinuxContext": "a:b:c"}
    conf |= {"owner": 7, "mtu": 1400, "mac": "02:00:00:00:00:01", "multiQueue": True}
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": container.path}
    environ |= {"CNI_IFNAME": "tap0", "CNI_PATH": str(tmp_path), "PATH": os.environ["PATH"]}
    text = json.dumps(conf).encode()
    tap.main.run(Request("tap", environ, text, conf))
    assert labels == ["a:b:c", ""]
    link = links.get_link(container, "tap0")
    assert (link.up, link.mtu, link.mac) == (True, 1400, "02:00:00:00:00:01")
    assert link.info.get("IFLA_TUN_OWNER") == 7
    assert link.info.get("IFLA_TUN_MULTI_QUEUE") == 1
    assert [found.name for found in links.list_links(container)] == ["lo", "tap0"]


@pytest.mark.kernel("tap")
def test_the_label_is_taken_back_when_the_device_cannot_be_made(container, monkeypatch, tmp_path):
    labels = []
    monkeypatch.setattr(labelled, "_set_label", labels.append)
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "tap", "selinuxContext": "a:b:c"}
    environ = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": container.path}
    environ |= {"CNI_IFNAME": "tap0", "CNI_PATH": str(tmp_path)}
    with pytest.raises(CniError, match="failed to find plugin"):
        tap.main.run(Request("tap", environ, json.dumps(conf).encode(), conf))
    assert labels == ["a:b:c", ""]
    with Namespace.open(container.path) as namespace:
        assert [link.name for link in links.list_links(namespace)] == ["lo"]
