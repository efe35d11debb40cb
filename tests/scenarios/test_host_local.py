"""host-local: one file for each address, in the reference's format (host-local.md)."""

import json

import pytest

STORE = "/var/lib/cni/networks/red"


@pytest.fixture
def pool(host):
    """ADD, DEL and more of host-local for a container id, on network red."""
    return Pool(host)


class Pool:
    """Calls of host-local with one configuration; containers are ids only."""

    def __init__(self, host):
        self.host = host
        self.container = host.container("x")
        self.ipam = {"subnet": "172.30.4.0/24"}
        self.extra = {}

    def conf(self, **keys):
        ipam = {"type": "host-local", **self.ipam}
        base = {"cniVersion": "1.0.0", "name": "red", "type": "host-local", "ipam": ipam}
        return base | self.extra | keys

    def call(self, command, container_id, ifname="eth0", conf=None, **environ):
        environ = {"CNI_CONTAINERID": container_id} | environ
        conf = conf or self.conf()
        return self.host.cni(command, conf, self.container, ifname=ifname, **environ)

    def add(self, container_id, **options):
        answer = self.call("ADD", container_id, **options)
        assert answer.ok, answer
        return answer.addresses

    def refused(self, container_id, **options):
        answer = self.call("ADD", container_id, **options)
        assert not answer.ok, answer
        return answer

    def delete(self, container_id, **options):
        answer = self.call("DEL", container_id, **options)
        assert (answer.ok, answer.stdout) == (True, ""), answer

    def collect(self, **keys):
        conf = self.conf(cniVersion="1.1.0", **keys)
        answer = self.host.cni("GC", conf)
        assert (answer.ok, answer.stdout) == (True, ""), answer

    def leases(self):
        if self.host.try_run("test", "-d", STORE).returncode:
            return set()
        return {name for name in self.host.listdir(STORE) if name[0] in "0123456789f"}


def test_a_lease_is_a_file_as_the_reference_writes_it(pool, host):
    answer = pool.call("ADD", "a1")
    assert answer.json["ips"] == [{"address": "172.30.4.2/24", "gateway": "172.30.4.1"}]
    assert host.listdir(STORE) == {"172.30.4.2", "last_reserved_ip.0", "lock"}
    lease = host.run("od", "-An", "-c", f"{STORE}/172.30.4.2").split()
    assert lease == ["a", "1", r"\r", r"\n", "e", "t", "h", "0"]
    assert host.read(f"{STORE}/last_reserved_ip.0") == "172.30.4.2"


@pytest.mark.ours("releases of the reference before 1.3 let everybody read leases")
def test_files_have_the_reference_s_modes(pool, host):
    pool.add("a1")
    modes = host.run("sh", "-c", f"cd {STORE} && stat -c '%n %a' . *").splitlines()
    assert modes == [". 755", "172.30.4.2 600", "last_reserved_ip.0 600", "lock 750"]


def test_a_freed_address_is_not_the_next_one(pool):
    assert pool.add("a1") == ["172.30.4.2"]
    assert pool.add("a2") == ["172.30.4.3"]
    pool.delete("a1")
    assert pool.add("a3") == ["172.30.4.4"]


def test_each_range_set_gives_an_address(pool, host):
    pool.ipam = {"ranges": [[{"subnet": "172.30.5.0/29"}], [{"subnet": "fd12::/64"}]]}
    assert pool.add("a1") == ["172.30.5.2", "fd12::2"]
    assert host.read(f"{STORE}/last_reserved_ip.0") == "172.30.5.2"
    assert host.read(f"{STORE}/last_reserved_ip.1") == "fd12::2"


def test_an_exhausted_pool_gives_exactly_the_freed_address(pool):
    pool.ipam = {"subnet": "172.30.5.0/29"}
    got = [pool.add(f"a{number}")[0] for number in range(5)]
    assert got == [f"172.30.5.{last}" for last in range(2, 7)]
    answer = pool.refused("b")
    assert "no IP addresses available in range set: 172.30.5.1-172.30.5.6" in answer.msg
    pool.delete("a3")
    assert pool.add("b") == ["172.30.5.5"]


def test_an_address_can_be_requested(pool):
    environ = {"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=p;IP=172.30.4.200/16"}
    answer = pool.call("ADD", "a1", **environ)
    assert answer.json["ips"] == [{"address": "172.30.4.200/24", "gateway": "172.30.4.1"}]
    assert pool.add("a2") == ["172.30.4.201"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("K8S_POD_NAME=p;IP=172.30.4.200", "K8S_POD_NAME"),
        ("IP=172.30.4.1", "172.30.4.1"),
        ("IP=172.31.0.9", "172.31.0.9"),
        ("IP=300.1.1.1", "300.1.1.1"),
        ("IP", "IP"),
        ("IP=172.30.4.9;", ""),
    ],
    ids=["unknown key", "gateway", "outside", "no address", "no value", "empty pair"],
)
def test_a_request_that_cannot_be_met_reserves_nothing(pool, arguments, word):
    assert word in pool.refused("a1", CNI_ARGS=arguments).msg
    assert pool.leases() == set()


def test_a_requested_address_that_is_taken_is_refused(pool):
    pool.add("a1", CNI_ARGS="IP=172.30.4.9")
    assert "172.30.4.9" in pool.refused("a2", CNI_ARGS="IP=172.30.4.9").msg


def test_ranges_of_the_runtime_come_first(pool):
    ranges = {"ipRanges": [[{"subnet": "172.30.9.0/24"}]]}
    assert pool.add("a1", conf=pool.conf(runtimeConfig=ranges)) == ["172.30.9.2", "172.30.4.2"]


def test_a_requested_ip_of_the_capability_is_given(pool):
    assert pool.add("a1", conf=pool.conf(runtimeConfig={"ips": ["172.30.4.77"]})) == ["172.30.4.77"]


def test_old_versions_have_room_for_one_address_of_a_family(pool):
    pool.ipam = {"ranges": [[{"subnet": "172.30.5.0/29"}], [{"subnet": "172.30.6.0/29"}]]}
    pool.refused("a1", conf=pool.conf(cniVersion="0.2.0"))
    assert pool.leases() == set()
    pool.ipam = {"ranges": [[{"subnet": "172.30.5.0/29"}], [{"subnet": "fd12::/64"}]]}
    answer = pool.call("ADD", "a1", conf=pool.conf(cniVersion="0.2.0"))
    assert answer.json == {
        "cniVersion": "0.2.0",
        "ip4": {"ip": "172.30.5.2/29", "gateway": "172.30.5.1"},
        "ip6": {"ip": "fd12::2/64", "gateway": "fd12::1"},
        "dns": {},
    }


def test_dns_comes_from_a_resolver_file(pool, host):
    host.write(
        "/run/resolv", "nameserver 9.9.9.9\nsearch a.example b.example\noptions ndots:2\n#x\n"
    )
    pool.ipam["resolvConf"] = "/run/resolv"
    assert pool.call("ADD", "a1").json["dns"] == {
        "nameservers": ["9.9.9.9"],
        "search": ["a.example", "b.example"],
        "options": ["ndots:2"],
    }


def test_a_missing_resolver_file_reserves_nothing(pool):
    pool.ipam["resolvConf"] = "/run/none"
    assert "/run/none" in pool.refused("a1").msg
    assert pool.leases() == set()


def test_a_lease_of_an_old_release_counts_and_is_released(pool, host):
    host.write(f"{STORE}/172.30.4.7", "old1")
    assert pool.call("CHECK", "old1").ok
    pool.delete("old1")
    assert pool.leases() == set()


def test_check_notices_that_a_lease_is_gone(pool, host):
    pool.add("a1")
    assert pool.call("CHECK", "a1").ok
    host.run("rm", f"{STORE}/172.30.4.2")
    assert not pool.call("CHECK", "a1").ok


def test_del_releases_every_family_and_only_that_interface(pool):
    pool.ipam = {"ranges": [[{"subnet": "172.30.5.0/29"}], [{"subnet": "fd12::/64"}]]}
    pool.add("a1")
    pool.add("a1", ifname="eth1")
    pool.delete("a1")
    pool.delete("a1")
    assert pool.leases() == {"172.30.5.3", "fd12::3"}


def test_del_needs_no_namespace(pool):
    pool.add("a1")
    pool.delete("a1", CNI_NETNS="")
    assert pool.leases() == set()


def test_a_corrupt_last_reserved_ip_starts_at_the_beginning(pool, host):
    host.write(f"{STORE}/last_reserved_ip.0", "nonsense")
    assert pool.add("a1") == ["172.30.4.2"]


def test_many_at_once_get_distinct_addresses(pool, host):
    pool.ipam = {"subnet": "172.30.4.0/26"}
    started = [
        host.start("ADD", pool.conf(), pool.container, CNI_CONTAINERID=f"a{number}")
        for number in range(50)
    ]
    answers = [host.finish(process) for process in started]
    assert all(answer.ok for answer in answers)
    assert {answer.addresses[0] for answer in answers} == pool.leases()
    assert len(pool.leases()) == 50


@pytest.mark.parametrize(
    ("ipam", "word"),
    [
        ({}, "no IP ranges specified"),
        ({"subnet": "172.30.4.9/24"}, "172.30.4.0"),
        ({"subnet": "172.30.4.0/32"}, "too small"),
        ({"subnet": "nonsense"}, "nonsense"),
        ({"subnet": "10.0.0.0/24", "rangeStart": "10.0.1.5"}, "10.0.1.5"),
        ({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": "10.0.0.5"}, "10.0.0.9"),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "fd00::/64"}]]}, ""),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.0/25"}]]}, "overlap"),
        ({"ranges": [[]]}, ""),
    ],
    ids=["none", "host bits", "small", "junk", "start", "order", "mixed", "overlap", "empty"],
)
def test_a_wrong_range_is_refused(pool, ipam, word):
    pool.ipam = ipam
    answer = pool.refused("a1")
    assert word in answer.msg
    assert answer.code in {7, 999}
    assert pool.leases() == set()


@pytest.mark.ours("GC of the reference does nothing (plugins#1047)")
def test_gc_keeps_what_is_valid_and_nothing_else(pool, host):
    for name in ("a1", "a2", "a3"):
        pool.add(name)
    host.write(f"{STORE}/172.30.4.99", "a2")
    valid = [{"containerID": "a2", "ifname": "eth0"}]
    pool.collect(**{"cni.dev/valid-attachments": valid})
    assert host.listdir(STORE) == {"172.30.4.3", "172.30.4.99", "last_reserved_ip.0", "lock"}
    pool.collect()
    assert pool.leases() == {"172.30.4.3", "172.30.4.99"}
    pool.collect(**{"cni.dev/valid-attachments": None})
    assert pool.leases() == set()


@pytest.mark.ours("an empty file blocks its address in the reference (plugins#498)")
def test_an_empty_file_is_taken_over(pool, host):
    host.write(f"{STORE}/172.30.4.2", "")
    assert pool.add("a1") == ["172.30.4.2"]
    assert host.read(f"{STORE}/172.30.4.2") == "a1\neth0"  # as text


@pytest.mark.ours("the reference gives a second address, and its undoing takes the first one, too")
def test_a_second_request_of_the_same_attachment_leaves_the_first_alone(pool):
    pool.add("a1", CNI_ARGS="IP=172.30.4.9")
    pool.refused("a1", CNI_ARGS="IP=172.30.4.10")
    assert pool.leases() == {"172.30.4.9"}


@pytest.mark.ours("the reference refuses /31 and /127 (plugins#908)")
@pytest.mark.parametrize(
    ("subnet", "gateway", "expected"),
    [
        ("10.1.0.0/31", None, ["10.1.0.1"]),
        ("10.1.0.0/31", "10.9.0.1", ["10.1.0.0", "10.1.0.1"]),
        ("fd00::/127", None, ["fd00::1"]),
    ],
)
def test_a_pair_of_addresses_is_a_range(pool, subnet, gateway, expected):
    pool.ipam = {"subnet": subnet} | ({"gateway": gateway} if gateway else {})
    assert [pool.add(f"a{number}")[0] for number in range(len(expected))] == expected
    pool.refused("b")


@pytest.mark.ours("the reference hands out network and broadcast address when asked")
def test_network_and_broadcast_address_are_never_handed_out(pool):
    pool.ipam = {"subnet": "10.1.0.0/29", "rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.7"}
    assert [pool.add(f"a{number}")[0] for number in range(5)] == [
        f"10.1.0.{n}" for n in range(2, 7)
    ]
    pool.refused("b")
    for last in (0, 7):
        pool.refused("b", CNI_ARGS=f"IP=10.1.0.{last}")


@pytest.mark.ours("the reference has no exclude")
def test_excluded_addresses_are_never_handed_out(pool):
    pool.ipam = {"ranges": [[{"subnet": "10.1.0.0/28", "exclude": ["10.1.0.2", "10.1.0.4/30"]}]]}
    assert [pool.add(f"a{number}")[0] for number in range(2)] == ["10.1.0.3", "10.1.0.8"]
    pool.refused("b", CNI_ARGS="IP=10.1.0.5")


@pytest.mark.ours("STATUS of the reference always succeeds")
def test_status_tells_an_exhausted_pool(pool, host):
    pool.ipam = {"subnet": "10.1.0.0/30"}
    conf = pool.conf(cniVersion="1.1.0")
    assert host.cni("STATUS", conf).ok
    pool.add("a1")
    assert host.cni("STATUS", conf).code == 50
    pool.ipam = {"subnet": "junk"}
    assert host.cni("STATUS", pool.conf(cniVersion="1.1.0")).code == 7


@pytest.mark.ours("a configuration that became invalid leaks addresses in the reference")
def test_del_releases_although_the_ranges_are_invalid_now(pool):
    pool.add("a1")
    pool.ipam = {"subnet": "junk"}
    pool.delete("a1")
    assert pool.leases() == set()


@pytest.mark.ours("CHECK of the reference ignores prevResult")
def test_check_compares_with_the_result(pool):
    pool.add("a1")
    result = {"cniVersion": "1.0.0", "ips": [{"address": "172.30.4.3/24"}]}
    assert "172.30.4.3" in pool.call("CHECK", "a1", conf=pool.conf(prevResult=result)).msg


@pytest.mark.ours("the reference prints two documents and keeps the lease")
def test_the_plugin_s_own_namespace_is_refused_first(pool):
    answer = pool.refused("a1", CNI_NETNS="/proc/self/ns/net")
    assert answer.code == 8
    assert pool.leases() == set()


def test_another_implementation_s_lease_is_respected(pool, host):
    host.write(f"{STORE}/172.30.4.2", "go\r\neth0")
    host.write(f"{STORE}/last_reserved_ip.0", "172.30.4.2")
    assert pool.add("a1") == ["172.30.4.3"]
    pool.delete("go")
    assert pool.leases() == {"172.30.4.3"}


def test_a_name_cannot_leave_the_state_directory(pool, host):
    answer = pool.refused("a1", conf=pool.conf(name="../../../run/x"))
    assert answer.code == 7
    assert json.loads(answer.stdout)["msg"]
    assert "x" not in host.listdir("/run")
