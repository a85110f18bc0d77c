// What all convolutions share: constants, numbers, buffers, where an output position is and reads, how a sum ends.
// The host puts it before conv2d.wgsl, conv2d_tiled.wgsl and depthwise.wgsl; conv2d.wgsl names the buffers' shapes.

override HEADER: u32;
override KERNEL: u32;
override STRIDE: u32;
override RESIDUAL: bool;

struct Params {
    height: u32, width: u32, channels: u32,
    out_height: u32, out_width: u32, outputs: u32,
    positions: u32, packed: u32,
    // Frames of a clip, and quads that look each way.
    clip: u32, fold: u32,
    // Where the activation cuts off.
    low: f32, high: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read> residual: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;

// (frame, line, column) of an output position.
fn place(position: u32) -> vec3u {
    let p = min(position, params.positions - 1u);
    let line = p / params.out_width;
    return vec3u(line / params.out_height, line % params.out_height, p % params.out_width);
}

// Index of the first channel under a filter's cell; the zeros where that is outside.
fn input_index(at: vec3u, cell: vec2u) -> u32 {
    let line = at.y * STRIDE + cell.y - KERNEL / 2u;
    let column = at.z * STRIDE + cell.x - KERNEL / 2u;
    // What is below 0 has wrapped around and is large.
    let inside = line < params.height && column < params.width;
    return select(0u, HEADER + ((at.x * params.height + line) * params.width + column) * params.channels, inside);
}

// sum + the 4 inputs times their 4 rows of weights.
fn accumulate(sum: vec4f, x: vec4f, w: mat4x4f) -> vec4f {
    return fma(w[3], vec4f(x.w), fma(w[2], vec4f(x.z), fma(w[1], vec4f(x.y), fma(w[0], vec4f(x.x), sum))));
}

fn finish(position: u32, o: u32, sum: vec4f) {
    if position >= params.positions || o >= params.outputs { return; }
    let index = position * params.outputs + o;
    var value = sum + bias[o];
    if RESIDUAL { value += residual[index]; }
    y[index] = clamp(value, vec4f(params.low), vec4f(params.high));
}
