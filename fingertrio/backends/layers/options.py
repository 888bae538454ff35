"""Turns [[backend.layers]] tables into layers that can be opened: finds each backend and checks its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError, field_validator

from fingertrio.backend import Backend
from fingertrio.config.errors import ConfigError, explain
from fingertrio.config.plugins import find_backend

_SECTION = "backend.layers"


class _Table(BaseModel):
    """One table. These keys belong to the layers backend, all others are options of the layer's own backend."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str
    on_failure: Literal["fail", "skip"] = "fail"
    skip_after: float = Field(2.0, gt=0)  # two of them can time out within the service's deadline of 5 s
    fall_through: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer, not open yet.

    Attributes:
        name: for messages.
        open: opens the backend, like the entry points of backends.
        options: the argument of `open`.
        skip_after: seconds for one request after which the layer is skipped, as it is when it fails. None: it is never
            skipped, and its failure fails the request.
        falls_through: a user whose status is cleared here has the one of the layers below, and name and details that
            are missing here come from there, too.
    """

    name: str
    open: Callable[[Any], AbstractAsyncContextManager[Backend]]
    options: object
    skip_after: float | None = None
    falls_through: bool = False


class LayersOptions(BaseModel):
    """The options of the layers backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[InstanceOf[Layer], ...] = Field(
        min_length=1,
        description="[[backend.layers]] tables, the uppermost first: `use`, the name of a backend, and its options. "
        '`on_failure`: "fail" (the default), or "skip" to skip a layer that fails, or does not answer within '
        "`skip_after` seconds (2.0). `fall_through = true`: a cleared status shows the one of the layers below, and "
        "name and details that are missing here come from there, too.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _find_all(cls, tables: object) -> object:
        """Each table as the layer that it describes. Reports all errors at once, each with the layer's number."""
        match tables:
            case [*items]:
                return _find_all(items)
            case _:
                raise ValueError("expected tables, each under [[backend.layers]]")


def _find_all(tables: Sequence[object]) -> Sequence[object]:
    layers: list[object] = []
    errors: list[str] = []
    for number, table in enumerate(tables, 1):
        try:
            layers.append(_find(f"layer {number}", table) if isinstance(table, Mapping) else table)
        except ConfigError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    return layers


def _find(name: str, table: Mapping[str, Any]) -> Layer:
    try:
        ours = _Table.model_validate(table)
    except ValidationError as error:
        raise ConfigError(
            f"{name}: {'; '.join(explain(_SECTION, error.errors(), list(_Table.model_fields)))}"
        ) from None
    plugin = find_backend(ours.use, name, _SECTION)
    return Layer(
        name=f"{name} ({ours.use})",
        open=plugin.open,
        options=plugin.check_options(ours.model_extra or {}, name, _SECTION),
        skip_after=ours.skip_after if ours.on_failure == "skip" else None,
        falls_through=ours.fall_through,
    )
