// Two activations side by side along the channels.
//
// a  [N, H, W, A], b  [N, H, W, B], y  [N, H, W, A + B], channels in quads, of which A may fill the last one partly.
// One invocation, one quad of y.

struct Params {
    // Channels of a and b; quads of a, b and y at a position; quads of y in all.
    a_channels: u32, b_channels: u32,
    a_quads: u32, b_quads: u32, y_quads: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

fn channel(position: u32, c: u32) -> f32 {
    if c < params.a_channels { return a[position * params.a_quads + c / 4u][c % 4u]; }
    let rest = c - params.a_channels;
    if rest < params.b_channels { return b[position * params.b_quads + rest / 4u][rest % 4u]; }
    return 0f;
}

@compute @workgroup_size(64)
fn concat(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let position = id / params.y_quads;
    let c = id % params.y_quads * 4u;
    y[id] = vec4f(channel(position, c), channel(position, c + 1u), channel(position, c + 2u), channel(position, c + 3u));
}
