"""The settings of our side of an HTTP/2 connection, above all how many streams the client may open."""

from __future__ import annotations

from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from fingertrio.http.limits import HEADER_LIMIT

# Requests at work on one connection. A page takes three, and each may be a list of a megabyte. RFC 9113 section 5.1.2
# recommends a hundred, for clients that need many at once: they open another connection, which the limits count.
STREAMS = 4

# WebSockets on one connection, in addition. A browser opens all those of a site over one connection.
TUNNELS = 32

# Streams that h2 lets a client open before it ends the connection. More than the settings announce: requests that
# are sent before they arrive are refused, not punished. Clients assume a hundred until then.
_TOLERATED = 100


class StreamLimit:
    """Tells the client how many streams it may open, and lets h2 tolerate more."""

    def __init__(self, connection: H2Connection) -> None:
        self._h2 = connection

    def start(self) -> None:
        """Begin the connection with our settings."""
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIMIT,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self._h2.initiate_connection()
        self.tolerate()

    def announce(self, tunnels: int) -> None:
        """Let the client open as many requests as before, beside so many WebSockets."""
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS + tunnels})

    def tolerate(self) -> None:
        """To be called again whenever the client has acknowledged settings: h2 then enforces what was announced."""
        settings = self._h2.local_settings
        settings[SettingCodes.MAX_CONCURRENT_STREAMS] = _TOLERATED
        settings.acknowledge()
