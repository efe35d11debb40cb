"""Which kernel module brings which kind of link: what to tell where one is missing."""

MODULES = {
    "bridge": ("bridge", "CONFIG_BRIDGE"),
    "dummy": ("dummy", "CONFIG_DUMMY"),
    "ifb": ("ifb", "CONFIG_IFB"),
    "ipvlan": ("ipvlan", "CONFIG_IPVLAN"),
    "macvlan": ("macvlan", "CONFIG_MACVLAN"),
    "veth": ("veth", "CONFIG_VETH"),
    "vlan": ("8021q", "CONFIG_VLAN_8021Q"),
    "vrf": ("vrf", "CONFIG_NET_VRF"),
}
"""Kind of link -> the kernel module that brings it, and its configuration option."""


def lacking(kind: str) -> str:
    """What to tell when the kernel has no links of that kind."""
    module, option = MODULES[kind]
    return f"the kernel lacks it (modprobe {module}; {option})"
