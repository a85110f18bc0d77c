"""The networks of `cargo xtask bench-peers`, with the same seeded random weights for every contestant.

In: a folder and names of backbones. Out: FOLDER/NAME/ with
  config.json, model.safetensors   the backbone for MotionLens, under the published names
  msnet/                           the same with a motion module
  model.pt, model.onnx             the backbone for PyTorch and onnxruntime
  layers.json                      which layer each node of model.onnx with weights is: {node: {kernel, shape}}, in the
                                   words of MotionLens's kernels
  clip.safetensors                 a normalised clip, [8, 3, 224, 224]
  clip.nchw.f32, clip.nhwc.f32     the same for the browser, as raw numbers
  train.safetensors                a batch of clips, [4, 8, 3, 112, 112]; clip i is of class i
"""
import json
import pathlib
import sys

import onnx
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

FRAMES, SIDE, CLASSES = 8, 224, 174
TRAIN_CLIPS, TRAIN_SIDE = 4, 112
# The stage that the motion module follows, its channels, and those after the module's reduction (None: no reduction).
MOTION = {
    "tsm_resnet18": ("res3", 128, 64),
    "tsm_mobilenet_v2": ("stage3", 32, None),
    "tsm_resnet50": ("res3", 512, 64),
}


def temporal_shift(_, inputs):
    """The first C/8 channels from the next frame, the next C/8 from the one before; runs before a convolution."""
    x = inputs[0].unflatten(0, (-1, FRAMES))
    fold = x.shape[2] // 8
    zeros = torch.zeros_like(x[:, :1, :fold])
    later = torch.cat([x[:, 1:, :fold], zeros], 1)
    earlier = torch.cat([zeros, x[:, :-1, fold : 2 * fold]], 1)
    return (torch.cat([later, earlier, x[:, :, 2 * fold :]], 2).flatten(0, 1),)


class Tsm(nn.Module):
    """torchvision's network with temporal shift: frames [N*T, 3, H, W] in, logits [N, classes] out."""

    def __init__(self, name):
        super().__init__()
        options = {"dropout": 0.0} if "mobilenet" in name else {}
        self.net = getattr(torchvision.models, name.removeprefix("tsm_"))(num_classes=CLASSES, **options)
        for conv in shifted(self.net):
            conv.register_forward_pre_hook(temporal_shift)

    def forward(self, x):
        return self.net(x).unflatten(0, (-1, FRAMES)).mean(1)


def shifted(net):
    """The convolutions that read a shifted input: of every residual block, where MobileNetV2 has a skip path."""
    if isinstance(net, torchvision.models.ResNet):
        return [block.conv1 for stage in (net.layer1, net.layer2, net.layer3, net.layer4) for block in stage]
    blocks = [block for block in net.features if getattr(block, "use_res_connect", False) and len(block.conv) == 4]
    return [block.conv[0][0] for block in blocks]


def published_layers(net):
    """(published name, layer) of everything with parameters; MobileNetV2 numbers the layers of a block throughout."""
    convs = shifted(net)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Linear):
            yield "new_fc", layer
        elif isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)) and ".conv." not in name:
            yield f"base_model.{name}", layer
    for index, block in enumerate(getattr(net, "features", [])):
        layers = [layer for layer in block.modules() if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d))]
        if hasattr(block, "conv"):
            for i, layer in enumerate(layers):
                tail = ".net" if any(layer is conv for conv in convs) else ""
                yield f"base_model.features.{index}.conv.{i // 2 * 3 + i % 2}{tail}", layer


def motion_layers(channels, reduced):
    """(published name, layer) of a motion module with random weights."""
    if reduced:
        yield "base_model.chnl_reduction.0", nn.Conv2d(channels, reduced, 1, bias=False)
        yield "base_model.chnl_reduction.1", nn.BatchNorm2d(reduced)
    before = 3
    for i, (after, kernel) in enumerate([(16, 7), (32, 3), (64, 3), (channels, 3)], 1):
        path = f"base_model.flow_refinement.conv{i}"
        yield f"{path}.0", nn.Conv2d(before, before, kernel, groups=before, bias=False)
        yield f"{path}.1", nn.BatchNorm2d(before)
        yield f"{path}.3", nn.Conv2d(before, after, 1, bias=False)
        yield f"{path}.4", nn.BatchNorm2d(after)
        before = after


def seeded(name, clip):
    """A network whose activations keep their size, and whose norms are not the identity."""
    model = Tsm(name)  # convolutions are Kaiming normal already
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            layer.momentum = 1.0
    nn.init.kaiming_normal_(next(layer for path, layer in published_layers(model.net) if path == "new_fc").weight)
    with torch.no_grad():
        model.train()(clip)  # the norms' running statistics become those of this clip
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.1
    return model.eval()


def write_model(folder, backbone, layers, motion):
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": "msnet", "backbone": backbone, "frames": FRAMES, "input_size": SIDE, "resize": [240, 320],
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "segment",
        "id2label": {str(i): f"class {i}" for i in range(CLASSES)},
    } | motion
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {f"{path}.{name}": value for path, layer in layers for name, value in layer.state_dict().items()}
    counters = ".num_batches_tracked"
    save_file({name: value for name, value in tensors.items() if not name.endswith(counters)},
              folder / "model.safetensors")


def layers_of(model, clip, file):
    """{node: {kernel, shape}} of everything with weights, as crates/motion-net/src/gpu/conv2d.rs calls it."""
    layers, hooks = [], []

    def note(layer, inputs, _):
        x, linear = inputs[0], isinstance(layer, nn.Linear)  # a 1x1 convolution of maps of one position
        n, channels, height, width = (*x.shape, 1, 1) if linear else x.shape
        side, stride = (1, 1) if linear else (layer.kernel_size[0], layer.stride[0])
        kernel = "conv2d" if linear or layer.groups == 1 else "depthwise"
        shape = f"{side}x{side}/{stride} {channels} to {layer.weight.shape[0]} at {n}x{height}x{width}"
        layers.append({"kernel": kernel, "shape": shape})

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            hooks.append(layer.register_forward_hook(note))
    with torch.no_grad():
        model(clip)
    for hook in hooks:
        hook.remove()
    # The exporter writes nodes in the order in which they ran.
    nodes = [node.name for node in onnx.load(file).graph.node if node.op_type in ("Conv", "Gemm")]
    return dict(zip(nodes, layers, strict=True))


def write(folder, name):
    torch.manual_seed(1)
    folder.mkdir(parents=True, exist_ok=True)
    clip = torch.randn(FRAMES, 3, SIDE, SIDE)
    model = seeded(name, clip)
    stage, channels, reduced = MOTION[name]
    layers = list(published_layers(model.net))
    write_model(folder, name, layers, {})
    motion = {"motion": {"stages": [stage], "patch": 15, "reduce_channels": reduced, "estimator": "kernel"}}
    write_model(folder / "msnet", name, layers + list(motion_layers(channels, reduced)), motion)
    torch.save(model.state_dict(), folder / "model.pt")
    torch.onnx.export(model, (clip,), folder / "model.onnx", input_names=["clip"], output_names=["logits"],
                      opset_version=17, dynamo=False)
    (folder / "layers.json").write_text(json.dumps(layers_of(model, clip, folder / "model.onnx")))
    save_file({"clip": clip}, folder / "clip.safetensors")
    clip.numpy().tofile(folder / "clip.nchw.f32")
    clip.permute(0, 2, 3, 1).contiguous().numpy().tofile(folder / "clip.nhwc.f32")
    save_file({"clip": torch.randn(TRAIN_CLIPS, FRAMES, 3, TRAIN_SIDE, TRAIN_SIDE)}, folder / "train.safetensors")


if __name__ == "__main__":
    for network in sys.argv[2:]:
        write(pathlib.Path(sys.argv[1]) / network, network)
