"""The layers backend: several backends, one on another, that answer as one.

- **Reading goes down.** The first layer that knows the user answers, and the history is that layer's. The list has
  everybody whom any layer lists, each name once, those of the upper layers first.
- **Writing goes to one.** The first layer that can set takes every status. A layer above it that knows the user would
  hide what was set, so that is refused. A write is never passed on to a lower layer, whatever failed: once the upper
  one is back, it would hide it.
- **A failing layer** is fatal for the question, or is left out as if it knew nobody: its operator chooses. One that may
  be left out has a deadline, since one that hangs would take the time of those below it.
- **Changes.** An answer rests on the layer that gave it and on the silence of all above it. It can be kept until its
  change is told only if each of them tells. So the whole emits changes where every layer does; otherwise it does not,
  and the service holds answers for its `cache_ttl`. An answer that was given without a layer is told to have changed
  soon afterwards, since nothing else would tell when that layer is back.

`options` finds the backends that the configuration names, `pile` makes one of them. Being made of others by name is why
this backend, alone of ours, knows `fingertrio.config.plugins`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from fingertrio.backend import Backend, BackendError
from fingertrio.backends.layers.options import Layer, LayersOptions
from fingertrio.backends.layers.pile import LayeredBackend, Opened, TellingBackend, pile

__all__ = ["Layer", "LayersOptions", "open_layers"]


@asynccontextmanager
async def open_layers(options: LayersOptions) -> AsyncIterator[LayeredBackend]:
    """Several backends, one on another: the first that knows a user answers, the first that can set takes statuses.

    Raises:
        ValueError: a layer cannot start; the message names it. In the groups of those layers that live in nurseries.
    """
    async with AsyncExitStack() as stack:
        layers = [Opened(layer.name, await _open(layer, stack), layer.skip_after) for layer in options.layers]
        backend = pile(layers)
        if not isinstance(backend, TellingBackend):
            yield backend
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.run)
            yield backend
            nursery.cancel_scope.cancel()


async def _open(layer: Layer, stack: AsyncExitStack) -> Backend:
    try:
        return await stack.enter_async_context(layer.open(layer.options))
    except (ValueError, OSError, BackendError, ExceptionGroup) as error:  # as a backend tells what is to be mended
        reason: BaseException = error
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        raise ValueError(f"{layer.name}: {reason}") from error
