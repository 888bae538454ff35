"""The result of a proof: on whose behalf a request writes."""

from __future__ import annotations

from dataclasses import dataclass


class NotAllowedError(Exception):
    """A writer may not set this user's status. The message is fit for clients."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and how that was proved.

    Attributes:
        user: the login name that the proof speaks for; None where no proof is asked for (`auth = "none"`).
        admin: may set the status of every user.
        door: the front end that received the proof.
        proof: for the audit line: "token:ab12cd34", "peer:1000", "none". Never a secret.
    """

    user: str | None
    admin: bool
    door: str
    proof: str

    def check(self, user: str) -> None:
        """Raise NotAllowedError unless this writer may set the status of `user`."""
        if self.admin or (self.user is not None and self.user == user):
            return
        raise NotAllowedError(f"{self.user or 'this proof'} may not set the status of {user}")


def unproved(door: str) -> Writer:
    """The writer of a door that asks for no proof: every client may set every status."""
    return Writer(user=None, admin=True, door=door, proof="none")
