"""Infinitely wide networks over the whole trajectory, until their best is passed; Nystrom; simple filters."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, BLUE, RED, show_image, step_text

from .drawing import GREY, LABELS, MARKERS, SEQUENCE, figure, network_name
from .experiment import Outcome, Preset, Results, Verdict, judged, setting
from .measures.baselines import Baselines, baselines
from .measures.closed_form import BEYOND_THE_BEST, Limit, LowRank, Theory, limit_quality, low_rank, theory
from .measures.sizes import Size, size
from .parts import Measured, Part
from .pictures import Picture, Pictures
from .published import POSTER_PSNR
from .statistics import Interval, mean

TITLE = "Exact infinitely wide networks until their best step is passed; Nystrom; simple filters beside them"
NYSTROM_COST = 0.3  # dB at the best steps
NYSTROM_SHARE = 0.05  # of the columns
BLUR_MARGIN = 0.3  # dB above the best Gaussian blur that still count as "no better than a low-pass filter"
FEWER = 10.0  # "far fewer": this many times
SAME_STEPS = 1000  # at which networks are compared


@dataclass(frozen=True)
class Config:
    """Three networks fed with the noisy picture and with noise, steps, and Nystrom's ranks as shares of the pixels.

    On ``other_draws`` of the noise there are simple filters, and networks fed with other iid noise.
    """

    picture: Picture
    architectures: tuple[str, ...]
    steps: tuple[int, ...]
    shares: tuple[float, ...]
    seeds: int
    bm3d: bool
    width: int = 128
    max_products: int = 500
    other_draws: tuple[Picture, ...] = ()


def configure(preset: Preset, pictures: Pictures) -> Config:
    """Crops of 64x64 (quick and full, which differ in repetitions and ranks), or the whole 256x256; to 1e6 steps."""
    pixels, levels, seeds = {"quick": (64, 2, 2), "full": (64, 2, 5), "paper": (256, 3, 3)}[preset]
    networks = ("vanilla_cnn:kernel_size=11", f"unet:levels={levels}", f"autoencoder:levels={levels}")
    shares = {"quick": (0.05,), "full": (0.005, 0.01, 0.02, 0.05, 0.35), "paper": (0.005, 0.01, 0.02, 0.05)}[preset]
    products = 220 if preset == "paper" else 500
    bm3d = preset != "quick"
    draws = {"quick": 2, "full": 3, "paper": 1}[preset]
    first, *others = (pictures.picture("smooth", pixels, noise_seed=draw) for draw in range(draws))
    return Config(
        first, networks, BEYOND_THE_BEST, shares, seeds, bm3d, max_products=products, other_draws=tuple(others)
    )


def parts(config: Config) -> list[Part]:
    """Simple filters; the trajectory of every network from both inputs; Nystrom's at every rank; parameters."""
    found: list[Part] = [Part("simple filters", baselines, Baselines(config.picture, config.bm3d))]
    for architecture in config.architectures:
        name = network_name(architecture)
        found.append(Part(f"size of {name}", size, Size(architecture, config.width, 3)))
        for source in ("image", "noise"):
            limit = Limit(config.picture, architecture, "image" if source == "image" else "noise")
            settings = Theory(limit, config.steps, config.max_products)
            found.append(Part(f"theory of {name} from {LABELS[source]}", theory, settings))
            for share in config.shares if source == "image" or architecture.startswith("vanilla") else ():
                rank = max(1, round(share * config.picture.size**2))
                for seed in range(config.seeds):
                    settings_ = LowRank(limit, rank, "columns", config.steps, seed, False)
                    found.append(
                        Part(f"nystrom of {name} from {LABELS[source]}, rank {rank}, seed {seed}", low_rank, settings_)
                    )
    for picture in config.other_draws:
        draw = picture.noise_seed
        found.append(Part(f"simple filters, noise {draw}", baselines, Baselines(picture, config.bm3d)))
        for architecture in config.architectures:
            settings = Theory(Limit(picture, architecture, "noise", seed=draw), config.steps, config.max_products)
            found.append(
                Part(f"theory of {network_name(architecture)} from iid noise, noise {draw}", limit_quality, settings)
            )
    return found


def path(results: Results, architecture: str, source: str) -> Measured:
    """The theory of a network, under the first noise draw."""
    return results.one("theory", architecture=architecture, input=source)


def _simple(results: Results) -> Measured:
    """Simple filters under the first noise draw."""
    return results.select("baselines")[0]


def above_blur(results: Results, architecture: str) -> list[float]:
    """Best PSNR of a network fed iid noise minus that of the best Gaussian blur, by noise draw."""
    paths = [path(results, architecture, "noise"), *results.select("limit_quality", architecture=architecture)]
    return [
        best(one)[0] - float(filters["blur"]) for one, filters in zip(paths, results.select("baselines"), strict=True)
    ]


def best(part: Measured) -> tuple[float, int, bool]:
    """PSNR and step of the best estimate, and whether it has been passed: the last step is lower."""
    index = int(np.argmax(part["psnr"]))
    return float(part["psnr"][index]), int(part["steps"][index]), bool(part["psnr"][-1] < part["psnr"][index] - 1e-3)


def _best_text(part: Measured) -> str:
    value, step, passed = best(part)
    error = float(part["error"][int(np.argmax(part["psnr"]))])
    return f"{value:.2f} dB at step {step}" + ("" if passed else ", still rising") + f" (error estimate {error:.0e})"


def costs(results: Results, architecture: str, source: str) -> dict[int, Interval]:
    """What Nystrom costs in dB at the best steps, for every rank, over draws of the columns."""
    exact, found = best(path(results, architecture, source))[0], {}
    for rank in _ranks(results):
        runs = results.select("low_rank", architecture=architecture, input=source, rank=rank)
        if runs:
            found[rank] = mean([exact - float(run["psnr"].max()) for run in runs])
    return found


def _ranks(results: Results) -> list[int]:
    return sorted({setting(part, "rank") for part in results.select("low_rank")})


def _picture(results: Results) -> str:
    side = results.config["picture"]["size"]
    return f"{side}x{side} pixels of {results.config['picture']['name']}"


def _tried(results: Results) -> str:
    return f"{_picture(results)}, one noise draw, one draw of the noise that is fed"


def summarise(results: Results) -> list[Verdict]:
    """Claims 4, 5 and 7."""
    networks = results.config["architectures"]
    return [
        *[_nystrom(results, architecture) for architecture in networks],
        _order(results),
        _low_pass(results),
        _vanilla_noise(results),
        *[_freedom(results, architecture) for architecture in networks],
    ]


def _nystrom(results: Results, architecture: str) -> Verdict:
    found = costs(results, architecture, "image")
    pixels = results.config["picture"]["size"] ** 2
    columns = min(found, key=lambda rank: abs(rank / pixels - NYSTROM_SHARE))
    outcome = judged(found[columns].within(-NYSTROM_COST, NYSTROM_COST))
    texts = [f"{cost} dB with {rank} columns ({rank / pixels:.1%})" for rank, cost in found.items()]
    freedom = path(results, architecture, "image")["degrees_of_freedom"]
    at_best = float(freedom[int(np.argmax(path(results, architecture, "image")["psnr"]))])
    vanilla = architecture.startswith("vanilla")
    if found[columns].high < -NYSTROM_COST:
        outcome = "holds in part"  # better than the exact filter: no replacement for it
    return Verdict(
        4,
        f"{network_name(architecture)}: what Nystrom with {columns / pixels:.0%} of the columns costs against the "
        f"exact filter",
        "the network can be replaced by the closed form with a Nystrom approximation (28.0 -> 28.9 dB, vanilla CNN)",
        f"exact {_best_text(path(results, architecture, 'image'))}; costs " + ", ".join(texts),
        outcome,
        f"Judged at {NYSTROM_SHARE:.0%} within {NYSTROM_COST} dB, each at its own best step, counted in units of 1 / "
        "lambda_max (the exact filter) or .99 / lambda_max of its own kernel (Nystrom); a negative cost is a gain. The "
        f"filter needs {at_best:.0f} degrees of freedom at its best step, the rank is {columns}. "
        f"({_picture(results)}, one noise draw, {results.config['seeds']} draws of columns; more columns would change "
        "it, a larger picture may.)",
        "deciding" if vanilla else "test",
        f"Nystrom costs {found[columns]} dB at {columns / pixels:.0%} of the columns" if vanilla else "",
    )


def _order(results: Results) -> Verdict:
    """The order of the networks, at equal steps."""
    networks = results.config["architectures"]
    steps = path(results, networks[0], "image")["steps"]
    index = int(np.abs(steps - SAME_STEPS).argmin())
    curves = {network_name(a): path(results, a, "image")["psnr"] for a in networks}
    theirs = {network_name(a): POSTER_PSNR["image", "gd", a.partition(":")[0]] for a in networks}
    published = sorted(theirs, key=lambda name: -theirs[name])
    orders = [sorted(curves, key=lambda name, at=at: -curves[name][at]) for at in range(len(steps))]  # type: ignore[misc]
    runs = [[int(step) for step, _ in run] for same, run in itertools.groupby(
        zip(steps, orders, strict=True), lambda pair: pair[1] == published) if same]  # fmt: skip
    where = "steps " + ", ".join(f"{run[0]} to {run[-1]}" for run in runs) if runs else "no equal steps"
    passed = all(best(path(results, a, "image"))[2] for a in networks)
    bests = ", ".join(f"{network_name(a)} {_best_text(path(results, a, 'image'))}" for a in networks)
    return Verdict(
        4,
        f"the order of the networks under gradient descent from the noisy image, after {steps[index]} steps each",
        " > ".join(f"{name} {theirs[name]}" for name in published),
        " > ".join(f"{name} {curves[name][index]:.1f} dB" for name in orders[index])
        + f"; the published order holds at {where} (of {steps[0]} to {steps[-1]}); at their best steps: {bests}",
        "holds" if orders[index] == published else "contradicted",
        "Exact limits from zero; equal steps are in units of each network's own 1 / lambda_max. The order depends on "
        f"when one stops: the poster's steps are not printed. {'' if passed else 'Not all have passed their best. '}"
        f"({_picture(results)}, one noise draw. Another step would change it, or the poster's, if they were known.)",
    )


def _low_pass(results: Results) -> Verdict:
    simple, networks = _simple(results), results.config["architectures"]
    above = {a: mean(above_blur(results, a)) for a in networks}
    every = [*results.select("limit_quality"), *(path(results, a, "noise") for a in networks)]
    outcome: Outcome = "undecided"
    if any(one.low > BLUR_MARGIN for one in above.values()):
        outcome = "contradicted"
    elif all(one.high <= BLUR_MARGIN for one in above.values()) and all(best(part)[2] for part in every):
        outcome = "holds"
    highest = max(networks, key=lambda a: above[a].value)
    draws = len(results.select("baselines"))
    return Verdict(
        5,
        "fed with iid noise the fixed filter denoises no better than the best Gaussian blur",
        "a simple low-pass filter",
        "; ".join(f"{network_name(a)} {_best_text(path(results, a, 'noise'))}, {one} dB" for a, one in above.items())
        + f" against the best blur; blur {float(simple['blur']):.2f} dB ({float(simple['blur_sigma']):.2f} pixels), "
        f"noisy {float(simple['noisy']):.2f} dB, non-local means {float(simple['nlm']):.2f} dB"
        + (f", CBM3D {float(simple['bm3d']):.2f} dB" if "bm3d" in simple.arrays else ""),
        outcome,
        f"Holds where the interval of every network's best, over the draws, is at most {BLUR_MARGIN} dB above the blur "
        f"of the same noise, and passed ({_picture(results)}, {draws} draws of the noise and of the noise that is fed, "
        "numbers without an interval of the first; more draws or a larger picture would change it).",
        "deciding",
        f"fixed filters fed noise: {network_name(highest)} {above[highest]} dB against the best blur, others lower",
    )


def _vanilla_noise(results: Results) -> Verdict:
    simple = _simple(results)
    vanilla = next(a for a in results.config["architectures"] if a.startswith("vanilla"))
    value, shrinkage = best(path(results, vanilla, "noise"))[0], float(simple["shrinkage"])
    return Verdict(
        5,
        "the vanilla CNN fed with iid noise denoises no better than the ideal shrinkage, mean + a (y - mean): it does "
        "not profit from its low-pass part",
        "said not to be obtainable by low-pass filtering (authors' slides); 21.6 dB by gradient descent",
        f"{value:.2f} dB at its best step, the shrinkage at its best a {shrinkage:.2f} dB, noisy "
        f"{float(simple['noisy']):.2f} dB",
        "holds" if value <= shrinkage + BLUR_MARGIN else "contradicted",
        "Says how the word low-pass is to be read for this network. PSNR alone is compared, so that any poor filter "
        f"would pass; the noisy picture is not stored ({_tried(results)}).",
        "control",
    )


def _freedom(results: Results, architecture: str) -> Verdict:
    part = path(results, architecture, "image")
    index = int(np.argmax(part["psnr"]))
    count = int(results.one("size", architecture=architecture)["parameters"])
    freedom, error = float(part["degrees_of_freedom"][index]), float(part["freedom_error"][index])
    ratio, least = count / (3 * freedom), count / (3 * (freedom + 2 * error))
    pixels = results.config["picture"]["size"] ** 2
    sure = count >= FEWER * 3 * pixels  # then the identity would pass as well
    outcome: Outcome = "holds" if least >= FEWER else ("holds in part" if ratio > 1 else "contradicted")
    return Verdict(
        7,
        f"{network_name(architecture)} from the noisy image: parameters over the filter's degrees of freedom at the "
        f"best step",
        "far fewer degrees of freedom than parameters",
        f"{freedom:.0f} ± {error:.0f} (standard error) per channel at {_best_text(part)}, {count} parameters at "
        f"{results.config['width']} channels: {ratio:.1f} times those of three channels",
        outcome,
        f"Far fewer: {FEWER:g} times. They are bounded by the {pixels} pixels, whatever the network, and parameters "
        f"grow with the width ({_picture(results)}, one noise draw)."
        + (f" A control: the identity has {count / (3 * pixels):.0f} parameters to each of its own." if sure else ""),
        "control" if sure else "deciding",
        "" if sure else f"{ratio:.0f} parameters to a degree of freedom ({network_name(architecture)})",
    )


def draw(results: Results, folder: Path) -> list[str]:
    """PSNR over the trajectories with Nystrom and simple filters; PSNR over degrees of freedom; the best estimates."""
    networks, simple = results.config["architectures"], _simple(results)
    pixels = results.config["picture"]["size"] ** 2
    with figure(folder, "exact-psnr", (9.4, 6.2), 2, len(networks), sharey=True) as (drawn, axes):
        for column, architecture in enumerate(networks):
            for axis, source in zip(axes[:, column], ("image", "noise"), strict=True):
                part = path(results, architecture, source)
                axis.plot(part["steps"], part["psnr"], color=BLACK, lw=2, label="exact")
                for index, rank in enumerate(_ranks(results)):
                    runs = results.select("low_rank", architecture=architecture, input=source, rank=rank)
                    if runs:
                        values = np.mean([run["psnr"] for run in runs], axis=0)
                        ink = {"color": SEQUENCE[index], "marker": MARKERS[index], "markevery": 8}
                        label = f"Nystrom, {rank / pixels:.1%} of the columns"
                        axis.plot(runs[0]["steps"], values, "--", label=label, **ink)
                for name, line, label in (("blur", "-.", "best Gaussian blur"), ("nlm", ":", "non-local means")):
                    axis.axhline(float(simple[name]), color=GREY, ls=line, lw=1, label=label)
                axis.set_xscale("log")
                axis.set_title(f"{network_name(architecture)}, from {LABELS[source]}")
            axes[1, column].set_xlabel("steps, at 1 / lambda_max from zero")
        for axis in axes[:, 0]:
            axis.set_ylabel("PSNR [dB]")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    with figure(folder, "exact-freedom", (9.4, 3.4), 1, len(networks), sharey=True) as (drawn, axes):
        for axis, architecture in zip(axes[0], networks, strict=True):
            for source, colour in (("image", BLUE), ("noise", RED)):
                part = path(results, architecture, source)
                axis.plot(part["degrees_of_freedom"], part["psnr"], color=colour, label=LABELS[source])
            count = int(results.one("size", architecture=architecture)["parameters"])
            axis.axvline(pixels, color="0.6", ls=":", label="pixels")
            axis.axvline(count, color="k", ls="--", label=f"parameters, {results.config['width']} channels")
            axis.set_xscale("log")
            axis.set_xlabel("degrees of freedom per channel")
            axis.set_title(network_name(architecture))
        axes[0, 0].set_ylabel("PSNR over the trajectory [dB]")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    with figure(folder, "exact-images", (1.8 * (1 + len(networks)), 4.2), 2, 1 + len(networks)) as (_, axes):
        show_image(axes[0, 0], simple["nlm_image"], "non-local means", f"{float(simple['nlm']):.2f} dB")
        names = {"noisy": "noisy picture", "shrinkage": "shrinkage", "blur": "Gaussian blur", "bm3d": "CBM3D"}
        known = [f"{label} {float(simple[name]):.2f} dB" for name, label in names.items() if name in simple.arrays]
        axes[1, 0].set_axis_off()
        text = "\n\n".join(known)
        axes[1, 0].text(0.5, 0.5, text, ha="center", va="center", fontsize=8, transform=axes[1, 0].transAxes)
        for row, source in zip(axes, ("image", "noise"), strict=True):
            for axis, architecture in zip(row[1:], networks, strict=True):
                part = path(results, architecture, source)
                value, step, _ = best(part)
                below = f"best {value:.2f} dB\nat step {step_text(step, int(part['steps'][-1]))}"
                show_image(axis, part["output"], f"{network_name(architecture)},\nfrom {LABELS[source]}", below)
    return ["exact-psnr", "exact-freedom", "exact-images"]
