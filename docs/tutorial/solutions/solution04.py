"""Test the line without sockets: whole, byte by byte, with more behind it, and too long."""

from finger04 import Line
from harness import Step


def check(_step: Step) -> None:
    assert Line().feed(b"moshez\r\n") == b"moshez"
    assert Line().feed(b"moshez\nand more") == b"moshez"
    line = Line()
    assert [line.feed(bytes([byte])) for byte in b"ada\r\n"] == [None, None, None, None, b"ada"]
    assert Line(limit=3).feed(b"ada\n") == b"ada"
    try:
        Line(limit=3).feed(b"adas")
    except ValueError:
        return
    raise AssertionError("a line that is too long was accepted")


async def main() -> None:
    check(Step("finger04"))
