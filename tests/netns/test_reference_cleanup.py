"""A container added by the reference plugins is deleted by ours: nothing of it stays.

The objects are made by Debian's reference plugins where they are installed, and otherwise written
down as the newer releases make them. The functions run in processes of their own, since a
libnftables context belongs to the namespace it was made in.
"""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
]
REFERENCE = os.environ.get("CNI_REFERENCE", "/usr/lib/cni")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NETWORK, OTHER = "web", "other"
needs_reference = pytest.mark.skipif(
    not os.path.exists(f"{REFERENCE}/portmap"), reason=f"no reference plugins in {REFERENCE}"
)
needs_legacy = pytest.mark.skipif(
    not shutil.which("iptables-legacy"), reason="no iptables-legacy on this machine"
)
_numbers = itertools.count()


class Node:
    """A throw-away host with a bridge network; commands run inside of it."""

    def __init__(self, tmp_path):
        self.name = f"cnitest-rc{os.getpid()}n{next(_numbers)}"
        self.tmp_path = tmp_path
        self.namespaces = []
        self._namespace(self.name)
        self.run("ip", "link", "set", "lo", "up")

    def _namespace(self, name):
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.namespaces.append(name)
        return f"/run/netns/{name}"

    def close(self):
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def run(self, *command, **keys):
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            check=True,
            capture_output=True,
            text=True,
            **keys,
        ).stdout

    def nft(self, text):
        self.run("nft", "-f", "-", input=text)

    def rules(self):
        """Everything in iptables of either kind and in nftables."""
        listings = [self.run("nft", "list", "ruleset")]
        for tool in ("iptables", "ip6tables"):
            listings += [self.run(tool, "-t", table, "-S") for table in ("nat", "filter")]
        return "\n".join(listings)

    def legacy_rules(self):
        return self.run("iptables-legacy", "-t", "nat", "-S")

    def call(self, expression):
        """Evaluate an expression over ``reference`` in a process inside the host."""
        code = (
            "from ipaddress import ip_address\n"
            "from cnilib.attachment import Attachment, ValidAttachments\n"
            "from cnilib.netfilter import reference\n"
            f"print({expression})"
        )
        return self.run(sys.executable, "-c", code, cwd=ROOT).strip()

    def reference_add(self, container_id, *types, version="0.4.0"):
        """ADD by a chain of reference plugins; the container's address."""
        netns = self._namespace(f"{self.name}c{next(_numbers)}")
        conf = {
            "cniVersion": version,
            "name": NETWORK,
            "bridge": "cnibr0",
            "isGateway": True,
            "ipMasq": "bridge" in types,
            "ipam": {
                "type": "host-local",
                "dataDir": str(self.tmp_path / "ipam"),
                "ranges": [[{"subnet": "10.60.0.0/24"}], [{"subnet": "fd60::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        }
        result = self._reference("bridge", "ADD", conf, container_id, netns)
        conf |= {
            "prevResult": result,
            "runtimeConfig": {
                "portMappings": [
                    {"hostPort": 18080, "containerPort": 7000, "protocol": "tcp"},
                    {"hostPort": 18081, "containerPort": 7000, "protocol": "udp"},
                ]
            },
        }
        for kind in types:
            if kind != "bridge":
                self._reference(kind, "ADD", conf, container_id, netns)
        return [ip["address"].partition("/")[0] for ip in result["ips"]]

    def _reference(self, kind, command, conf, container_id, netns):
        environ = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": REFERENCE,
        }
        text = json.dumps(conf | {"type": kind})
        return json.loads(self.run(f"{REFERENCE}/{kind}", input=text, env=environ))


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.close()


def attachment(container_id, network=NETWORK, ifname="eth0"):
    return f"Attachment({network!r}, {container_id!r}, {ifname!r})"


def chain(prefix, container_id, network=NETWORK):
    return (prefix + hashlib.sha512((network + container_id).encode()).hexdigest())[:28]


@needs_reference
def test_port_forwards_of_the_reference_go_and_those_of_others_stay(node):
    node.reference_add("one", "portmap")
    node.reference_add("two", "portmap")
    assert node.call(f"reference.remove_portmap({attachment('one')})") == "True"
    rules = node.rules()
    assert chain("CNI-DN-", "one") not in rules
    assert 'id: \\"one\\"' not in rules
    assert rules.count(chain("CNI-DN-", "two")) > 4


@needs_reference
def test_removing_twice_is_fine(node):
    node.reference_add("one", "portmap", "bridge")
    for remove in ("remove_portmap", "remove_masquerade"):
        assert node.call(f"reference.{remove}({attachment('one')})") == "True"
        assert node.call(f"reference.{remove}({attachment('one')})") == "False"


@needs_reference
def test_masquerading_of_the_reference_goes(node):
    node.reference_add("one", "bridge")
    node.reference_add("two", "bridge")
    assert chain("CNI-", "one") in node.rules()
    assert node.call(f"reference.remove_masquerade({attachment('one')})") == "True"
    rules = node.rules()
    assert chain("CNI-", "one") not in rules
    assert chain("CNI-", "two") in rules


@needs_reference
def test_accept_rules_of_the_reference_go_by_address(node):
    addresses = node.reference_add("one", "firewall")
    kept = node.reference_add("two", "firewall")
    listed = ", ".join(f"ip_address({address!r})" for address in addresses)
    assert node.call(f"reference.remove_firewall([{listed}])") == "True"
    rules = node.rules()
    assert not [line for line in rules.splitlines() for a in addresses if f" {a}/" in line]
    assert all(f"-s {address}/" in rules for address in kept)


@needs_reference
def test_an_administrators_rule_for_the_same_address_stays(node):
    (address, _) = node.reference_add("one", "firewall")
    own = ("-A", "CNI-FORWARD", "-s", f"{address}/32", "-p", "tcp", "-j", "ACCEPT")
    node.run("iptables", *own)
    assert node.call(f"reference.remove_firewall([ip_address({address!r})])") == "True"
    assert " ".join(own) in node.run("iptables", "-S", "CNI-FORWARD")


def test_nothing_is_found_where_nothing_was(node):
    before = node.run("nft", "list", "ruleset")
    assert node.call(f"reference.remove_portmap({attachment('one')})") == "False"
    assert node.call(f"reference.remove_masquerade({attachment('one')})") == "False"
    assert node.call("reference.remove_firewall([ip_address('10.0.0.1')])") == "False"
    assert node.run("nft", "list", "ruleset") == before


NFT_PORTMAP = """
table ip cni_hostport {
  chain hostports {
    tcp dport 18080 dnat to 10.60.0.2:7000 comment "one"
    ip daddr 192.0.2.1 udp dport 18081 dnat to 10.60.0.2:7000 comment "one"
    tcp dport 18082 dnat to 10.60.0.3:7000 comment "one-more"
  }
  chain hostip_hostports { }
  chain masquerading {
    type nat hook postrouting priority 100;
    ip saddr 10.60.0.2 ip daddr 10.60.0.2 masquerade comment "one"
  }
}
"""


def test_port_forwards_in_the_references_nftables_table_go_by_container_id(node):
    node.nft(NFT_PORTMAP + _for_ipv6(NFT_PORTMAP))
    assert node.call(f"reference.remove_portmap({attachment('one')})") == "True"
    rules = node.rules()
    assert '"one"' not in rules
    assert rules.count('"one-more"') == 2


def test_masquerading_in_the_references_nftables_table_goes_by_key(node):
    node.nft(masquerade_table(key(NETWORK, "one"), key(NETWORK, "two")))
    assert node.call(f"reference.remove_masquerade({attachment('one')})") == "True"
    rules = node.rules()
    assert key(NETWORK, "one") not in rules
    assert key(NETWORK, "two") in rules


def test_gc_removes_masquerading_of_this_network_by_key(node):
    keys = key(NETWORK, "one"), key(NETWORK, "two"), key(OTHER, "one")
    node.nft(masquerade_table(*keys))
    node.call(f"reference.collect_masquerade({NETWORK!r}, ValidAttachments({{('two', 'eth0')}}))")
    rules = node.rules()
    assert [text in rules for text in keys] == [False, True, True]


@needs_reference
def test_gc_removes_what_the_reference_left_in_iptables(node):
    node.reference_add("one", "bridge", "portmap")
    node.reference_add("two", "bridge", "portmap")
    valid = "ValidAttachments({('two', 'eth0')})"
    node.call(f"reference.collect_portmap({NETWORK!r}, {valid})")
    node.call(f"reference.collect_masquerade({NETWORK!r}, {valid})")
    rules = node.rules()
    for prefix in ("CNI-", "CNI-DN-"):
        assert chain(prefix, "one") not in rules
        assert chain(prefix, "two") in rules


@needs_reference
def test_gc_of_another_network_touches_nothing(node):
    node.reference_add("one", "bridge", "portmap")
    before = node.rules()
    node.call(f"reference.collect_portmap({OTHER!r}, ValidAttachments(set()))")
    node.call(f"reference.collect_masquerade({OTHER!r}, ValidAttachments(set()))")
    assert node.rules() == before


def test_chains_of_very_old_releases_go(node):
    old = chain("CNI-SN-", "one")
    for words in (["-N", "CNI-HOSTPORT-SNAT"], ["-N", old], ["-A", old, "-j", "RETURN"]):
        node.run("iptables", "-t", "nat", *words)
    node.run("iptables", "-t", "nat", "-A", "CNI-HOSTPORT-SNAT", "-j", old)
    assert node.call(f"reference.remove_portmap({attachment('one')})") == "True"
    assert old not in node.rules()


@needs_legacy
def test_rules_in_iptables_legacy_go_through_its_binary(node):
    for container_id in ("one", "two"):
        _legacy_forward(node, container_id)
    assert node.call(f"reference.remove_portmap({attachment('one')})") == "True"
    rules = node.legacy_rules()
    assert chain("CNI-DN-", "one") not in rules
    assert rules.count(chain("CNI-DN-", "two")) == 3


@needs_legacy
def test_gc_reads_comments_of_iptables_legacy(node):
    for container_id in ("one", "two"):
        _legacy_forward(node, container_id)
    valid = "ValidAttachments({('two', 'eth0')})"
    node.call(f"reference.collect_portmap({NETWORK!r}, {valid})")
    rules = node.legacy_rules()
    assert chain("CNI-DN-", "one") not in rules
    assert chain("CNI-DN-", "two") in rules


def _legacy_forward(node, container_id):
    own = chain("CNI-DN-", container_id)
    text = f'dnat name: "{NETWORK}" id: "{container_id}"'
    note = ("-m", "comment", "--comment", text)
    if "CNI-HOSTPORT-DNAT" not in node.legacy_rules():
        node.run("iptables-legacy", "-t", "nat", "-N", "CNI-HOSTPORT-DNAT")
    for words in (
        ("-N", own),
        ("-A", own, "-p", "tcp", "--dport", "18080", "-j", "RETURN"),
        ("-A", "CNI-HOSTPORT-DNAT", "-p", "tcp", *note, "-j", own),
    ):
        node.run("iptables-legacy", "-t", "nat", *words)


def _for_ipv6(text):
    for old, new in (
        ("table ip ", "table ip6 "),
        ("ip daddr 192.0.2.1 ", ""),
        ("ip saddr", "ip6 saddr"),
        ("ip daddr", "ip6 daddr"),
        ("10.60.0.2:7000", "[fd60::2]:7000"),
        ("10.60.0.3:7000", "[fd60::3]:7000"),
        ("10.60.0.2", "fd60::2"),
    ):
        text = text.replace(old, new)
    return text


def key(network, container_id, ifname="eth0"):
    parts = (network, f"{ifname}:{container_id}")
    return "-".join(hashlib.sha512(part.encode()).hexdigest()[:16] for part in parts)


def masquerade_table(*keys):
    rules = "\n".join(f'ip saddr 10.60.0.2 masquerade comment "{k}, net: web"' for k in keys)
    hook = "type nat hook postrouting priority 100;"
    return f"table inet cni_plugins_masquerade {{ chain masq_checks {{ {hook}\n{rules}\n }}\n}}\n"
