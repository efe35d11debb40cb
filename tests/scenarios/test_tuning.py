"""tuning: attributes and sysctls are set, told, checked and put back (tuning.md)."""

import json

import pytest

DATA = "/run/tuning-data"
MAC = "c2:11:22:33:44:55"
SOMAXCONN = "net.core.somaxconn"
ALLOWLIST = "/etc/cni/tuning/allowlist.conf"

newer = pytest.mark.ours("Debian's release of the reference is older")


@pytest.fixture
def container(host):
    return with_eth0(host)


@pytest.fixture
def tune(host, container):
    """ADD with these keys; its configuration."""

    def add(*, environ=None, **keys):
        given = conf(container, **keys)
        host.add(given, container, **environ or {})
        return given

    return add


def with_eth0(host):
    """A container with an eth0 as bridge would have made it."""
    container = host.container()
    container.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
    for name in ("lo", "eth0", "far0"):
        container.run("ip", "link", "set", name, "up")
    return container


def conf(container, version="1.0.0", **keys):
    interface = {"name": "eth0", "mac": "aa:bb:cc:dd:ee:ff", "sandbox": container.netns}
    previous = {"cniVersion": version, "interfaces": [interface]}
    if version < "0.3":
        previous = {"cniVersion": version, "ip4": {"ip": "10.0.0.2/24"}}
    base = {"cniVersion": version, "name": "t", "type": "tuning", "dataDir": DATA}
    return base | {"prevResult": previous} | keys


def attributes(container, name="eth0"):
    (link,) = container.show("link", "show", "dev", name)
    return {
        "mac": link["address"],
        "mtu": link["mtu"],
        "promisc": "PROMISC" in link["flags"],
        "allmulti": "ALLMULTI" in link["flags"],
        "txQLen": link.get("txqlen", 0),
    }


def sysctl(container, key):
    return container.run("cat", f"/proc/sys/{key.replace('.', '/')}").strip()


def backups(host):
    return host.listdir(DATA) if host.try_run("test", "-d", DATA).returncode == 0 else set()


ATTRIBUTES = [
    pytest.param({"mac": MAC}, id="mac"),
    pytest.param({"mtu": 1300}, id="mtu"),
    pytest.param({"promisc": True}, id="promisc"),
    pytest.param({"allmulti": True}, id="allmulti"),
    pytest.param({"txQLen": 555}, marks=newer, id="txQLen"),
    pytest.param({"txQLen": 0}, marks=newer, id="no queue"),
]


@pytest.mark.parametrize("keys", ATTRIBUTES)
def test_an_attribute_is_changed_kept_in_a_file_and_put_back(host, container, tune, keys):
    before = attributes(container)
    given = tune(**keys)
    assert attributes(container) == before | keys
    name = f"{container.id}_eth0.json"
    saved = json.loads(host.read(f"{DATA}/{name}"))
    assert {key: saved[key] for key in saved if key in before} == {key: before[key] for key in keys}
    assert host.run("stat", "-c", "%a", f"{DATA}/{name}").strip() == "600"
    for _ in range(2):
        host.delete(given, container)
        assert attributes(container) == before
        assert backups(host) == set()


def test_all_attributes_together_are_changed_and_put_back(host, container, tune):
    before = attributes(container)
    keys = {"mac": MAC, "mtu": 1300, "promisc": True, "allmulti": True}
    given = tune(**keys)
    assert attributes(container) == before | keys
    host.delete(given, container)
    assert attributes(container) == before


def test_without_a_directory_the_file_is_where_the_reference_has_it(host, container, tune):
    given = tune(mtu=1300)
    del given["dataDir"]
    host.delete(given | {"dataDir": DATA}, container)
    host.add(given, container)
    assert host.listdir("/run/cni/tuning") == {f"{container.id}_eth0.json"}


def test_sysctls_of_the_container_are_set_and_those_of_the_host_are_not(host, container, tune):
    before = host.sysctl("net/core/somaxconn")
    tune(sysctl={SOMAXCONN: "500", "net.ipv4.conf.IFNAME.arp_filter": "1"})
    assert sysctl(container, SOMAXCONN) == "500"
    assert sysctl(container, "net.ipv4.conf.eth0.arp_filter") == "1"
    assert host.sysctl("net/core/somaxconn") == before


def test_all_multicast_mode_is_switched_off_when_that_is_asked(container, tune):
    container.run("ip", "link", "set", "eth0", "allmulticast", "on")
    tune(allmulti=False)
    assert not attributes(container)["allmulti"]


def test_promiscuous_mode_is_never_switched_off(container, tune):
    container.run("ip", "link", "set", "eth0", "promisc", "on")
    tune(promisc=False, mtu=1400)
    assert attributes(container)["promisc"]


def test_routes_survive_a_new_mac(container, tune):
    container.run("ip", "address", "add", "10.0.0.2/24", "dev", "eth0")
    container.run("ip", "route", "add", "default", "via", "10.0.0.1")
    tune(mac=MAC)
    (route,) = container.show("route", "show", "default")
    assert route["gateway"] == "10.0.0.1"


def test_sysctls_need_no_interface(host, container):
    given = conf(container, sysctl={SOMAXCONN: "500"})
    host.add(given, container, ifname="none0")
    assert sysctl(container, SOMAXCONN) == "500"


def test_attributes_need_the_interface(host, container):
    host.refused(conf(container, mtu=1300), container, ifname="none0")


@newer
@pytest.mark.parametrize(
    "key", ["net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/IFNAME/arp_filter"]
)
def test_a_dot_in_the_interface_s_name_stays_one(host, container, key):
    container.run("ip", "link", "add", "eth0.100", "type", "veth", "peer", "name", "far1")
    host.add(conf(container, sysctl={key: "1"}), container, ifname="eth0.100")
    assert container.run("cat", "/proc/sys/net/ipv4/conf/eth0.100/arp_filter") == "1\n"


@pytest.mark.ours("dots always separate there (plugins#669)")
def test_dots_after_a_slash_are_literal(host, container):
    container.run("ip", "link", "add", "eth0.100", "type", "veth", "peer", "name", "far1")
    host.add(conf(container, sysctl={"net/ipv4/conf/eth0.100/arp_filter": "1"}), container)
    assert container.run("cat", "/proc/sys/net/ipv4/conf/eth0.100/arp_filter") == "1\n"


def test_the_result_tells_the_new_mac(host, container):
    result = host.add(conf(container, mac=MAC), container).json
    (interface,) = result["interfaces"]
    assert interface == {"name": "eth0", "mac": MAC, "sandbox": container.netns}


@pytest.mark.ours("the reference changes every interface of that name")
def test_a_link_of_the_host_with_that_name_keeps_its_mac_in_the_result(host, container):
    given = conf(container, mac=MAC)
    outer = {"name": "eth0", "mac": "02:00:00:00:00:99"}
    given["prevResult"]["interfaces"].insert(0, outer)
    assert host.add(given, container).json["interfaces"][0] == outer


@pytest.mark.ours("Debian's release does not know 1.1.0")
def test_a_result_of_1_1_0_tells_the_new_mtu(host, container):
    (interface,) = host.add(conf(container, "1.1.0", mtu=1300), container).json["interfaces"]
    assert interface["mtu"] == 1300


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_the_result_of_any_version_is_handed_on(host, container, version):
    given = conf(container, version, mtu=1300)
    result = host.add(given, container).json
    assert {key: result[key] for key in given["prevResult"]} == given["prevResult"]


SOURCES = [
    ({"mac": "c2:00:00:00:00:08"}, None, "c2:00:00:00:00:08"),
    ({"mac": "c2:00:00:00:00:08"}, "MAC=c2:00:00:00:00:09", "c2:00:00:00:00:09"),
    ({"runtimeConfig": {"mac": "c2:00:00:00:00:07"}}, "MAC=c2:00:00:00:00:09", "c2:00:00:00:00:07"),
    (
        {
            "args": {"cni": {"mac": "c2:00:00:00:00:06"}},
            "runtimeConfig": {"mac": "c2:00:00:00:00:07"},
        },
        "MAC=c2:00:00:00:00:09",
        "c2:00:00:00:00:06",
    ),
    ({}, "IgnoreUnknown=1;FOO=1;MAC=c2:00:00:00:00:09", "c2:00:00:00:00:09"),
    ({"mac": "C2-00-00-00-00-0A"}, None, "c2:00:00:00:00:0a"),
    ({"mac": "c200.0000.000b"}, None, "c2:00:00:00:00:0b"),
]


@pytest.mark.parametrize(("keys", "arguments", "mac"), SOURCES)
def test_the_strongest_source_gives_the_mac(container, tune, keys, arguments, mac):
    tune(**keys, environ={"CNI_ARGS": arguments})
    assert attributes(container)["mac"] == mac


@pytest.mark.parametrize("keys", ATTRIBUTES)
def test_args_replace_what_the_configuration_says(container, tune, keys):
    weaker = {"mac": "c2:00:00:00:00:08", "mtu": 1200, "allmulti": False, "txQLen": 77}
    tune(**{key: weaker[key] for key in keys if key in weaker}, args={"cni": keys})
    assert attributes(container).items() >= keys.items()


def test_sysctls_of_args_are_merged_key_by_key(container, tune):
    top = {SOMAXCONN: "300", "net.ipv4.ip_forward": "1"}
    tune(sysctl=top, args={"cni": {"sysctl": {SOMAXCONN: "301"}}})
    assert sysctl(container, SOMAXCONN) == "301"
    assert sysctl(container, "net.ipv4.ip_forward") == "1"


@pytest.mark.ours("the reference crashes")
def test_sysctls_of_args_need_none_beside_them(container, tune):
    tune(args={"cni": {"sysctl": {SOMAXCONN: "301"}}})
    assert sysctl(container, SOMAXCONN) == "301"


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
def test_unknown_arguments_are_refused(host, container, command):
    given = conf(container, mtu=1300)
    assert "FOO" in host.refused(given, container, command, CNI_ARGS="FOO=1").msg


@pytest.fixture
def allowlist(host):
    """Write the host's list of what sysctls may be set."""
    host.run("sh", "-c", "cp -a /etc /run/etc && mount --bind /run/etc /etc")
    return lambda text: host.write(ALLOWLIST, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("^net\\.core\\.\n", SOMAXCONN),
        ("\n  somax \n\n", SOMAXCONN),
        ("nothing\nIFNAME\n", "net.ipv4.conf.IFNAME.arp_filter"),
    ],
    ids=["anchored", "anywhere", "as written"],
)
def test_what_the_administrator_s_list_matches_is_allowed(container, tune, allowlist, text, key):
    allowlist(text)
    tune(sysctl={key: "1"})
    assert sysctl(container, key.replace("IFNAME", "eth0")) == "1"


@newer
@pytest.mark.parametrize("place", ["sysctl", "args"])
@pytest.mark.parametrize("text", ["^net\\.core\\.\n", "", "\n\n"], ids=["other", "empty", "blank"])
def test_what_it_does_not_match_is_refused_before_any_change(
    host, container, allowlist, text, place
):
    allowlist(text)
    before = attributes(container), sysctl(container, "net.ipv4.ip_forward")
    wanted = {"net.ipv4.ip_forward": "1"}
    keys = (
        {"sysctl": {}, "args": {"cni": {"sysctl": wanted}}}
        if place == "args"
        else {"sysctl": wanted}
    )
    answer = host.refused(conf(container, mtu=1300, **keys), container)
    assert "net.ipv4.ip_forward" in answer.msg
    assert (attributes(container), sysctl(container, "net.ipv4.ip_forward")) == before


@newer
def test_a_bad_expression_in_the_list_is_an_error(host, container, allowlist):
    allowlist("net.(core\n")
    host.refused(conf(container, sysctl={SOMAXCONN: "1"}), container)


def test_check_and_del_do_not_ask_the_list(host, container, tune, allowlist):
    given = tune(sysctl={SOMAXCONN: "500"})
    allowlist("")
    assert host.cni("CHECK", given, container).ok
    host.delete(given, container)
