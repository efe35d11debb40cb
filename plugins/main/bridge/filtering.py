"""Masquerading and the check of source MACs; libnftables is loaded only where one is asked for."""

from cnilib.ip_masq import collect_masquerade, require_backend, stop_masquerade

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import Attachment, ValidAttachments
    from cnilib.undo import ErrorList, Undo
    from plugins.main.bridge.conf import Conf, TeardownConf


def check_backend(conf: "Conf") -> None:
    """Refuse a backend nobody knows, where masquerading will really be set up.

    Raises:
        ConfigError: the value of ipMasqBackend.
    """
    if conf.ip_masq and conf.ipam.type:
        require_backend(conf.ip_masq_backend)


def refuse_foreign_macs(attachment: "Attachment", host_veth: str, mac: str, undo: "Undo") -> None:
    """Drop what the container sends under another MAC than its own."""
    from cnilib.netfilter.mac_spoof import ensure_mac_spoof_check, remove_mac_spoof_check

    undo.add(f"remove the MAC check of {attachment}", remove_mac_spoof_check, attachment)
    ensure_mac_spoof_check(attachment, host_veth, mac)


def remove_rules(attachment: "Attachment", conf: "TeardownConf", errors: "ErrorList") -> None:
    """Everything an ADD of ours or of the reference plugin made; needs no namespace."""
    if conf.macspoofchk:
        with errors:
            from cnilib.netfilter.mac_spoof import remove_mac_spoof_check

            remove_mac_spoof_check(attachment)
    if conf.ip_masq and conf.ipam.type:
        stop_masquerade(attachment, errors)


def collect_rules(network: str, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """The rules of this network whose attachment is not valid, whatever the configuration says.

    It may have asked for them when the lost attachments were added.
    """
    with errors:
        from cnilib.netfilter.mac_spoof import collect_mac_spoof_checks

        collect_mac_spoof_checks(network, valid)
    collect_masquerade(network, valid, errors)
