// Local correlation: how alike is each position to its neighbours one frame later?
//
//   scores[n, y, x, p] = relu( sum over c of first[n, y, x, c] * second[n, y + dy, x + dx, c] )
//   p = (dy + r) P + dx + r      with dy, dx in -r ..= r, P = 2 r + 1
//
// first, second  [N, H, W, C]      unit length along C, channels in quads
// scores         [N, H, W, P P]    in quads; 0 where the neighbour is outside the map
// Source: paper, Eq. 1. For who asks to see it: the network goes through match_frames.wgsl and never stores it.
//
// One invocation, one quad of scores.

struct Params { height: u32, width: u32, channels: u32, side: u32, quads: u32, length: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<vec4f>;
@group(0) @binding(2) var<storage, read> second: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> scores: array<vec4f>;

fn score(position: u32, p: u32) -> f32 {
    if p >= params.side * params.side { return 0f; }
    let line = position / params.width;
    // What is below 0 has wrapped around and is large.
    let y = line % params.height + p / params.side - params.side / 2u;
    let x = position % params.width + p % params.side - params.side / 2u;
    if y >= params.height || x >= params.width { return 0f; }
    let start = position * params.channels;
    let goal = ((line / params.height * params.height + y) * params.width + x) * params.channels;
    var sum = 0f;
    for (var c = 0u; c < params.channels; c++) { sum += dot(first[start + c], second[goal + c]); }
    return max(sum, 0f);
}

@compute @workgroup_size(64)
fn correlation(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let p = id % params.quads * 4u;
    let position = id / params.quads;
    scores[id] = vec4f(score(position, p), score(position, p + 1u), score(position, p + 2u), score(position, p + 3u));
}
