"""tuning: changes sysctls and attributes of the container's interface, and tells it in the result.

Sysctls below net/ of the container's namespace; MAC, MTU, promiscuous and all-multicast mode and
the length of the transmit queue of CNI_IFNAME::

    {"cniVersion": "1.0.0", "name": "web", "type": "tuning", "mtu": 1400,
     "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}

On the host this leaves one file, ``<dataDir>/<container id>_<ifname>.json``, with the values from
before. DEL puts those back, where namespace and link still exist, and removes the file. Written
after tuning.md.
"""

from cnilib.errors import NetnsError
from cnilib.kernel.netns import Namespace
from cnilib.log import warn
from cnilib.negotiation import VERSIONS
from cnilib.plugin import plugin
from plugins.meta.tuning import backup, sysctls
from plugins.meta.tuning.config import Conf, TeardownConf, check_duplicates, configured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cnilib.attachment import ValidAttachments
    from cnilib.request import Request
    from cnilib.types.result import Result
    from cnilib.undo import ErrorList, Undo
    from plugins.meta.tuning.config import Settings


def add(req: "Request", conf: Conf, undo: "Undo") -> "Result":
    """Save what is there, then change it; refusals by the allow list come before any change."""
    settings = _settings(req, conf)
    if settings.sysctls:
        sysctls.check_allowed(settings.sysctls)
    with Namespace.open(req.netns) as container:
        wanted = settings._replace(sysctls=sysctls.by_path(settings.sysctls, req.ifname))
        before = _current(container, req.ifname, wanted)
        if any(before):
            backup.save(conf.data_dir, req.attachment, before, undo)
        _change(container, req.ifname, wanted, before, undo)
    return _told(req, wanted)


def delete(req: "Request", conf: TeardownConf, errors: "ErrorList") -> None:
    """Put the values from before back; whatever is gone needs none."""
    with errors:
        req.cni_args({"MAC"})
    saved = backup.find(conf.data_dir, req.attachment)
    try:
        container = Namespace.find(req.netns)
    except NetnsError as error:
        errors.failures.append(error)
        container = None
    complete = True
    if saved is not None and container is not None:
        with container:
            complete = _restore(container, req.ifname, saved)
    elif container is not None:
        container.close()
    if complete:
        backup.remove(conf.data_dir, req.attachment)


def check(req: "Request", conf: Conf) -> None:
    """Hold the namespace and the link against the configuration."""
    settings = _settings(req, conf)
    with Namespace.open(req.netns) as container:
        sysctls.check(container, sysctls.by_path(settings.sysctls, req.ifname))
        from plugins.meta.tuning import attributes

        attributes.check(container, req.ifname, settings.attributes)


def gc(req: "Request", conf: TeardownConf, valid: "ValidAttachments", errors: "ErrorList") -> None:
    """Remove the files of attachments of this network that are gone."""
    with errors:
        backup.collect(conf.data_dir, req.network, valid, errors)


def _settings(req: "Request", conf: Conf) -> "Settings":
    if conf.sysctl:
        check_duplicates(req.stdin)
    return configured(conf, req.cni_args({"MAC"}).get("MAC", ""))


def _current(container: Namespace, ifname: str, wanted: "Settings") -> backup.Backup:
    """The values that are to be changed. Only attributes need rtnetlink, which is dear to load."""
    if not wanted.attributes:
        return backup.Backup({}, sysctls.current(container, wanted.sysctls))
    from plugins.meta.tuning import attributes

    values = attributes.current(container, ifname, wanted.attributes)
    return backup.Backup(values, sysctls.current(container, wanted.sysctls))


def _change(
    container: Namespace, ifname: str, wanted: "Settings", before: backup.Backup, undo: "Undo"
) -> None:
    sysctls.write(container, wanted.sysctls, before.sysctls, undo)
    if wanted.attributes:
        from plugins.meta.tuning import attributes

        attributes.change(container, ifname, wanted.attributes, before.attributes, undo)


def _restore(container: Namespace, ifname: str, saved: backup.Backup) -> bool:
    """Whether everything is back; what is not was told on stderr, and its file must stay."""
    failures = sysctls.restore(container, saved.sysctls)
    if saved.attributes:
        from plugins.meta.tuning import attributes

        failures += attributes.restore(container, ifname, saved.attributes)
    for failure in failures:
        warn(f"tuning: {failure}")
    return not failures


def _told(req: "Request", settings: "Settings") -> "Result":
    """The result so far, with what has changed of the container's interface.

    The MTU is a key of results from 1.1.0 on.
    """
    result = req.prev_result
    assert result is not None  # noqa: S101 - chained plugins are not called without one
    since_mtu = VERSIONS[VERSIONS.index("1.1.0") :]
    keys = ("mac", "mtu") if req.cni_version in since_mtu else ("mac",)
    changes: dict[str, object] = {
        key: settings.attributes[key] for key in keys if key in settings.attributes
    }
    interfaces = tuple(
        interface.model_copy(update=changes)
        if interface.name == req.ifname and interface.sandbox
        else interface
        for interface in result.interfaces
    )
    return result.model_copy(update={"interfaces": interfaces})


main = plugin(
    "tuning",
    Conf,
    add=add,
    delete=delete,
    check=check,
    gc=gc,
    delete_conf=TeardownConf,
    chained=True,
)
