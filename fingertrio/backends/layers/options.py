"""From [[backend.layers]] tables to layers that can be opened: each finds its backend and has its options checked."""

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
    """One table. These keys are ours, all others are the layer's own options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: str
    on_failure: Literal["fail", "skip"] = "fail"
    skip_after: float = Field(2.0, gt=0)  # so that two of them can fail within the service's five seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer, not open yet.

    Attributes:
        name: how messages call it.
        open: gives the backend, as the entry points of backends do.
        options: what `open` takes.
        skip_after: seconds that it may take for one question until it is left out of the answer, as it is when it
            fails. None: it is never left out, and its failure is everybody's.
    """

    name: str
    open: Callable[[Any], AbstractAsyncContextManager[Backend]]
    options: object
    skip_after: float | None = None


class LayersOptions(BaseModel):
    """The options of the layers backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[InstanceOf[Layer], ...] = Field(
        min_length=1,
        description="[[backend.layers]] tables, the uppermost first: `use`, the name of a backend, and its options. "
        '`on_failure`: "fail" (the default), or "skip" with `skip_after` seconds (2.0) to leave out one that fails '
        "or does not answer.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _find_all(cls, tables: object) -> object:
        """Each table as the layer that it describes; a mistake is told with the layer's number, and all at once."""
        if not isinstance(tables, Sequence) or isinstance(tables, str):
            raise ValueError("expected tables, each under [[backend.layers]]")  # noqa: TRY004 -- pydantic's way
        layers: list[object] = []
        mistakes: list[str] = []
        for number, table in enumerate(tables, 1):
            try:
                layers.append(_find(f"layer {number}", table) if isinstance(table, Mapping) else table)
            except ConfigError as error:
                mistakes.append(str(error))
        if mistakes:
            raise ValueError("; ".join(mistakes))
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
    )
