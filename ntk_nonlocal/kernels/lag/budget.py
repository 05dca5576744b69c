"""How much memory an evaluation takes, how much there is, and the block size that follows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache

from ntk_nonlocal.architecture import Branches, Chain, Conv, Layer, Path, Serial, Signal
from ntk_nonlocal.memory import available_memory

from .demand import Extent, Lags, lowers, needed, reflects, wanted_inside
from .slices import margin_of
from .stores import Way, path_extents, paths, store_elements

logger = logging.getLogger(__name__)

# The share of the free memory that is used unless a budget is given.
_SHARE = 0.5
# Arrays of the largest layer's size that live at the same time (measured; D and Theta before and after, and a
# temporary).
_LIVE = 6
# The same where all pairs are held at once (measured; the matrix and its parts in another order among them).
_DENSE_LIVE = 9
# What an element costs where the largest layer has more than so many: the caches hold it no longer (measured).
_BEYOND_CACHE = ((5 << 19, 1.15), (5 << 20, 1.7))
# Elements of one layer that are always few enough; 64 times as many never are.
_ENOUGH = 5 << 18
# Work that every block costs besides its elements, in elements.
_OVERHEAD = 1 << 15


def budget(given: int | None) -> int:
    """The bytes that may be used: those given, or half of what is free."""
    if given is not None:
        return given
    free = available_memory()
    return (4 << 30) if free is None else int(_SHARE * free)


def report(what: str, needed_bytes: int, free: int) -> None:
    logger.debug("%s takes about %.2f GiB, the budget is %.2f GiB", what, needed_bytes / 2**30, free / 2**30)


_ADVICE = "a search window (window=32), products instead of the matrix"


def check(what: str, needed_bytes: int, given: int | None, advice: str = _ADVICE) -> None:
    """Raises ValueError unless the budget allows it; ``advice``: what helps besides a smaller image and more memory."""
    free = budget(given)
    report(what, needed_bytes, free)
    if needed_bytes > free:
        raise ValueError(
            f"{what} takes about {needed_bytes / 2**30:.2f} GiB and the memory budget is {free / 2**30:.2f} GiB; use a "
            f"smaller image, {advice}, or a larger memory_budget"
        )


@lru_cache(1024)  # what a second image of a size asks for
def layer_elements(
    architecture: Layer, size: tuple[int, int], rows: Lags | None, columns: Lags | None, stored: bool = False
) -> tuple[int, ...]:
    """Elements of one array behind every layer, for an evaluation of these output lags on an input (H, W)."""
    margin = margin_of(architecture)

    def count(extent: Extent, at: tuple[int, int]) -> int:
        row = (at[0] + 2 * extent.pad) ** 2
        if extent.rows is not None:
            row = min(extent.rows.count, at[0]) * (at[0] + 2 * (margin + extent.pad))
        if extent.columns is None:
            return row * (at[1] + 2 * extent.pad) ** 2
        return row * min(extent.columns.count, at[1]) * (at[1] + 2 * (margin + extent.pad))

    def visit(layer: Layer, extent: Extent, before: Signal, position: Path) -> Iterator[int]:
        children = list(layer.inside(before, position))
        if not children:
            if isinstance(layer, Conv) and layer.stride > 1 and not stored:
                plain, keep = layer.stages
                yield from visit(plain, needed(keep, extent), before, position)
            size_behind = layer.propagate(before, position).size
            assert size_behind is not None
            yield count(extent, size_behind)
        skipped = _last_store(layer) if stored else -1
        for index, (child, behind) in enumerate(zip(children, wanted_inside(layer, extent), strict=True)):
            for elements in visit(child[0], behind, child[2], child[1]):
                yield 0 if index < skipped else elements  # nothing in front of a store is evaluated

    extent = Extent(rows, columns, stored=stored)
    skipped = stored and _last_store(architecture) >= 0
    first = 0 if skipped else count(needed(architecture, extent), size)
    return (first, *visit(architecture, extent, Signal(size=size), Path()))


def _last_store(layer: Layer) -> int:
    """Index of the last of layers that follow one another which lowers the resolution itself or inside, else -1."""
    children = layer.children if isinstance(layer, Chain) else ()
    stored = (i for i, child in enumerate(children) if lowers(child) or _last_store(child) >= 0)
    return max(stored, default=-1)


def block_bytes(elements: tuple[int, ...], itemsize: int) -> int:
    """Peak bytes of evaluating layers with so many elements."""
    return _LIVE * itemsize * max(elements)


def dense_bytes(architecture: Layer, size: tuple[int, int], itemsize: int) -> int:
    """Peak bytes of evaluating all pairs of pixels at once, for an input (H, W)."""
    return (_DENSE_LIVE + 2 * _beside(architecture)) * itemsize * max(layer_elements(architecture, size, None, None))


def _beside(layer: Layer) -> int:
    """The most branches whose D and Theta wait for another one to be evaluated."""
    inside = max(map(_beside, layer.children), default=0)
    return inside + len(layer.children) - 1 if isinstance(layer, Branches) else inside


def choose_block(
    architecture: Layer,
    size: tuple[int, int],
    row_lags: int,
    columns: Lags | None,
    itemsize: int,
    given: int | None,
    reserved: int,
) -> int:
    """How many row lags to evaluate at once: the fastest number that the budget, less ``reserved`` bytes, allows.

    Bytes are reserved for stores, and for nothing else.

    Raises:
      ValueError: not even one row lag fits.
    """

    def elements_of(block: int) -> tuple[int, ...]:
        return layer_elements(architecture, size, Lags(0, block, block), columns, stored=reserved > 0)

    smallest = block_bytes(elements_of(1), itemsize)
    check("the exact kernel, one row lag at a time,", smallest + reserved, given)
    free = budget(given) - reserved
    best, best_cost = 1, float("inf")
    for block in range(1, row_lags + 1):
        elements = elements_of(block)
        if block > 1 and (max(elements) > 64 * _ENOUGH or block_bytes(elements, itemsize) > free):
            break
        slower = max((factor for enough, factor in _BEYOND_CACHE if max(elements) > enough), default=1.0)
        cost = -(-row_lags // block) * (slower * sum(elements) + _OVERHEAD * len(elements))
        if cost < best_cost:
            best, best_cost = block, cost
    report(f"the exact kernel, {best} row lags at a time,", block_bytes(elements_of(best), itemsize), free)
    return best


def plan_stores(
    architecture: Layer, size: tuple[int, int], kind: str, itemsize: int, given: int | None
) -> tuple[tuple[int, ...], int]:
    """How many lags at a time to fill each Downsample's store with (none where half of the budget is too little),
    and the bytes of the stores."""
    free = budget(given)
    ways = paths(architecture)
    arrays = 2 if kind == "ntk" else 1
    total = sum(store_elements(way, size)[0] for way in ways) * arrays * itemsize
    report("storing the kernel behind every Downsample", total, free)
    if not ways or total > free // 2:
        return (), 0
    blocks = []
    for way in ways:
        lags = store_elements(way, size)[1] // 2 + 1
        best = 1
        for block in range(2, lags + 1):
            elements = _path_elements(way, size, block)
            if elements > 4 * _ENOUGH or _LIVE * itemsize * elements > free // 2:
                break
            if -(-lags // block) < -(-lags // best):
                best = block
        if _LIVE * itemsize * _path_elements(way, size, best) > free // 2:
            return (), 0
        blocks.append(best)
    return tuple(blocks), total


def _path_elements(path: Way, size: tuple[int, int], block: int) -> int:
    """Elements of the largest array on the way of ``block`` lags to a store."""
    signal, largest = Signal(size=size), 0
    for (layer, place), extent in zip(path, path_extents(path, Lags(0, block, block))[1:], strict=True):
        signal = layer.propagate(signal, place)
        assert signal.size is not None
        height, width = signal.size
        assert extent.rows is not None
        largest = max(largest, min(extent.rows.count, height) * height * width**2)
    return largest


def memory_plans(architecture: Serial, size: tuple[int, int], itemsize: int = 4) -> dict[str, int]:
    """About how many bytes the tangent kernel takes by memory plan, for images of ``size`` and the memory that is free
    (one row lag at a time where even that is more); behind reflected borders there is "matrix" alone."""
    if reflects(architecture):
        return {"matrix": dense_bytes(architecture, size, itemsize)}
    store_blocks, stored = plan_stores(architecture, size, "ntk", itemsize, None)
    signal = architecture.propagate(Signal(size=size), Path())
    assert signal.size is not None
    lags = signal.size[0] // 2 + 1
    try:
        block = choose_block(architecture, size, lags, None, itemsize, None, stored)
    except ValueError:
        block = 1
    elements = layer_elements(architecture, size, Lags(0, block, block), None, stored=bool(store_blocks))
    pixels = signal.size[0] * signal.size[1]
    half = lags * signal.size[0] * signal.size[1] ** 2 * itemsize
    recompute = stored + block_bytes(elements, itemsize)
    return {"recompute": recompute, "keep": recompute + half, "matrix": recompute + 4 * pixels**2 * itemsize}
