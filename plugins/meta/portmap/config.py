"""The configuration of portmap (portmap.md 2) and what is wrong with it, told before any act."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from cnilib.errors import CniError
from cnilib.types.addresses import IPAddress, OptionalIp
from cnilib.types.base import Items, JsonObject, Model, decode
from cnilib.types.config import NetConf

PROTOCOLS = ("tcp", "udp", "sctp")
DEFAULT_MARK_BIT = 13
_MAX_PORT = 65535
_MAX_MARK_BIT = 31
_MAX_CHAIN_NAME = 28  # iptables: XT_EXTENSION_MAXNAMELEN - 1
_NEVER_IN_A_WORD = frozenset("\n\r\0;#`")  # would end or comment out the rule


class PortMapping(Model):
    """One published port, or with ``hostPortEnd`` a range of them."""

    host_port: int = Field(default=0, description="port of the host, 1 to 65535")
    container_port: int = Field(default=0, description="port of the container, 1 to 65535")
    protocol: str = Field(default="tcp", description="tcp, udp or sctp, in any case")
    host_ip: OptionalIp = Field(
        default=None,
        alias="hostIP",
        description="forward for this local address only; 0.0.0.0 and :: mean all of a family",
    )
    host_port_end: int = Field(default=0, description="last port of a range, inclusive")
    container_port_end: int = Field(default=0, description="last port of an equally long range")

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, value: str) -> str:
        protocol = value.lower() or PROTOCOLS[0]
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {value!r}: expected {', '.join(PROTOCOLS)}")
        return protocol

    @model_validator(mode="after")
    def _valid_ports(self) -> Self:
        for side, first, last in (
            ("host", self.host_port, self.host_port_end),
            ("container", self.container_port, self.container_port_end),
        ):
            if not 0 < first <= _MAX_PORT:
                raise ValueError(f"Invalid {side} port number: {first}")
            if last and not first <= last <= _MAX_PORT:
                raise ValueError(f"Invalid {side} port range: {first}-{last}")
        if self.container_port + self.length - 1 > _MAX_PORT:
            raise ValueError(f"Invalid container port range: it would end above {_MAX_PORT}")
        if self.container_port_end not in (0, self.container_port + self.length - 1):
            raise ValueError("the ranges of host and container ports differ in length")
        return self

    @property
    def length(self) -> int:
        """How many ports: 1 without a range."""
        return (self.host_port_end or self.host_port) - self.host_port + 1

    @property
    def host_address(self) -> IPAddress | None:
        """The one address that is forwarded; None for all."""
        return None if self.host_ip is None or self.host_ip.is_unspecified else self.host_ip

    def fits(self, version: int) -> bool:
        """Whether the mapping is for this IP version at all."""
        return self.host_ip is None or self.host_ip.version == version


class RuntimeConfig(Model):
    """What the runtime puts in for the capability ``portMappings``."""

    port_mappings: Items[PortMapping] = Field(default=(), description="what to publish")


class Conf(NetConf):
    """Keys of portmap."""

    runtime_config: RuntimeConfig = RuntimeConfig()
    backend: str = Field(default="", description="nftables or iptables; absent: chosen by the host")
    snat: bool = Field(
        default=True, description="make localhost, hairpin and siblings work by masquerading them"
    )
    masq_all: bool = Field(default=False, description="masquerade every forwarded connection")
    mark_masq_bit: int | None = Field(
        default=None, description="iptables: mark bit that asks for masquerading (13)"
    )
    external_set_mark_chain: str = Field(
        default="", description="iptables: existing chain of table nat that sets such a mark"
    )
    conditions_v4: Items[str] = Field(
        default=(), alias="conditionsV4", description="match words of iptables or nft, for IPv4"
    )
    conditions_v6: Items[str] = Field(
        default=(), alias="conditionsV6", description="match words of iptables or nft, for IPv6"
    )
    port_conflict: str = Field(
        default="warn", description="a port that is another container's: warn (it keeps it) or fail"
    )

    @property
    def mappings(self) -> tuple[PortMapping, ...]:
        """The ports to publish."""
        return self.runtime_config.port_mappings

    @property
    def mark_bit(self) -> int:
        """The mark bit of the iptables backend."""
        return DEFAULT_MARK_BIT if self.mark_masq_bit is None else self.mark_masq_bit

    @field_validator("backend")
    @classmethod
    def _known_backend(cls, value: str) -> str:
        if value not in ("", "nftables", "iptables"):
            raise ValueError(f"unrecognized backend {value!r}: expected nftables or iptables")
        return value

    @field_validator("port_conflict")
    @classmethod
    def _known_conflict(cls, value: str) -> str:
        if value not in ("warn", "fail"):
            raise ValueError(f"{value!r} is not known: expected warn or fail")
        return value

    @field_validator("external_set_mark_chain")
    @classmethod
    def _chain_name(cls, value: str) -> str:
        if len(value) > _MAX_CHAIN_NAME or set(value) & (_NEVER_IN_A_WORD | {" ", "\t"}):
            raise ValueError(
                f"{value!r} is not a chain name of at most {_MAX_CHAIN_NAME} characters"
            )
        return value

    @field_validator("conditions_v4", "conditions_v6")
    @classmethod
    def _plain_words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not word or set(word) & _NEVER_IN_A_WORD:
                raise ValueError(f"{word!r} is not a word of a match")
        return value

    @model_validator(mode="after")
    def _mark(self) -> Self:
        if self.external_set_mark_chain and self.mark_masq_bit is not None:
            raise ValueError("cannot specify both externalSetMarkChain and markMasqBit")
        if not 0 <= self.mark_bit <= _MAX_MARK_BIT:
            raise ValueError(f"markMasqBit must be between 0 and {_MAX_MARK_BIT}: {self.mark_bit}")
        return self

    @model_validator(mode="after")
    def _one_backend(self) -> Self:
        """The options must be of one backend, and of the one asked for."""
        iptables, nftables = self.keys_for("iptables"), self.keys_for("nftables")
        if self.backend == "nftables" and iptables:
            raise ValueError(_wrong_options("nftables", "iptables", iptables))
        if self.backend == "iptables" and nftables:
            raise ValueError(_wrong_options("iptables", "nftables", nftables))
        if iptables and nftables:
            raise ValueError(
                f"options of two backends: iptables {list(iptables)}, nftables {list(nftables)}"
            )
        return self

    def keys_for(self, backend: str) -> list[str]:
        """The options that only this backend understands."""
        keys = [
            key
            for key, words in (
                ("conditionsV4", self.conditions_v4),
                ("conditionsV6", self.conditions_v6),
            )
            if words and kind_of(words) == backend
        ]
        if self.external_set_mark_chain and backend == "iptables":
            keys.append("externalSetMarkChain")
        return keys


class TeardownConf(NetConf):
    """What DEL reads: it must not fail for what ADD would refuse."""

    runtime_config: object = None

    @property
    def mappings(self) -> list[PortMapping]:
        """The mappings that can be understood."""
        try:
            entries = decode(_AnyMappings, self.runtime_config).port_mappings
        except CniError:
            return []
        return list(_understood(entries))


class _AnyMappings(Model):
    port_mappings: Items[JsonObject] = ()


def _understood(entries: tuple[JsonObject, ...]) -> list[PortMapping]:
    found = []
    for entry in entries:
        try:
            found.append(decode(PortMapping, entry))
        except CniError:  # ADD refused it, so there is nothing of it to remove
            continue
    return found


def kind_of(words: tuple[str, ...]) -> str:
    """The backend whose syntax a condition is written in, told by its first character."""
    return "iptables" if words[0][0] in "-!" else "nftables"


def _wrong_options(wanted: str, other: str, keys: list[str]) -> str:
    return (
        f"{wanted} backend was requested but configuration contains {other}-specific options "
        f"[{' '.join(keys)}]"
    )
