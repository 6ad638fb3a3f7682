"""The local mesh's identities: a CA of its own, a leaf for each one that speaks TLS, and keys.

`make` writes, below the run directory:

    ca.pem                  the CA's certificate, for clients
    certs/ca.key            the CA's key
    certs/localhost.*       (.pem and .key) what the edge shows to clients
    certs/NAME.*            `spiffe://starling/NAME`: what a sidecar shows to another
    keys/jwt.pem            signs access tokens (EC P-256)
    keys/page_token.key     signs page tokens

Keys are readable by their owner alone. A certificate that ends within RENEW_BEFORE is made anew, by the
next `up`; keys of tokens stay, so that tokens outlive a restart.
"""

import datetime as dt
import os
import secrets
import sys
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stack.run_dir import RunDir

TRUST_DOMAIN = "starling"
OPERATOR = "operator"
"""The identity of whoever works on the mesh from this machine's command line."""
PUBLIC_NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
)
CA_LIFETIME = dt.timedelta(days=1825)
LEAF_LIFETIME = dt.timedelta(days=397)
RENEW_BEFORE = dt.timedelta(days=60)
CLOCK_SKEW = dt.timedelta(minutes=5)


def make(run: RunDir, services: tuple[str, ...]) -> None:
    """Writes what is missing or ends soon: `services` are those that get a SPIFFE id, OPERATOR besides."""
    for directory in (run.certs, run.keys):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca, ca_key = _authority(run)
    _leaf(run.certs, "localhost", PUBLIC_NAMES, ca, ca_key)
    for name in (*services, OPERATOR):
        spiffe_id = x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}/{name}")
        _leaf(run.certs, name, (spiffe_id,), ca, ca_key)
    if not (run.keys / "jwt.pem").exists():
        _write(run.keys / "jwt.pem", _pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
    if not (run.keys / "page_token.key").exists():
        _write(run.keys / "page_token.key", secrets.token_hex(32).encode(), 0o600)


def _authority(run: RunDir) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key_file = run.certs / "ca.key"
    if (ca := _current(run.ca)) and key_file.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == ca.public_key():
            return ca, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Starling local CA")])
    ca = (
        _builder(name, name, key.public_key(), CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(key_file, _pem(key), 0o600)
    _write(run.ca, ca.public_bytes(serialization.Encoding.PEM), 0o644)
    return ca, key


def _leaf(
    directory: Path,
    name: str,
    names: tuple[x509.GeneralName, ...],
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
) -> None:
    file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    if (leaf := _current(file)) and key_file.exists() and _issued_by(leaf, ca):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    leaf = (
        _builder(subject, ca.subject, key.public_key(), LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(key_file, _pem(key), 0o600)
    _write(file, leaf.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _current(file: Path) -> x509.Certificate | None:
    """The certificate in `file`, unless there is none, it is damaged, or ends soon."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        return None
    ends_soon = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) < RENEW_BEFORE
    return None if ends_soon else certificate


def _issued_by(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except Exception:  # whichever way it is not, it is made anew
        return False
    return True


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(file: Path, content: bytes, mode: int) -> None:
    """Replaces `file`, which is never readable by others than `mode` says."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as output:
        output.write(content)
    os.replace(new, file)


def main() -> None:
    """`python -m stack.certificates RUN_DIR SERVICE...`"""
    root, *services = sys.argv[1:]
    make(RunDir(Path(root)), tuple(services))


if __name__ == "__main__":
    main()
