"""Names and owners of the links in which packets wait."""

from hypothesis import given
from hypothesis import strategies as st

from cnilib.attachment import Attachment
from cnilib.kernel.link_messages import Link
from plugins.meta.bandwidth.queues import alias, is_owned, names

_LETTERS = st.sampled_from("abcXYZ019_.-")
IDS = st.text(_LETTERS, max_size=400).map("a".__add__)
ATTACHMENTS = st.builds(Attachment, IDS, IDS, st.text(_LETTERS, min_size=1, max_size=15))


def link(kind="ifb", alias=""):
    fields = dict.fromkeys(Link._fields)
    return Link(**fields | {"kind": kind, "alias": alias})


def test_the_first_name_is_that_of_the_page():
    assert names(Attachment("n1", "cid1", "eth0"))[0] == "bwpca7a875c2b85"


@given(attachment=ATTACHMENTS)
def test_names_and_alias_fit_the_kernel(attachment):
    for name in names(attachment):
        assert (len(name), name[:3]) == (15, "bwp")
    assert len(alias(attachment)) < 256


@given(first=ATTACHMENTS, second=ATTACHMENTS)
def test_a_link_is_owned_by_the_one_in_its_alias(first, second):
    assert is_owned(link(alias=alias(first)), first)
    assert is_owned(link(alias=alias(first)), second) == (first == second)
    assert names(first)[1] == names(second)[1] or first != second


@given(attachment=ATTACHMENTS)
def test_a_link_of_the_reference_has_no_alias(attachment):
    assert is_owned(link(), attachment)
    assert not is_owned(link(kind="dummy"), attachment)
    assert not is_owned(link(alias="backup line"), attachment)
