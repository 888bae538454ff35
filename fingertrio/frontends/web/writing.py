"""Writing by HTTP: PUT, POST and DELETE /api/users/U/status with a Bearer token.

    curl -H "Authorization: Bearer ft_..." -d "coffee" https://host/api/users/ada/status?for=40m

The body is the status as text (text/plain, curl's default type, or none at all), or a JSON object with `status` and at
most one of `until` and `for`. The answer is the user's object, as GET /api/users/U gives it. If-Match takes the ETag of
that GET, so that a client overwrites only what it has seen; If-None-Match: * sets only a first status.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Self, cast
from weakref import WeakValueDictionary

import trio
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from quart import Blueprint, Response, request
from werkzeug.datastructures import ETags
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, PreconditionFailed, UnsupportedMediaType

from fingertrio.accounts.writer import Writer
from fingertrio.backend import NO_SUCH_USER, UserInfo
from fingertrio.frontends.web.api import UnprocessableContent, user_document, user_response
from fingertrio.frontends.web.api_schemas import DURATION, END, WORDS, or_null
from fingertrio.frontends.web.proofs import Proofs
from fingertrio.names import check_user_name
from fingertrio.service import FingerService
from fingertrio.wire.charset import codec_of
from fingertrio.wire.presets import UnknownPresetError
from fingertrio.wire.status import check_status
from fingertrio.wire.text import clean_line
from fingertrio.wire.when import parse_duration, parse_when

_TEXT_TYPES = frozenset({"", "text/plain", "application/x-www-form-urlencoded"})
_JSON = "application/json"


class StatusWrite(BaseModel):
    """The JSON body of a write."""

    model_config = ConfigDict(extra="forbid", strict=True)

    status: Annotated[
        str, Field(description="the status; lines separated by LF", json_schema_extra={"pattern": WORDS["pattern"]})
    ]
    until: Annotated[
        str | None, WithJsonSchema(or_null(END, "when it ends, later than now: 17:00, tomorrow, 2026-12-24T18:00Z"))
    ] = None
    length: Annotated[
        str | None,
        Field(alias="for"),
        WithJsonSchema(or_null(DURATION, "how long it holds: 40m, 1h30m, 3d; not together with until")),
    ] = None


def writing_blueprint(service: FingerService, proofs: Proofs) -> Blueprint:
    """The routes that set statuses and take them back."""
    blueprint = Blueprint("writing", __name__, url_prefix="/api")
    writes = _Writes(service)

    @blueprint.get("/whoami")
    async def whoami() -> Response:
        """Whose token this is, so that a client can check it and needs no name."""
        writer = await proofs.writer(counts=False)
        document = {"user": writer.user, "admin": writer.admin}
        body = json.dumps(document, ensure_ascii=False) + "\n"
        return Response(body, headers={"Cache-Control": "no-store"}, content_type="application/json")

    @blueprint.route("/users/<user>/status", methods=["PUT", "POST"])
    async def set_status(user: str) -> Response:
        writer = await proofs.writer()
        return user_response(await writes.set(user, await _read_write(), writer))

    @blueprint.delete("/users/<user>/status")
    async def clear_status(user: str) -> Response:
        return user_response(await writes.clear(user, await proofs.writer()))

    return blueprint


class _Writes:
    """Sets and clears statuses under the preconditions of a request. Writes for one user wait for each other."""

    def __init__(self, service: FingerService) -> None:
        self._service = service
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    async def set(self, user: str, write: StatusWrite, writer: Writer) -> UserInfo:
        if not self._service.can_set:
            raise Forbidden("Statuses cannot be set here")
        with _Mistakes() as mistakes:
            with mistakes.of("user"):
                user = check_user_name(user)
            with mistakes.of("status"):
                check_status(write.status)
            until = _end_of(write, mistakes)
        async with self._locks.setdefault(user, trio.Lock()):
            await self._check_preconditions(user)
            try:
                return await self._service.set_user(user, write.status, writer=writer, until=until)
            except UnknownPresetError as error:
                raise UnprocessableContent({"status": str(error)}) from error
            except ValueError as error:  # there is another spelling of the name
                raise UnprocessableContent({"user": str(error)}) from error

    async def clear(self, user: str, writer: Writer) -> UserInfo:
        if not self._service.can_clear:
            raise Forbidden("Statuses cannot be taken back here")
        with _Mistakes() as mistakes, mistakes.of("user"):
            user = check_user_name(user)
        async with self._locks.setdefault(user, trio.Lock()):
            await self._check_preconditions(user)
            info = await self._service.clear_user(user, writer=writer)
        if info is None:
            raise NotFound(NO_SUCH_USER)
        return info

    async def _check_preconditions(self, user: str) -> None:
        """If-Match and If-None-Match (RFC 9110 section 13.1), against the document that GET /api/users/U gives now."""
        if not (request.headers.get("If-Match") or request.headers.get("If-None-Match")):
            return
        answer = await self._service.ask_user(user)
        etag = None if answer.value is None else await _etag_of(user_document(answer))
        if request.headers.get("If-Match") and (etag is None or not _matches(request.if_match, etag)):
            raise PreconditionFailed("The status has changed since you read it")
        if request.headers.get("If-None-Match") and etag is not None and _matches(request.if_none_match, etag):
            raise PreconditionFailed("There is a status already")


async def _etag_of(document: bytes) -> str:
    """The ETag that a response with this body gets."""
    response = Response(document)
    await response.add_etag()
    etag, _ = response.get_etag()
    if etag is None:
        raise AssertionError("add_etag adds one")
    return etag


def _matches(etags: ETags, etag: str) -> bool:
    return etags.star_tag or etag in etags


class _Mistakes:
    """What is wrong with each field of a request. At the end of the context they are one error, if there are some."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._found and failure[0] is None:
            raise UnprocessableContent(self._found)

    @contextmanager
    def of(self, field: str) -> Iterator[None]:
        """A ValueError in the context is a mistake in this field."""
        try:
            yield
        except ValueError as error:
            self._found.setdefault(field, str(error))


async def _read_write() -> StatusWrite:
    """What the request asks for, from its body and query."""
    given = {name: request.args[name] for name in ("until", "for") if name in request.args}
    if request.mimetype not in _TEXT_TYPES | {_JSON}:
        raise UnsupportedMediaType("Send the status as text/plain, or as application/json")
    body = cast("bytes", await request.get_data(as_text=False))
    if request.mimetype == _JSON:
        return _parse_json(body, given)
    charset = request.mimetype_params.get("charset", "utf-8")
    if (codec := codec_of(charset)) is None:
        raise UnprocessableContent({"status": f"the charset {clean_line(charset)} is not supported; use utf-8"})
    try:
        return _validate({"status": body.decode(codec), **given})
    except (UnicodeDecodeError, LookupError):
        raise UnprocessableContent({"status": f"the text is not {clean_line(charset)}"}) from None


def _parse_json(body: bytes, given: Mapping[str, str]) -> StatusWrite:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON") from None
    if not isinstance(document, dict):
        raise UnprocessableContent({"": "expected an object with status"})
    if twice := sorted(document.keys() & given.keys()):
        raise UnprocessableContent(dict.fromkeys(twice, "given in the body and in the query"))
    return _validate({**document, **given})


def _validate(document: Mapping[str, object]) -> StatusWrite:
    try:
        return StatusWrite.model_validate(document)
    except ValidationError as error:
        errors = {".".join(map(str, found["loc"])): found["msg"] for found in error.errors(include_input=False)}
        raise UnprocessableContent(errors) from None


def _end_of(write: StatusWrite, mistakes: _Mistakes) -> datetime | None:
    """When the status ends; None: it has no end, or a wrong one, which `mistakes` then has."""
    now = datetime.now(UTC)
    with mistakes.of("for"):
        if write.until is not None and write.length is not None:
            raise ValueError("use either until or for, not both")
        if write.length is not None:
            return parse_when(write.length, now) if parse_duration(write.length) else None
    with mistakes.of("until"):
        if write.until is not None:
            return parse_when(write.until, now)
    return None
