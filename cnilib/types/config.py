"""The part of a network configuration that every plugin shares."""

from pydantic import Field

from cnilib import jsontext
from cnilib.attachment import ValidAttachments
from cnilib.types.base import Items, JsonObject, Model, decode
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


class _GcConf(Model):
    """The two spellings under which runtimes send the list of valid attachments."""

    valid: Items[AttachmentRef] = Field(default=(), alias="cni.dev/valid-attachments")
    draft: Items[AttachmentRef] = Field(default=(), alias="cni.dev/attachments")


def valid_attachments(document: JsonObject, before: float) -> ValidAttachments | None:
    """The attachments a GC must keep; None when the document does not say (protocol.md 6).

    A list that is present and null says that no attachment is valid.

    Raises:
        DecodeError: the list, or an entry of it, has the wrong type.
    """
    conf = decode(_GcConf, document)
    for key, refs in (
        ("cni.dev/valid-attachments", conf.valid),
        ("cni.dev/attachments", conf.draft),
    ):
        if jsontext.has(document, key):
            return ValidAttachments({(ref.container_id, ref.ifname) for ref in refs}, before)
    return None
