"""For responses that the express lane repeats: limits, log and metrics, as the layers of the application have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fingertrio.frontends.web.peers import client_behind, plain_peer
from fingertrio.frontends.web.replaying import ReplayNote
from fingertrio.http.lane import Sender
from fingertrio.net.limits import ConnectionCaps, RateLimiter
from fingertrio.net.proxies import TrustedProxies
from fingertrio.observe.observer import Observer

_FORWARDED_FOR = b"x-forwarded-for"


class WebLedger:
    """The limits, log and metrics of repeated responses. A `http.lane.Ledger`.

    Args:
        observer: logs and counts.
        proxies: returns the trusted proxies of the moment.
        rate: how often one address may send a request.
        caps: how many requests of one address may be in progress behind a proxy.
    """

    def __init__(
        self,
        observer: Observer,
        proxies: Callable[[], TrustedProxies],
        rate: RateLimiter | None,
        caps: ConnectionCaps,
    ) -> None:
        self._observer = observer
        self._proxies = proxies
        self._rate = rate
        self._caps = caps
        self.flush = observer.flush

    def sender(self, peer: str, forwarding: Mapping[bytes, bytes]) -> Sender:
        """See `Ledger.sender`. What a peer claims that is not a trusted proxy is ignored."""
        proxies = self._proxies()
        if not forwarding or not proxies.includes(peer):
            return Sender(plain_peer(peer))
        client = client_behind(forwarding.get(_FORWARDED_FOR, b"").decode("latin-1").split(","), proxies)
        others = tuple(sorted(item for item in forwarding.items() if item[0] != _FORWARDED_FOR))
        return Sender(plain_peer(peer) if client is None else client, client is not None, others)

    def admits(self, sender: Sender, now: float) -> bool:
        """See `Ledger.admits`; the same as `peers.ClientLimits`."""
        if sender.forwarded:
            if self._caps.admit_request(sender.client) is not None:
                return False
            self._caps.release_request(sender.client)
        return self._rate is None or self._rate.allow(sender.client, now)

    def replayed(self, sender: Sender, note: ReplayNote, seconds: float) -> None:
        """See `Ledger.replayed`; the same as `gate.Gate`."""
        observer = self._observer
        observer.query(note.door, sender.client or "unix", note.asked, note.outcome, seconds, note.size)
        observer.metrics.cache_hits += note.answers
