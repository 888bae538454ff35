"""TLS 1.3 or nothing: one line, and a test that tries 1.2."""

import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
import trustme

from finger22 import CERTIFICATE, Certificate
from harness import Step


async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
    try:
        with trio.move_on_after(10):
            await stream.send_all(b"Welcome\r\n")
            await stream.aclose()
    except trio.BrokenResourceError:
        pass


async def main(certificate_file: Path = CERTIFICATE, host: str = "127.0.0.1", port: int = 8443) -> None:
    context = Certificate(certificate_file).context
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    await trio.serve_ssl_over_tcp(serve, port, context, host=host)


async def check(step: Step) -> None:
    authority = trustme.CA()
    old, new = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with TemporaryDirectory() as folder:
        file = Path(folder, "finger.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
        async with step.running(certificate_file=file):
            for context, expected in ((new, b"Welcome\r\n"), (old, b"")):
                authority.configure_trust(context)
                answer = b""
                try:
                    transport = await step.connect(8443)
                    async with trio.SSLStream(transport, context, server_hostname="localhost") as stream:
                        answer = bytes(await stream.receive_some())
                except trio.BrokenResourceError:
                    pass
                assert answer == expected


if __name__ == "__main__":
    trio.run(main)
