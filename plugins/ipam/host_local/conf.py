"""The host-local plugin's configuration, and the range sets it adds up to."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from cnilib.errors import ConfigError
from cnilib.types.addresses import IpOrCidr, OptionalCidr, OptionalIp
from cnilib.types.base import FilePath, Items, Model
from cnilib.types.config import NetConf
from cnilib.types.result import Route
from plugins.ipam.host_local.ranges import Range, RangeSet, refuse_overlap

DEFAULT_DATA_DIR = "/var/lib/cni/networks"


class RangeConf(Model):
    """One range of addresses."""

    subnet: OptionalCidr = Field(default=None, description="network the addresses are part of")
    range_start: OptionalIp = Field(default=None, description="first address; default: the second")
    range_end: OptionalIp = Field(
        default=None, description="last address; default: the last, without an IPv4 broadcast"
    )
    gateway: OptionalIp = Field(default=None, description="default: first address of the subnet")
    exclude: Items[IpOrCidr] = Field(
        default=(), description="addresses and subnets that are never handed out"
    )

    def to_range(self) -> Range:
        """The range with every default filled in.

        Raises:
            ValueError: what is wrong with it.
        """
        if self.subnet is None:
            raise ValueError("a range needs a subnet")
        return Range.of(
            self.subnet,
            start=self.range_start,
            end=self.range_end,
            gateway=self.gateway,
            exclude=tuple(item.network for item in self.exclude),
        )


def _as_range_sets(value: object) -> object:
    """The capability of containerd is one flat list: each range is a set of its own."""
    if not isinstance(value, list):
        return value
    return [[item] if isinstance(item, dict) else item for item in value]


RangeSets = Items[Items[RangeConf]]


class LeaseIpam(Model):
    """Where the leases are."""

    data_dir: FilePath = Field(
        default=DEFAULT_DATA_DIR, description="parent of the directory of each network's leases"
    )


class HostLocalIpam(LeaseIpam, RangeConf):
    """The ``ipam`` section; ``subnet`` and its neighbours are a range set of their own."""

    ranges: RangeSets = Field(default=(), description="range sets; each gives one address")
    resolv_conf: FilePath = Field(
        default="", description="resolv.conf to copy the dns settings from"
    )
    routes: Items[Route] = Field(default=(), description="routes, copied to the result")


class Ips(Model):
    """Addresses of the pool that the runtime asks for; a prefix length is ignored."""

    ips: Items[IpOrCidr] = Field(default=(), description="addresses of the pool to hand out")


class RuntimeConfig(Ips):
    """The capabilities ``ips`` and ``ipRanges``."""

    ip_ranges: Annotated[RangeSets, BeforeValidator(_as_range_sets)] = Field(
        default=(), description="range sets that come before the configured ones"
    )


class Args(Model):
    """The ``args`` section."""

    cni: Ips = Ips()


class LeaseConf(NetConf):
    """All that DEL and GC need: ranges that are no longer valid must not keep a lease alive."""

    ipam: LeaseIpam = LeaseIpam()  # type: ignore[assignment] # the section is this plugin's own

    @property
    def data_dir(self) -> str:
        """Parent of the directory of each network's leases."""
        return self.ipam.data_dir or DEFAULT_DATA_DIR


class Conf(LeaseConf):
    """What ADD, CHECK and STATUS read of the network configuration."""

    ipam: HostLocalIpam
    runtime_config: RuntimeConfig = RuntimeConfig()
    args: Args = Args()

    def range_sets(self) -> list[RangeSet]:
        """All range sets in the order of their ids: capability, ``subnet``, ``ranges``.

        Raises:
            ConfigError: names the set and what is wrong with it.
        """
        legacy = ((self.ipam,),) if self.ipam.subnet else ()
        configured = [*self.runtime_config.ip_ranges, *legacy, *self.ipam.ranges]
        if not configured:
            raise ConfigError("no IP ranges specified: ipam needs `ranges` or `subnet`")
        range_sets: list[RangeSet] = []
        for index, ranges in enumerate(configured):
            try:
                range_set = RangeSet.of(index, [each.to_range() for each in ranges])
                refuse_overlap(range_set, range_sets)
            except ValueError as error:
                raise ConfigError(f"invalid range set {index}: {error}") from None
            range_sets.append(range_set)
        return range_sets
