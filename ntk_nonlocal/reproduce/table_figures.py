"""Figures of the table: PSNR beside the poster's, over the steps, and some estimates."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ntk_nonlocal.plotting import BLACK, show_image

from .drawing import GREY, LABELS, MARKERS, SEQUENCE, figure, network_name
from .experiment import Results, setting
from .parts import Measured
from .published import POSTER_PSNR
from .table_runs import INPUTS, ROLES, SHOWN, best, is_slow, last, mean_of, runs, simple


def _scaled(results: Results, architecture: str, source: str, optimizer: str) -> list[Measured]:
    """The runs with other initial weights."""
    name = results.config["smooth"][0]["name"]
    return [
        run
        for run in results.select("training", name=name, input=source, optimizer=optimizer)
        if setting(run, "architecture").startswith(f"{architecture},weight_std=") and not is_slow(run)
    ]


def draw_table(results: Results, folder: Path) -> list[str]:
    """The numbers beside the poster's, PSNR over the steps of the autoencoder by Adam, and some last estimates."""
    config = results.config
    rows = [(o, a) for a in config["architectures"] for o in ("gd", "adam")]
    places = np.arange(len(rows))[::-1]
    with figure(folder, "table-psnr", (8.8, 3.4), 1, 2, sharey=True) as (drawn, axes):
        for axis, source in zip(axes[0], INPUTS, strict=True):
            for index, role in enumerate(ROLES):
                name = config[role][0]["name"]
                for (optimizer, architecture), place in zip(rows, places, strict=True):
                    found = runs(results, name, architecture, source, optimizer)
                    if not found:
                        continue
                    ends, top = ([value(run) for run in found] for value in (last, best))
                    labels = (f"{name}, last step", f"{name}, best step") if place == places[0] else (None, None)
                    ink = {"color": SEQUENCE[index], "ls": "none"}
                    axis.plot(ends, [place - 0.1] * len(found), marker=MARKERS[index], ms=3, label=labels[0], **ink)
                    axis.plot(top, [place + 0.1] * len(found), marker="|", ms=8, label=labels[1], **ink)
                    limits = results.select("limit_quality", name=name, architecture=architecture, input=source)
                    if optimizer == "gd" and limits:
                        label = f"{name}, closed form, best step" if place == places[0] else None
                        tops = [best(one) for one in limits]
                        axis.plot(tops, [place + 0.1] * len(tops), marker="^", ms=4, mfc="none", label=label, **ink)
                means = results.select("baselines", name=name)[0]
                axis.axvline(float(means["nlm"]), color=SEQUENCE[index], ls=":", lw=1, label=f"{name}, non-local means")
            scaled = [
                (run, place)
                for (o, a), place in zip(rows, places, strict=True)
                for run in _scaled(results, a, source, o)
            ]
            if scaled:
                axis.plot([best(run) for run, _ in scaled], [place for _, place in scaled], "x", color=BLACK, ms=5,
                          label=f"{config['smooth'][0]['name']}, PyTorch's weights, best step")  # fmt: skip
            poster = [POSTER_PSNR.get((source, o, a.partition(":")[0]), np.nan) for o, a in rows]
            axis.plot(poster, places, "D", color=GREY, mfc="none", label="poster, House 256x256")
            axis.set_title(f"from {LABELS[source]}", color=BLACK)
            axis.set_xlabel("PSNR [dB]")
            axis.set_yticks(places, [f"{network_name(a)}, {LABELS[o]}" for o, a in rows])
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    _draw_steps(results, folder)
    _draw_images(results, folder)
    return ["table-psnr", "table-steps", "table-images"]


def _draw_steps(results: Results, folder: Path) -> None:
    config = results.config
    with figure(folder, "table-steps", (7.6, 3.2), 1, 2, sharey=True) as (drawn, axes):
        for axis, role in zip(axes[0], ROLES, strict=True):
            name = config[role][0]["name"]
            for index, source in enumerate(INPUTS):
                found = runs(results, name, config["architectures"][0], source, "adam")
                if found:
                    steps = found[0]["steps"][1:]  # step 0 has no place on the axis
                    values = np.stack([np.interp(steps, run["steps"], run["psnr"]) for run in found])
                    ink = SEQUENCE[index]
                    axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=ink, alpha=0.25, lw=0)
                    line = "-" if index == 0 else "--"
                    axis.plot(steps, values.mean(axis=0), line, color=ink, label=f"from {LABELS[source]}")
            for known, dashes, label in (
                ("nlm", ":", "non-local means"),
                ("blur", "-.", "best Gaussian blur"),
                ("noisy", "-", "noisy"),
            ):
                level = mean_of(simple(results, name, known))
                axis.axhline(level, color=GREY, ls=dashes, lw=1, label=label)
            axis.set_xscale("log")
            axis.set_title(name)
            axis.set_xlabel("steps")
        axes[0, 0].set_ylim(18, axes[0, 0].get_ylim()[1] + 0.3)
        axes[0, 0].set_ylabel("PSNR [dB], from 18 up")
        drawn.suptitle("Adam's autoencoder: mean and range over seeds and noise draws", fontsize=9)
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)


def _draw_images(results: Results, folder: Path) -> None:
    with figure(folder, "table-images", (9.4, 3.8), 2, 1 + 2 * len(SHOWN)) as (drawn, axes):
        for row, role in zip(axes, ROLES, strict=True):
            name = results.config[role][0]["name"]
            means = results.select("baselines", name=name)[0]
            first = role == ROLES[0]
            title = "non-local\nmeans" if first else ""
            show_image(row[0], means["nlm_image"], title, f"{float(means['nlm']):.2f} dB")
            row[0].title.set_fontsize(7)
            shown = [part for part in results.select("training", name=name) if "output" in part.arrays]
            for axis, part in zip(row[1:], shown, strict=False):
                title = f"{network_name(setting(part, 'architecture'))},\n{LABELS[setting(part, 'optimizer')]},\n"
                title += f"from {LABELS[setting(part, 'input')]}"
                below = f"last {last(part):.2f} dB\nbest {best(part):.2f} dB"
                show_image(axis, part["output"], title if first else "", below)
                axis.title.set_fontsize(7)
            for axis in row[1 + len(shown) :]:
                axis.set_axis_off()
        drawn.suptitle("Networks after their last step; the best step, that verdicts use, is not kept", fontsize=9)
