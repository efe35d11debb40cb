"""Published ports, proved with packets (portmap.md 8)."""

import json
import os
import shutil
import socket

import pytest

from tests.netns.portlab import (
    BRIDGE,
    CLIENT4,
    CLIENT4B,
    CLIENT6,
    GATEWAY4,
    GATEWAY6,
    HOST4,
    HOST4B,
    HOST6,
    Lab,
)

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
]
BACKENDS = [None, "iptables", "nftables"]
WEB = {"hostPort": 18080, "containerPort": 7000, "protocol": "tcp"}
DNS = {"hostPort": 18053, "containerPort": 7000, "protocol": "udp"}
REFERENCE = os.environ.get("CNI_REFERENCE", "/usr/lib/cni")
ROUTE_LOCALNET = f"net/ipv4/conf/{BRIDGE}/route_localnet"


@pytest.fixture
def lab():
    lab = Lab()
    yield lab
    lab.close()


@pytest.fixture(params=BACKENDS)
def backend(request):
    return {"backend": request.param} if request.param else {}


@pytest.fixture
def web(lab):
    """A container that answers on port 7000."""
    container = lab.container()
    container.serve()
    return container


def test_add_prints_prev_result_unchanged(web, backend):
    assert web.call("ADD", web.conf(WEB, **backend)).json == web.result


def test_outside_clients_reach_the_container_and_are_seen(lab, web, backend):
    web.add(WEB, **backend)
    assert lab.ask(lab.client, HOST4, 18080) == (web.id, CLIENT4)
    assert lab.ask(lab.client, HOST6, 18080) == (web.id, CLIENT6)


def test_the_host_reaches_the_container_by_localhost_and_its_addresses(lab, web, backend):
    web.add(WEB, **backend)
    assert lab.sysctl(ROUTE_LOCALNET) == "1"
    assert lab.ask(lab.host, "127.0.0.1", 18080) == (web.id, GATEWAY4)
    assert lab.ask(lab.host, HOST4, 18080)[0] == web.id
    assert lab.ask(lab.host, HOST6, 18080)[0] == web.id


def test_the_container_reaches_itself_through_the_host(lab, web, backend):
    web.add(WEB, **backend)
    assert lab.ask(web.namespace, HOST4, 18080) == (web.id, GATEWAY4)
    assert lab.ask(web.namespace, HOST6, 18080) == (web.id, GATEWAY6)


def test_a_sibling_reaches_the_container_through_the_host(lab, web, backend):
    sibling = lab.container()
    web.add(WEB, **backend)
    assert lab.ask(sibling.namespace, HOST4, 18080)[0] == web.id
    assert lab.ask(sibling.namespace, HOST6, 18080)[0] == web.id


def test_direct_traffic_between_containers_keeps_its_source(lab, web, backend):
    sibling = lab.container()
    web.add(WEB, **backend)
    assert lab.ask(sibling.namespace, web.ip4, 7000) == (web.id, sibling.ip4)


def test_udp_and_tcp_of_one_port_are_two_mappings(lab, web, backend):
    web.serve(7001, tag="other")
    web.add(WEB, WEB | {"protocol": "udp", "containerPort": 7001}, **backend)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    assert lab.ask(lab.client, HOST4, 18080, "udp")[0] == "other"


def test_sctp_is_forwarded(lab, backend):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        pytest.skip(f"this kernel has no SCTP: {error}")
    container = lab.container()
    container.serve(protocols=("sctp",))
    container.add(WEB | {"protocol": "sctp"}, **backend)
    assert lab.ask(lab.client, HOST4, 18080, "sctp") == (container.id, CLIENT4)


def test_sctp_rules_are_written_and_removed(lab, web, backend):
    conf = web.add(WEB | {"protocol": "sctp"}, **backend)
    assert web.call("CHECK", conf).ok
    assert "sctp" in lab.rules()
    web.delete(conf)
    assert "18080" not in lab.rules()


def test_del_closes_the_port_without_namespace_and_prev_result(lab, web, backend):
    conf = web.add(WEB, **backend)
    conf.pop("prevResult")
    web.delete(conf, CNI_NETNS="")
    assert lab.ask(lab.client, HOST4, 18080) is None
    assert lab.ask(lab.client, HOST6, 18080) is None


def test_del_needs_no_mappings(lab, web, backend):
    conf = web.add(WEB, **backend)
    conf.pop("runtimeConfig")
    web.delete(conf)
    assert "18080" not in lab.rules()


def test_del_is_repeatable_and_check_tells_the_difference(web, backend):
    conf = web.add(WEB, **backend)
    assert web.call("CHECK", conf).ok
    web.delete(conf)
    web.delete(conf)
    assert not web.call("CHECK", conf).ok


def test_del_of_what_was_never_added_touches_nothing(lab, web, backend):
    before = lab.run("nft", "list", "ruleset")
    web.delete(web.conf(WEB, **backend))
    assert lab.run("nft", "list", "ruleset") == before


def test_check_notices_a_flushed_ruleset(lab, web, backend):
    conf = web.add(WEB, **backend)
    lab.run("nft", "flush", "ruleset")
    outcome = web.call("CHECK", conf)
    assert not outcome.ok
    assert outcome.json["msg"]


def test_a_host_ip_restricts_the_forward(lab, web, backend):
    web.add(WEB | {"hostIP": HOST4B}, **backend)
    assert lab.ask(lab.client, HOST4B, 18080)[0] == web.id
    assert lab.ask(lab.host, HOST4B, 18080)[0] == web.id
    assert lab.ask(lab.client, HOST4, 18080) is None
    assert lab.ask(lab.host, "127.0.0.1", 18080) is None


@pytest.mark.parametrize(
    ("host_ip", "reached", "not_reached"), [("::", HOST6, HOST4), ("0.0.0.0", HOST4, HOST6)]
)
def test_a_wildcard_host_ip_is_for_its_family_alone(
    lab, web, backend, host_ip, reached, not_reached
):
    web.add(WEB | {"hostIP": host_ip}, **backend)
    assert lab.ask(lab.client, reached, 18080)[0] == web.id
    assert lab.ask(lab.client, not_reached, 18080) is None


def test_localhost_can_be_published_alone(lab, web, backend):
    web.add(WEB | {"hostIP": "127.0.0.1"}, **backend)
    assert lab.ask(lab.host, "127.0.0.1", 18080)[0] == web.id
    assert lab.ask(lab.client, HOST4, 18080) is None


def test_route_localnet_opens_the_hosts_localhost_to_nobody(lab, web, backend):
    lab.serve(lab.host, 7777, "host")
    web.add(WEB, **backend)
    lab.ip(web.namespace, "route", "add", "table", "local", "local", "10.99.0.1", "dev", "lo")
    lab.ip(web.namespace, "route", "del", "table", "local", "local", "127.0.0.0/8", "dev", "lo")
    lab.ip(web.namespace, "route", "del", "table", "local", "local", "127.0.0.1", "dev", "lo")
    lab.ip(web.namespace, "route", "add", "127.0.0.0/8", "via", GATEWAY4, "src", web.ip4)
    lab.run(
        "sh",
        "-c",
        "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet",
        namespace=web.namespace,
    )
    assert lab.ask(web.namespace, "127.0.0.1", 7777) is None
    assert lab.ask(lab.host, "127.0.0.1", 7777)[0] == "host"


def test_without_snat_only_outside_clients_are_served(lab, web, backend):
    conf = web.add(WEB, snat=False, **backend)
    assert lab.ask(lab.client, HOST4, 18080) == (web.id, CLIENT4)
    assert lab.ask(lab.host, "127.0.0.1", 18080) is None
    assert lab.sysctl(ROUTE_LOCALNET) == "0"
    assert web.call("CHECK", conf).ok


def test_masq_all_hides_the_client(lab, web, backend):
    conf = web.add(WEB, masqAll=True, **backend)
    assert lab.ask(lab.client, HOST4, 18080) == (web.id, GATEWAY4)
    assert lab.ask(lab.client, HOST6, 18080) == (web.id, GATEWAY6)
    assert web.call("CHECK", conf).ok


def test_a_listener_of_the_host_on_the_same_port_gets_nothing(lab, web, backend):
    lab.serve(lab.host, 18080, "reservation")
    web.add(WEB, **backend)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    assert lab.ask(lab.host, "127.0.0.1", 18080)[0] == web.id


def test_udp_clients_follow_a_replaced_container(lab, web, backend):
    successor = lab.container()
    successor.serve()
    conf = web.add(DNS, **backend)
    assert lab.ask(lab.client, HOST4, 18053, "udp", source_port=40001)[0] == web.id
    web.delete(conf)
    successor.add(DNS, **backend)
    assert lab.ask(lab.client, HOST4, 18053, "udp", source_port=40001)[0] == successor.id


def test_udp_clients_return_to_the_host_after_del(lab, web, backend):
    lab.serve(lab.host, 18053, "host")
    conf = web.add(DNS, **backend)
    assert lab.ask(lab.client, HOST4, 18053, "udp", source_port=40002)[0] == web.id
    web.delete(conf)
    assert lab.ask(lab.client, HOST4, 18053, "udp", source_port=40002)[0] == "host"


@pytest.mark.parametrize(
    "keys",
    [
        {"backend": "iptables", "conditionsV4": ["-s", CLIENT4]},
        {"backend": "nftables", "conditionsV4": ["ip", "saddr", CLIENT4]},
        {"conditionsV4": ["ip", "saddr", CLIENT4]},
    ],
)
def test_conditions_hold_for_their_container_alone(lab, web, keys):
    other = lab.container()
    other.serve()
    conf = web.add(WEB, **keys)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    assert lab.ask(lab.host, HOST4, 18080) is None
    other.add(WEB | {"hostPort": 18081}, backend=keys.get("backend", "nftables"))
    assert lab.ask(lab.host, HOST4, 18080) is None
    assert lab.ask(lab.client, HOST4, 18081)[0] == other.id
    assert web.call("CHECK", conf).ok
    web.delete(conf)
    assert "18080" not in lab.rules()


@pytest.mark.parametrize("version", [4, 6])
def test_a_condition_binds_its_ip_version_only(lab, web, version):
    nobody = ["ip", "saddr", "198.51.100.1"] if version == 4 else ["ip6", "saddr", "fd99::1"]
    web.add(WEB, **{f"conditionsV{version}": nobody})
    closed, open_ = (HOST4, HOST6) if version == 4 else (HOST6, HOST4)
    assert lab.ask(lab.client, closed, 18080) is None
    assert lab.ask(lab.client, open_, 18080)[0] == web.id


def test_a_foreign_mark_chain_marks_for_masquerading(lab, web):
    for words in (
        ("-N", "KUBE-MARK-MASQ"),
        ("-A", "KUBE-MARK-MASQ", "-j", "MARK", "--or-mark", "0x4000"),
        ("-A", "POSTROUTING", "-m", "mark", "--mark", "0x4000/0x4000", "-j", "MASQUERADE"),
    ):
        lab.run("iptables", "-t", "nat", *words)
        lab.run("ip6tables", "-t", "nat", *words)
    conf = web.add(WEB, externalSetMarkChain="KUBE-MARK-MASQ")
    assert lab.ask(lab.client, HOST4, 18080) == (web.id, CLIENT4)
    assert lab.ask(web.namespace, HOST4, 18080) == (web.id, GATEWAY4)
    assert lab.ask(lab.host, "127.0.0.1", 18080)[0] == web.id
    web.delete(conf)
    assert lab.run("iptables", "-t", "nat", "-S").count("KUBE-MARK-MASQ") == 2


def test_a_missing_foreign_mark_chain_fails_and_leaves_nothing(lab, web):
    outcome = web.call("ADD", web.conf(WEB, externalSetMarkChain="KUBE-MARK-MASQ"))
    assert outcome.json["code"] == 7
    assert "18080" not in lab.rules()


@pytest.mark.parametrize("bit", [0, 31])
def test_any_mark_bit_works(lab, web, bit):
    conf = web.add(WEB, backend="iptables", markMasqBit=bit)
    assert lab.ask(web.namespace, HOST4, 18080) == (web.id, GATEWAY4)
    assert web.call("CHECK", conf).ok


def test_add_twice_needs_one_del(lab, web, backend):
    conf = web.add(WEB, **backend)
    web.add(WEB, **backend)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    web.delete(conf)
    assert "18080" not in lab.rules()
    assert web.ip4 not in lab.rules()


def test_a_repeated_add_drops_what_is_no_longer_wanted(lab, web, backend):
    web.add(WEB, DNS, **backend)
    web.add(DNS, **backend)
    assert lab.ask(lab.client, HOST4, 18080) is None
    assert lab.ask(lab.client, HOST4, 18053, "udp")[0] == web.id


@pytest.mark.parametrize(("first", "second"), [("iptables", "nftables"), ("nftables", "iptables")])
def test_a_repeated_add_with_the_other_backend_takes_over(lab, web, first, second):
    web.add(WEB, backend=first)
    conf = web.add(WEB, backend=second)
    assert web.call("CHECK", conf).ok
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    web.delete(conf)
    assert "18080" not in lab.rules()


def test_two_networks_of_a_container_are_independent(lab, web, backend):
    first = web.add(WEB, name="one", **backend)
    web.add(WEB | {"hostPort": 18081}, name="two", **backend)
    web.delete(first)
    assert lab.ask(lab.client, HOST4, 18080) is None
    assert lab.ask(lab.client, HOST4, 18081)[0] == web.id


def test_two_interfaces_in_a_network_are_independent(lab, web, backend):
    second = lab.container(ifname="net1")
    second.id = web.id
    second.serve(tag="second")
    first_conf = web.add(WEB, **backend)
    second.add(WEB | {"hostPort": 18081}, **backend)
    web.delete(first_conf)
    assert lab.ask(lab.client, HOST4, 18080) is None
    assert lab.ask(lab.client, HOST4, 18081)[0] == "second"


def test_gc_removes_what_is_not_valid(lab, web, backend):
    kept = lab.container()
    kept.serve()
    other = lab.container()
    other.serve()
    web.add(WEB, **backend)
    kept.add(WEB | {"hostPort": 18081}, **backend)
    other.add(WEB | {"hostPort": 18082}, name="else", **backend)
    valid = [{"containerID": kept.id, "ifname": "eth0"}]
    conf = {"cniVersion": "1.1.0", "name": "web", "cni.dev/valid-attachments": valid}
    outcome = lab.plugin("GC", conf | {"type": "portmap"})
    assert outcome.ok, outcome
    assert lab.ask(lab.client, HOST4, 18080) is None
    assert lab.ask(lab.client, HOST4, 18081)[0] == kept.id
    assert lab.ask(lab.client, HOST4, 18082)[0] == other.id


def test_status_is_good_where_nf_tables_is(lab):
    assert lab.plugin("STATUS", {"cniVersion": "1.1.0", "name": "web", "type": "portmap"}).ok


def test_the_older_owner_keeps_a_port_and_the_newer_inherits_it(lab, web, backend):
    newer = lab.container()
    newer.serve()
    conf = web.add(WEB, **backend)
    outcome = newer.call("ADD", newer.conf(WEB, **backend))
    assert outcome.ok
    assert f"host port 18080/tcp is published by {web.id} of network web" in outcome.stderr
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    web.delete(conf)
    assert lab.ask(lab.client, HOST4, 18080)[0] == newer.id


def test_a_conflict_fails_where_that_is_asked_for(lab, web, backend):
    newer = lab.container()
    web.add(WEB, **backend)
    outcome = newer.call("ADD", newer.conf(WEB, portConflict="fail", **backend))
    assert outcome.json["code"] == 7
    assert f"published by {web.id} of network web" in outcome.json["msg"]
    assert newer.ip4 not in lab.rules()


def test_a_reused_address_ends_its_former_owners_forwards(lab, web, backend):
    dead = web.add(WEB, **backend)
    web.id = "successor"
    web.add(WEB | {"hostPort": 18081}, **backend)
    assert lab.ask(lab.client, HOST4, 18080) is None
    dead_id, web.id = web.id, "container1"
    web.delete(dead)
    web.id = dead_id
    assert lab.ask(lab.client, HOST4, 18081)[0] == "container1"  # the server kept its tag


def test_many_ports_are_one_call(lab, web, backend):
    conf = web.add(*({**WEB, "hostPort": 20000 + n} for n in range(200)), **backend)
    assert lab.ask(lab.client, HOST4, 20000)[0] == web.id
    assert lab.ask(lab.client, HOST6, 20199)[0] == web.id
    assert web.call("CHECK", conf).ok
    web.delete(conf)
    assert web.ip4 not in lab.rules()


@pytest.mark.parametrize("length", [10, 2000])
def test_a_range_of_equal_ports_is_forwarded(lab, web, backend, length):
    web.serve(21000 + length - 1, tag="last")
    span = {"hostPort": 21000, "hostPortEnd": 20999 + length, "containerPort": 21000}
    conf = web.add(span | {"containerPortEnd": 20999 + length}, **backend)
    assert lab.ask(lab.client, HOST4, 20999 + length)[0] == "last"
    assert lab.ask(lab.client, HOST4, 21000 + length) is None
    assert web.call("CHECK", conf).ok
    web.delete(conf)
    assert web.ip4 not in lab.rules()


def test_a_shifted_range_is_forwarded(lab, web, backend):
    web.add({"hostPort": 21000, "hostPortEnd": 21009, "containerPort": 6991}, **backend)
    assert lab.ask(lab.client, HOST4, 21009)[0] == web.id


def test_no_mappings_touch_nothing(lab, web, backend):
    before = lab.run("nft", "list", "ruleset")
    for conf in (web.conf(**backend), web.conf(runtimeConfig=None, **backend)):
        assert web.call("ADD", conf).json == web.result
        assert web.call("CHECK", conf).ok
        web.delete(conf)
    assert lab.run("nft", "list", "ruleset") == before
    assert lab.sysctl(ROUTE_LOCALNET) == "0"


@pytest.mark.parametrize(
    "keys",
    [
        {"markMasqBit": 40},
        {"backend": "pf"},
        {"prevResult": None},
        {"runtimeConfig": {"portMappings": [WEB | {"hostPort": 0}]}},
        {"runtimeConfig": {"portMappings": [WEB | {"hostIP": "nowhere"}]}},
    ],
)
def test_a_bad_configuration_is_refused_before_anything_is_done(lab, web, keys):
    before = lab.run("nft", "list", "ruleset")
    outcome = web.call("ADD", web.conf(WEB, **keys))
    assert outcome.json["code"] == 7
    assert lab.run("nft", "list", "ruleset") == before


def test_del_accepts_what_add_refuses(web):
    keys = {"markMasqBit": 40, "backend": "pf"}
    web.delete(web.conf(WEB | {"hostPort": 0}, **keys))


def test_a_failing_condition_leaves_nothing_behind(lab, web):
    outcome = web.call("ADD", web.conf(WEB, conditionsV4=["ip", "nonsense", "x"]))
    assert outcome.code == 7
    assert "conditionsV4" in outcome.msg
    assert web.ip4 not in lab.rules()


@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0"])
def test_older_versions_work(lab, web, version):
    old = web.result | {"cniVersion": version}
    for ip in old["ips"]:
        ip["version"] = "6" if ":" in ip["address"] else "4"
    if version == "0.2.0":
        old = {"ip4": {"ip": f"{web.ip4}/24"}, "ip6": {"ip": f"{web.ip6}/64"}}
    web.add(WEB, cniVersion=version, prevResult=old)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id


@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/portmap"), reason="no reference plugin")
def test_what_the_reference_plugin_added_is_deleted(lab, web, monkeypatch):
    monkeypatch.setenv("CNI_BIN", REFERENCE)
    conf = web.add(WEB, DNS)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    monkeypatch.delenv("CNI_BIN")
    web.delete(conf, CNI_NETNS="")
    assert lab.ask(lab.client, HOST4, 18080) is None
    for word in (web.id, web.ip4, web.ip6, "CNI-DN-"):
        assert word not in lab.rules()


@pytest.mark.skipif(not shutil.which("iptables-legacy"), reason="no iptables-legacy")
def test_a_host_with_legacy_rules_gets_legacy_rules(lab, web):
    lab.run("iptables-legacy", "-t", "nat", "-N", "SOMEBODY")
    lab.run("iptables-legacy", "-t", "nat", "-A", "SOMEBODY", "-j", "RETURN")
    conf = web.add(WEB)
    assert "18080" in lab.run("iptables-legacy", "-t", "nat", "-S")
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    assert web.call("CHECK", conf).ok
    web.delete(conf)
    assert "18080" not in lab.run("iptables-legacy", "-t", "nat", "-S")


def test_an_answer_is_one_document(web):
    assert json.loads(web.call("ADD", web.conf(WEB)).stdout)["cniVersion"] == "1.0.0"


def test_two_clients_at_two_host_addresses_reach_two_containers(lab, web, backend):
    other = lab.container()
    other.serve()
    web.add(WEB | {"hostIP": HOST4}, **backend)
    conf = other.add(WEB | {"hostIP": HOST4B}, **backend)
    assert lab.ask(lab.client, HOST4, 18080) == (web.id, CLIENT4)
    assert lab.ask(lab.client, HOST4B, 18080)[0] == other.id
    other.delete(conf)
    assert lab.ask(lab.client, HOST4, 18080)[0] == web.id
    assert lab.ask(lab.client, HOST4B, 18080) is None
    assert CLIENT4B != CLIENT4
