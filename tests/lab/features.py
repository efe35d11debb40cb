"""Kernel features that a test may need (``pytest.mark.kernel``), and which of them are missing.

``python -m tests.lab.features`` prints those this kernel lacks, comma-separated: the Makefile runs
the tests that need one of them under User Mode Linux.
"""

import subprocess
from pathlib import Path

_VETH = "ip link add e0 type veth peer name e1 && "

FEATURES = {
    "bridge VLAN filtering": "ip link add name br9 type bridge vlan_filtering 1",
    "dummy": "ip link add d0 type dummy",
    "ifb": "ip link add i0 type ifb",
    "ipvlan": _VETH + "ip link add link e0 name i0 type ipvlan",
    "macvlan": _VETH + "ip link add link e0 name m0 type macvlan",
    "tap": "ip tuntap add dev t0 mode tap",
    "vlan": _VETH + "ip link add link e0 name v0 type vlan id 5",
    "vrf": "ip link add v0 type vrf table 10",
}
"""What a kernel may lack, and a command that fails without it in an empty network namespace."""


UNDER_UML = "User Mode Linux" in Path("/proc/cpuinfo").read_text()
"""Whether the running kernel is one that tools/uml.sh has booted."""


def missing(features=FEATURES):
    """Those of the features that the running kernel lacks."""
    return {feature for feature in features if not _works(FEATURES[feature])}


def _works(command):
    words = ["unshare", "--net", "sh", "-c", command]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    print(",".join(sorted(missing())))
