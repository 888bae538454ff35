"""IRCv3 capability negotiation: what the server offers, what we ask for, what it has granted. No I/O, no time.

    CAP LS 302 ──> CAP * LS * :multi-prefix sasl=PLAIN,EXTERNAL     "*": more lines follow
                   CAP * LS :account-tag server-time
    CAP REQ :sasl account-tag server-time ──> CAP nick ACK :... or CAP nick NAK :...
    later:         CAP nick NEW :sasl       CAP nick DEL :sasl

Only `sts` is never requested: its value alone is the message (`irc_sts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from fingertrio.wire.irc_state import State

# What changes how we read messages. Not echo-message: our own mask is shown elsewhere. Not multi-prefix, away-notify or
# chathistory: we keep no lists of members and want no old messages.
WANTED = (
    "message-tags",
    "server-time",
    "account-tag",
    "batch",
    "account-notify",
    "extended-join",
    "chghost",
    "setname",
    "invite-notify",
    "standard-replies",
)
SASL = "sasl"

_REQUEST_LIMIT = 400  # bytes of names in one CAP REQ
_OFFER_LIMIT = 500  # names that a server may offer


class Caps:
    """The capabilities of one session.

    Args:
        state: of the session; `state.caps` is kept up to date.
        wanted: what to ask for, if it is offered.

    Attributes:
        offered: what the server offers, with its values.
    """

    def __init__(self, state: State, wanted: Sequence[str]) -> None:
        self.offered: dict[str, str] = {}
        self._state = state
        self._wanted = wanted
        self._pending: list[tuple[str, ...]] = []  # requests without an answer, in order
        self._settled: set[str] = set()  # asked for one by one

    @property
    def is_settled(self) -> bool:
        """Whether every request has its answer."""
        return not self._pending

    def learn(self, text: str) -> list[str]:
        """Capabilities with values, from LS or NEW; returns their names."""
        names = []
        for word in text.split():
            name, _, value = word.partition("=")
            if name and (name in self.offered or len(self.offered) < _OFFER_LIMIT):
                self.offered[name] = value
                names.append(name)
        return names

    def request(self, names: Sequence[str] | None = None) -> bool:
        """Ask for what is wanted and offered, or for those of `names` that are wanted; whether there was any."""
        wanted = [name for name in self._wanted if name in self.offered and name not in self._state.caps]
        if names is not None:
            wanted = [name for name in wanted if name in names]
        batch: list[str] = []
        for name in wanted:
            if batch and len(" ".join([*batch, name])) > _REQUEST_LIMIT:
                self._send(batch)
                batch = []
            batch.append(name)
        if batch:
            self._send(batch)
        return bool(wanted)

    def acknowledged(self, text: str) -> list[str]:
        """ACK; returns the names that are granted."""
        granted = []
        for word in text.split():
            name = word.lstrip("~=").partition("=")[0]
            if name.startswith("-"):
                self._state.caps.discard(name[1:])
            elif name:
                self._state.caps.add(name)
                granted.append(name)
        self._answered(granted)
        return granted

    def rejected(self, text: str) -> None:
        """NAK: ask again one by one, once, since one of many may be the reason."""
        names = text.split()
        self._answered(names)
        if len(names) > 1:
            for name in names:
                if name in self._wanted and name not in self._settled:
                    self._settled.add(name)
                    self._send([name])

    def withdrawn(self, text: str) -> list[str]:
        """DEL; returns the names."""
        names = text.split()
        for name in names:
            self.offered.pop(name, None)
            self._state.caps.discard(name)
        return names

    def mechanisms(self) -> frozenset[str] | None:
        """The SASL mechanisms that the server lists, in upper case; None: it does not tell."""
        value = self.offered.get(SASL, "")
        return frozenset(value.upper().split(",")) if value else None

    def _send(self, names: Sequence[str]) -> None:
        self._pending.append(tuple(names))
        self._state.send("CAP", "REQ", " ".join(names))

    def _answered(self, names: Sequence[str]) -> None:
        """Forget the request that has these names; servers cut long answers, so one name is enough."""
        for pending in self._pending:
            if not set(pending).isdisjoint(names):
                self._pending.remove(pending)
                return
        if self._pending and not names:
            self._pending.pop(0)
