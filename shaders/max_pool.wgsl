// Largest of each 3 x 3 window, stride 2, padding 1 (a ResNet's stem).
//
// x  [N, H, W, C], y  [N, ceil(H / 2), ceil(W / 2), C], channels in quads. One invocation, one quad.

struct Params { height: u32, width: u32, channels: u32, out_height: u32, out_width: u32, length: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn max_pool(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let c = id % params.channels;
    let column = id / params.channels % params.out_width * 2u;
    let line = id / params.channels / params.out_width;
    let frame = line / params.out_height;
    let middle = line % params.out_height * 2u;
    // The middle of a window is inside; beyond an edge it stands for its neighbour.
    let above = select(middle - 1u, middle, middle == 0u);
    let below = min(middle + 1u, params.height - 1u);
    let left = select(column - 1u, column, column == 0u);
    let right = min(column + 1u, params.width - 1u);
    let lines = (frame * params.height + vec3u(above, middle, below)) * params.width;
    var most = x[(lines.y + column) * params.channels + c];
    for (var i = 0u; i < 3u; i++) {
        most = max(most, x[(lines[i] + left) * params.channels + c]);
        most = max(most, x[(lines[i] + column) * params.channels + c]);
        most = max(most, x[(lines[i] + right) * params.channels + c]);
    }
    y[id] = most;
}
