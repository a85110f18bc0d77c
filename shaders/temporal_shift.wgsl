// The first C/8 channels come from the next frame, the next C/8 from the one before, zero at the clip's ends
// (TSM paper, Sec. 3). Where C/8 is a multiple of 4 the convolution does this itself.
//
// x, y  [N, H, W, C], channels in quads, the frames of a clip adjacent. One invocation, one quad.

struct Params {
    // Quads of all frames, of one frame, of one position.
    length: u32, frame: u32, channels: u32,
    // Frames of a clip, and channels (not quads) that look each way.
    clip: u32, fold: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn temporal_shift(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let time = id / params.frame % params.clip;
    let c = id % params.channels * 4u + vec4u(0u, 1u, 2u, 3u);
    var next = vec4f();
    if time + 1u < params.clip { next = x[id + params.frame]; }
    var before = vec4f();
    if time > 0u { before = x[id - params.frame]; }
    let ahead = c < vec4u(params.fold);
    let back = c < vec4u(2u * params.fold);
    y[id] = select(select(x[id], before, back), next, ahead);
}
