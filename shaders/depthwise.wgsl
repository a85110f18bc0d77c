// activation(depthwise convolution(x) + bias + residual): one filter per channel.
//
//   y[n, i, j, c] = sum over u, v of x[n, i S + u - K/2, j S + v - K/2, c] * weight[u, v, c]
//
// x         [N, H, W, C]      after HEADER quads of zeros, which stand for all that lies outside
// weight    [K, K, C]         batch norm folded in
// bias      [C]
// residual  [N, H', W', C]    read where RESIDUAL
// y         [N, H', W', C]    H' = ceil(H / S)
//
// One invocation: one quad of channels at 4 neighbouring positions, so that a weight is loaded once for four.

@compute @workgroup_size(64)
fn depthwise(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    let c = id % params.channels;
    let first = id / params.channels * 4u;
    if first >= params.positions { return; }
    let at0 = place(first);
    let at1 = place(first + 1u);
    let at2 = place(first + 2u);
    let at3 = place(first + 3u);
    var a0 = vec4f(); var a1 = vec4f(); var a2 = vec4f(); var a3 = vec4f();
    for (var v = 0u; v < KERNEL; v++) {
        for (var u = 0u; u < KERNEL; u++) {
            let cell = vec2u(u, v);
            let w = weight[(v * KERNEL + u) * params.channels + c];
            a0 = fma(x[input_index(at0, cell) + c], w, a0);
            a1 = fma(x[input_index(at1, cell) + c], w, a1);
            a2 = fma(x[input_index(at2, cell) + c], w, a2);
            a3 = fma(x[input_index(at3, cell) + c], w, a3);
        }
    }
    finish(first, c, a0);
    finish(first + 1u, c, a1);
    finish(first + 2u, c, a2);
    finish(first + 3u, c, a3);
}
