"""From a request to the answer: order of the rules, undo, and what DEL still does."""

import pytest

from cnilib.errors import CniError, ConfigError, DecodeError, NetnsError, VersionError
from cnilib.plugin import answer, plugin
from cnilib.request import Request
from cnilib.types.config import NetConf
from cnilib.types.result import Interface, IPConfig, Result

OWN = "/proc/self/ns/net"


class Recorder:
    """A plugin that does nothing but remember what it was asked."""

    def __init__(self, result=None, **options):
        self.calls = []
        self.result = result or Result(interfaces=(Interface(name="eth0"),))
        self.main = plugin(
            "recorder",
            NetConf,
            add=self.add,
            delete=self.delete,
            check=lambda req, conf: self.calls.append("check"),
            gc=lambda req, conf, valid, errors: self.calls.append(("gc", valid)),
            **options,
        )

    def add(self, req, conf, undo):
        undo.add("forget", self.calls.append, "undone")
        self.calls.append("add")
        return self.result

    def delete(self, req, conf, errors):
        self.calls.append(("delete", req.netns))

    def ask(self, command, document=None, netns="/run/netns/missing", **environ):
        environ = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "k1",
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
        } | environ
        document = {"name": "n", "cniVersion": "1.1.0"} | (document or {})
        return answer(Request("recorder", environ, b"", document), "0.1.0", lambda: self.main)


def test_add_prints_the_result_in_the_configured_version():
    assert b'"cniVersion": "0.3.1"' in Recorder().ask("ADD", {"cniVersion": "0.3.1"})


def test_a_result_that_the_version_cannot_tell_undoes_the_add():
    recorder = Recorder()
    with pytest.raises(CniError, match="cannot convert"):
        recorder.ask("ADD", {"cniVersion": "0.2.0"})
    assert recorder.calls == ["add", "undone"]


def test_the_own_namespace_is_refused_before_add_does_anything():
    recorder = Recorder()
    with pytest.raises(NetnsError, match="should not be the same"):
        recorder.ask("ADD", netns=OWN)
    assert recorder.calls == []


def test_del_in_the_own_namespace_cleans_up_without_it_and_reports_it():
    recorder = Recorder()
    with pytest.raises(NetnsError):
        recorder.ask("DEL", netns=OWN)
    assert recorder.calls == [("delete", "")]


@pytest.mark.parametrize("value", ["1", "true", "TRUE"])
def test_the_own_namespace_is_allowed_when_the_runtime_insists(value):
    recorder = Recorder()
    recorder.ask("ADD", netns=OWN, CNI_NETNS_OVERRIDE=value)
    assert recorder.calls == ["add"]


def test_the_version_is_checked_before_the_namespace():
    with pytest.raises(VersionError):
        Recorder().ask("ADD", {"cniVersion": "9.0.0"}, netns=OWN)


@pytest.mark.parametrize("command", ["ADD", "CHECK"])
def test_a_chained_plugin_needs_a_prev_result(command):
    with pytest.raises(ConfigError, match="Required prevResult missing"):
        Recorder(chained=True).ask(command)


def test_a_chained_plugin_deletes_without_a_prev_result():
    recorder = Recorder(chained=True)
    recorder.ask("DEL")
    assert recorder.calls == [("delete", "/run/netns/missing")]


def test_a_key_of_another_type_is_a_decode_error_that_names_it():
    with pytest.raises(DecodeError, match="ipam"):
        Recorder().ask("ADD", {"ipam": "host-local"})


def test_gc_without_a_list_does_nothing():
    recorder = Recorder()
    assert recorder.ask("GC") == b""
    assert recorder.calls == []


def test_gc_with_null_means_that_nothing_is_valid():
    recorder = Recorder()
    recorder.ask("GC", {"cni.dev/valid-attachments": None})
    ((_, valid),) = recorder.calls
    assert ("k1", "eth0") not in valid


def test_gc_prefers_the_final_key_over_that_of_the_drafts():
    recorder = Recorder()
    refs = [{"containerID": "k1", "ifName": "eth0"}]
    recorder.ask("GC", {"cni.dev/attachments": refs, "cni.dev/valid-attachments": []})
    recorder.ask("GC", {"cni.dev/attachments": refs})
    (_, final), (_, draft) = recorder.calls
    assert ("k1", "eth0") not in final
    assert ("k1", "eth0") in draft
    assert draft.has_container("k1")


def test_status_without_a_handler_succeeds():
    assert Recorder().ask("STATUS") == b""


def test_an_address_of_the_result_needs_no_interface():
    result = Result(ips=(IPConfig(address="192.0.2.5/24"),))
    assert b'"ip": "192.0.2.5/24"' in Recorder(result).ask("ADD", {"cniVersion": "0.1.0"})
