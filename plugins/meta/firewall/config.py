"""The configuration of firewall (firewall.md 2)."""

from pydantic import Field, field_validator

from cnilib.types.config import NetConf

OPEN, SAME_BRIDGE, ISOLATED, CLOSED = "open", "same-bridge", "isolated", "closed"
POLICIES = (OPEN, SAME_BRIDGE, ISOLATED, CLOSED)
ADMIN_CHAIN = "CNI-ADMIN"
ZONE = "trusted"
_MAX_CHAIN_NAME = 28  # iptables: XT_EXTENSION_MAXNAMELEN - 1


class Conf(NetConf):
    """Keys of firewall; what ADD refuses is refused before anything is written."""

    backend: str = Field(
        default="",
        description="nftables, iptables or firewalld; absent: firewalld where it runs, iptables "
        "where the host uses iptables-legacy, else nftables",
    )
    iptables_admin_chain_name: str = Field(
        default="", description=f"the administrator's chain of table filter ({ADMIN_CHAIN})"
    )
    firewalld_zone: str = Field(
        default="", description=f"firewalld zone that gets the container's addresses ({ZONE})"
    )
    ingress_policy: str = Field(
        default=OPEN,
        description="open; same-bridge: not from other restricted bridges; isolated: neither from "
        "the own bridge; closed: only what is forwarded to published ports and what the host sends",
    )

    @property
    def admin_chain(self) -> str:
        """The administrator's chain."""
        return self.iptables_admin_chain_name or ADMIN_CHAIN

    @property
    def zone(self) -> str:
        """The firewalld zone."""
        return self.firewalld_zone or ZONE

    @field_validator("iptables_admin_chain_name")
    @classmethod
    def _chain_name(cls, value: str) -> str:
        """What both nft and iptables take for a name."""
        plain = value.replace("-", "").replace("_", "").replace(".", "")
        starts_well = value[:1].isalpha() or value[:1] == "_"
        if value and not (plain.isalnum() and value.isascii() and starts_well):
            raise ValueError(f"{value!r} is not a chain name: expected letters, digits, - _ .")
        if len(value) > _MAX_CHAIN_NAME:
            raise ValueError(f"{value!r} is longer than {_MAX_CHAIN_NAME} characters")
        return value

    @field_validator("ingress_policy")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        if value and value not in POLICIES:
            raise ValueError(f"unknown ingress policy {value!r}: expected {', '.join(POLICIES)}")
        return value or OPEN


class TeardownConf(NetConf):
    """What DEL reads: it must not fail for what ADD would refuse."""

    backend: object = None
    firewalld_zone: object = None
    ingress_policy: object = None

    @property
    def zone(self) -> str:
        """The firewalld zone."""
        return (
            self.firewalld_zone
            if self.firewalld_zone and isinstance(self.firewalld_zone, str)
            else ZONE
        )
