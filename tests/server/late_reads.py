"""Runs the program, and writes to the file named first what it imports or opens of its installation once it could have
dropped privileges. tests/server/test_preload.py runs this.
"""

import json
import sys
from pathlib import Path

from fingertrio.cli.main import main
from fingertrio.server import app
from fingertrio.server.preload import preload

report = Path(sys.argv.pop(1))
late: set[str] = set()
recording: list[bool] = []  # empty until privileges could have been dropped
installation = tuple({sys.prefix, sys.base_prefix, str(Path(app.__file__).parents[1])})


def record(event: str, arguments: tuple[object, ...]) -> None:
    name = str(arguments[0]) if arguments else ""
    imported = event == "import" and name not in sys.modules
    if recording and (imported or (event == "open" and name.startswith(installation))):
        late.add(name)


drop_privileges = app._drop_privileges


def drop(*arguments):
    drop_privileges(*arguments)
    preload()  # as for a configuration with a user
    recording.append(True)


app._drop_privileges = drop
sys.addaudithook(record)
try:
    main()
finally:
    recording.clear()
    report.write_text(json.dumps(sorted(late)))
