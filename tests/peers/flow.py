"""Classical optical flow as a peer of our maps, for `cargo xtask bench-flow`.

In, on standard input, JSON: {"resize": [h, w], "input_size", "grid": [h, w], "speeds": [[from, to], ...]} and either
"pairs", a folder of real pairs as `motionlens evaluate --pairs` reads it, or "set", a folder of `motionlens synth`.
Out: JSON: {"versions", "results": [{"of", "methods": [{"method", "cells", "epe_cells", "by_speed": [{"cells", "epe_cells"}]}]}]}

A method sees what the network sees: both pictures squashed to `resize`, the centre of `input_size` cut out, in grey, and
its flow counts as the mean over each cell. What is true of a cell is worked out here once more, apart from
crates/motion-train/src/synth/flow.rs, so that either finds the other's mistakes: the mean of its visible pixels, where at
least 80 % of them are visible and their deviation is below 0.35 cell. Real pairs are taken four times: as they are,
mirrored, transposed, both.
"""
import importlib.metadata
import json
import multiprocessing
import pathlib
import sys

import cv2
import numpy as np

METHODS = ("zero map", "Farneback", "DIS", "TV-L1")


def flow_of(method, first, second):
    """[h, w, 2] in pixels. OpenCV's defaults but for Farneback's four levels and DIS's most careful preset."""
    if method == "zero map":
        return np.zeros((*first.shape, 2), np.float32)
    if method == "Farneback":
        return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 4, 15, 3, 5, 1.2, 0)
    if method == "DIS":
        return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)
    return cv2.optflow.DualTVL1OpticalFlow_create().calc(first, second, None)


def read_pair(folder):
    """Two pictures, the flow from the first to the second, and where it is known."""
    files = sorted(folder.iterdir())
    pictures = [file for file in files if file.suffix in (".png", ".jpg")]
    flows, arrays = ([file for file in files if file.suffix == end] for end in (".flo", ".npz"))
    if flows:
        raw = flows[0].read_bytes()
        width, height = np.frombuffer(raw, np.int32, 2, 4)
        flow = np.frombuffer(raw, np.float32, offset=12).reshape(height, width, 2)
        known = (np.abs(flow) < 1e6).all(-1)
        flow = np.where(known[..., None], flow, 0)
    else:
        if arrays:
            stored = np.load(arrays[0])
            disparity = stored[stored.files[0]].astype(np.float32)
        else:
            pictures = [folder / "view1.png", folder / "view5.png"]
            disparity = cv2.imread(str(folder / "disp1.png"), 0).astype(np.float32) / 2
        known = np.isfinite(disparity) & (disparity > 0)
        flow = np.stack([np.where(known, -disparity, 0), 0 * np.where(known, disparity, 0)], -1)
    first, second = (cv2.imread(str(file)) for file in pictures)
    return first, second, flow, known


def turns(first, second, flow, known):
    for turn in range(4):
        parts = [first, second, flow, known]
        if turn % 2:
            parts = [part[:, ::-1] for part in parts]
            parts[2] = parts[2] * np.array([-1, 1], np.float32)
        if turn // 2:
            parts = [part.swapaxes(0, 1) for part in parts]
            parts[2] = parts[2][..., ::-1]
        yield [np.ascontiguousarray(part) for part in parts]


def read_step(folder, step):
    """A frame of a rendered clip, the next one, and the KITTI file of their flow."""
    first, second = (cv2.imread(str(folder / f"frame_{step + i:02}.jpg")) for i in range(2))
    stored = cv2.imread(str(folder / f"flow_{step:02}.png"), cv2.IMREAD_UNCHANGED)  # blue, green, red
    flow = (stored[..., 2:0:-1].astype(np.float32) - 32768) / 64
    return first, second, flow, stored[..., 0] > 0


def to_input(task, first, second, flow, known):
    """Two grey pictures as the network sees them, and for each of their pixels the flow in pixels of the input."""
    (height, width), side = task["resize"], task["input_size"]
    row, column = round((height - side) / 2), round((width - side) / 2)
    grey = [
        cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        for picture in (first, second)
    ]
    cut = [np.ascontiguousarray(picture[row : row + side, column : column + side]) for picture in grey]
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    place = lambda start, scale: ((np.arange(side) + start + 0.5) / scale).astype(int)
    here = np.ix_(place(row, scale[1]), place(column, scale[0]))
    return *cut, flow[here] * scale, known[here]


def on_grid(grid, flow, known):
    """Mean flow of each cell in cells, and which cells count."""
    (rows, columns), side = grid, len(flow)
    if side % rows or side % columns:
        sys.exit(f"an input of {side} pixels is no whole number of cells in a map of {rows} x {columns}")
    cell = np.array([side // columns, side // rows], np.float32)
    flow = (flow / cell).reshape(rows, side // rows, columns, side // columns, 2)
    known = known.reshape(flow.shape[:-1])
    seen = known.sum((1, 3))
    mean = (flow * known[..., None]).sum((1, 3)) / np.maximum(seen, 1)[..., None]
    square = ((flow - mean[:, None, :, None]) ** 2).sum(-1)
    deviation = np.sqrt((square * known).sum((1, 3)) / np.maximum(seen, 1))
    return mean, (seen >= 0.8 * cell.prod()) & (deviation < 0.35)


def sums(job):
    """[method][bin] = (cells, sum of end-point errors) of one folder; the first bin is that of all speeds."""
    task, folder, steps = job
    cv2.setNumThreads(1)
    bins = [[0, np.inf], *task["speeds"]]
    found = np.zeros((len(METHODS), len(bins), 2))
    for pair in turns(*read_pair(folder)) if steps is None else (read_step(folder, step) for step in range(steps)):
        first, second, flow, known = to_input(task, *pair)
        truth, counts = on_grid(task["grid"], flow, known)
        speed = np.hypot(truth[..., 0], truth[..., 1])
        for method, name in enumerate(METHODS):
            shown, _ = on_grid(task["grid"], flow_of(name, first, second), np.ones_like(known))
            error = np.hypot(*np.moveaxis(shown - truth, -1, 0))
            for index, (low, high) in enumerate(bins):
                cells = counts & (speed >= low) & (speed < high)
                found[method, index] += cells.sum(), error[cells].sum()
    return found


def means(of, found):
    figures = lambda pair: {"cells": int(pair[0]), "epe_cells": pair[1] / pair[0] if pair[0] else None}
    methods = [
        {"method": name, **figures(bins[0]), "by_speed": [figures(pair) for pair in bins[1:]]}
        for name, bins in zip(METHODS, found)
    ]
    return {"of": of, "methods": methods}


def main():
    task = json.load(sys.stdin)
    if "pairs" in task:
        folders = sorted(file for file in pathlib.Path(task["pairs"]).iterdir() if file.is_dir())
        jobs = [(task, folder, None) for folder in folders]
    else:
        root = pathlib.Path(task["set"])
        clips = json.loads((root / "list.json").read_text())
        jobs = [(task, root / clip["clip"], clip["frames"] - 1) for clip in clips]
    with multiprocessing.Pool() as pool:
        found = []
        for done in pool.imap(sums, jobs):
            found.append(done)
            print(f"\r  {len(found)} of {len(jobs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    results = [means(folder.name, part) for (_, folder, steps), part in zip(jobs, found) if steps is None]
    version = importlib.metadata.version("opencv-contrib-python-headless")
    results.append(means("all", sum(found)))
    print(json.dumps({"versions": f"OpenCV {version}, numpy {np.__version__}", "results": results}))


if __name__ == "__main__":
    main()
