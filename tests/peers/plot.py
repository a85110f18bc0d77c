"""The picture of `cargo xtask bench-peers`. In: its JSON. Out: an SVG (or PNG) of our time as a share of each peer's."""
import json
import sys

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({"font.family": "sans-serif", "font.size": 9, "svg.hashsalt": "motionlens", "svg.fonttype": "none"})
import matplotlib.pyplot as plt

MET, MISSED, NO_TARGET = "#2a9d8f", "#e07a3f", "#9aa5b1"
TITLES = {
    "wasm": "Inference in the browser (WebAssembly)",
    "webgpu": "Inference in the browser (WebGPU)",
    "native": "Inference, native",
    "training": "Training step, native",
    "module": "With a motion module, beside the same backbone without",
}
NETWORKS = {"tsm_resnet18": "TSM-ResNet-18", "tsm_mobilenet_v2": "TSM-MobileNetV2", "tsm_resnet50": "TSM-ResNet-50"}


def group(row):
    return "module" if row["peer"] == "motionlens" else row["what"]


def label(row):
    threads = "" if row["what"] == "webgpu" else f", {row['threads']} thread{'s' if row['threads'] > 1 else ''}"
    peer = row["what"] if group(row) == "module" else row["peer"]
    return f"{NETWORKS[row['network']]}{threads}, {peer}"


def draw(axes, rows, title, right):
    for y, row in enumerate(rows):
        ratio, target, (least, most) = row["ratio"], row["target"], row["ratio_range"]
        colour = NO_TARGET if target is None else MET if ratio <= target else MISSED
        axes.barh(y, ratio, height=0.62, color=colour, zorder=2)
        axes.plot([least, min(most, right)], [y, y], color="#1d3557", linewidth=1, zorder=3)
        if target is not None:
            axes.plot([target, target], [y - 0.42, y + 0.42], color="#111", linewidth=2.2, zorder=4, solid_capstyle="butt")
        axes.text(right * 1.01, y, f"{ratio:.2f}", va="center", color="#111", fontweight="bold")
        times = f"{row['ours_ms']:.0f} / {row['peer_ms']:.0f} ms"
        axes.text(right * 1.075, y, times, va="center", color="#556")
    axes.axvline(1, color="#556", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, right)
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#e3e7eb", zorder=0)
    for side in axes.spines.values():
        side.set_visible(False)


def main(source, target):
    facts = json.load(open(source, encoding="utf-8"))
    groups = [(name, [row for row in facts["rows"] if group(row) == name]) for name in TITLES]
    groups = [(name, rows) for name, rows in groups if rows]
    heights = [len(rows) + 1.2 for _, rows in groups]
    # One scale for all: a bar twice as long is twice as slow, wherever it stands.
    right = max(1.15, 1.03 * max(max(row["ratio"], row["target"] or 0) for row in facts["rows"]))
    figure, axes = plt.subplots(len(groups), 1, figsize=(9.5, 0.26 * sum(heights) + 1.4), squeeze=False,
                                gridspec_kw={"height_ratios": heights}, layout="constrained")
    for axis, (name, rows) in zip(axes[:, 0], groups):
        draw(axis, rows, TITLES[name], right)
    for axis in axes[:-1, 0]:
        axis.tick_params(labelbottom=False)
    axes[-1, 0].set_xlabel("our time as a share of the peer’s (shorter is faster)")
    marks = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (MET, MISSED, NO_TARGET)]
    marks += [plt.Line2D([], [], color="#111", linewidth=2.2), plt.Line2D([], [], color="#1d3557", linewidth=1)]
    marks.append(plt.Line2D([], [], color="#556", linewidth=0.8, linestyle=(0, (4, 3))))
    names = ["target met", "target not met", "no target", "target", "range of the rounds", "the peer"]
    figure.legend(marks, names, loc="outside upper center", ncols=6, frameon=False)
    machine = facts["machine"]
    figure.supxlabel(f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}", fontsize=8, color="#556")
    figure.savefig(target, dpi=130, metadata={"Date": None, "Creator": None} if target.endswith(".svg") else None)


main(*sys.argv[1:])
