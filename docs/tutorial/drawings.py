"""The drawings of the tutorial, by name, with what they show in words for readers who cannot see them."""

from __future__ import annotations

from draw import Box, note, nursery, scope, task

DRAWINGS: dict[str, tuple[str, Box]] = {
    "01": (
        "trio.run starts main; main opens a nursery with one task in it",
        nursery("trio.run", nursery("main: a nursery", task("sleep_forever"))),
    ),
    "02": (
        "serve_tcp has a nursery with one task that accepts and one task for each connection",
        nursery(
            "serve_tcp: a nursery", task("accept,\nagain and again"), task("handle\nclient 1"), task("handle\nclient 2")
        ),
    ),
    "03": (
        "Inside the task of one connection, a cancel scope of two seconds encloses the wait for the client",
        nursery(
            "serve_tcp: a nursery",
            task("accept,\nagain and again"),
            task(
                "handle, one client",
                note("send_all,\nsend_eof"),
                scope("move_on_after(2)", task("read until\nthe end")),
            ),
        ),
    ),
    "05": (
        "An exception ends its task, then the nursery cancels the other tasks and passes the exception on",
        nursery(
            "2. the nursery cancels the others, 3. and raises",
            task("accept\n(cancelled)"),
            task("client 1\n1. raises"),
            task("client 2\n(cancelled)"),
        ),
    ),
    "09": (
        "A deadline encloses a nursery, in which the program runs and its output is read",
        scope(
            "fail_after(5)",
            nursery("a nursery for one query", task("run_process:\nthe finger program"), task("read up to\n64 KiB")),
        ),
    ),
    "11": (
        "The nursery of connections encloses the nursery that accepts, so accepting can end first",
        nursery(
            "connections: ends last, within GRACE",
            nursery("accepting: ends at the signal", task("accept"), task("wait for\na signal")),
            task("client 1"),
            task("client 2"),
        ),
    ),
    "12": (
        "Two servers are siblings in one nursery, each with its own connections, and share the users",
        nursery(
            "main: a nursery",
            nursery("serve_tcp, port 7979", task("accept"), task("finger\nclient")),
            nursery("serve_tcp, port 1079", task("accept"), task("setter\nclient")),
            note("users:\na dict"),
        ),
    ),
    "14": (
        "Beside the server, a task watches the file; it waits for a thread that reads it",
        nursery(
            "main: a nursery",
            task("watch", note("a thread:\nread_users")),
            nursery("serve_tcp", task("accept"), task("finger\nclient")),
        ),
    ),
    "15": (
        "Hypercorn with its nursery is a task in our nursery, beside the finger server and the watcher",
        nursery(
            "main: a nursery",
            task("watch"),
            nursery("serve_tcp", task("accept"), task("finger\nclient")),
            nursery("hypercorn.serve", task("accept"), nursery("a connection", task("HTTP"), task("page(user)"))),
        ),
    ),
    "16": (
        "The bot: inside its connection, one task reads and one writes, with a channel of 20 lines between them",
        task(
            "irc: connect, talk, wait, again",
            nursery("talk: one connection", task("read"), note("channel:\n20 lines"), task("write")),
        ),
    ),
    "18": (
        "The program knows everything, doors know the service and the wire, and these know nothing of the doors",
        task(
            "finger18.py: puts it together",
            task("doors.py imports", task("service.py"), task("wire.py")),
            task("web.py imports", task("service.py"), task("rpc.py")),
        ),
    ),
    "19_2": (
        "Each question of a door runs in a deadline of the service around the call of the backend",
        nursery(
            "the task of one client",
            task(
                "door: finger, pages, XML-RPC",
                task("service", scope("fail_after(3)", task("backend.get_user,\nwhatever it is"))),
            ),
        ),
    ),
    "19d": (
        "The block that opened the HTTP client encloses the whole server, so the client is closed last",
        task(
            "async with open_xmlrpc(): the HTTP client",
            nursery("finger19a.main: a nursery", task("finger"), task("pages")),
        ),
    ),
    "21": (
        "Each watcher has a task that sends and one that reads; all of them wait for the hub, which has no queues",
        nursery(
            "hypercorn.serve",
            nursery("watcher 1", task("send"), task("receive")),
            nursery("watcher 2", task("send"), task("receive")),
            note("hub: one number\nfor each user"),
        ),
    ),
    "22": (
        "Five tasks in one nursery: the signal task and four servers, over one service",
        nursery(
            "main: a nursery",
            task("SIGHUP:\nreload"),
            task("finger\n7979"),
            task("setter\n1079"),
            task("HTTP\n8000"),
            task("HTTPS\n8443"),
        ),
    ),
    "27": (
        "Each door has a supervisor; conversations are shielded, so they outlive the cancellation for a while",
        nursery(
            "main: a nursery, cancelled at the first signal",
            task(
                "supervise(finger)",
                nursery("serve_tcp", task("accept"), scope("shield, deadline", task("client 1"))),
            ),
            task("supervise(fragile)", note("failed: starts again\nin 4 seconds")),
        ),
    ),
    "29": (
        "One task accepts, answers what is in memory, and gives a task only to the rest",
        nursery(
            "main: a nursery",
            task("serve: accept, look, answer", note("most clients")),
            task("client 17:\nslow to type"),
            task("client 42:\nunknown user"),
        ),
    ),
}
