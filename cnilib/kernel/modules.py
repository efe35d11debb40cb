"""Which kernel module brings what: what to tell where one is missing."""

MODULES = {
    "bridge": ("bridge", "CONFIG_BRIDGE"),
    "dummy": ("dummy", "CONFIG_DUMMY"),
    "htb": ("sch_htb", "CONFIG_NET_SCH_HTB"),
    "ifb": ("ifb", "CONFIG_IFB"),
    "ingress": ("sch_ingress", "CONFIG_NET_SCH_INGRESS"),
    "ipvlan": ("ipvlan", "CONFIG_IPVLAN"),
    "macvlan": ("macvlan", "CONFIG_MACVLAN"),
    "tbf": ("sch_tbf", "CONFIG_NET_SCH_TBF"),
    "u32": ("-a cls_u32 act_mirred", "CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED"),
    "veth": ("veth", "CONFIG_VETH"),
    "vlan": ("8021q", "CONFIG_VLAN_8021Q"),
    "vrf": ("vrf", "CONFIG_NET_VRF"),
}
"""Kind of link, qdisc or filter -> what modprobe takes, and the kernel's configuration option."""


def lacking(kind: str) -> str:
    """What to tell when the kernel has nothing of that kind."""
    module, option = MODULES[kind]
    return f"the kernel lacks it (modprobe {module}; {option})"
