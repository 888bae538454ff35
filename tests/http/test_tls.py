"""Certificates and keys: what is wrong with which file."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from fingertrio.http.tls import CertificateError, make_tls_context


class Files(NamedTuple):
    certificate: Path
    key: Path
    both: Path
    encrypted: Path
    anothers: Path
    junk: Path
    broken: Path
    missing: Path
    directory: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    here = tmp_path_factory.mktemp("tls")
    files = Files(*(here / f"{name}.pem" for name in Files._fields))
    authority = trustme.CA()
    pair, another = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    pair.cert_chain_pems[0].write_to_path(files.certificate)
    pair.private_key_pem.write_to_path(files.key)
    pair.private_key_and_cert_chain_pem.write_to_path(files.both)
    another.private_key_pem.write_to_path(files.anothers)
    encrypt: list[str | Path] = [
        "openssl",
        "pkey",
        "-in",
        files.key,
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        files.encrypted,
    ]
    subprocess.run(encrypt, check=True, capture_output=True)
    files.junk.write_bytes(b"\xff no certificate\n")
    files.broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    files.directory.mkdir()
    return files


def test_what_belongs_together_is_taken_in_two_files_or_in_one(files: Files) -> None:
    for context in (make_tls_context(files.certificate, files.key), make_tls_context(files.both, None)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_remarks_in_a_certificate_s_file_do_no_harm(files: Files, tmp_path: Path) -> None:
    (tmp_path / "remarks.pem").write_bytes("für uns\n".encode() + files.both.read_bytes())
    make_tls_context(tmp_path / "remarks.pem", None)


@pytest.mark.parametrize(
    ("certfile", "keyfile", "which", "reason"),
    [
        ("missing", "key", "certfile", "cannot be read: No such file or directory"),
        ("directory", "key", "certfile", "cannot be read: Is a directory"),
        ("certificate", "missing", "keyfile", "cannot be read: No such file or directory"),
        ("junk", "key", "certfile", "does not contain a certificate in PEM format"),
        ("broken", "key", "certfile", "does not contain a certificate in PEM format"),
        ("key", "key", "certfile", "does not contain a certificate in PEM format"),
        ("certificate", "junk", "keyfile", "does not contain a private key in PEM format"),
        ("certificate", "certificate", "keyfile", "does not contain a private key in PEM format"),
        ("certificate", None, "certfile", "does not contain a private key in PEM format"),
        ("certificate", "anothers", "keyfile", 'does not belong to the certificate in "{certificate}"'),
        ("certificate", "encrypted", "keyfile", "is encrypted; decrypt the key first, for example with openssl pkey"),
    ],
)
def test_each_mistake_names_its_file(files: Files, certfile: str, keyfile: str | None, which: str, reason: str) -> None:
    chain, key = getattr(files, certfile), None if keyfile is None else getattr(files, keyfile)
    with pytest.raises(CertificateError) as caught:
        make_tls_context(chain, key)
    assert caught.value.which == which
    assert str(caught.value) == f'"{chain if which == "certfile" else key}" ' + reason.format(**files._asdict())


def test_a_certificate_that_openssl_finds_too_weak_is_named_with_its_reason(tmp_path: Path) -> None:
    certificate, key = tmp_path / "weak.pem", tmp_path / "weak.key"
    make: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:1024",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*make, "-subj", "/CN=localhost"], check=True, capture_output=True)
    with pytest.raises(CertificateError, match=r'^".*/weak\.pem" cannot be used: ee key too small$'):
        make_tls_context(certificate, key)
