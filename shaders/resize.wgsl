// One pass of Pillow's bilinear resize, bit for bit: along the columns, or along the rows of a picture.
//
//   result(i, j) = min(255, (2^21 + sum over k of weight[i, k] * source(first[i] + k, j)) >> 22)     red, green, blue
//
// source   pixels, 4 bytes each, red lowest; (i, j) is at start + i along + j beside, so that a picture that lies on
//          its side or is mirrored takes other steps and no copy
// taps     for each i: first[i], where its weights start, how many they are
// weights  parts of 2^22; those of one i add up to about 2^22, so that the sum fits u32
// result   as the source, alpha 255
//
// One invocation, one pixel. Its twin is motion-clip's resize.rs, which makes first and weights.

// Neighbouring invocations read neighbouring pixels: along the filtered axis, or beside it.
override ROWS: bool;

struct Params {
    // Pixels of the result along the axis that is filtered, and beside it.
    length: u32, lines: u32,
    source_start: i32, source_along: i32, source_beside: i32,
    result_along: u32, result_beside: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read> taps: array<vec4u>;
@group(0) @binding(3) var<storage, read> weights: array<u32>;
@group(0) @binding(4) var<storage, read_write> result: array<u32>;

@compute @workgroup_size(64)
fn resize(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length * params.lines { return; }
    let i = select(id % params.length, id / params.lines, ROWS);
    let j = select(id / params.length, id % params.lines, ROWS);
    let tap = taps[i];
    var at = params.source_start + i32(tap.x) * params.source_along + i32(j) * params.source_beside;
    var sum = vec3u(1u << 21u);
    for (var k = 0u; k < tap.z; k++) {
        let pixel = (vec3u(source[at]) >> vec3u(0u, 8u, 16u)) & vec3u(255u);
        sum += weights[tap.y + k] * pixel;
        at += params.source_along;
    }
    let bytes = min(sum >> vec3u(22u), vec3u(255u));
    result[i * params.result_along + j * params.result_beside] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (255u << 24u);
}
