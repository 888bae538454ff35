"""`fingertrio doctor`: looks at an installation from the operator's chair, and changes nothing.

    command.py       the command: options, exit status
    check.py         what a check is, and what it reports
    checks.py        all checks, in the order in which they are shown; a new one is added there
    running.py       runs them together, each with a time limit
    showing.py       a terminal, a pipe, JSON
    installation.py  the configuration, the running server, its user, and how to ask it
    machine.py       /proc and programs: who listens, addresses, file systems
    account.py       the user of the server, and what everybody may read

Every other module has one or two checks.
"""
