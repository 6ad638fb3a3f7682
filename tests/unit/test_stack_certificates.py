"""The local CA and what it signs."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from stack import certificates
from stack.run_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path)
    certificates.make(made, ("edge", "tweet_svc"))
    return made


def contents(run: RunDir) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}


def leaf(run: RunDir, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((run.certs / f"{name}.pem").read_bytes())


def test_each_service_has_its_spiffe_id(run: RunDir) -> None:
    for name in ("edge", "tweet_svc", "operator"):
        names = (
            leaf(run, name).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        )
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"spiffe://starling/{name}"
        ]


def test_clients_that_trust_the_ca_trust_the_edge(run: RunDir) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(run.certs / "localhost.pem", run.certs / "localhost.key")
    client = ssl.create_default_context(cafile=str(run.ca))
    for host in ("localhost", "127.0.0.1", "::1"):
        handshake(client, server, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "example.org")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = [False, False]
    while not all(done):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                continue


def test_keys_are_their_owners_alone(run: RunDir) -> None:
    keys = [*run.certs.glob("*.key"), *run.keys.iterdir()]
    assert len(keys) == 7
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_a_second_time_changes_nothing(run: RunDir) -> None:
    before = contents(run)
    certificates.make(run, ("edge", "tweet_svc"))
    assert contents(run) == before


def test_what_ends_soon_is_made_anew(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run)
    monkeypatch.setattr(certificates, "RENEW_BEFORE", certificates.LEAF_LIFETIME)
    certificates.make(run, ("edge", "tweet_svc"))
    after = contents(run)
    changed = {
        path.relative_to(run.root).as_posix() for path in before if before[path] != after[path]
    }
    leaves = ("edge", "tweet_svc", "operator", "localhost")
    assert changed == {f"certs/{name}.{part}" for name in leaves for part in ("pem", "key")}


@pytest.mark.parametrize("lost", ["ca.pem", "certs/ca.key"])
def test_a_lost_ca_is_replaced_with_all_that_it_signed(run: RunDir, lost: str) -> None:
    (run.root / lost).unlink()
    certificates.make(run, ("edge", "tweet_svc"))
    ca = x509.load_pem_x509_certificate(run.ca.read_bytes())
    for name in ("edge", "tweet_svc", "operator", "localhost"):
        leaf(run, name).verify_directly_issued_by(ca)


def test_a_damaged_certificate_is_made_anew(run: RunDir) -> None:
    (run.certs / "edge.pem").write_text("damaged")
    certificates.make(run, ("edge", "tweet_svc"))
    leaf(run, "edge")
