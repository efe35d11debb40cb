"""host-device: what is kept of a device, and which keys name one."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnilib.attachment import Attachment
from cnilib.errors import ConfigError, IoError
from cnilib.types.base import decode
from plugins.main.host_device import devices, state
from plugins.main.host_device.conf import Conf
from plugins.main.host_device.devices import Selectors, is_for_user_space, selectors
from plugins.main.host_device.state import Saved

PCI = "0000:3b:00.1"
A = Attachment("net", "c1", "eth0")
TEXT = st.text(max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,150}", fullmatch=True)
SAVED = st.builds(
    Saved,
    st.builds(Attachment, NAMES, NAMES, st.from_regex(r"[a-z0-9]{1,15}", fullmatch=True)),
    *(TEXT, TEXT, st.integers(1), TEXT, TEXT, st.integers(0), TEXT, st.booleans()),
)


def saved(attachment):
    return Saved(attachment, "/run/netns/x", "dev0", 3, "", "02:00:00:00:00:01", 1500, "", True)


@given(SAVED)
def test_what_is_saved_is_found_until_it_is_forgotten(tmp_path_factory, device):
    directory = str(tmp_path_factory.mktemp("state"))
    state.save(directory, device)
    assert state.find(directory, device.attachment) == device
    assert list(state.of_network(directory, device.attachment.network, before=2e9 * 2)) == [device]
    state.forget(directory, device.attachment)
    assert os.listdir(directory) == []


def test_attachments_whose_names_look_the_same_are_kept_apart(tmp_path):
    first, second = Attachment("a", "b-c", "eth0"), Attachment("a-b", "c", "eth0")
    state.save(str(tmp_path), saved(first))
    with pytest.raises(IoError, match="belongs to"):
        state.save(str(tmp_path), saved(second))
    assert state.find(str(tmp_path), second) is None
    state.forget(str(tmp_path), second)
    assert state.find(str(tmp_path), first) == saved(first)


def test_a_state_younger_than_gc_is_not_told(tmp_path):
    state.save(str(tmp_path), saved(A))
    assert list(state.of_network(str(tmp_path), "net", before=0)) == []
    assert list(state.of_network(str(tmp_path / "none"), "net", before=0)) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"attachment": {}}', '"x"'])
def test_a_broken_file_tells_nothing(tmp_path, text):
    state.save(str(tmp_path), saved(A))
    (tmp_path / "net-c1-eth0.json").write_text(text)
    assert state.find(str(tmp_path), A) is None
    assert list(state.of_network(str(tmp_path), "net", before=2e9 * 2)) == []


@pytest.fixture
def sysfs(tmp_path, monkeypatch):
    """A sysfs with one PCI device and one auxiliary device."""
    for path in (f"pci/{PCI}", "auxiliary/mlx5_core.sf.4", "drivers/vfio-pci", "drivers/mlx5_core"):
        (tmp_path / path).mkdir(parents=True)
    monkeypatch.setattr(devices, "_PCI", str(tmp_path / "pci"))
    monkeypatch.setattr(devices, "_AUXILIARY", str(tmp_path / "auxiliary"))
    return tmp_path


def conf(**keys):
    return decode(Conf, {"name": "n"} | keys)


def test_the_runtime_s_device_wins_over_the_configured_address(sysfs):
    runtime = {"deviceID": PCI}
    assert selectors(conf(pciBusID="other", runtimeConfig=runtime)).pci == PCI


def test_an_auxiliary_device_leaves_no_pci_address(sysfs):
    runtime = {"deviceID": "mlx5_core.sf.4"}
    found = selectors(conf(pciBusID=PCI, runtimeConfig=runtime))
    assert found == Selectors("", "", "", "", "mlx5_core.sf.4")


@pytest.mark.parametrize("device_id", ["x", "..", ".", f"../pci/{PCI}", "a\0b"])
def test_a_device_id_that_is_none_is_refused(sysfs, device_id):
    with pytest.raises(ConfigError, match="not found or unsupported"):
        selectors(conf(device="dev0", runtimeConfig={"deviceID": device_id}))


def test_one_key_must_name_a_device(sysfs):
    with pytest.raises(ConfigError, match="no device"):
        selectors(conf(device="", hwaddr=None))


@pytest.mark.parametrize(("driver", "expected"), [("vfio-pci", True), ("mlx5_core", False)])
def test_the_driver_decides_whether_a_program_has_the_device(sysfs, driver, expected):
    (sysfs / f"pci/{PCI}/driver").symlink_to(sysfs / f"drivers/{driver}")
    assert is_for_user_space(Selectors("dev0", "", "", PCI, "")) == expected


@pytest.mark.parametrize("address", [PCI, "0000:00:00.0", "../pci"])
def test_an_address_without_device_or_driver_is_refused(sysfs, address):
    with pytest.raises(ConfigError, match="error with host device"):
        is_for_user_space(Selectors("", "", "", address, ""))
