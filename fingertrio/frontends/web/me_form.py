"""What a user filled in at /-/me: parsed, with what is wrong next to each field, and as it was typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fingertrio.backend import UserInfo
from fingertrio.wire.status import check_status
from fingertrio.wire.when import parse_when

T = TypeVar("T")


@dataclass
class MyForm:
    """The fields of the page, as they are shown.

    Attributes:
        status, until, zone: as they were typed.
        wrong: what is wrong, by field.
    """

    status: str = ""
    until: str = ""
    zone: str = ""
    wrong: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, form: Mapping[str, str]) -> MyForm:
        """A form that was sent."""
        return cls(form.get("status", ""), form.get("until", ""), form.get("zone", "").strip())

    @classmethod
    def showing(cls, info: UserInfo | None, zone: str) -> MyForm:
        """The form with what is set now. The end has its offset, so it means the same in each zone."""
        if info is None:
            return cls(zone=zone)
        until = "" if info.until is None else local_text(info.until, zone)
        return cls(info.status, until, zone)

    def check(self) -> tuple[str, datetime | None]:
        """Status and end; what is wrong is in `wrong` afterwards."""
        if not self.status.strip():
            self.wrong["status"] = "Write something. Clear takes back what is set."
            return "", self.check_until(self.until)
        status = self._parse("status", lambda: check_status(self.status))
        return status or "", self.check_until(self.until)

    def check_until(self, text: str) -> datetime | None:
        """The end that `text` names in the zone of the form; None: no end, or something is wrong."""
        zone = self._parse("zone", lambda: zone_of(self.zone))
        if not text.strip() or zone is None:
            return None
        return self._parse("until", lambda: parse_when(text, datetime.now(UTC), zone))

    def _parse(self, name: str, parse: Callable[[], T]) -> T | None:
        try:
            return parse()
        except ValueError as error:
            self.wrong[name] = sentence(str(error))
            return None


def sentence(text: str) -> str:
    """A message as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


def zone_of(name: str) -> ZoneInfo:
    """A time zone. Raises ValueError if there is none of this name."""
    try:
        return ZoneInfo(name or "UTC")  # which refuses paths out of the database
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a directory
        raise ValueError("this is not a time zone; expected a name such as Europe/Berlin") from None


def zone_name(info: UserInfo | None) -> str:
    """The zone of a user, as far as the details say."""
    name = "" if info is None else info.details.get("timezone", "")
    try:
        return zone_of(name).key
    except ValueError:
        return "UTC"


def local_text(moment: datetime, zone: str) -> str:
    """A moment in the grammar of `wire.when`: 2026-12-24 18:00+01:00, or with Z."""
    text = moment.astimezone(zone_of(zone)).isoformat(" ", "minutes")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
