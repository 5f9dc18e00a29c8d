"""XML that a service has answered with."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("has a document type")


def read(text: bytes) -> ElementTree.Element:
    """The root, the names in it without namespaces. Raises ValueError if it is no XML, or has a document type, which
    could name entities that grow without end.
    """
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(text)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError("is no XML") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
