// Some frames of every clip, in order: frame t of a clip of `clip_out` frames is frame min(t + first, clip_in - 1) of
// a clip of `clip_in`. Frame pairs (first = 0 and 1, one frame less) and the last pair repeated (one frame more).
//
// x  [B clip_in, H, W, C], y  [B clip_out, H, W, C], channels in quads. One invocation, one quad.

struct Params {
    // Quads of y, and of one frame.
    length: u32, frame: u32,
    clip_in: u32, clip_out: u32, first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn take_frames(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let frame = id / params.frame;
    let time = min(frame % params.clip_out + params.first, params.clip_in - 1u);
    y[id] = x[(frame / params.clip_out * params.clip_in + time) * params.frame + id % params.frame];
}
