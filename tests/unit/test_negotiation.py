"""Which version goes with which command."""

import pytest

from cnilib.errors import DecodeError, VersionError
from cnilib.negotiation import VERSIONS, about_text, check_version, version_document


@pytest.mark.parametrize("version", VERSIONS)
def test_add_and_del_take_every_supported_version(version):
    check_version("ADD", version, "0.1.0")
    check_version("DEL", version, "0.1.0")


@pytest.mark.parametrize(
    ("command", "version"),
    [("ADD", "1.0"), ("ADD", "7.0.0"), ("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")],
)
def test_a_version_that_does_not_go_with_the_command_is_refused(command, version):
    with pytest.raises(VersionError) as refused:
        check_version(command, version, "0.1.0")
    assert version in refused.value.details


def test_a_plugin_refuses_versions_older_than_its_oldest():
    with pytest.raises(VersionError):
        check_version("ADD", "0.3.1", "0.4.0")


@pytest.mark.parametrize("version", ["one", "1.0.0.0", "1..0", "-1.0.0", "\u0661.0.0"])
def test_check_gc_and_status_need_a_version_of_integers(version):
    for command in ("CHECK", "GC", "STATUS"):
        with pytest.raises(DecodeError):
            check_version(command, version, "0.1.0")


def test_version_document_lists_from_the_oldest_on():
    assert version_document("0.4.0") == (
        '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}\n'
    )


def test_about_text_has_the_line_that_nerdctl_parses():
    first, second = about_text("firewall", "0.4.0").splitlines()
    assert first == "CNI firewall plugin v2.0.0"
    assert second == "CNI protocol versions supported: 0.4.0, 1.0.0, 1.1.0"
