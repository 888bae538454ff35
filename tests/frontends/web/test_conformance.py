"""schemathesis compares the application with /api/openapi.json: whatever is sent, answers are as the document says.

It sends what the document allows and what it forbids: values at the edges of each parameter, missing ones, methods that
a path does not have, requests without a token; and examples that Hypothesis draws, the same in each run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import httpx2
import pytest
import requests
import schemathesis
import urllib3
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from fingertrio.frontends.web.api_routes import ROUTES
from fingertrio.names import canonical_name, is_user_name
from fingertrio.wire import live
from tests.frontends.web.programs import everything

_URL = "http://finger.example.org"
_EXAMPLES = 15  # drawn for each operation, after the values at the edges

_SETTINGS = settings(
    max_examples=_EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # what it finds is short enough
    suppress_health_check=list(HealthCheck),
)

_MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
_PATHS = [None, {"user": "ada"}]  # any name, and one that there is

# What no JSON schema of one parameter says; a request that fits the schemas may be refused for it.
_OPAQUE = {"getStatuses", "getUserAtom", "getUserFeed", "getAtom", "getFeed", "getTwtxt"}  # their `before`
_SURELY_AHEAD = re.compile(r"[0-9dhmw]+|[0-9]{2}:[0-9]{2}|today|tomorrow")  # of ends; others may have passed


def _is_judged_by_meaning(case: Any) -> bool:
    """Whether values that fit their schemas may be wrong: a place, a name, a time that has passed, two ends at once."""
    query, name = case.query or {}, case.operation.definition.raw["operationId"]
    ends = {**(case.body if isinstance(case.body, dict) else {}), **query}
    given = query.get("user", ())
    users = [*(case.path_parameters or {}).values(), *(given if isinstance(given, list) else [given])]
    return (
        ("before" in query and name in _OPAQUE)
        or {"until", "for"} <= set(ends)
        or (ends.get("until") is not None and not _SURELY_AHEAD.fullmatch(str(ends["until"])))
        or not all(is_user_name(canonical_name(str(user))) for user in users)
    )


# Whatever is sent as text is text: nothing can violate that schema.
_TEXTS = {"text/plain", "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Described:
    """The application's operations, by name, and a token for those that need one."""

    operations: dict[str, Any]
    admin: str

    def check(self, case: Any) -> None:
        headers = {"Authorization": self.admin} if case.operation.definition.raw.get("security") else {}
        excluded: list[Any] = []
        if _is_judged_by_meaning(case):
            excluded.append(positive_data_acceptance)
        if case.operation.path == live.PATH:  # no handshake can be sent here
            excluded += [positive_data_acceptance, negative_data_rejection]
        if case.media_type in _TEXTS:
            excluded.append(negative_data_rejection)
        case.call_and_validate(_URL, headers=headers, excluded_checks=excluded)


@pytest.fixture(scope="module")
def described() -> Iterator[Described]:
    with (
        start_blocking_portal("trio") as portal,
        portal.wrap_async_context_manager(everything()) as site,
        pytest.MonkeyPatch.context() as patch,
    ):
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(cast("Any", site.app)))

        def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> requests.Response:
            """To the application, in its thread: schemathesis makes sessions of its own, too."""
            body = request.body.encode() if isinstance(request.body, str) else cast("bytes | None", request.body)
            fields = {name: str(value) for name, value in request.headers.items()}
            asked = httpx2.Request(str(request.method), str(request.url), headers=fields, content=body)
            answer = portal.call(client.send, asked)
            headers = urllib3.HTTPHeaderDict(answer.headers.multi_items())
            received = urllib3.HTTPResponse(BytesIO(answer.content), headers, answer.status_code, preload_content=False)
            return adapter.build_response(request, received)

        patch.setattr(HTTPAdapter, "send", send)
        schema = schemathesis.openapi.from_dict(requests.get(f"{_URL}/api/openapi.json", timeout=10).json())
        schema.validate()
        operations: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
        yield Described({each.definition.raw["operationId"]: each for each in operations}, site.admin)


@pytest.mark.parametrize("name", [route.name for route in ROUTES])
def test_the_application_does_what_its_document_says(described: Described, name: str) -> None:
    operation = described.operations[name]
    generation = operation.schema.config.generation_for(operation=operation)
    for case in operation.schema.iter_coverage_cases(operation, generation_modes=_MODES, generation_config=generation):
        described.check(case)

    @_SETTINGS
    @given(case=st.one_of([operation.as_strategy(mode, path_parameters=path) for mode in _MODES for path in _PATHS]))
    def check_what_is_drawn(case: Any) -> None:
        described.check(case)

    check_what_is_drawn()
