"""PyTorch or onnxruntime as a contestant of `cargo xtask bench-peers`.

In: a folder of networks.py, and one line on standard input for each run. Out: one line of JSON for each run: how long it
took, and what came out (logits; of a training step the loss).
"""
import argparse
import json
import pathlib
import sys
import time

from safetensors.numpy import load_file

LEARNING_RATE = 1e-3  # that of crates/motion-cli/src/commands/bench/contestant.rs


def onnxruntime_inference(folder, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    clip = load_file(folder / "clip.safetensors")["clip"]
    return lambda: session.run(None, {"clip": clip})[0][0].tolist()


def torch_model(folder, threads):
    import networks
    import torch

    torch.set_num_threads(threads)
    model = networks.Tsm(folder.name)
    model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    return torch, model


def torch_inference(folder, threads):
    torch, model = torch_model(folder, threads)
    model.eval()
    clip = torch.from_numpy(load_file(folder / "clip.safetensors")["clip"])

    def run():
        with torch.inference_mode():
            return model(clip)[0].tolist()

    return run


def torch_training(folder, threads):
    torch, model = torch_model(folder, threads)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    clips = torch.from_numpy(load_file(folder / "train.safetensors")["clip"])
    truth = torch.arange(len(clips))

    def run():
        loss = torch.nn.functional.cross_entropy(model(clips.flatten(0, 1)), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return [loss.item()]

    return run


if __name__ == "__main__":
    contestants = {"onnxruntime": onnxruntime_inference, "pytorch": torch_inference, "pytorch-training": torch_training}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=contestants)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    run = contestants[arguments.contestant](arguments.folder, arguments.threads)
    for _ in sys.stdin:
        begun = time.perf_counter()
        output = run()
        ms = 1e3 * (time.perf_counter() - begun)
        print(json.dumps({"ms": ms, "output": output}), flush=True)
