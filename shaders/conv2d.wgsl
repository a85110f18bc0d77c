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
// Channels come in quads (vec4f), the last one filled up with zeros. One invocation: 4 positions x 2 quads of outputs
// in registers, so that each value loaded is used 8 times or 4.
// Temporal shift (TSM paper, Sec. 3): the first `fold` quads of C come from the next frame, the next ones from the
// frame before; that is only another index.

override SHIFT: bool;
// Pairs of output quads that a workgroup spans; its 64 invocations share the rest among positions.
override SPAN: u32;

@compute @workgroup_size(SPAN, 64u / SPAN)
fn conv2d(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let o = (group.x * SPAN + local.x) * 2u;
    let first = ((group.z * groups.y + group.y) * (64u / SPAN) + local.y) * 4u;
    if o >= params.outputs || first >= params.positions { return; }
    let at0 = place(first);
    let at1 = place(first + 1u);
    let at2 = place(first + 2u);
    let at3 = place(first + 3u);
    let frame = params.height * params.width * params.channels;
    let times = vec4u(at0.x, at1.x, at2.x, at3.x) % params.clip;
    var a0 = vec4f(); var a1 = vec4f(); var a2 = vec4f(); var a3 = vec4f();
    var b0 = vec4f(); var b1 = vec4f(); var b2 = vec4f(); var b3 = vec4f();
    var w = o;
    for (var v = 0u; v < KERNEL; v++) {
        for (var u = 0u; u < KERNEL; u++) {
            let cell = vec2u(u, v);
            let here = vec4u(input_index(at0, cell), input_index(at1, cell), input_index(at2, cell), input_index(at3, cell));
            var next = vec4u();
            var before = vec4u();
            if SHIFT {
                next = select(vec4u(), here + frame, (here > vec4u()) & (times + 1u < vec4u(params.clip)));
                before = select(vec4u(), here - frame, (here > vec4u()) & (times > vec4u()));
            }
            for (var c = 0u; c < params.channels; c++) {
                var origin = here;
                if SHIFT { origin = select(select(here, before, c < 2u * params.fold), next, c < params.fold); }
                origin += c;
                let x0 = x[origin.x];
                let x1 = x[origin.y];
                let x2 = x[origin.z];
                let x3 = x[origin.w];
                let wa = mat4x4f(weight[w], weight[w + params.packed], weight[w + 2u * params.packed], weight[w + 3u * params.packed]);
                a0 = accumulate(a0, x0, wa);
                a1 = accumulate(a1, x1, wa);
                a2 = accumulate(a2, x2, wa);
                a3 = accumulate(a3, x3, wa);
                let wb = mat4x4f(weight[w + 1u], weight[w + params.packed + 1u], weight[w + 2u * params.packed + 1u], weight[w + 3u * params.packed + 1u]);
                b0 = accumulate(b0, x0, wb);
                b1 = accumulate(b1, x1, wb);
                b2 = accumulate(b2, x2, wb);
                b3 = accumulate(b3, x3, wb);
                w += 4u * params.packed;
            }
        }
    }
    finish(first, o, a0);
    finish(first + 1u, o, a1);
    finish(first + 2u, o, a2);
    finish(first + 3u, o, a3);
    finish(first, o + 1u, b0);
    finish(first + 1u, o + 1u, b1);
    finish(first + 2u, o + 1u, b2);
    finish(first + 3u, o + 1u, b3);
}
