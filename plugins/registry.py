"""Which plugins the suite has: name -> (module that holds ``main``, oldest CNI version).

A static table: nothing is discovered, so the freezer and the reader see the same list.
"""

PLUGINS = {
    "bridge": ("plugins.main.bridge", "0.1.0"),
    "host-device": ("plugins.main.host_device", "0.1.0"),
    "ptp": ("plugins.main.ptp", "0.1.0"),
    "loopback": ("plugins.main.loopback", "0.1.0"),
    "macvlan": ("plugins.main.macvlan", "0.1.0"),
    "ipvlan": ("plugins.main.ipvlan", "0.1.0"),
    "vlan": ("plugins.main.vlan", "0.1.0"),
    "dummy": ("plugins.main.dummy", "0.1.0"),
    "tap": ("plugins.main.tap", "0.1.0"),
    "host-local": ("plugins.ipam.host_local", "0.1.0"),
    "static": ("plugins.ipam.static", "0.1.0"),
    "dhcp": ("plugins.ipam.dhcp", "0.1.0"),
    "firewall": ("plugins.meta.firewall", "0.4.0"),
    "bandwidth": ("plugins.meta.bandwidth", "0.3.0"),
    "flannel": ("plugins.meta.flannel", "0.1.0"),
    "portmap": ("plugins.meta.portmap", "0.1.0"),
    "sbr": ("plugins.meta.sbr", "0.1.0"),
    "tuning": ("plugins.meta.tuning", "0.1.0"),
    "vrf": ("plugins.meta.vrf", "0.3.1"),
}

DAEMONS = {"dhcp": "plugins.ipam.dhcp.daemon"}
"""Plugins that ``<plugin> daemon`` turns into a daemon -> the module that holds its ``main``."""
