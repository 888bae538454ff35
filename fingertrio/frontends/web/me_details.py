"""Full name and details at /-/me: fields for those with a meaning, and rows of a name and a text for all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fingertrio.backend import UserInfo
from fingertrio.frontends.web.me_form import sentence
from fingertrio.wire.details import DETAIL_NAME_LIMIT, DETAILS, DetailsError
from fingertrio.wire.text import clean_line


@dataclass(frozen=True, slots=True)
class Known:
    """A detail with a field of its own.

    Attributes:
        name: of the detail.
        label: what people read.
        hint: what belongs into it.
        is_long: it may have several lines.
    """

    name: str
    label: str
    hint: str
    is_long: bool = False


KNOWN = (
    Known("pronouns", "Pronouns", "they/them"),
    Known("emoji", "Emoji", "🌻"),
    Known("timezone", "Your time zone", "Europe/Berlin"),
    Known("project", "Project", "what you work on"),
    Known("fediverse", "Fediverse account", "ada@social.example"),
    Known("pubkey", "Public key", "ssh-ed25519 or OpenPGP", is_long=True),
    Known(
        "webfinger",
        "Links for WebFinger",
        "one in each line: the relation, the address, and perhaps the media type",
        is_long=True,
    ),
)
_KNOWN = frozenset(known.name for known in KNOWN)

_EMPTY_ROWS = 2  # for new details; saving gives new ones


@dataclass
class DetailsForm:
    """The fields, as they are shown.

    Attributes:
        name: the full name.
        known: the texts of `KNOWN`, by name.
        rows: name and text of each other detail.
        wrong: what is wrong: by "name", the name of a known detail, the number of a row, or "" for all.
    """

    name: str = ""
    known: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, form: Mapping[str, str]) -> DetailsForm:
        """A form that was sent."""
        numbers = [number for number in range(DETAILS + _EMPTY_ROWS) if f"text.{number}" in form]
        return cls(
            name=form.get("name", ""),
            known={name: form.get(f"known.{name}", "") for name in _KNOWN},
            rows=[(form.get(f"label.{number}", ""), form[f"text.{number}"]) for number in numbers],
        )

    @classmethod
    def showing(cls, info: UserInfo) -> DetailsForm:
        """The form with what is set now, and some empty rows."""
        others = [(name, text) for name, text in info.details.items() if name not in _KNOWN]
        known = {name: info.details.get(name, "") for name in _KNOWN}
        return cls(info.name or "", known, [*others, *[("", "")] * _EMPTY_ROWS])

    def details(self) -> dict[str, str]:
        """All details; what is wrong with the names of the rows is in `wrong` afterwards."""
        found = {known.name: self.known[known.name].replace("\r\n", "\n") for known in KNOWN}
        for number, (label, text) in enumerate(self.rows):
            name = clean_line(label)
            if not name and not text.strip():
                continue
            if not name:
                self.wrong[str(number)] = "Give it a name, such as Home or Blog."
            elif name in _KNOWN:
                self.wrong[str(number)] = f"{name} has a field of its own above."
            elif name in found:
                self.wrong[str(number)] = f"{name} is there twice."
            else:
                found[name] = text.replace("\r\n", "\n")
        return found

    def take(self, error: ValueError) -> None:
        """Put what is wrong next to its field, as far as the error names one."""
        if not isinstance(error, DetailsError):
            self.wrong[""] = sentence(str(error))
            return
        places = {clean_line(label)[:DETAIL_NAME_LIMIT]: str(number) for number, (label, _) in enumerate(self.rows)}
        for name, message in error.errors.items():
            self.wrong["name" if name == "name" else places.get(name, name)] = sentence(message)
