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
    let at = places(first);
    var sums = mat4x4f();
    for (var v = 0u; v < KERNEL; v++) {
        for (var u = 0u; u < KERNEL; u++) {
            let here = input_indices(at, vec2u(u, v)) + c;
            let w = weight_at((v * KERNEL + u) * params.channels + c);
            sums = mat4x4f(
                fma(x[here.x], w, sums[0]), fma(x[here.y], w, sums[1]),
                fma(x[here.z], w, sums[2]), fma(x[here.w], w, sums[3]),
            );
        }
    }
    finish(first, c, sums);
}
