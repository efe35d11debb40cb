"""The part of a network configuration that every plugin shares."""

from pydantic import Field

from cnilib.types.base import Items, Model
from cnilib.types.result import DNS


class IpamConf(Model):
    """The ``ipam`` section as an interface plugin sees it; the IPAM plugin reads the rest."""

    type: str = Field(default="", description="IPAM plugin to delegate to; empty means none")


class NetConf(Model):
    """Keys of the CNI specification. Plugins subclass it with keys of their own.

    prevResult is not here: its shape depends on cniVersion, see ``Request.prev_result``.
    """

    cni_version: str = Field(default="", description="CNI version of the configuration")
    name: str = Field(default="", description="network name")
    type: str = Field(default="", description="plugin to run; not checked by the plugin itself")
    ipam: IpamConf = IpamConf()
    dns: DNS = DNS()


class AttachmentRef(Model):
    """One entry of ``cni.dev/valid-attachments``."""

    container_id: str = Field(default="", alias="containerID")
    ifname: str = ""


class GcConf(Model):
    """The two spellings under which runtimes send the list of valid attachments."""

    valid: Items[AttachmentRef] = Field(default=(), alias="cni.dev/valid-attachments")
    draft: Items[AttachmentRef] = Field(default=(), alias="cni.dev/attachments")
