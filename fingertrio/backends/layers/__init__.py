"""The layers backend: several backends, one above the other, that answer as one.

- **Reading goes down.** The first layer that knows the user answers, and the history comes from that layer. The list
  contains the users of all layers, each name once, upper layers first.
- **The newest statuses** are merged from those of the layers, if every layer that lists its users lists these, too.
- **Writing goes to one layer.** The first layer that can set takes every status. A layer above it that knows the user
  would hide the new status, so such a set is refused. A failed write is never passed on to a lower layer: once the
  upper layer is back, it would hide that status.
- **A layer that falls through** shows what it has, and the layers below show through it: a status where its own is
  cleared, and the name and details that it lacks. So people can put a status above their `~/.plan` and take it back.
- **A failing layer** fails the whole request, or is skipped as if it knew no user, as its operator configures. A layer
  that may be skipped has a deadline, because a hanging one would use up the time of the layers below it.
- **Changes.** An answer depends on the layer that gave it and on all layers above that did not know the user. It can be
  kept until it changes only if each of these emits changes. So the whole emits changes if every layer does; otherwise
  the service keeps answers for its `cache_ttl`. An answer without a skipped layer is announced as changed soon
  afterwards, because no layer announces that the skipped one is back.

`options` finds the backends that the configuration names, `stack` combines them. Because it finds other backends by
name, this backend, as the only one, imports `fingertrio.config.plugins`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from fingertrio.backend import Backend, BackendError
from fingertrio.backends.layers.open_layer import OpenLayer
from fingertrio.backends.layers.options import Layer, LayersOptions
from fingertrio.backends.layers.stack import EmittingBackend, LayeredBackend, stack_layers

__all__ = ["Layer", "LayersOptions", "open_layers"]


@asynccontextmanager
async def open_layers(options: LayersOptions) -> AsyncIterator[LayeredBackend]:
    """Several backends as one: the first that knows a user answers, the first that can set takes statuses.

    Raises:
        ValueError: a layer cannot start; the message names it. Inside the exception groups of nurseries, if layers
            that are already open have any.
    """
    async with AsyncExitStack() as stack:
        layers = [await _open(layer, stack) for layer in options.layers]
        backend = stack_layers(layers)
        if not isinstance(backend, EmittingBackend):
            yield backend
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.run)
            yield backend
            nursery.cancel_scope.cancel()


async def _open(layer: Layer, stack: AsyncExitStack) -> OpenLayer:
    try:
        backend: Backend = await stack.enter_async_context(layer.open(layer.options))
    except (ValueError, OSError, BackendError, ExceptionGroup) as error:  # what a backend raises for the operator
        reason: BaseException = error
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        raise ValueError(f"{layer.name}: {reason}") from error
    return OpenLayer(layer.name, backend, layer.skip_after, falls_through=layer.falls_through)
