"""The bandwidth plugin's configuration, and the limits it comes to."""

from typing import NamedTuple

from pydantic import Field

from cnilib.errors import ConfigError
from cnilib.kernel.shaping import Split, TokenBucket, token_bucket
from cnilib.types.addresses import Cidr
from cnilib.types.base import Items, Model
from cnilib.types.config import NetConf

_MAX_U64 = 2**64 - 1
_BURST_END = 4294967295  # bytes; "burst cannot be more than 4GB" from here on (bandwidth.md 2)


class Rates(Model):
    """Limits as the configuration or the runtime gives them, in bits."""

    ingress_rate: int | None = Field(
        default=None, ge=0, le=_MAX_U64, description="bits a second to the container; 0: no limit"
    )
    ingress_burst: int | None = Field(
        default=None, ge=0, le=_MAX_U64, description="bits that may arrive at once"
    )
    egress_rate: int | None = Field(
        default=None, ge=0, le=_MAX_U64, description="bits a second from the container; 0: no limit"
    )
    egress_burst: int | None = Field(
        default=None, ge=0, le=_MAX_U64, description="bits that may leave at once"
    )
    unshaped_subnets: Items[Cidr] = Field(
        default=(), description="remote subnets that no limit is for"
    )
    shaped_subnets: Items[Cidr] = Field(
        default=(), description="the only remote subnets that the limits are for"
    )

    @property
    def given(self) -> bool:
        """Whether any of the four figures is there, even as 0."""
        figures = (self.ingress_rate, self.ingress_burst, self.egress_rate, self.egress_burst)
        return any(figure is not None for figure in figures)


class RuntimeConf(Model):
    """What a runtime fills in for the capability ``bandwidth``."""

    bandwidth: Rates = Rates()


class Limit(NamedTuple):
    """The bucket of one direction; without ``split`` it is for every packet."""

    bucket: TokenBucket
    split: Split | None


class Limits(NamedTuple):
    """The limits of both directions as the container sees them; None is none."""

    ingress: Limit | None
    egress: Limit | None


class Conf(Rates, NetConf):
    """The keys of ADD and CHECK."""

    latency_ms: int = Field(
        default=25, ge=1, le=1000, description="milliseconds of packets that may wait"
    )
    runtime_config: RuntimeConf = RuntimeConf()

    def limits(self) -> Limits:
        """What is limited. Figures of the configuration hide all that the runtime gives.

        Raises:
            ConfigError: a rate without a burst or the reverse, or a burst out of range.
        """
        given = self if self.given else self.runtime_config.bandwidth
        listed = given if given.shaped_subnets or given.unshaped_subnets else self
        if listed.shaped_subnets and listed.unshaped_subnets:
            raise ConfigError("shapedSubnets and unshapedSubnets exclude one another: give one")
        return Limits(
            self._limit("ingress", given.ingress_rate, given.ingress_burst, listed),
            self._limit("egress", given.egress_rate, given.egress_burst, listed),
        )

    def _limit(self, way: str, rate: int | None, burst: int | None, listed: Rates) -> Limit | None:
        """The remote end is the source of what comes to the container."""
        if not rate and not burst:
            return None
        if not burst:
            raise ConfigError(f"{way}Rate {rate}: if rate is set, burst must also be set")
        if not rate:
            raise ConfigError(f"{way}Burst {burst}: if burst is set, rate must also be set")
        if burst // 8 >= _BURST_END:
            raise ConfigError(f"{way}Burst {burst}: burst cannot be more than 4GB")
        try:
            bucket = token_bucket(rate, burst, self.latency_ms)
        except ValueError as error:
            raise ConfigError(f"{way}Rate {rate}, {way}Burst {burst}: {error}") from None
        subnets = listed.shaped_subnets or listed.unshaped_subnets
        if not subnets:
            return Limit(bucket, None)
        networks = tuple(dict.fromkeys(subnet.network for subnet in subnets))
        exempt = bool(listed.unshaped_subnets)
        return Limit(bucket, Split(networks, exempt=exempt, source=way == "ingress"))
