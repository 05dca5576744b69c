"""What the kernel benchmark measures, and the targets that its figures are held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from _bench_child import Spec

CNN = "cnn:depth=3,kernel_size=3"
AUTOENCODER = "autoencoder:levels=2"
GROUPS = ("product", "matrix", "memory", "process", "error", "scaling", "gpu", "long")


@dataclass(frozen=True)
class Target:
    """A figure of a case: a stage's seconds, "throughput", "memory", an error or a share, and what is asked of it.

    ``compare`` "ratio" is neural-tangents' figure over the engine's (at least ``limit``), "value" the engine's own.
    No ``limit``: for information. Targets were set on one kind of machine, ``platform``.
    """

    figure: str
    compare: Literal["ratio", "value"] = "ratio"
    limit: float | None = None
    at_least: bool = True
    platform: Literal["cpu", "gpu"] | None = "cpu"


@dataclass(frozen=True)
class Case:
    """One comparison. Every method is measured in ``processes`` processes of its own, the methods in turn.

    ``series`` is (axis, x, curve) of a point of the figure.
    """

    name: str
    group: str
    title: str
    specs: dict[str, Spec]
    targets: tuple[Target, ...] = ()
    processes: int = 1
    series: tuple[str, int, str] | None = None
    platform: Literal["cpu", "gpu"] | None = None


SHARES = tuple(Target(f"{name} share", "value") for name in ("arithmetic", "bandwidth"))


def cases(quick: bool, side: int | None = None) -> list[Case]:
    """All cases in the order of the table; ``side`` replaces that of every image, and then no speed is judged."""
    found = [*_table(quick), *_errors(quick), *_scaling(quick), *_gpu(), *([] if quick else _long())]
    return found if side is None else [_resized(case, side) for case in found]


def selected(found: list[Case], only: list[str] | None) -> list[Case]:
    """The cases of the named groups, or with these names.

    Raises:
      ValueError: a name that is none of them.
    """
    if not only:
        return found
    names = {case.name for case in found} | set(GROUPS)
    for name in only:
        if name not in names:
            known = f"groups: {', '.join(GROUPS)}; cases: {', '.join(case.name for case in found)}"
            raise ValueError(f"nothing is called {name!r}; {known}")
    return [case for case in found if case.name in only or case.group in only]


def both(spec: Spec, oracle_calls: int | None = None) -> dict[str, Spec]:
    """The same measurement of both methods, with fewer warm calls of the slower one."""
    count = spec.calls if oracle_calls is None else oracle_calls
    return {"engine": spec, "neural-tangents": replace(spec, method="neural-tangents", calls=count)}


def _table(quick: bool) -> list[Case]:
    processes, warm, slow = (1, 5, 2) if quick else (3, 7, 3)
    made = []
    for short, name, architecture, warm_target, cold_target in (
        ("cnn", "cnn(depth=3, kernel_size=3)", CNN, 50, 3),
        ("autoencoder", "autoencoder(levels=2)", AUTOENCODER, 30, 2),
    ):
        product = both(Spec("calls", architecture=architecture, calls=warm), slow)
        targets = [Target("warm", limit=warm_target), Target("cold", limit=cold_target), Target("throughput", "value")]
        title = f"op @ V, 3 columns, {name}, 64x64"
        made.append(Case(f"product-{short}", "product", title, product, tuple(targets), processes))
        matrix = both(Spec("calls", architecture=architecture, calls=warm, operation="matrix"), slow)
        targets = [Target("warm", limit=20), Target("cold")]
        made.append(Case(f"matrix-{short}", "matrix", f"as_matrix, {name}, 64x64", matrix, tuple(targets)))
    title = "the machine's limits used, op @ V, cnn(depth=3, kernel_size=3), 64x64"
    made.append(Case("product-limits", "product", title, {"engine": Spec("limits", calls=warm)}, SHARES[:1]))
    memory = both(Spec("calls", side=96))
    targets = [Target("memory", limit=10), Target("cold")]
    title = "op @ V, 3 columns, cnn(depth=3, kernel_size=3), 96x96"
    made.append(Case("memory-cnn", "memory", title, memory, tuple(targets)))
    return [*made, *_processes(2 if quick else 5)]


def _processes(calls: int) -> list[Case]:
    """What a user waits for from the start of a process on."""

    def stages(limit: float | None) -> tuple[Target, ...]:
        return Target("empty cache", "value"), Target("filled cache", "value", limit, at_least=False)

    product = {"engine": Spec("restarted", architecture=AUTOENCODER, calls=calls)}
    title = "import of the package (JAX is there) to the first product, autoencoder(levels=2), 64x64"
    photograph = {"engine": Spec("denoised", side=256, calls=calls)}
    return [
        Case("process-product", "process", title, product, stages(2.5)),
        Case("process-denoise", "process", "ntk-nonlocal denoise, 256x256, whole process", photograph, stages(None)),
    ]


def _errors(quick: bool) -> list[Case]:
    side = 16 if quick else 24
    targets = (
        Target("engine float32", "value", 1e-5, at_least=False, platform=None),
        Target("engine float64", "value", 1e-10, at_least=False, platform=None),
    )
    made = []
    for architecture in (CNN, AUTOENCODER, "vanilla_cnn:kernel_size=11", "unet:levels=2"):
        name = architecture.partition(":")[0]
        specs = {"engine": Spec("error", architecture=architecture, side=side)}
        made.append(Case(f"error-{name}", "error", f"error, {architecture}, {side}x{side}", specs, targets))
    return made


def _scaling(quick: bool) -> list[Case]:
    """How the time of op @ V grows: the points of the figure."""
    made = []

    def point(axis: str, x: int, curve: str, spec: Spec, oracle: bool) -> None:
        engine = replace(spec, calls=2 if quick else 5)
        specs = both(engine, 2) if oracle else {"engine": engine}
        name = f"{axis.replace(' ', '-')}-{x}" + ("-window-16" if curve == "window 16" else "")
        title = f"{axis} {x}, {curve}: op @ V, {spec.architecture}, {spec.side}x{spec.side}"
        made.append(Case(name, "scaling", title, specs, (Target("warm"),), series=(axis, x, curve)))

    side = 32 if quick else 48
    for length in (16, 24, 32, 48) if quick else (16, 24, 32, 48, 64, 96, 128):
        point("pixels", length**2, "exact", Spec("calls", side=length), length <= 64)
    for length in (32, 64) if quick else (32, 64, 96, 128, 192, 256):
        point("pixels", length**2, "window 16", Spec("calls", side=length, window=16), False)
    for depth in (1, 2, 4) if quick else (1, 2, 3, 5, 8, 12):
        point("depth", depth, "exact", Spec("calls", architecture=f"cnn:depth={depth}", side=side), True)
    for size in (3, 7, 11) if quick else (3, 5, 7, 9, 11):
        spec = Spec("calls", architecture=f"cnn:depth=3,kernel_size={size}", side=side)
        point("kernel size", size, "exact", spec, True)
    length = 64 if quick else 128
    for window in (4, 8, 16) if quick else (4, 8, 16, 32, 48):
        point("window", window, f"{length}x{length}", Spec("calls", side=length, window=window), False)
    return made


def _gpu() -> list[Case]:
    made = []
    for side, oracle in ((64, True), (128, True), (256, False), (512, False)):
        spec = Spec("calls", side=side, calls=5 if side < 512 else 1)
        targets = (
            Target("warm"),
            Target("throughput", "value", 4e10 if side >= 128 else None, platform="gpu"),
            Target("memory"),
        )
        title = f"op @ V, 3 columns, cnn(depth=3, kernel_size=3), {side}x{side}, on the GPU"
        made.append(
            Case(f"gpu-{side}", "gpu", title, both(spec, 3) if oracle else {"engine": spec}, targets, platform="gpu")
        )
    title = "the device's limits used, op @ V, cnn(depth=3, kernel_size=3), 256x256, on the GPU"
    made.append(Case("gpu-limits", "gpu", title, {"engine": Spec("limits", side=256, calls=3)}, SHARES, platform="gpu"))
    return made


def _long() -> list[Case]:
    def most(figure: str, limit: float | None) -> Target:
        return Target(figure, "value", limit, at_least=False)

    deep = Spec("calls", architecture="autoencoder:levels=3", side=256)
    wide = Spec("kept", architecture="vanilla_cnn:kernel_size=11", side=512, window=32, memory_plan="keep", calls=59)
    return [
        Case(
            "long-recompute",
            "long",
            "op @ V, 3 columns, autoencoder(levels=3), 256x256, recomputing, compilation included",
            {"engine": deep},
            (most("cold", 150), most("memory", 3)),
        ),
        Case(
            "long-keep",
            "long",
            "the same with slices kept",
            {"engine": replace(deep, what="kept", memory_plan="keep", calls=3)},
            (most("kernel", None), most("further product", 5), most("memory", None)),
        ),
        Case(
            "long-window",
            "long",
            "vanilla_cnn(11), 512x512, window 32: kernel kept, and 60 products with 3 columns",
            {"engine": wide},
            (most("total", 90), most("memory", 5)),
        ),
    ]


def _resized(case: Case, side: int) -> Case:
    changes: dict[str, Any] = {"side": side}
    specs = {
        method: replace(spec, **changes, window=None if spec.window is None else min(spec.window, side))
        for method, spec in case.specs.items()
    }
    targets = tuple(replace(target, limit=target.limit if case.group == "error" else None) for target in case.targets)
    return replace(case, specs=specs, targets=targets, title=f"{case.title} [run at {side}x{side}]")
