import hashlib
import os
import re
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from coatnet import UserError
from coatnet.data import fetch
from tests.data.server import serve

CONTENT = bytes(range(256)) * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/file.zip"


@pytest.fixture(autouse=True)
def no_waiting_and_no_proxy(monkeypatch):
    monkeypatch.setattr("coatnet.data.download.BACKOFF", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # counts before NO_PROXY


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "file.zip"


def test_a_file_arrives_whole(path):
    with serve(CONTENT) as server:
        fetch([server.url], SHA256, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_broken_connection_goes_on_where_it_broke(path):
    with serve(CONTENT, breaks=2) as server:
        fetch([server.url], SHA256, path)
    assert path.read_bytes() == CONTENT
    sizes = [int(asked.removeprefix("bytes=")[:-1]) for asked in server.asked[1:]]
    assert 0 < sizes[0] < sizes[1] < len(CONTENT)


def test_more_breaks_than_tries_are_borne_while_bytes_arrive(path):
    with serve(CONTENT, breaks=6) as server:
        fetch([server.url], SHA256, path)
    assert path.read_bytes() == CONTENT


def test_what_an_earlier_call_left_is_continued(path):
    path.parent.mkdir()
    path.write_bytes(CONTENT[:1000])
    with serve(CONTENT) as server:
        fetch([server.url], SHA256, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_server_without_ranges_starts_over(path):
    path.parent.mkdir()
    path.write_bytes(CONTENT[:1000])
    with serve(CONTENT, ranges=False) as server:
        fetch([server.url], SHA256, path)
    assert path.read_bytes() == CONTENT


def test_a_file_already_whole_is_not_fetched_again(path):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    with serve(CONTENT) as server:
        fetch([server.url], SHA256, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_start_of_another_file_is_given_up(path):
    path.parent.mkdir()
    path.write_bytes(b"another" * 1000)
    with serve(CONTENT) as server:
        fetch([server.url, server.url], SHA256, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=7000-", None]


def test_a_wrong_file_is_deleted_and_both_hashes_named(path):
    with serve(b"wrong") as server, pytest.raises(UserError) as raised:
        fetch([server.url], SHA256, path)
    assert SHA256 in str(raised.value)
    assert hashlib.sha256(b"wrong").hexdigest() in str(raised.value)
    assert not path.exists()


def test_addresses_are_tried_in_turn(path):
    with serve(b"", status=404) as gone, serve(b"", status=503) as busy, serve(CONTENT) as server:
        fetch([NOWHERE, gone.url, busy.url, server.url], SHA256, path)
    assert path.read_bytes() == CONTENT
    assert len(gone.asked) == 1  # asking again would not help
    assert len(busy.asked) == 4


def test_no_network_says_what_was_tried_and_what_else_to_do(path):
    with serve(b"", status=404) as gone, pytest.raises(UserError) as raised:
        fetch([NOWHERE, gone.url, "file.zip"], SHA256, path, ", or use a copy")
    message = str(raised.value)
    assert f"{NOWHERE}: no connection; {gone.url}: 404 Not Found; file.zip: Invalid URL" in message
    assert message.endswith("try again later, or use a copy")


@pytest.mark.parametrize("url", ["http://a..b/", "http://" + "a" * 70 + ".x/", "http://[::1/x", "http://a:port/"])
def test_what_is_no_address_is_said(path, url):
    with pytest.raises(UserError, match=rf"failed \({re.escape(url)}: Failed to parse: .*\): try again") as raised:
        fetch([url], SHA256, path)
    assert "\n" not in str(raised.value)


def test_certificates_that_are_not_there_are_named(path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(UserError, match=r"https://127\.0\.0\.1:9/: .*/nowhere/ca\.pem\): try again"):
        fetch(["https://127.0.0.1:9/"], SHA256, path)


def test_a_certificate_that_is_not_trusted_is_named_at_once(path, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    own = signed.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    (tmp_path / "own.pem").write_bytes(
        own + key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    with serve(CONTENT) as server:
        asked = []
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.get_request = lambda: asked.append(1) or type(server).get_request(server)
        with pytest.raises(UserError, match=r": its certificate is not trusted here\)"):
            fetch([server.url.replace("http:", "https:")], SHA256, path)
    assert len(asked) == 1  # asking again would not help


def test_a_proxy_that_is_not_there_is_named(path, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://example\.org/: the proxy does not answer"):
        fetch(["http://example.org/"], SHA256, path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(path):
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with serve(CONTENT) as server, pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        fetch([server.url], SHA256, path)
