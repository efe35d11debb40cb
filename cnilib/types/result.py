"""The result of an ADD in the newest shape (CNI 1.1.0); ``versions`` speaks the older ones."""

from pydantic import Field

from cnilib.types.addresses import Cidr, OptionalIp
from cnilib.types.base import Items, Model


class DNS(Model):
    """Resolver settings, values not interpreted."""

    nameservers: Items[str] = ()
    domain: str = ""
    search: Items[str] = ()
    options: Items[str] = ()

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
    """A route of the container.

    ``mtu`` and ``advmss`` in bytes, ``priority`` is the metric; 0 means not given. ``table`` and
    ``scope`` know a real 0, so not given is None.
    """

    dst: Cidr
    gw: OptionalIp = None
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


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
