"""XML of services: read without namespaces, and never with a document type."""

from __future__ import annotations

import pytest

from argosy import xml_document

_BOMB = '<!DOCTYPE a [<!ENTITY b "bbb">]><a>&b;</a>'


def test_names_have_no_namespaces() -> None:
    root = xml_document.read(b'<a xmlns="urn:x"><b>1</b><!-- no --><b>2</b></a>')
    assert root.tag == "a" and [each.text for each in root.iter("b")] == ["1", "2"]


@pytest.mark.parametrize(
    "text",
    [b"", b"<a>", b"no", b'<?xml version="1.0" encoding="no-such"?><a/>', _BOMB.encode(), _BOMB.encode("utf-16")],
)
def test_what_is_no_xml_or_could_grow_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="is no XML|document type"):
        xml_document.read(text)
