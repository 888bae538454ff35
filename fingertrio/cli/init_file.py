"""The configuration that `fingertrio init` writes: from a few answers to a TOML file with a comment for each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fingertrio import version
from fingertrio.config.toml_text import toml_value

Kind = Literal["me", "machine", "team"]
Https = Literal["proxy", "none"]

_COMMENT = 48  # the column of comments


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the administrator answered.

    Attributes:
        kind: for whom the server is: one person, the users of this machine, or a team.
        host: the name under which people reach it; empty: only this machine can.
        https: who speaks TLS to browsers, if other machines can connect.
        finger_port, web_port: of the two doors.
        owner: the user who gets the first token; empty: no token is made.
        data: the directory for the database, the tokens and the sockets.
        run_as: the user to change to; None: the program is not started as root.
        has_ipv6: whether this machine can listen on IPv6.
    """

    kind: Kind
    host: str = ""
    https: Https = "proxy"
    finger_port: int
    web_port: int
    owner: str
    data: Path
    run_as: str | None = None
    has_ipv6: bool = True

    @property
    def web_is_public(self) -> bool:
        """Whether other machines connect to the web front end itself."""
        return bool(self.host) and self.https == "none"

    @property
    def url(self) -> str:
        """The public address of the pages; empty: there is none."""
        if not self.host:
            return ""
        return f"https://{self.host}" if self.https == "proxy" else f"http://{self.host}:{self.web_port}"

    def listen(self, port: int, *, public: bool) -> list[str]:
        """The addresses of a door."""
        if not public:
            return [f"127.0.0.1:{port}"]
        return [f"0.0.0.0:{port}", *([f"[::]:{port}"] if self.has_ipv6 else ())]

    def socket(self, name: str) -> str:
        """A Unix socket in the data directory."""
        return f"unix:{self.data / name}"


def configuration(answers: Answers) -> str:
    """The whole file."""
    sections = (_head, _process, _backend, _finger, _setter, _http, _webfinger, _admin, _more)
    return "\n".join(line for section in sections for line in section(answers)) + "\n"


def _key(name: str, value: object, comment: str = "") -> str:
    line = f"{name} = {toml_value(value)}"
    return f"{line:<{_COMMENT - 2}}  # {comment}" if comment else line


def _off(name: str, value: object, comment: str = "") -> str:
    """A key that the administrator may switch on."""
    return _key(f"# {name}", value, comment)


def _head(answers: Answers) -> Iterator[str]:
    who = {"me": f"one person, {answers.owner}", "machine": "the users of this machine", "team": "a team"}[answers.kind]
    yield f"# fingertrio {version} for {who}. Written by `fingertrio init`; yours to edit."
    yield "# A section opens its door; remove a section to close it. After an edit: `fingertrio check-config`, then a"
    yield "# restart. All keys: `fingertrio frontends`, `fingertrio backends`, and docs/reference/configuration.md."
    yield ""


def _process(answers: Answers) -> Iterator[str]:
    if answers.run_as is not None:
        yield "[process]"
        yield _key("user", answers.run_as, "after the ports are bound, root is given up for good")
        yield ""


def _backend(answers: Answers) -> Iterator[str]:
    database = _key("path", answers.data / "fingertrio.db", "made at the first start; `fingertrio backup` copies it")
    if answers.kind == "machine":
        yield "[backend]                # where statuses come from: the first layer that knows a user answers"
        yield _key("use", "layers")
        yield ""
        yield "[[backend.layers]]       # statuses that are set"
        yield _key("use", "sqlite")
        yield database
        yield _key("fall_through", value=True, comment="a status that is taken back shows the plan again")
        yield ""
        yield "[[backend.layers]]       # beneath: ~/.plan, where homes are open to other users (chmod 711 ~)"
        yield _key("use", "plan")
        yield _key("on_failure", "skip", "homes that do not answer are left out")
    else:
        yield "[backend]                # where statuses come from"
        yield _key("use", "sqlite", "one file, with history; docs/guide/sqlite.md")
        yield database
    yield ""


def _finger(answers: Answers) -> Iterator[str]:
    yield "[finger]                 # RFC 1288"
    where = "every address of this machine" if answers.host else "this machine only"
    usual = "" if answers.finger_port == 79 else "; other finger programs ask port 79, which needs root"
    yield _key("listen", answers.listen(answers.finger_port, public=bool(answers.host)), f"{where}{usual}")
    full = answers.kind == "machine"
    yield _key("answer", "full" if full else "status", '"status": the status alone; "full": name and details, too')
    yield _off("user_list", value=False, comment="an empty query gets a refusal, not the list of users")
    yield ""


def _setter(answers: Answers) -> Iterator[str]:
    yield "[setter]                 # `fingertrio set`, on this machine"
    yield _key("listen", [answers.socket("setter")])
    if answers.run_as is None:
        yield _key("auth", "none", "only you can connect: the directory is yours")
    else:
        yield _key("auth", "peer", "the kernel says who connects; root sets every status")
    if answers.kind == "machine":
        yield _key("socket_mode", "0666", "every user of this machine may connect")
    elif answers.run_as is not None:
        yield _off("socket_mode", "0666", "every user of this machine may set their own status")
    yield ""


def _http(answers: Answers) -> Iterator[str]:
    yield "[http]                   # pages, JSON, XML-RPC, feeds. Writing needs a token: `fingertrio token add USER`"
    if answers.host and answers.https == "proxy":
        where = f"your proxy passes https://{answers.host}/ on to this address"
    elif answers.host:
        where = "without TLS the network can read tokens"
    else:
        where = "this machine only"
    yield _key("listen", answers.listen(answers.web_port, public=answers.web_is_public), where)
    if answers.web_is_public:
        yield _off("certfile", "/etc/ssl/fingertrio.pem", "both, for https; renewed at SIGHUP")
        yield _off("keyfile", "/etc/ssl/private/fingertrio.key")
    if answers.host and answers.https == "proxy":
        yield _key("trusted_proxies", ["127.0.0.1", "::1"], "who may say which client a request is from")
    else:
        yield _key("trusted_proxies", [], "there is no proxy; name one that you put in front")
    if answers.url:
        yield _key("url", answers.url, "the public address, in links and feeds")
    yield _key("title", answers.host or "fingertrio", "at the top of every page")
    yield _off("index", value=True, comment="search engines may list the pages")
    yield ""


def _webfinger(answers: Answers) -> Iterator[str]:
    if answers.url.startswith("https://"):
        yield "[webfinger]              # who USER@DOMAIN is, for the fediverse: docs/guide/webfinger.md"
        yield _key("domains", [answers.host], "a domain other than that of the pages has to redirect to them")
        yield ""


def _admin(answers: Answers) -> Iterator[str]:
    yield "[admin]                  # /metrics, /healthz, /readyz; `fingertrio healthcheck` asks here"
    yield _key("listen", [answers.socket("admin")], 'a port for Prometheus: "127.0.0.1:9079"')
    yield ""


def _more(answers: Answers) -> Iterator[str]:
    if answers.host:
        yield "[log]"
        yield _key("anonymize_addresses", value=True, comment="clients' addresses are cut: IPv4 to /24, IPv6 to /48")
        yield ""
    if answers.kind == "team":
        yield "[service]"
        yield _off("default_for", "12h", "when a status ends that is set without an end")
        yield ""
        yield "[presets]                # `fingertrio set :lunch`, or :lunch in any other place"
        yield 'lunch = { status = "Lunch", for = "1h" }'
        yield 'home = { status = "Working from home", until = "18:00" }'
    else:
        yield "# [presets]              # statuses with a name: `fingertrio set :lunch`"
        yield '# lunch = { status = "Lunch", for = "1h" }'
    yield ""
    yield "# [irc]                  # a bot that answers: docs/guide/irc.md"
    yield '# servers = ["ircs://irc.libera.chat"]'
    yield '# nick = "fingerbot"'
