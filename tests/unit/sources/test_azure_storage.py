"""What of the ``azureQueueStorage`` source needs no queue: connection strings, the signature, what a message becomes.

The rest runs against Azurite: ``tests/peers/test_azure_queue_storage.py``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from argosy.errors import ConfigError, EventInvalid
from argosy.registry import wrap
from argosy.sources._azure_storage import Account, parse, signed
from argosy.sources._raw import Raw
from argosy.sources.azure_queue_storage import AzureQueueStorageConfig

KEY = base64.b64encode(b"a key of nobody").decode()


def test_connection_strings_are_read_as_azure_writes_them() -> None:
    sas = parse("QueueEndpoint=https://a.queue.core.windows.net/;SharedAccessSignature=?sv=2021&sig=x%3D")
    assert sas == Account("https://a.queue.core.windows.net", signature="sv=2021&sig=x%3D")
    plain = parse(f" AccountName=a; AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn")
    assert plain == Account("https://a.queue.core.chinacloudapi.cn", "a", base64.b64decode(KEY))
    assert parse("UseDevelopmentStorage=true").url == "http://127.0.0.1:10001/devstoreaccount1"
    assert KEY not in repr(plain) and "sig" not in repr(sas)


@pytest.mark.parametrize("wrong", ["", "nonsense", "AccountName=a", f"AccountKey={KEY}", "AccountName=a;AccountKey=n!"])
def test_what_is_no_connection_string_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(ConfigError, match="connection string") as raised:
        parse(wrong)
    assert not wrong or wrong not in str(raised.value)


def test_the_signature_covers_method_headers_and_the_sorted_query() -> None:
    # Twelve lines of headers that the call does not have, ours, then the resource ("Authorize with Shared Key").
    url = "https://a.queue.core.windows.net/q/messages?visibilitytimeout=5&numofmessages=2"
    headers = {"x-ms-version": "2021-12-02", "x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT"}
    wanted = (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2021-12-02\n"
        "/a/q/messages\nnumofmessages:2\nvisibilitytimeout:5"
    )
    made = signed("GET", url, headers, Account("https://a.queue.core.windows.net", "a", b"key"))
    assert made == base64.b64encode(hmac.digest(b"key", wanted.encode(), hashlib.sha256)).decode()


@pytest.mark.parametrize("text", ["eyJ0ZXh0IjoiPz8_In0=", "eyJ0ZXh0IjoiPz8/In0=", "eyJ0ZXh0\nIjoiPz8/In0="])
def test_a_message_in_base64_is_decoded_in_either_alphabet(text: str) -> None:
    config = AzureQueueStorageConfig(queue_name="q", storage_account_name="a", json_body=True, decode_message=True)
    data, name = wrap("azureQueueStorage", config, Raw(text.encode(), {"messageID": "m-1"}))
    assert data == b'{"body":{"text":"???"},"messageID":"m-1","insertionTime":"1970-01-01T00:00:00Z"}'
    assert name == "m-1"
    for wrong in ("eyJ0ZXh0IjoiPz8_In0", "no base64!", "a-b/"):
        with pytest.raises(EventInvalid, match="not base64"):
            wrap("azureQueueStorage", config, Raw(wrong.encode()))
    with pytest.raises(EventInvalid, match="insertionTime"):
        wrap("azureQueueStorage", config, Raw(text.encode(), {"insertionTime": "now"}))
