"""The bridge plugin's configuration."""

from pydantic import Field, field_validator, model_validator

from cnilib.mac import VethMacConf
from cnilib.request import check_interface_name
from cnilib.types.base import Items, Model
from cnilib.types.config import NetConf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_LAST_VLAN = 4094  # IEEE 802.1Q: 0 and 4095 are reserved
_LARGEST_MTU = 2**31 - 1  # the kernel's own limits are lower and depend on the link
_LONGEST_NAME = 15  # IFNAMSIZ - 1, linux/if.h


class VlanRange(Model):
    """An entry of vlanTrunk: one VLAN, an inclusive range, or both."""

    id: int | None = Field(default=None, description="one VLAN")
    min_id: int | None = Field(default=None, alias="minID", description="first VLAN of a range")
    max_id: int | None = Field(default=None, alias="maxID", description="last VLAN of a range")

    @field_validator("id", "min_id", "max_id")
    @classmethod
    def _in_range(cls, vlan: int | None) -> int | None:
        if vlan is not None and not 1 <= vlan <= _LAST_VLAN:
            raise ValueError(f"invalid VLAN ID {vlan} (must be between 1 and {_LAST_VLAN})")
        return vlan

    @model_validator(mode="after")
    def _whole_range(self) -> "Self":
        if (self.min_id is None) != (self.max_id is None):
            raise ValueError("minID and maxID must be given together")
        if self.min_id is not None and self.max_id is not None and self.min_id > self.max_id:
            raise ValueError(f"minID {self.min_id} is greater than maxID {self.max_id}")
        return self

    def vlans(self) -> set[int]:
        """The VLANs of the entry."""
        single = set() if self.id is None else {self.id}
        if self.min_id is None or self.max_id is None:
            return single
        return single | set(range(self.min_id, self.max_id + 1))


class TeardownConf(NetConf):
    """What DEL needs. It never refuses a value: what ADD refused has nothing to clean up."""

    bridge: str = Field(default="cni0", description="name of the bridge, made if missing")
    is_gateway: bool = Field(default=False, description="put the gateway addresses on the bridge")
    is_default_gateway: bool = Field(
        default=False, description="isGateway, and a default route in the container"
    )
    ip_masq: bool = Field(
        default=False, description="masquerade what leaves the container's own subnet"
    )
    vlan: int = Field(default=0, description="access VLAN of the port; 0 means none")
    macspoofchk: bool = Field(
        default=False, description="drop frames of the container with a foreign source MAC"
    )
    prune_bridge: bool = Field(
        default=False, description="DEL removes a bridge that ADD made, with its last port"
    )

    @property
    def gateway(self) -> bool:
        """Whether the bridge is the container's gateway."""
        return self.is_gateway or self.is_default_gateway

    @property
    def vlan_gateway(self) -> str:
        """The link that carries the gateway address of the VLAN; "" where the bridge does."""
        return f"{self.bridge}.{self.vlan}" if self.vlan and self.gateway else ""


class Conf(TeardownConf, VethMacConf):
    """The keys of ADD, CHECK, STATUS and GC."""

    force_address: bool = Field(
        default=False, description="replace another address of the bridge instead of failing"
    )
    ip_masq_backend: str = Field(default="", description="iptables or nftables; empty: either")
    mtu: int = Field(
        default=0, le=_LARGEST_MTU, description="MTU of a new bridge and of the veth pair; 0: 1500"
    )
    hairpin_mode: bool = Field(default=False, description="let the port send back what it got")
    promisc_mode: bool = Field(default=False, description="put the bridge into promiscuous mode")
    vlan_trunk: Items[VlanRange] | None = Field(default=None, description="tagged VLANs")
    preserve_default_vlan: bool = Field(default=False, description="keep VLAN 1 beside vlan")
    port_isolation: bool = Field(
        default=False, description="keep isolated ports from talking to one another"
    )
    disable_container_interface: bool = Field(
        default=False, description="leave the container's interface down"
    )
    enabledad: bool = Field(
        default=False, description="keep IPv6 duplicate address detection on in the container"
    )
    uplink_interface: str = Field(default="", description="host link to make a port of the bridge")

    @field_validator("bridge")
    @classmethod
    def _is_link_name(cls, name: str) -> str:
        check_interface_name(name)
        return name

    @field_validator("vlan")
    @classmethod
    def _is_vlan(cls, vlan: int) -> int:
        if not 0 <= vlan <= _LAST_VLAN:
            raise ValueError(f"invalid VLAN ID {vlan} (must be between 0 and {_LAST_VLAN})")
        return vlan

    @model_validator(mode="after")
    def _goes_together(self) -> "Self":
        if self.hairpin_mode and self.promisc_mode:
            raise ValueError("cannot set hairpin mode and promiscuous mode at the same time")
        if self.disable_container_interface and self.ipam.type:
            raise ValueError("cannot use IPAM when DisableContainerInterface flag is set")
        if len(self.vlan_gateway.encode()) > _LONGEST_NAME:
            raise ValueError(
                f"the gateway of VLAN {self.vlan} would be called {self.vlan_gateway}, which is "
                f"longer than {_LONGEST_NAME} bytes: use a shorter bridge name"
            )
        return self

    @property
    def vlan_filtering(self) -> bool:
        """Whether the configuration speaks of VLANs at all."""
        return bool(self.vlan) or self.vlan_trunk is not None

    @property
    def trunk_vlans(self) -> list[int]:
        """The VLANs the port carries with a tag; the native one is never among them."""
        native = self.vlan or 1
        vlans = {vlan for entry in self.vlan_trunk or () for vlan in entry.vlans()}
        return sorted(vlans - {native})
