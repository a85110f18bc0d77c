// What all convolutions share: constants, numbers, buffers, where an output position is and reads, how a sum ends.
// The host puts it before conv2d*.wgsl and depthwise.wgsl; conv2d.wgsl names the buffers' shapes.

override HEADER: u32;
override KERNEL: u32;
override STRIDE: u32;
override RESIDUAL: bool;
// Dense convolutions alone can shift in time.
override SHIFT: bool = false;

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
// In the backend's precision: weight_f32.wgsl or weight_f16.wgsl stands before all. Sums are f32 in both.
@group(0) @binding(2) var<storage, read> weight: array<Weight>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read> residual: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;

// (frame, line, column) of an output position.
fn place(position: u32) -> vec3u {
    let line = position / params.out_width;
    let frame = line / params.out_height;
    return vec3u(frame, line - frame * params.out_height, position - line * params.out_width);
}

// The same, or that of the last position for what is beyond it.
fn place_within(position: u32) -> vec3u {
    return place(min(position, params.positions - 1u));
}

fn next_place(at: vec3u) -> vec3u {
    let line_ends = at.z + 1u == params.out_width;
    let line = at.y + u32(line_ends);
    let frame_ends = line == params.out_height;
    return vec3u(at.x + u32(frame_ends), select(line, 0u, frame_ends), select(at.z + 1u, 0u, line_ends));
}

// Places of 4 neighbouring positions. Beyond the last one they read what is there; it is not written out.
fn places(first: u32) -> array<vec3u, 4> {
    let a = place_within(first);
    let b = next_place(a);
    let c = next_place(b);
    return array(a, b, c, next_place(c));
}

// Index of the first channel under a filter's cell; the zeros where that is outside.
fn input_index(at: vec3u, cell: vec2u) -> u32 {
    let line = at.y * STRIDE + cell.y - KERNEL / 2u;
    let column = at.z * STRIDE + cell.x - KERNEL / 2u;
    // What is below 0 has wrapped around and is large.
    let inside = line < params.height && column < params.width;
    return select(0u, HEADER + ((at.x * params.height + line) * params.width + column) * params.channels, inside);
}

fn input_indices(at: array<vec3u, 4>, cell: vec2u) -> vec4u {
    return vec4u(input_index(at[0], cell), input_index(at[1], cell), input_index(at[2], cell), input_index(at[3], cell));
}

// Index of quad `c` under a filter's cell, shifted in time where that is asked; the zeros where it is outside.
fn shifted_index(at: vec3u, cell: vec2u, c: u32) -> u32 {
    var origin = at;
    if SHIFT {
        let time = at.x % params.clip;
        if c < params.fold {
            if time + 1u == params.clip { return 0u; }
            origin.x += 1u;
        } else if c < 2u * params.fold {
            if time == 0u { return 0u; }
            origin.x -= 1u;
        }
    }
    let index = input_index(origin, cell);
    return select(0u, index + c, index > 0u);
}

fn weight_at(index: u32) -> vec4f { return vec4f(weight[index]); }

// Of 4 positions (columns of `sums` and `x`): sums + their 4 inputs times those inputs' 4 rows of weights.
fn accumulate(sums: mat4x4f, x: mat4x4f, w: mat4x4f) -> mat4x4f {
    return mat4x4f(
        accumulate_one(sums[0], x[0], w), accumulate_one(sums[1], x[1], w),
        accumulate_one(sums[2], x[2], w), accumulate_one(sums[3], x[3], w),
    );
}

fn accumulate_one(sum: vec4f, x: vec4f, w: mat4x4f) -> vec4f {
    return fma(w[3], vec4f(x.w), fma(w[2], vec4f(x.z), fma(w[1], vec4f(x.y), fma(w[0], vec4f(x.x), sum))));
}

// Weights of quad `o` of the outputs in 4 rows from `row` on.
fn weights_at(row: u32, o: u32) -> mat4x4f {
    let w = row * params.packed + o;
    return mat4x4f(weight_at(w), weight_at(w + params.packed), weight_at(w + 2u * params.packed), weight_at(w + 3u * params.packed));
}

// Writes quad `o` of 4 neighbouring positions out, but for what is beyond the last of either.
fn finish(first: u32, o: u32, sums: mat4x4f) {
    if o < params.outputs {
        let add = bias[o];
        finish_one(first, o, sums[0] + add);
        finish_one(first + 1u, o, sums[1] + add);
        finish_one(first + 2u, o, sums[2] + add);
        finish_one(first + 3u, o, sums[3] + add);
    }
}

fn finish_one(position: u32, o: u32, sum: vec4f) {
    if position < params.positions {
        let index = position * params.outputs + o;
        var value = sum;
        if RESIDUAL { value += residual[index]; }
        y[index] = clamp(value, vec4f(params.low), vec4f(params.high));
    }
}
