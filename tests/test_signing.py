"""Signed reports: who signed is told, a changed digit is found, and the private key is in no file, message or log."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from precompute.errors import AtlasError, ConfigError, OutputError, StoreError
from sitegen.reports.build import opened, reports
from sitegen.reports.material import ReportOptions
from sitegen.reports.signing import KEY_VARIABLE, read_signer, signature_path, signed_by

from . import site_fixture

OPTIONS = ReportOptions(title="A world", date="2026-01-02")


def pem(key, lock=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed") / "atlas"
    site_fixture.write_synthetic(folder)
    return folder


def write(atlas, folder, signer, options=OPTIONS):
    with opened(atlas, options) as material:
        return next(reports(material, "explanation", ["photo-01-abcdef"], folder, signer=signer))


@pytest.fixture(scope="module")
def signed(atlas, key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "reports"
    write(atlas, folder, read_signer(None, pem(key).decode()))
    return folder


@pytest.fixture
def copied(signed, tmp_path):
    for path in signed.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "explanation-photo-01-abcdef.pdf"


def test_the_key_that_signed_is_told(signed, key):
    reported = [path for path in signed.iterdir() if path.suffix in (".pdf", ".html")]
    assert len(reported) == 2
    for path in reported:
        assert signed_by(path) == key.public_key().public_bytes_raw().hex()


def test_the_same_key_signs_with_the_same_bytes(atlas, signed, key, tmp_path):
    (tmp_path / "key.pem").write_bytes(pem(key))
    for path in write(atlas, tmp_path / "again", read_signer(tmp_path / "key.pem")):
        assert path.read_bytes() == (signed / path.name).read_bytes()


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
def test_a_changed_byte_is_found(copied, place):
    content = bytearray(copied.read_bytes())
    content[int(len(content) * place)] ^= 1
    copied.write_bytes(content)
    with pytest.raises(OutputError, match="was changed after it was signed by the key"):
        signed_by(copied)


@pytest.mark.parametrize("field", ["sha256", "public_key", "signature"])
def test_a_changed_signature_is_found(copied, field):
    beside = signature_path(copied)
    record = json.loads(beside.read_text())
    record[field] = ("0" if record[field][0] != "0" else "1") + record[field][1:]
    beside.write_text(json.dumps(record))
    with pytest.raises(OutputError, match="its signature is not that of the key"):
        signed_by(copied)
    record[field] = "zz"
    beside.write_text(json.dumps(record))
    with pytest.raises((StoreError, OutputError), match=r"is damaged|its signature is not"):
        signed_by(copied)


def test_the_signature_of_another_report_is_none_of_this_one(copied, tmp_path):
    other = tmp_path / "explanation-photo-01-abcdef.html"
    signature_path(copied).write_bytes(signature_path(other).read_bytes())
    with pytest.raises(OutputError, match="was changed after it was signed"):
        signed_by(copied)


def test_a_report_without_a_signature_is_unsigned(copied):
    signature_path(copied).unlink()
    assert signed_by(copied) == ""


def test_a_run_without_a_key_leaves_no_signature_of_another_report(atlas, key, tmp_path):
    folder = tmp_path / "reports"
    write(atlas, folder, read_signer(None, pem(key).decode()))
    (path, *_) = write(atlas, folder, None, ReportOptions(title="Another", date="2026-01-02"))
    assert signed_by(path) == ""
    assert not list(folder.glob("*.sig"))


def test_the_private_key_is_in_no_file(signed, key):
    secret = key.private_bytes_raw()
    body = pem(key).decode().splitlines()[1]
    for path in signed.iterdir():
        content = path.read_bytes()
        assert secret not in content
        assert secret.hex().encode() not in content
        assert body.encode() not in content


def test_what_is_no_key_is_refused_and_never_shown(key, tmp_path):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for content, told in {
        b"not-a-key-but-secret": "holds no private key of Ed25519",
        pem(other): "holds no private key of Ed25519",
        pem(key)[:-40]: "holds no private key of Ed25519",
        pem(key, BestAvailableEncryption(b"word")): "locked by a passphrase",
    }.items():
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        for read in (lambda: read_signer(path), lambda: read_signer(None, content.decode())):  # noqa: B023
            with pytest.raises(ConfigError, match=told) as caught:
                read()
            assert content.decode()[:60] not in str(caught.value)
            assert caught.value.__cause__ is None
    with pytest.raises(StoreError):
        read_signer(tmp_path / "nowhere.pem")
    assert read_signer(None, "") is None


def test_the_command_line_tells_the_key_and_wants_the_right_one(copied, key, monkeypatch, capsys):
    from precompute import cli

    public = key.public_key().public_bytes_raw().hex()
    monkeypatch.setenv(KEY_VARIABLE, pem(key).decode())
    arguments = cli.build_parser().parse_args(["verify", str(copied), "--signed-by", "ab" * 32])
    with pytest.raises(AtlasError, match=f"is signed by {public}, and not by {'ab' * 32}"):
        cli._verify(arguments)
    assert f"signed    {copied}: by the key {public}" in capsys.readouterr().out
