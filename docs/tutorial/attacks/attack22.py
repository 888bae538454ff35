import signal
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
import trio.testing
import trustme

from harness import Step


def write(file: Path, authority: trustme.CA) -> bytes:
    """Write a new certificate with its key, and return it as clients see it."""
    issued = authority.issue_cert("localhost")
    file.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


async def attack(step: Step) -> None:
    """Garbage and silence come instead of a handshake; the certificate is renewed, and then replaced by nonsense."""
    authority = trustme.CA()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)

    async def presented() -> bytes | None:
        async with trio.SSLStream(await step.connect(8443), client, server_hostname="localhost") as stream:
            await stream.do_handshake()
            certificate: bytes | None = stream.getpeercert(binary_form=True)
            return certificate

    with TemporaryDirectory() as folder:
        file = Path(folder, "finger.pem")
        first = write(file, authority)
        async with step.running(certificate_file=file), await step.connect(8443):  # this one stays silent
            assert (await step.ask(b"GET / HTTP/1.0\r\n\r\n", port=8443))[:1] != b"H"
            assert await presented() == first
            second = write(file, authority)
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
            assert await presented() == second, "it goes on with the old certificate"
            file.write_bytes(authority.cert_pem.bytes())  # a certificate without its key
            signal.raise_signal(signal.SIGHUP)
            await trio.testing.wait_all_tasks_blocked()
            assert await presented() == second
            assert await step.ask(b"moshez\r\n") == b"Happy and well\r\n"
