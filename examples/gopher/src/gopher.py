"""Gopher (RFC 1436): a menu of all users, and a text for each. An example of a front end in a package of your own.

    curl gopher://127.0.0.1:7070/           the menu
    curl gopher://127.0.0.1:7070/0moshez    the status of moshez

The entry point in pyproject.toml names `open_gopher`; a section [gopher] with `listen = ["127.0.0.1:7070"]` enables it.
"""

import trio
from pydantic import Field

from fingertrio import BackendError
from fingertrio.frontend import SEND_DEADLINE, Connection, Door, Frontend, ListeningSection
from fingertrio.wire import ProtocolError
from fingertrio.wire.lines import LineBuffer
from fingertrio.wire.text import clean, clean_line


class GopherSection(ListeningSection):
    """The [gopher] section: the keys of every section that listens, and the address that the menu contains."""

    host: str = Field("localhost", description="host name under which clients reach this server")
    port: int = Field(70, description="port under which clients reach this server")


def open_gopher(options: GopherSection, door: Door) -> Frontend:
    """Gopher: a menu of all users, and a text for each."""

    async def answer(selector: str) -> tuple[str, str]:
        if not selector:
            users = await door.service.get_users()
            return "".join(f"0{user}\t{user}\t{options.host}\t{options.port}\n" for user in users), "list"
        info = await door.service.get_user(selector)
        if info is None:
            return "3No such user\t\terror.host\t1\n", "unknown"
        return clean(f"\n{info.status}\n").replace("\n.", "\n..")[1:], "ok"  # a line with only a dot would end the text

    async def handle(connection: Connection) -> None:
        selector = ""
        try:
            with trio.fail_after(10):  # seconds, for one line
                lines = LineBuffer(limit=255)  # the longest selector of RFC 1436
                while (line := lines.take()) is None:
                    lines.feed(await connection.stream.receive_some(256) or b"\n")
            selector = line.decode(errors="replace")
            text, outcome = await answer(selector)
        except (ProtocolError, BackendError, trio.TooSlowError) as error:
            text, outcome = f"3{clean_line(str(error)) or 'Too slow'}\t\terror.host\t1\n", "error"
        data = f"{text}.\n".replace("\n", "\r\n").encode()
        await connection.send(data, SEND_DEADLINE)
        took = trio.current_time() - connection.accepted
        door.observer.query(door.name, connection.peer, selector, outcome, took, len(data))

    return door.server(handle)
