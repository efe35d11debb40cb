"""The result of an ADD in the newest shape (CNI 1.1.0); ``versions`` speaks the older ones."""

from pydantic import Field

from cnilib.types.addresses import Cidr, OptionalIp
from cnilib.types.base import Items, Model


class DNS(Model):
    """Resolver settings, values not interpreted."""

    nameservers: Items[str] = Field(default=(), description="addresses of resolvers")
    domain: str = Field(default="", description="local domain of short names")
    search: Items[str] = Field(default=(), description="domains to search short names in")
    options: Items[str] = Field(default=(), description="options of resolv.conf(5)")

    def __bool__(self) -> bool:
        return bool(self.nameservers or self.domain or self.search or self.options)


class Interface(Model):
    """A link the attachment consists of; ``sandbox`` is empty for links of the host."""

    name: str = ""
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""
    socket_path: str = ""
    pci_id: str = Field(default="", alias="pciID")


class IPConfig(Model):
    """An address; ``interface`` is an index into the result's interfaces, None when unknown."""

    address: Cidr
    gateway: OptionalIp = None
    interface: int | None = None


class Route(Model):
    """A route of the container; ``table`` and ``scope`` know a real 0, so not given is None."""

    dst: Cidr = Field(description="destination")
    gw: OptionalIp = Field(default=None, description="next hop; none: the gateway of the address")
    mtu: int = Field(default=0, description="MTU of the route in bytes; 0 means not given")
    advmss: int = Field(default=0, description="TCP MSS to advertise, bytes; 0 means not given")
    priority: int = Field(default=0, description="metric; 0 leaves it to the kernel")
    table: int | None = Field(default=None, description="routing table; absent means main")
    scope: int | None = Field(default=None, description="scope as rtnetlink(7) counts them")


class Result(Model):
    """What ADD answers and the next plugin of the chain gets as prevResult."""

    interfaces: Items[Interface] = ()
    ips: Items[IPConfig] = ()
    routes: Items[Route] = ()
    dns: DNS = DNS()

    def interface_of(self, ip: IPConfig) -> Interface | None:
        """The interface an address belongs to; None without an index or with one out of range."""
        if ip.interface is None or not 0 <= ip.interface < len(self.interfaces):
            return None
        return self.interfaces[ip.interface]
