"""Many ports and one program: pages over TLS, too, with certificates that can be replaced while it serves."""

import logging
import signal
import ssl
import tempfile
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from finger19_1 import Backend
from finger19a import MemoryBackend
from finger20 import make_app
from finger21 import LiveService, add_feed
from house.doors import finger, open_door, setter
from house.web import serve_web

LOG = logging.getLogger("finger")
CERTIFICATE = Path(tempfile.gettempdir(), "finger.pem")  # the certificate chain and the key, in one file
HANDSHAKE = 10.0  # seconds for a TLS handshake


class Certificate:
    """A TLS context whose certificate can change. Open connections keep theirs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])
        self.context.load_cert_chain(path)

    def reload(self) -> None:
        """Load the file again. Raise OSError, and change nothing, if it is not a certificate with its key."""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._path)  # half of a pair would stay loaded
        self.context.load_cert_chain(self._path)


class TLSConfig(Config):
    """Hypercorn's configuration with a TLS context of ours."""

    def __init__(self, certificate: Certificate) -> None:
        super().__init__()
        self.certfile = self.keyfile = ""  # they are not None, which switches TLS on
        self.ssl_handshake_timeout = HANDSHAKE
        self._certificate = certificate

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._certificate.context


async def reload_at_hangup(
    certificate: Certificate, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Load the certificate again at each SIGHUP."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            try:
                certificate.reload()
            except OSError as error:
                LOG.warning("keeping the certificate of before: %s", error)


async def main(
    backend: Backend | None = None,
    host: str = "127.0.0.1",
    certificate_file: Path = CERTIFICATE,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    service = LiveService(backend or MemoryBackend())
    certificate = Certificate(certificate_file)
    config = TLSConfig(certificate)
    config.bind = [f"{host}:8443"]
    config.errorlog = None
    app = add_feed(make_app(service), service)
    async with trio.open_nursery() as nursery:
        await nursery.start(reload_at_hangup, certificate)
        await nursery.start(open_door(finger, service, host, 7979))
        await nursery.start(open_door(setter, service, host, 1079))
        await nursery.start(serve_web, add_feed(make_app(service), service), host, 8000)
        await nursery.start(partial(serve, app, config, shutdown_trigger=trio.sleep_forever))
        task_status.started()


if __name__ == "__main__":
    trio.run(main)
