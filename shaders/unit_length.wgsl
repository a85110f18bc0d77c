// x / sqrt(sum over c of x^2 + 1e-6), per position (published code).
//
// x, y  [N, H, W, C], channels in quads. 8 invocations share a position, so that neighbours read neighbours.

const TEAM = 8u;

struct Params { positions: u32, channels: u32, epsilon: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(64)
fn unit_length(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let position = (group.y * groups.x + group.x) * (64u / TEAM) + local / TEAM;
    let start = min(position, params.positions - 1u) * params.channels;
    var sum = 0f;
    for (var c = local % TEAM; c < params.channels; c += TEAM) {
        sum += dot(x[start + c], x[start + c]);
    }
    squares[local] = sum;
    workgroupBarrier();
    sum = params.epsilon;
    for (var i = 0u; i < TEAM; i++) { sum += squares[local / TEAM * TEAM + i]; }
    if position >= params.positions { return; }
    let scale = 1f / sqrt(sum);
    for (var c = local % TEAM; c < params.channels; c += TEAM) { y[start + c] = x[start + c] * scale; }
}
