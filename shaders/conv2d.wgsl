// activation(convolution(shift(x)) + bias + residual), straight from memory: the direct form.
//
//   y[n, i, j, o] = sum over u, v, c of x[n, i S + u - K/2, j S + v - K/2, c] * weight[u, v, c, o]
//
// x         [N, H, W, C]      after HEADER quads of zeros, which stand for all that lies outside
// weight    [K, K, C, O]      batch norm folded in, O filled up to `packed` quads
// bias      [O]
// residual  [N, H', W', O]    read where RESIDUAL
// y         [N, H', W', O]    H' = ceil(H / S)
//
// Channels come in quads (vec4f), the last one filled up with zeros. One invocation: 16 positions x 2 quads of outputs (4
// where WIDE) in registers, so that each value loaded is used 8 times or 16 (16 where WIDE).
// Temporal shift (TSM paper, Sec. 3): the first `fold` quads of C come from the next frame, the next ones from the
// frame before; that is only another index.

override WIDE: bool;
// Columns of outputs that a workgroup spans; its 64 invocations share the rest among positions.
override SPAN: u32;

// Where 4 positions read: here, and in the frames after and before, all under one cell of the filter.
struct Sources { here: vec4u, next: vec4u, before: vec4u }

fn sources(at: array<vec3u, 4>, cell: vec2u) -> Sources {
    let here = input_indices(at, cell);
    if !SHIFT { return Sources(here, here, here); }
    let frame = params.height * params.width * params.channels;
    let times = vec4u(at[0].x, at[1].x, at[2].x, at[3].x) % params.clip;
    let inside = here > vec4u();
    let next = select(vec4u(), here + frame, inside & (times + 1u < vec4u(params.clip)));
    return Sources(here, next, select(vec4u(), here - frame, inside & (times > vec4u())));
}

// Quad `c` of 4 positions.
fn load(source: Sources, c: u32) -> mat4x4f {
    var origin = source.here;
    if SHIFT { origin = select(select(origin, source.before, c < 2u * params.fold), source.next, c < params.fold); }
    origin += c;
    return mat4x4f(x[origin.x], x[origin.y], x[origin.z], x[origin.w]);
}

@compute @workgroup_size(SPAN, 64u / SPAN)
fn conv2d(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let o = (group.x * SPAN + local.x) * select(2u, 4u, WIDE);
    let first = ((group.z * groups.y + group.y) * (64u / SPAN) + local.y) * 16u;
    if o >= params.outputs || first >= params.positions { return; }
    let at0 = places(first);
    let at1 = places(first + 4u);
    let at2 = places(first + 8u);
    let at3 = places(first + 12u);
    // A letter for each quad of outputs, a number for each 4 positions.
    var a0 = mat4x4f(); var a1 = mat4x4f(); var a2 = mat4x4f(); var a3 = mat4x4f();
    var b0 = mat4x4f(); var b1 = mat4x4f(); var b2 = mat4x4f(); var b3 = mat4x4f();
    var c0 = mat4x4f(); var c1 = mat4x4f(); var c2 = mat4x4f(); var c3 = mat4x4f();
    var d0 = mat4x4f(); var d1 = mat4x4f(); var d2 = mat4x4f(); var d3 = mat4x4f();
    var row = 0u;
    for (var v = 0u; v < KERNEL; v++) {
        for (var u = 0u; u < KERNEL; u++) {
            let cell = vec2u(u, v);
            let source0 = sources(at0, cell);
            let source1 = sources(at1, cell);
            let source2 = sources(at2, cell);
            let source3 = sources(at3, cell);
            for (var c = 0u; c < params.channels; c++) {
                let x0 = load(source0, c);
                let x1 = load(source1, c);
                let x2 = load(source2, c);
                let x3 = load(source3, c);
                let wa = weights_at(row, o);
                a0 = accumulate(a0, x0, wa);
                a1 = accumulate(a1, x1, wa);
                a2 = accumulate(a2, x2, wa);
                a3 = accumulate(a3, x3, wa);
                let wb = weights_at(row, o + 1u);
                b0 = accumulate(b0, x0, wb);
                b1 = accumulate(b1, x1, wb);
                b2 = accumulate(b2, x2, wb);
                b3 = accumulate(b3, x3, wb);
                if WIDE {
                    let wc = weights_at(row, o + 2u);
                    c0 = accumulate(c0, x0, wc);
                    c1 = accumulate(c1, x1, wc);
                    c2 = accumulate(c2, x2, wc);
                    c3 = accumulate(c3, x3, wc);
                    let wd = weights_at(row, o + 3u);
                    d0 = accumulate(d0, x0, wd);
                    d1 = accumulate(d1, x1, wd);
                    d2 = accumulate(d2, x2, wd);
                    d3 = accumulate(d3, x3, wd);
                }
                row += 4u;
            }
        }
    }
    finish(first, o, a0);
    finish(first + 4u, o, a1);
    finish(first + 8u, o, a2);
    finish(first + 12u, o, a3);
    finish(first, o + 1u, b0);
    finish(first + 4u, o + 1u, b1);
    finish(first + 8u, o + 1u, b2);
    finish(first + 12u, o + 1u, b3);
    if WIDE {
        finish(first, o + 2u, c0);
        finish(first + 4u, o + 2u, c1);
        finish(first + 8u, o + 2u, c2);
        finish(first + 12u, o + 2u, c3);
        finish(first, o + 3u, d0);
        finish(first + 4u, o + 3u, d1);
        finish(first + 8u, o + 3u, d2);
        finish(first + 12u, o + 3u, d3);
    }
}
