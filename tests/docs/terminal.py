"""Makes the picture of a terminal in docs/images: `make screenshots`.

The commands run at a pseudo terminal beside a server of their own (console.py): what is shown is what they print there,
with its colours. Look at the picture before it is committed.
"""

from __future__ import annotations

import io
import os
import pty
import subprocess
import tempfile
from html import escape
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from fingertrio.testing import process
from tests.chromium import launch
from tests.docs.console import Session, session

IMAGES = Path(__file__).parents[2] / "docs/images"
WIDTH = 78  # columns

COMMANDS = [
    "fingertrio set gone fishing --for 2h",
    "fingertrio finger ada@127.0.0.1:7979",
    "curl -s http://127.0.0.1:8000/api/users/ada | jq -c '{status, until}'",
    "TOKEN=$(fingertrio token add ada --label phone)",
    """curl -s -H "Authorization: Bearer $TOKEN" -d "☕ coffee" \\
       'http://127.0.0.1:8000/api/users/ada/status?for=40m' | jq -r .status""",
    "fingertrio finger",
    "fingertrio watch --once",
]

# The colours of the pages (frontends/web/static/style.css): background, text, and the eight of a terminal.
_SHADES = {
    "light": ("#fbfaf7", "#1b1e24", "#17664b", "#5a616c", "#e2dfd7"),
    "dark": ("#14171a", "#eceae5", "#74d0a9", "#a2a9b1", "#2c3237"),
}


def theme(scheme: str) -> TerminalTheme:
    paper, ink, accent, quiet, _ = (rgb(shade) for shade in _SHADES[scheme])
    red = rgb("#a3261f" if scheme == "light" else "#ff9d92")
    yellow = rgb("#7a4b00" if scheme == "light" else "#edc177")
    blue = rgb("#1d5a8f" if scheme == "light" else "#8fc3f0")
    colours = [ink, red, accent, yellow, blue, accent, accent, quiet]
    return TerminalTheme(paper, ink, colours, colours)


def rgb(shade: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(shade[1:])
    return red, green, blue


def at_a_terminal(here: Session, text: str) -> str:
    """Run commands in one bash at a pseudo terminal, and return what it shows, colours included."""
    ours, theirs = pty.openpty()
    environ = {**here.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "40"}
    environ.pop("NO_COLOR", None)
    shell = subprocess.Popen(
        ["bash", "-c", text], cwd=here.folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # every descriptor of the other side is closed
            break
        output += part
    shell.wait()
    os.close(ours)
    return output.decode().replace("\r", "")


def transcript() -> Text:
    """The commands with what they print."""
    shown = Text()
    with tempfile.TemporaryDirectory() as folder, session(Path(folder)) as here:
        mark = "---8<---"
        script = "\n".join(f"{here.here(command)}\necho '{mark}'" for command in COMMANDS)
        outputs = here.there(at_a_terminal(here, script)).split(f"{mark}\n")
    for command, output in zip(COMMANDS, outputs, strict=False):
        printed = "\n".join(line for line in output.splitlines() if not line.startswith("tokens: "))
        shown.append("$ ", "color(7)").append(f"{command}\n", "bold")
        shown.append_text(Text.from_ansi(printed.rstrip("\n"))).append("\n" if printed.strip() else "")
    shown.rstrip()
    return shown


def page(shown: Text, scheme: str) -> str:
    console = Console(record=True, width=WIDTH + 22, file=io.StringIO(), force_terminal=True)
    console.print(shown)
    code = console.export_html(theme=theme(scheme), inline_styles=True, code_format="{code}")
    paper, ink, _, quiet, line = _SHADES[scheme]
    return f"""<!doctype html><meta charset="utf-8"><style>
    body {{ margin: 0; background: transparent }}
    figure {{ display: inline-block; margin: 0; padding: 0; background: {paper}; border: 1px solid {line};
             border-radius: 12px; overflow: hidden }}
    figcaption {{ padding: 9px 18px; border-bottom: 1px solid {line}; color: {quiet}; font: 600 13px system-ui }}
    @font-face {{ font-family: Pictures; src: local("Noto Color Emoji"); unicode-range: U+2615, U+1F300-1FAFF }}
    pre {{ margin: 0; padding: 14px 18px 16px; color: {ink};
          font: 14px/1.5 Pictures, "DejaVu Sans Mono", monospace }}
    </style><figure><figcaption>{escape("ada@example: ~")}</figcaption><pre>{code}</pre></figure>"""


def main() -> None:
    process.begin_forking()
    shown = transcript()
    process.end_forking()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for scheme in _SHADES:
            tab = browser.new_page(device_scale_factor=2, viewport={"width": 1000, "height": 800})
            tab.set_content(page(shown, scheme))
            path = IMAGES / f"terminal-{scheme}.png"
            tab.locator("figure").screenshot(path=path, omit_background=True)
            subprocess.run(["pngquant", "--force", "--strip", "--speed", "1", "--ext", ".png", "32", path], check=True)
            print(f"{path.stat().st_size // 1024:5} kB  {path.name}")  # noqa: T201 -- it is a command
        browser.close()


if __name__ == "__main__":
    main()
