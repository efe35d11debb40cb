"""bandwidth: what tc shows, what gets through, and that nothing stays (bandwidth.md)."""

import hashlib
import json
import os

import pytest

from tests.lab.network import Network
from tests.lab.traffic import blast, is_limited_to, rate

REFERENCE = "/usr/lib/cni"
MBIT = 1_000_000
INGRESS = {"ingressRate": 8 * MBIT, "ingressBurst": 800_000}
EGRESS = {"egressRate": 4 * MBIT, "egressBurst": 160_000}
BOTH = INGRESS | EGRESS


class Pair:
    """A veth pair as a main plugin leaves it: ``vh<n>`` on the host, ``ifname`` inside."""

    def __init__(self, container, ifname="eth0", number=0):
        self.host, self.container, self.ifname = container.host, container, ifname
        self.name, subnet = f"vh{number}", f"10.9.{number}"
        self.host4, self.inside4 = f"{subnet}.1", f"{subnet}.2"
        self.host6, self.inside6 = f"fd09:{number}::1", f"fd09:{number}::2"
        peer = ("type", "veth", "peer", "name", ifname, "mtu", "1400", "netns", container.name)
        self.host.run("ip", "link", "add", self.name, "mtu", "1400", *peer)
        for place, link, addresses in (
            (self.host, self.name, (self.host4, self.host6)),
            (container, ifname, (self.inside4, self.inside6)),
        ):
            place.run("ip", "address", "add", f"{addresses[0]}/24", "dev", link)
            place.run("ip", "address", "add", f"{addresses[1]}/64", "dev", link, "nodad")
            place.run("ip", "link", "set", link, "up")
        inside = {"name": ifname, "sandbox": container.netns}
        self.result = {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": self.name}, inside],
            "ips": [{"address": f"{self.inside4}/24", "interface": 1}],
            "dns": {"nameservers": ["10.1.1.1"]},
        }
        self.queue = queue_name("n1", container.id)

    def conf(self, *, result=True, **keys):
        conf = {"cniVersion": "1.0.0", "name": "n1", "type": "bandwidth"} | keys
        return conf | ({"prevResult": self.result} if result else {})

    def add(self, **keys):
        return self.host.add(self.conf(**keys), self.container, ifname=self.ifname).json

    def refused(self, **keys):
        return self.host.refused(self.conf(**keys), self.container, ifname=self.ifname)

    def delete(self, **keys):
        self.host.delete(self.conf(**keys), self.container, ifname=self.ifname)

    def check(self, result, **keys):
        conf = self.conf(**keys) | {"prevResult": result}
        return self.host.cni("CHECK", conf, self.container, ifname=self.ifname)

    def qdiscs(self, name=None):
        """kind -> what tc shows, of the host's end or another link."""
        shown = self.host.run("tc", "-j", "qdisc", "show", "dev", name or self.name)
        return {qdisc["kind"]: qdisc for qdisc in json.loads(shown) if qdisc["kind"] != "noqueue"}

    def bucket(self, name=None):
        """Rate and burst in bytes, and milliseconds of waiting."""
        options = self.qdiscs(name)["tbf"]["options"]
        return options["rate"], options["burst"], options["lat"] / 1000

    def redirections(self):
        shown = self.host.run("tc", "-j", "filter", "show", "dev", self.name, "ingress")
        options = [entry.get("options", {}) for entry in json.loads(shown)]
        return {action["to_dev"] for o in options for action in o.get("actions", [])}

    def free(self):
        """Whether nothing limits the pair."""
        return not self.qdiscs() and not self.redirections()


def queue_name(network, container_id):
    return "bwp" + hashlib.sha512((network + container_id).encode()).hexdigest()[:12]


def queues(host):
    return {link["ifname"] for link in host.show("link", "show", "type", "ifb")}


@pytest.fixture
def pair(container):
    return Pair(container)


def test_both_directions_are_limited(host):
    pair = Pair(host.container("cid1"))
    result = pair.add(**BOTH)
    assert pair.queue == "bwpca7a875c2b85"
    assert pair.bucket() == (1_000_000, 100_000, 25)
    assert pair.qdiscs()["tbf"]["handle"] == "1:"
    assert pair.qdiscs()["ingress"]["handle"] == "ffff:"
    assert pair.redirections() == {pair.queue}
    assert pair.bucket(pair.queue) == (500_000, 20_000, 25)
    (queue,) = host.show("link", "show", pair.queue)
    assert (queue["mtu"], queue.get("txqlen", 0), "UP" in queue["flags"]) == (1400, 0, True)
    told = {"name": pair.queue, "mac": queue["address"]}
    assert result["interfaces"] == [*pair.result["interfaces"], told]
    assert result["ips"] == pair.result["ips"]


def test_a_limit_of_one_direction_leaves_the_other_alone(pair):
    assert pair.add(**INGRESS) == pair.result
    assert set(pair.qdiscs()) == {"tbf"}
    assert queues(pair.host) == set()


def test_the_limits_of_the_runtime_are_used(pair):
    given = {"egressRate": 16 * MBIT, "egressBurst": 1_600_000}
    pair.add(runtimeConfig={"bandwidth": given})
    assert pair.bucket(pair.queue) == (2_000_000, 200_000, 25)


def test_figures_of_the_configuration_hide_those_of_the_runtime(pair):
    given = {"egressRate": 16 * MBIT, "egressBurst": 1_600_000}
    keys = {"ingressRate": 0, "ingressBurst": 0, "runtimeConfig": {"bandwidth": given}}
    assert pair.add(**keys) == pair.result
    assert pair.free()


def test_a_direction_that_go_cni_leaves_out_is_not_limited(pair):
    given = {"IngressRate": 8 * MBIT, "IngressBurst": 4294967295, "EgressRate": 0, "EgressBurst": 0}
    pair.add(runtimeConfig={"bandwidth": given})
    assert pair.bucket()[0] == 1_000_000
    assert queues(pair.host) == set()


def test_without_limits_nothing_is_touched(pair):
    conf = pair.conf()
    assert pair.host.add(conf, pair.container, CNI_NETNS="/run/netns/gone").json == pair.result
    assert pair.free()


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"ingressRate": 8 * MBIT}, "burst must also be set"),
        ({"egressBurst": 800_000}, "rate must also be set"),
        ({"egressRate": MBIT, "egressBurst": 34_359_738_360}, "4GB"),
        ({"ingressRate": -1, "ingressBurst": 8000}, ""),
        ({"ingressRate": "8M", "ingressBurst": 8000}, ""),
        ({"ingressRate": 8e6 + 0.5, "ingressBurst": 8000}, ""),
        ({"result": False, **BOTH}, ""),
    ],
    ids=["no burst", "no rate", "burst", "negative", "text", "fraction", "no result"],
)
def test_what_makes_no_limit_is_refused(pair, keys, word):
    assert word in pair.refused(**keys).msg
    assert pair.free()


def test_an_interface_that_is_no_veth_is_refused(host, container):
    pair = Pair(container)
    conf = pair.conf(**BOTH)
    assert host.refused(conf, container, ifname="lo").code == 999
    pair.result["interfaces"][0]["name"] = "other"
    assert pair.name in pair.refused(**BOTH).msg or pair.refused(**BOTH).code == 999


def test_del_needs_neither_namespace_nor_result(pair):
    pair.add(**BOTH)
    pair.container.vanish()
    for _ in range(2):
        conf = pair.conf(result=False, **BOTH)
        pair.host.delete(conf, pair.container, CNI_NETNS="")
        assert queues(pair.host) == set()


def test_check_after_add_succeeds(pair):
    answer = pair.check(pair.add(**BOTH), **BOTH)
    assert (answer.ok, answer.stdout) == (True, "")


@pytest.mark.parametrize(
    "change",
    [
        "qdisc change dev {link} root handle 1: tbf rate 1mbit burst 10000 latency 25ms",
        "qdisc change dev {queue} root handle 1: tbf rate 4mbit burst 90000 latency 25ms",
        "qdisc change dev {link} root handle 1: tbf rate 8mbit burst 100000 latency 90ms",
    ],
    ids=["rate", "burst", "latency"],
)
def test_check_notices_other_figures(pair, change):
    result = pair.add(**BOTH)
    pair.host.run("tc", *change.format(link=pair.name, queue=pair.queue).split())
    assert "match" in pair.check(result, **BOTH).msg


def test_check_notices_a_queue_that_is_gone(pair):
    result = pair.add(**BOTH)
    pair.host.run("ip", "link", "delete", pair.queue)
    assert not pair.check(result, **BOTH).ok


@pytest.mark.ours("CHECK of the reference does not look")
@pytest.mark.parametrize(
    "removed", ["qdisc del dev {} root", "qdisc del dev {} ingress", "filter del dev {} ingress"]
)
def test_check_notices_what_is_gone(pair, removed):
    result = pair.add(**BOTH)
    pair.host.run("tc", *removed.format(pair.name).split())
    answer = pair.check(result, **BOTH)
    assert (answer.ok, pair.name in answer.msg) == (False, True)


@pytest.mark.parametrize("version", [4, 6])
def test_traffic_runs_at_the_rate_in_each_direction(pair, version):
    limits = {"ingressRate": 8 * MBIT, "ingressBurst": 800_000}
    pair.add(**limits, egressRate=16 * MBIT, egressBurst=1_600_000)
    host, container = pair.host, pair.container
    inside, outside = getattr(pair, f"inside{version}"), getattr(pair, f"host{version}")
    assert is_limited_to(host, container, inside, 8 * MBIT)
    assert is_limited_to(container, host, outside, 16 * MBIT)


def test_a_burst_passes_at_once_and_no_more(pair):
    pair.add(ingressRate=8000, ingressBurst=400_000)
    pair.host.run("ping", "-c2", "-W2", "-n", pair.inside4)

    def received():
        path = f"/sys/class/net/{pair.ifname}/statistics/rx_bytes"
        return int(pair.container.run("sh", "-c", f"mount -t sysfs s /sys; cat {path}"))

    before = received()
    blast(pair.host, pair.inside4, 100, 1000)
    assert 45_000 < received() - before < 57_000


@pytest.mark.ours("a second ADD of the reference fails: file exists")
def test_repeated_add_changes_the_rates(pair):
    pair.add(**BOTH)
    result = pair.add(ingressRate=16 * MBIT, ingressBurst=800_000, **EGRESS)
    assert [i["name"] for i in result["interfaces"]].count(pair.queue) == 1
    assert pair.bucket() == (2_000_000, 100_000, 25)
    assert is_limited_to(pair.host, pair.container, pair.inside4, 16 * MBIT)
    assert is_limited_to(pair.container, pair.host, pair.host4, 4 * MBIT)
    again = pair.host.add(pair.conf(**BOTH) | {"prevResult": result}, pair.container)
    assert again.json == result


@pytest.mark.ours("a second ADD of the reference fails: file exists")
def test_repeated_add_lifts_the_limit_that_is_no_longer_asked_for(pair):
    pair.add(**BOTH)
    pair.add(**INGRESS)
    assert (set(pair.qdiscs()), queues(pair.host)) == ({"tbf"}, set())
    pair.add(**EGRESS)
    assert (set(pair.qdiscs()), queues(pair.host)) == ({"ingress"}, {pair.queue})


@pytest.mark.ours("a second ADD of the reference fails: file exists")
def test_add_mends_what_was_half_removed(pair):
    pair.add(**BOTH)
    pair.host.run("ip", "link", "delete", pair.queue)
    assert not pair.container.pings(pair.host4)
    pair.add(**BOTH)
    assert pair.redirections() == {pair.queue}
    assert pair.container.pings(pair.host4)


@pytest.mark.ours("the reference leaves what it made before the failure")
def test_a_failed_add_leaves_nothing(pair):
    pair.host.run("tc", "qdisc", "add", "dev", pair.name, "clsact")
    assert pair.name in pair.refused(**BOTH).msg
    assert set(pair.qdiscs()) == {"clsact"}
    assert queues(pair.host) == set()


@pytest.mark.ours("the reference leaves what it made before the failure")
@pytest.mark.parametrize("keys", [BOTH, BOTH | {"shapedSubnets": ["10.0.0.0/8", "fd00::/8"]}])
def test_whichever_request_to_the_kernel_fails_nothing_is_left(pair, keys):
    host, conf = pair.host, json.dumps(pair.conf(**keys))
    environ = host.environ("ADD", pair.container, CNI_PLUGIN_CNID="off")  # the fault is in here
    for number in range(1, 100):
        fault = f"inject=sendto:error=ENOBUFS:when={number}"
        words = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", fault)
        plugin = f"{host.binaries}/bandwidth"
        done = host.try_run(*words, plugin, input=conf, env=environ)
        if done.returncode == 0:
            break
        assert "no buffer space" in json.loads(done.stdout)["msg"], done
        assert (pair.free(), queues(host)) == (True, set()), done
    assert number > 10
    assert queues(host) == {pair.queue}


@pytest.mark.ours("the reference leaves the redirection to the link it removes")
def test_del_frees_a_pair_that_lives_on(pair):
    pair.add(**BOTH)
    assert rate(pair.container, pair.host, pair.host4) < 6 * MBIT
    pair.delete(**BOTH)
    assert pair.free()
    assert rate(pair.container, pair.host, pair.host4) > 40 * MBIT


@pytest.mark.ours("the reference leaves the qdiscs of the host's end")
def test_del_finds_the_pair_by_the_result(pair):
    (link,) = pair.host.show("link", "show", pair.name)
    pair.result["interfaces"][0]["mac"] = link["address"]
    result = pair.add(**BOTH)
    conf = pair.conf(**BOTH) | {"prevResult": result}
    pair.host.delete(conf, pair.container, CNI_NETNS="")
    assert pair.free()


@pytest.mark.ours("DEL of the reference does not look at the namespace")
def test_del_reports_a_path_that_is_no_namespace_and_cleans_up_all_the_same(pair):
    (link,) = pair.host.show("link", "show", pair.name)
    pair.result["interfaces"][0]["mac"] = link["address"]
    conf = pair.conf(**BOTH) | {"prevResult": pair.add(**BOTH)}
    answer = pair.host.refused(conf, pair.container, "DEL", CNI_NETNS="/etc/passwd")
    assert (answer.code, pair.free(), queues(pair.host)) == (8, True, set())


def test_del_leaves_the_filters_of_others(pair):
    pair.add(**BOTH)
    words = ("protocol", "ip", "prio", "9", "u32", "match", "u32", "0", "0", "flowid", "1:2")
    pair.host.run("tc", "filter", "add", "dev", pair.name, "ingress", *words)
    pair.delete(**BOTH)
    shown = pair.host.run("tc", "filter", "show", "dev", pair.name, "ingress")
    assert "pref 9" in shown
    assert queues(pair.host) == set()


@pytest.mark.ours("DEL of the reference validates")
@pytest.mark.parametrize(
    "keys", [{"ingressRate": MBIT}, {"ingressRate": "x"}], ids=["pair", "type"]
)
def test_del_refuses_no_configuration(pair, keys):
    pair.add(**BOTH)
    pair.delete(**keys)
    assert pair.free()
    assert queues(pair.host) == set()


@pytest.mark.ours("the reference has one name for the queues of all interfaces")
def test_interfaces_of_a_container_have_limits_of_their_own(host, container):
    first, second = Pair(container), Pair(container, "eth1", 1)
    for pair in (first, second):
        pair.add(**EGRESS)
    assert len(queues(host)) == 2
    second.delete(**EGRESS)
    assert queues(host) == {first.queue}
    assert second.free()
    assert first.redirections() == {first.queue}
    assert container.pings(first.host4)
    assert container.pings(second.host4)


@pytest.mark.ours("the reference has one name for the queues of all interfaces")
def test_interfaces_added_at_the_same_time_get_queues_of_their_own(host, container):
    pairs = [Pair(container, f"eth{number}", number) for number in range(4)]
    started = [
        host.start("ADD", pair.conf(**EGRESS), container, ifname=pair.ifname) for pair in pairs
    ]
    assert [answer.msg for answer in map(host.finish, started) if not answer.ok] == []
    assert len(queues(host)) == 4
    for pair in pairs:
        pair.delete(**EGRESS)
        assert pair.free()
    assert queues(host) == set()


@pytest.mark.ours("GC of the reference does nothing")
def test_gc_removes_queues_of_attachments_that_are_gone(host):
    kept, lost, other = (Pair(host.container(), number=n) for n in range(3))
    for pair in (kept, lost):
        pair.add(**EGRESS)
    other.add(name="n2", **EGRESS)
    host.run("ip", "link", "add", queue_name("n1", "old"), "type", "ifb")  # the reference's
    valid = [{"containerID": kept.container.id, "ifname": "eth0"}]
    conf = {"cniVersion": "1.1.0", "name": "n1", "type": "bandwidth"}
    answer = host.cni("GC", conf | {"cni.dev/valid-attachments": valid})
    assert (answer.ok, answer.stdout) == (True, "")
    left = {kept.queue, queue_name("n2", other.container.id), queue_name("n1", "old")}
    assert queues(host) == left


@pytest.mark.ours("the reference wraps the burst at 32 bits")
@pytest.mark.parametrize("bits", [64_000, MBIT, 6 * MBIT])
def test_the_burst_of_kubernetes_does_not_wrap_at_low_rates(pair, bits):
    pair.add(ingressRate=bits, ingressBurst=2_147_483_647)
    shown, burst, latency = pair.bucket()
    seconds = burst / shown
    assert (shown, round(latency)) == (bits // 8, 25)
    assert 270 < seconds <= 275


@pytest.mark.skipif(not os.path.exists(f"{REFERENCE}/bandwidth"), reason="no reference plugins")
@pytest.mark.ours("it is about a node that switches to us")
@pytest.mark.parametrize("burst", [800_000, 2_147_483_647], ids=["plain", "of kubernetes"])
def test_what_the_reference_limited_we_check_change_and_free(pair, burst):
    keys = {"ingressRate": MBIT, "ingressBurst": burst, "egressRate": MBIT, "egressBurst": burst}
    ours, pair.host.binaries = pair.host.binaries, REFERENCE
    result = pair.add(**keys)
    pair.host.binaries = ours
    assert pair.check(result, **keys).ok
    assert pair.check(pair.add(**keys), **keys).ok
    pair.delete(**keys)
    assert (pair.free(), queues(pair.host)) == (True, set())


@pytest.mark.ours("a key of our own")
def test_latency_is_the_time_a_packet_may_wait(pair):
    keys = BOTH | {"latencyMs": 100}
    result = pair.add(**keys)
    assert pair.bucket() == (1_000_000, 100_000, 100)
    assert pair.check(result, **keys).ok
    assert not pair.check(result, **BOTH).ok
    assert pair.refused(**BOTH, latencyMs=0).code == 7


@pytest.fixture
def two_remotes(pair):
    """The container has two addresses of the host to talk to: in 10.9.0.0/24 and 10.200.0.0/16."""
    for address in ("10.200.0.1/32", "fd20::1/128"):
        pair.host.run("ip", "address", "add", address, "dev", "lo")
    for gateway in (pair.host4, pair.host6):
        pair.container.run("ip", "route", "add", "default", "via", gateway)
    return pair


@pytest.mark.ours("gone from the reference since v1.6.0")
@pytest.mark.parametrize("remotes", [("10.200.0.1", "10.9.0.1"), ("fd20::1", "fd09:0::1")])
@pytest.mark.parametrize("key", ["unshapedSubnets", "shapedSubnets"])
def test_subnets_choose_what_is_limited(two_remotes, key, remotes):
    pair = two_remotes
    far, near = remotes
    subnets = (
        ["10.9.0.77/24", "fd09::/64"]
        if key == "unshapedSubnets"
        else ["10.200.0.0/16", "fd20::/16"]
    )
    limits = {"ingressRate": 8 * MBIT, "ingressBurst": 800_000, "egressRate": 8 * MBIT}
    keys = limits | {"egressBurst": 800_000, key: subnets}
    result = pair.add(**keys)
    assert is_limited_to(pair.container, pair.host, far, 8 * MBIT)
    assert rate(pair.container, pair.host, near) > 40 * MBIT
    assert pair.check(result, **keys).ok
    assert not pair.check(result, **keys | {key: [subnets[0]]}).ok
    pair.delete(**keys)
    assert pair.free()


@pytest.mark.ours("gone from the reference since v1.6.0")
def test_subnets_are_the_remote_side_of_what_comes_to_the_container(two_remotes):
    pair = two_remotes
    given = INGRESS | {"unshapedSubnets": ["10.9.0.0/24"]}
    pair.add(runtimeConfig={"bandwidth": given})
    assert rate(pair.host, pair.container, pair.inside4) > 40 * MBIT  # from 10.9.0.1
    pair.host.run("ip", "route", "replace", "10.9.0.0/24", "dev", pair.name, "src", "10.200.0.1")
    assert is_limited_to(pair.host, pair.container, pair.inside4, 8 * MBIT)


@pytest.mark.ours("gone from the reference since v1.6.0")
def test_one_may_change_between_a_limit_for_all_and_one_by_subnet(pair):
    pair.add(**BOTH)
    pair.add(**BOTH, shapedSubnets=["10.0.0.0/8", "::/0"])
    assert "htb" in pair.qdiscs()
    assert "htb" in pair.qdiscs(pair.queue)
    pair.add(**BOTH)
    assert (set(pair.qdiscs()), set(pair.qdiscs(pair.queue))) == ({"tbf", "ingress"}, {"tbf"})


@pytest.mark.ours("gone from the reference since v1.6.0")
@pytest.mark.parametrize(
    "keys",
    [{"unshapedSubnets": ["x"]}, {"unshapedSubnets": ["10.0.0.0/8"], "shapedSubnets": ["::/0"]}],
    ids=["no subnet", "both"],
)
def test_subnets_that_make_no_sense_are_refused(pair, keys):
    assert pair.refused(**BOTH, **keys).code == 7
    assert pair.free()


def test_after_a_bridge_everything_goes_with_the_container(host, container):
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]]}
    limits = {"egressRate": 8 * MBIT, "egressBurst": 800_000}
    network = Network(
        host,
        [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": ipam},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ],
    )
    result = network.add(container, runtime={"bandwidth": limits})
    assert [i["name"] for i in result["interfaces"]][-1] == queue_name("net", container.id)
    assert is_limited_to(container, host, "10.77.0.1", 8 * MBIT)
    assert network.check(container).ok
    container.vanish()
    network.delete(container, CNI_NETNS="")
    assert queues(host) == set()
