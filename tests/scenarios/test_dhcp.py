"""dhcp: leases from a real server (dnsmasq) and a scripted one; the life of a lease (dhcp.md)."""

import pytest

from tests.lab.dhcp import SERVER4, SOCKET, needs_dnsmasq
from tests.lab.waiting import until

pytestmark = needs_dnsmasq

FIRST = "10.97.0.10"  # what the scripted server gives first
OPTIONS_NEWER = "Debian's release of the reference is older than this"
RENEWS_SOON = "--dhcp-option-force=59,3"
"""T2 in seconds; dnsmasq then makes T1 a second less, and leases no shorter than two minutes."""


def link_of(lan):
    (link,) = lan.container.show("address", "show", "dev", "eth0")
    return link


def hexadecimal(text):
    return text.encode().hex()


# a lease


def test_the_server_s_address_gateway_and_default_route_are_answered(lan):
    lan.start_dnsmasq()
    result = lan.add()
    assert result["ips"] == [{"address": "10.97.0.100/16", "gateway": SERVER4}]
    assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": SERVER4}]
    assert "interfaces" not in result


def test_the_link_is_set_up_and_gets_no_address(lan):
    lan.start_dnsmasq()
    lan.add()
    assert "UP" in link_of(lan)["flags"]
    assert lan.container.addresses() == []


def test_a_repeated_add_answers_the_same_lease(lan):
    lan.start_dnsmasq()
    first = lan.add()
    assert lan.add() == first
    assert len(lan.leases()) == 1


@pytest.mark.parametrize("version", ["0.2.0", "0.4.0"])
def test_older_results_have_their_own_shape(lan, version):
    lan.start_dnsmasq()
    result = lan.add(lan.conf(version))
    if version == "0.2.0":
        assert result["ip4"]["ip"] == "10.97.0.100/16"
        assert result["ip4"]["routes"] == [{"dst": "0.0.0.0/0", "gw": SERVER4}]
    else:
        assert result["ips"][0] == {
            "version": "4",
            "address": "10.97.0.100/16",
            "gateway": SERVER4,
        }


@pytest.mark.ours("the reference's release comes from 0.0.0.0, and dnsmasq ignores it")
def test_del_gives_the_address_back(lan):
    lan.start_dnsmasq()
    lan.add()
    assert [address for address, *_ in lan.leases()] == ["10.97.0.100"]
    lan.delete(CNI_NETNS="")
    until(lambda: lan.leases() == [])
    lan.delete()


def test_del_of_what_is_gone_succeeds(lan):
    lan.start_dnsmasq()
    lan.add()
    lan.container.vanish()
    lan.delete()
    lan.delete(CNI_NETNS="")


# options


def test_client_id_is_made_of_container_network_and_interface(lan):
    lan.start_dnsmasq()
    lan.add()
    ((_, client_id, _),) = lan.leases()
    wanted = f"{lan.container.id}/lan/eth0".encode()
    assert bytes.fromhex(client_id.replace(":", "")) == b"\0" + wanted


def test_options_are_provided_as_text_or_from_cni_args(lan):
    lan.start_dnsmasq()
    provide = [
        {"option": "dhcp-client-identifier", "value": "rack7"},
        {"option": "host-name", "value": "fallback", "fromArg": "K8S_POD_NAME"},
    ]
    lan.add(lan.conf(provide=provide), CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAME=web-1;junk")
    assert lan.leases() == [("10.97.0.100", "72:61:63:6b:37", "web-1")]


def test_classless_routes_are_the_only_ones(lan):
    lan.start_dnsmasq("--dhcp-option=121,10.9.0.0/16,10.97.0.7,0.0.0.0/0,10.97.0.8")
    result = lan.add(lan.conf(request=[{"option": "121"}]))
    assert [(route["dst"], route["gw"]) for route in result["routes"]] == [
        ("10.9.0.0/16", "10.97.0.7"),
        ("0.0.0.0/0", "10.97.0.8"),
    ]


def test_static_routes_are_classful(lan):
    lan.start_server(options={"33": "ac1e00000a610007"})
    result = lan.add()
    assert [(route["dst"], route["gw"]) for route in result["routes"]] == [
        ("172.30.0.0/16", "10.97.0.7"),
        ("0.0.0.0/0", SERVER4),
    ]


@pytest.mark.ours("older releases leave out the scope of an on-link route")
def test_a_classless_route_without_router_is_on_the_link(lan):
    lan.start_server(options={"121": "180a1f0500000000"})
    (route,) = lan.add()["routes"]
    assert route == {"dst": "10.31.5.0/24", "gw": "0.0.0.0", "scope": 253}


def test_malformed_classless_routes_count_as_none(lan):
    lan.start_server(options={"121": "21ffffffff0a610007"})
    assert [route["dst"] for route in lan.add()["routes"]] == ["0.0.0.0/0"]


@pytest.mark.ours(OPTIONS_NEWER)
def test_priority_is_every_route_s(lan):
    lan.start_dnsmasq()
    assert [route["priority"] for route in lan.add(lan.conf(priority=250))["routes"]] == [250]


@pytest.mark.ours("the reference does not ask for resolver settings and drops them")
def test_resolver_settings_are_answered(lan):
    search = "03656e67076578616d706c65036f726700c000"
    lan.start_server(
        options={"6": "0a6100350a610036", "15": hexadecimal("example.org"), "119": search}
    )
    assert lan.add()["dns"] == {
        "nameservers": ["10.97.0.53", "10.97.0.54"],
        "domain": "example.org",
        "search": ["eng.example.org", "eng.example.org"],
    }


@pytest.mark.ours("the reference drops them")
def test_hostile_resolver_settings_are_not_passed_on(lan):
    lan.start_server(options={"15": hexadecimal("evil\nnameserver 6.6.6.6")})
    assert "dns" not in lan.add()


@pytest.mark.ours("the reference ignores the server's MTU")
def test_the_server_s_mtu_is_the_routes(lan):
    lan.start_server(options={"26": "05a0"})
    assert [route["mtu"] for route in lan.add()["routes"]] == [1440]


@pytest.mark.ours("the reference asks for fewer")
def test_options_are_requested(lan):
    lan.start_server()
    lan.add(lan.conf(request=[{"option": "42"}]))
    assert (
        lan.seen("DISCOVER")[0]["options"]["55"] == bytes([1, 3, 6, 15, 26, 33, 42, 119, 121]).hex()
    )


def test_only_the_listed_options_are_requested(lan):
    lan.start_server()
    lan.add(lan.conf(request=[{"option": "42", "skipDefault": True}, {"option": "subnet-mask"}]))
    assert set(bytes.fromhex(lan.seen("DISCOVER")[0]["options"]["55"])) == {1, 42}


@pytest.mark.parametrize(
    ("ipam", "word"),
    [
        ({"request": [{"option": "fqdn"}]}, "fqdn"),
        ({"request": [{"option": "256"}]}, "256"),
        ({"provide": [{"option": "nope", "value": "x"}]}, "nope"),
        ({"provide": [{"option": "12", "value": "x" * 256}]}, "12"),
    ],
    ids=["name", "number", "provided name", "too long"],
)
def test_a_wrong_option_is_named_and_nothing_is_sent(lan, ipam, word):
    lan.start_server()
    answer = lan.host.refused(lan.conf(**ipam), lan.container)
    assert word in answer.msg or answer.code == 999
    assert lan.seen() == []


@pytest.mark.ours("the flag has no effect in the reference")
def test_the_broadcast_flag_asks_for_broadcast_answers(idle):
    idle.start_daemon("-broadcast")
    idle.start_server()
    idle.add()
    assert {row["flags"] for row in idle.seen()} == {0x8000}


@pytest.mark.ours("the reference suggests no address")
@pytest.mark.parametrize("how", ["args", "capability"])
def test_an_address_can_be_suggested(lan, how):
    lan.start_dnsmasq()
    if how == "args":
        result = lan.add(CNI_ARGS="IgnoreUnknown=1;IP=10.97.0.102")
    else:
        result = lan.add(lan.conf() | {"runtimeConfig": {"ips": ["fd97::9", "10.97.0.102/24"]}})
    assert result["ips"][0]["address"] == "10.97.0.102/16"


@pytest.mark.ours("older releases of the reference answer no address")
def test_a_lease_without_subnet_mask_is_given_back(lan):
    lan.start_server(options={"1": ""})
    answer = lan.host.refused(lan.conf(), lan.container)
    assert "subnet mask" in answer.msg.lower()
    until(lambda: lan.seen("RELEASE"))


# the life of a lease


def test_a_lease_is_renewed_at_t1(lan):
    lan.start_server(lease=60, t1=1, t2=40)
    lan.add()
    until(lambda: len(lan.renewals()) >= 2)
    assert {row["ciaddr"] for row in lan.renewals()} == {FIRST}
    assert len(lan.seen("DISCOVER")) == 1
    (client_id,) = {row["options"]["61"] for row in lan.seen()}
    assert bytes.fromhex(client_id).startswith(b"\0")


@pytest.mark.ours("the reference renews by broadcast from 0.0.0.0")
def test_renewal_and_release_go_from_the_address_to_the_server(lan):
    lan.start_server(lease=60, t1=1, t2=40)
    lan.add()
    until(lan.renewals)
    lan.delete()
    until(lambda: lan.seen("RELEASE"))
    (srv0,) = lan.host.show("link", "show", "dev", "srv0")
    for row in (lan.renewals()[0], lan.seen("RELEASE")[0]):
        assert (row["source"], row["target"]) == (FIRST, SERVER4)
        assert row["target_mac"] == srv0["address"]
    assert not {"50", "54"} & set(lan.renewals()[0]["options"])


@pytest.mark.ours("the reference's renewals are not heeded by dnsmasq")
def test_dnsmasq_renews_for_the_configured_address(lan):
    server = lan.start_dnsmasq(RENEWS_SOON)
    lan.add()
    lan.use_address("10.97.0.100/16")
    until(lambda: server.log.read_text().count("DHCPACK(srv0) 10.97.0.100") >= 3)
    assert "DHCPDISCOVER" not in server.log.read_text().partition("DHCPACK")[2]


@pytest.mark.ours("the reference starts anew with a DISCOVER")
def test_a_lease_is_rebound_by_another_server(lan):
    lan.start_server(lease=60, t1=1, t2=2)
    lan.add()
    lan.script(mode="silent")
    until(lambda: [row for row in lan.renewals() if row["target"] == "255.255.255.255"])
    lan.script(lease=3600)
    unanswered = len(lan.received())
    until(lambda: len(lan.received()) > unanswered)
    assert len(lan.seen("DISCOVER")) == 1
    assert lan.check().ok


@pytest.mark.ours("the reference's renewals are not heeded by dnsmasq")
def test_a_server_that_comes_back_goes_on_renewing(lan):
    server = lan.start_dnsmasq(RENEWS_SOON)
    lan.add()
    lan.use_address("10.97.0.100/16")
    lan.end(server)
    until(lambda: "no server answered the attempt to rebind it" in lan.log())
    server = lan.start_dnsmasq(RENEWS_SOON)
    until(lambda: "DHCPACK(srv0) 10.97.0.100" in server.log.read_text())
    assert "DHCPDISCOVER" not in server.log.read_text()
    assert lan.container.pings(SERVER4)


@pytest.mark.ours("the reference goes on with the refused address until it expires")
def test_a_refused_address_is_replaced_on_the_link(lan):
    server = lan.start_dnsmasq(RENEWS_SOON)
    lan.add()
    lan.use_address("10.97.0.100/16")
    lan.container.run("ip", "route", "add", "10.8.0.0/16", "via", SERVER4, "metric", "7")
    lan.end(server)
    lan.start_dnsmasq(RENEWS_SOON, pool="10.97.0.150,10.97.0.151,255.255.0.0")
    until(lambda: lan.container.addresses() == ["10.97.0.150/16"])
    until(lambda: len(lan.container.show("route")) == 3)
    assert lan.container.pings(SERVER4)
    assert lan.add()["ips"][0]["address"] == "10.97.0.150/16"


def test_an_expired_lease_takes_the_link_down(lan):
    lan.start_server(lease=4, t1=1, t2=2)
    lan.add()
    lan.use_address(f"{FIRST}/16")
    lan.script(mode="silent")
    until(lambda: "UP" not in link_of(lan)["flags"], 60)


@pytest.mark.ours("the reference leaves the address on the link; its CHECK blocks")
def test_an_expired_lease_takes_its_address_away_and_fails_check(lan):
    lan.start_server(lease=4, t1=1, t2=2)
    lan.add()
    lan.use_address(f"{FIRST}/16")
    lan.script(mode="silent")
    until(lambda: lan.container.addresses() == [])
    until(lambda: lan.lease_files() == set())
    answer = lan.check()
    assert not answer.ok
    assert "expired" in answer.msg
    lan.script()
    assert lan.add()["ips"][0]["address"] == f"{FIRST}/16"
    assert lan.check().ok


@pytest.mark.ours(OPTIONS_NEWER)
def test_no_server_is_an_error_in_time(lan):
    answer = lan.host.refused(lan.conf(), lan.container)
    assert "no more tries" in answer.msg
    assert lan.container.netns in answer.msg
    lan.delete()


@pytest.mark.ours(OPTIONS_NEWER)
def test_a_server_that_refuses_everything_is_an_error(lan):
    lan.start_server(mode="nak")
    answer = lan.host.refused(lan.conf(), lan.container)
    assert "no more tries" in answer.msg


@pytest.mark.ours("the reference's daemon goes on without the runtime")
def test_an_add_that_is_killed_is_given_up(lan):
    lan.start_server(mode="silent")
    process = lan.host.start("ADD", lan.conf(), lan.container)
    until(lambda: lan.seen("DISCOVER"))
    process.kill()
    process.communicate()
    lan.script()
    sent = len(lan.seen())
    assert lan.add()["ips"]
    assert lan.lease_files()
    assert len({row["options"]["61"] for row in lan.seen()[sent:]}) == 1
    assert len(lan.seen("REQUEST")) == 1


# CHECK, GC, STATUS


@pytest.mark.ours("the reference gets a lease in CHECK, and blocks when the link is gone")
def test_check_wants_a_lease_and_its_link(lan):
    lan.start_server()
    assert not lan.check().ok
    assert lan.seen() == []
    lan.add()
    assert lan.check().ok
    lan.host.run("ip", "link", "del", "srv0")
    answer = lan.check()
    assert not answer.ok
    assert "eth0" in answer.msg
    lan.delete()


@pytest.mark.ours("the reference keeps leases of dead containers")
def test_the_lease_of_a_dead_container_is_dropped(lan):
    lan.start_server()
    lan.add()
    assert len(lan.lease_files()) == 1
    lan.container.vanish()
    until(lambda: lan.lease_files() == set())


@pytest.mark.ours("the reference has no GC")
def test_gc_releases_what_is_not_valid(lan):
    lan.start_server()
    lan.add()
    lan.add(CNI_CONTAINERID="other")
    lan.add(lan.conf(name="elsewhere"), CNI_CONTAINERID="other")
    valid = [{"containerID": lan.container.id, "ifname": "eth0"}]
    answer = lan.host.cni("GC", lan.conf("1.1.0") | {"cni.dev/valid-attachments": valid})
    assert answer.ok, answer
    until(lambda: len(lan.seen("RELEASE")) == 1)
    released = bytes.fromhex(lan.seen("RELEASE")[0]["options"]["61"])
    assert released == b"\0other/lan/eth0"
    assert lan.check().ok


@pytest.mark.ours("the reference's STATUS does nothing")
def test_status_asks_for_the_daemon(lan):
    assert lan.host.cni("STATUS", lan.conf("1.1.0")).ok
    lan.stop_daemon()
    answer = lan.host.refused(lan.conf("1.1.0"), command="STATUS")
    assert answer.code == 50
    assert SOCKET in answer.msg
    assert "dhcp daemon" in answer.msg


@pytest.mark.ours("the reference crashes")
def test_a_configuration_without_ipam_is_invalid(lan):
    conf = {"cniVersion": "1.1.0", "name": "lan", "type": "dhcp"}
    assert lan.host.refused(conf, lan.container).code == 7
