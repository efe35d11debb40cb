"""The host-device plugin's configuration. DEL and GC use the same model: it refuses no value."""

from pydantic import Field

from cnilib.types.base import FilePath, Model
from cnilib.types.config import NetConf


class RuntimeConfig(Model):
    """What the runtime puts in for the capability ``deviceID``."""

    device_id: str = Field(
        default="",
        alias="deviceID",
        description="PCI address or auxiliary device that was assigned; wins over pciBusID",
    )


class Conf(NetConf):
    """The keys; of those that name a device, the first one given decides."""

    device: str = Field(default="", description="the device by its name or an altname")
    hwaddr: str = Field(default="", description="the device by its MAC")
    kernelpath: str = Field(
        default="", description="the device by its directory below /sys/devices/, which has net/"
    )
    pci_bus_id: str = Field(default="", alias="pciBusID", description="the device by PCI address")
    runtime_config: RuntimeConfig = RuntimeConfig()
    data_dir: FilePath = Field(
        default="/var/lib/cni/host-device",
        description="where it is kept what a device was like on the host",
    )
    restore_state: bool = Field(
        default=False, description="DEL brings a device up again that was up before ADD"
    )
