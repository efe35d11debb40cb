"""A cluster of two hosts as flanneld's vxlan backend joins them (VNI 1, UDP port 8472).

Node ``n`` has the addresses 192.168.50.n and fd50::n on the link ``up0`` between the hosts, and the
subnets 10.244.n.0/24 and fd44:0:0:n::/64.
"""

SUBNET_FILE = "/run/flannel/subnet.env"
MTU = 1430  # of the link, less what VXLAN over IPv6 puts around a frame
_DEVICES = {4: "flannel.1", 6: "flannel-v6.1"}


class Node:
    """A host in the cluster."""

    def __init__(self, host, number):
        self.host, self.number = host, number
        self.underlay = {4: f"192.168.50.{number}", 6: f"fd50::{number}"}
        self.subnet = {4: f"10.244.{number}.0/24", 6: f"fd44:0:0:{number}::/64"}
        self.first = {4: f"10.244.{number}.0", 6: f"fd44:0:0:{number}::"}

    def write_subnet(self, *, masquerade=True, dual=True):
        """What flanneld writes once it has a lease."""
        lines = ["FLANNEL_NETWORK=10.244.0.0/16", f"FLANNEL_SUBNET=10.244.{self.number}.1/24"]
        if dual:
            lines.append("FLANNEL_IPV6_NETWORK=fd44::/48")
            lines.append(f"FLANNEL_IPV6_SUBNET=fd44:0:0:{self.number}::1/64")
        lines += [f"FLANNEL_MTU={MTU}", f"FLANNEL_IPMASQ={str(masquerade).lower()}"]
        self.host.write(SUBNET_FILE, "\n".join([*lines, ""]))

    def make_devices(self):
        """One VXLAN device for each family, with the first address of the subnet."""
        for version, name in _DEVICES.items():
            words = ("type", "vxlan", "id", "1", "dev", "up0", "local", self.underlay[version])
            options = ("dstport", "8472", "nolearning")
            self.host.run("ip", "link", "add", name, *words, *options)
            length = 32 if version == 4 else 128
            address = f"{self.first[version]}/{length}"
            self.host.run("ip", "address", "add", address, "dev", name)
            self.host.run("ip", "link", "set", name, "mtu", str(MTU), "up")

    def route_to(self, other):
        """What flanneld does for the lease of another node: ARP, FDB and route."""
        for version, name in _DEVICES.items():
            (device,) = other.host.show("link", "show", name)
            mac, first = device["address"], other.first[version]
            self.host.run(
                *("ip", "neigh", "replace", first, "lladdr", mac, "dev", name, "nud", "permanent")
            )
            self.host.run(
                *("bridge", "fdb", "append", mac, "dev", name, "dst", other.underlay[version])
            )
            via = ("via", first, "dev", name, "onlink")
            self.host.run("ip", "route", "add", other.subnet[version], *via)

    def masquerade(self):
        """flanneld's own rules, with ``--ip-masq``, in nftables' words."""
        rules = ""
        for family, network, groups in (
            ("ip", "10.244.0.0/16", "224.0.0.0/4"),
            ("ip6", "fd44::/48", "ff00::/8"),
        ):
            rules += f"""table {family} flannel {{ chain post {{
                type nat hook postrouting priority srcnat
                {family} saddr {network} {family} daddr {network} return
                {family} saddr {network} {family} daddr != {groups} masquerade
                {family} saddr != {network} {family} daddr {network} masquerade
            }}
            }}\n"""
        self.host.run("nft", "-f", "-", input=rules)


def cluster(first_host, second_host):
    """Two nodes whose containers reach each other once they have a network."""
    pid = str(second_host._holder.pid)
    pair = ("type", "veth", "peer", "name", "up0", "netns", pid)
    first_host.run("ip", "link", "add", "up0", "mtu", "1500", *pair)
    nodes = Node(first_host, 1), Node(second_host, 2)
    for node in nodes:
        for address in (f"{node.underlay[4]}/24", f"{node.underlay[6]}/64"):
            node.host.run("ip", "address", "add", address, "dev", "up0")
        node.host.run("ip", "link", "set", "up0", "up")
        node.make_devices()
        node.masquerade()
        node.write_subnet()
    nodes[0].route_to(nodes[1])
    nodes[1].route_to(nodes[0])
    return nodes
