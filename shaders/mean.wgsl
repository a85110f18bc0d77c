// Mean over the middle axis: global_mean over a frame's positions, frame_mean over a clip's frames.
//
// x  [N, M, C], y  [N, C], channels in quads. One invocation, one quad of y.

struct Params { middle: u32, channels: u32, length: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn mean(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let start = id / params.channels * params.middle * params.channels + id % params.channels;
    var sum = vec4f();
    for (var i = 0u; i < params.middle; i++) { sum += x[start + i * params.channels]; }
    y[id] = sum / f32(params.middle);
}
