"""Whatever stands in whatever key: success or one error document, and nothing in the container."""

import pytest

from plugins.launch import load
from plugins.registry import PLUGINS
from tools.docs import rows

IPAM = {"type": "host-local", "subnet": "10.20.0.0/24"}
PREVIOUS = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "br9"}, {"name": "veth9"}, {"name": "eth0", "sandbox": "/x"}],
    "ips": [{"address": "10.20.0.2/24", "interface": 2}],
}
MAPPINGS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
BASES = {
    "bridge": {"bridge": "br9", "isGateway": True, "ipMasq": True, "ipam": IPAM},
    "ptp": {"ipMasq": True, "ipam": IPAM},
    "host-device": {"device": "eno1", "ipam": IPAM},
    "macvlan": {"master": "eno1", "ipam": IPAM},
    "ipvlan": {"master": "eno1", "ipam": IPAM},
    "vlan": {"master": "eno1", "ipam": IPAM},
    "dummy": {"ipam": IPAM},
    "tap": {"ipam": IPAM},
    "host-local": {"ipam": IPAM},
    "dhcp": {"ipam": {"type": "dhcp"}},
    "static": {"ipam": {"type": "static", "addresses": [{"address": "10.20.0.2/24"}]}},
    "loopback": {},
    "portmap": {"prevResult": PREVIOUS, "runtimeConfig": {"portMappings": MAPPINGS}},
    "firewall": {"prevResult": PREVIOUS, "ingressPolicy": "same-bridge"},
    "tuning": {"prevResult": PREVIOUS, "mtu": 1400},
    "bandwidth": {"prevResult": PREVIOUS, "egressRate": 8000000, "egressBurst": 800000},
    "flannel": {"delegate": {"bridge": "br9", "ipMasq": True}},
    "sbr": {"prevResult": PREVIOUS},
    "vrf": {"prevResult": PREVIOUS, "vrfname": "blue"},
}
SUBNET = "FLANNEL_NETWORK=10.20.0.0/16\nFLANNEL_SUBNET=10.20.0.1/24\nFLANNEL_MTU=1400\n"
VALUES = ["x\0y", "../" * 100 + '\n"; flush', -1, 1.5, [{}], {"x": ["\0"]}]
GENERIC = {"cniVersion", "name"}  # tests/scenarios/test_faults.py

KEYS = [
    pytest.param(name, path, id=f"{name}-{path}")
    for name in PLUGINS
    for path, *_ in rows(load(name).conf)
    if path not in GENERIC
]


def with_value(document, path, value):
    """A copy in which the key has the value; lists on the way get one item."""
    step, _, rest = path.partition(".")
    key = step.replace("[]", "")
    if rest:
        inner = document.get(key)
        while isinstance(inner, list):
            inner = inner[0] if inner else {}
        value = with_value(inner if isinstance(inner, dict) else {}, rest, value)
    for _ in range(step.count("[]")):
        value = [value]
    return document | {key: value}


@pytest.mark.ours("the reference decodes more loosely, and leaves links after an error")
@pytest.mark.parametrize(("plugin", "path"), KEYS)
def test_a_hostile_value_is_no_crash_and_leaves_nothing(host, container, plugin, path):
    base = {"cniVersion": "1.0.0", "name": "n", "type": plugin} | BASES[plugin]
    host.run("ip", "link", "add", "eno1", "type", "veth", "peer", "name", "wire")
    host.write("/run/flannel/subnet.env", f"{SUBNET}FLANNEL_IPMASQ=false\n")
    for value in VALUES:
        conf = with_value(base, path, value)
        answer = host.cni("ADD", conf, container, plugin=plugin)
        assert answer.ok or {"code", "msg"} <= answer.json.keys(), answer
        assert answer.ok or container.links() == {"lo"}, (conf, answer)
        assert answer.ok or len(answer.msg) < 800, answer
        if answer.ok:
            host.delete(conf, container, plugin=plugin)
    host.delete(base, container, plugin=plugin)
    assert "10.20.0.2" not in host.rules()
