"""What nerdctl reads to find a host port that is free: table nat of iptables (netfilter.md 6)."""

import pytest

from tests.lab.network import Network
from tests.lab.packets import HOST4, Servers, ask, outside_machine

pytestmark = pytest.mark.ours("the reference's own rules are in that table")

BRIDGE = {
    "type": "bridge",
    "bridge": "cni-web",
    "isDefaultGateway": True,
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd60::/64"}]],
    },
}
MAPPINGS = [
    {"hostPort": 18080, "containerPort": 7000, "protocol": "tcp"},
    {"hostPort": 18053, "containerPort": 53, "protocol": "udp", "hostIP": HOST4},
    {"hostPort": 18054, "containerPort": 54, "protocol": "sctp"},
]


@pytest.fixture
def environ(host):
    """Of a host that has nerdctl."""
    host.write("/run/bin/nerdctl", "#!/bin/sh\n")
    host.run("chmod", "755", "/run/bin/nerdctl")
    return {"PATH": "/run/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def network_of(host, **keys):
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}} | keys
    return Network(host, [BRIDGE, portmap], name="web", version="1.1.0")


def told(host):
    """The rules as nerdctl lists them, without what it does not look at."""
    done = host.try_run("iptables", "-t", "nat", "-S", "CNI-HOSTPORT-DNAT")
    lines = [line.partition(" -m comment")[0] for line in done.stdout.splitlines()]
    return [line.removeprefix("-A CNI-HOSTPORT-DNAT ") for line in lines if line.startswith("-A")]


PORTS = ["-p tcp -m tcp --dport 18080", f"-d {HOST4}/32 -p udp -m udp --dport 18053"]


def test_nerdctl_finds_the_published_ports(host, container, environ):
    network = network_of(host)
    network.add(container, runtime={"portMappings": MAPPINGS}, **environ)
    assert told(host) == PORTS
    assert host.try_run("iptables", "-t", "nat", "-S").returncode == 0
    network.delete(container, **environ)
    assert told(host) == []


def test_a_repeated_add_tells_them_once(host, container, environ):
    network = network_of(host)
    network.add(container, runtime={"portMappings": MAPPINGS}, **environ)
    kept = network.results[container.id, "eth0"]
    host.add(network.conf(network.plugins[-1], *kept), container, **environ)
    assert told(host) == PORTS


def test_del_needs_no_nerdctl_and_leaves_those_of_others(host, environ):
    network = network_of(host)
    first, second = host.container(), host.container()
    network.add(first, runtime={"portMappings": MAPPINGS}, **environ)
    other = [{"hostPort": 18090, "containerPort": 7000, "protocol": "tcp"}]
    network.add(second, runtime={"portMappings": other}, **environ)
    network.delete(first, cached=False)
    assert told(host) == ["-p tcp -m tcp --dport 18090"]


def test_gc_takes_them_back(host, container, environ):
    network = network_of(host)
    network.add(container, runtime={"portMappings": MAPPINGS}, **environ)
    network.collect(container)
    assert told(host) == PORTS
    network.collect()
    assert told(host) == []


def test_the_forward_works_beside_the_reference_s_chain(host, environ):
    """There the chain is hooked, and our rules in it must not change where a packet goes."""
    hook = ("-t", "nat", "-A", "PREROUTING", "-j", "CNI-HOSTPORT-DNAT")
    host.run("iptables", "-t", "nat", "-N", "CNI-HOSTPORT-DNAT")
    host.run("iptables", *hook)
    container, outside, servers = host.container(), outside_machine(host), Servers()
    network_of(host).add(container, runtime={"portMappings": MAPPINGS}, **environ)
    servers.start(container, "web")
    reply = ask(outside, HOST4, 18080)
    servers.close()
    assert reply is not None


def test_hosts_without_nerdctl_are_not_told(host, container):
    network_of(host).add(container, runtime={"portMappings": MAPPINGS})
    assert "CNI-HOSTPORT-DNAT" not in host.rules()
