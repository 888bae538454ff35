from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Step


async def attack(step: Step) -> None:
    """A status and a name are HTML with a script: the page must show them, and never run them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "users.txt")
        path.write_text("ada: <script>alert('status')</script>\n")
        async with step.running(path=path):
            _, _, page = await step.request("/ada")
            assert b"&lt;script&gt;" in page
            _, _, other = await step.request("/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
            assert b"<script" not in page + other, "the script would run in the reader's browser"
            assert await step.ask(b"ada\r\n") == b"<script>alert('status')</script>\r\n"
