// Pixels to the network's input: every level of every channel has its number.
//
//   y[p, c] = levels[c, pixel(p, c)]      c = red, green, blue; levels[c, b] = (b / 255 - mean[c]) / std[c]
//
// pixels  4 bytes each, red lowest, lines of `width` pixels that are `stride` apart
// levels  [3, 256]; made by the host, because a division rounds differently on each card
// y       quads, from the `first` one: one frame of [T, H, W, 3]
//
// One invocation, one quad. Its twin is motion-clip's normalise.rs.

struct Params { width: u32, stride: u32, first: u32, length: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;
@group(0) @binding(2) var<storage, read> levels: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn normalise(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    let pixel = pixels[id / params.width * params.stride + id % params.width];
    let at = vec3u(0u, 256u, 512u) + ((vec3u(pixel) >> vec3u(0u, 8u, 16u)) & vec3u(255u));
    y[params.first + id] = vec4f(levels[at.x], levels[at.y], levels[at.z], 0f);
}
