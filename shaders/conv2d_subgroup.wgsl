// The convolution of conv2d.wgsl, its inputs handed round in subgroups: the same bindings, numbers and meaning.
//
// SPAN neighbouring invocations of a subgroup are a team: each makes 4 positions x 2 quads of outputs in registers, all of
// them at the same positions. The team walks along K x K x C in steps of SPAN / 4 quads; each invocation loads one quad of
// one position and hands it to the others, so that an input is loaded once for 8 SPAN outputs.

// A power of two, at least 4 and at most the adapter's smallest subgroup.
override SPAN: u32;

@compute @workgroup_size(64)
fn conv2d_subgroup(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let member = lane % SPAN;
    let team = (subgroup * size + lane) / SPAN;
    let o = (group.x * SPAN + member) * 2u;
    let first = ((group.z * groups.y + group.y) * (64u / SPAN) + team) * 4u;
    let at = place_within(first + member % 4u);
    // Beyond the last column any weights will do, for nothing is written out.
    let column = min(o, params.packed - 2u);
    let length = KERNEL * KERNEL * params.channels;
    var a = mat4x4f();
    var b = mat4x4f();
    for (var k = 0u; k < length; k += SPAN / 4u) {
        let mine = k + member / 4u;
        let cell = vec2u(mine / params.channels % KERNEL, mine / params.channels / KERNEL);
        let loaded = x[select(shifted_index(at, cell, mine % params.channels), 0u, mine >= length)];
        for (var q = 0u; q < SPAN / 4u; q++) {
            let giver = lane - member + 4u * q;
            let inputs = mat4x4f(
                subgroupShuffle(loaded, giver), subgroupShuffle(loaded, giver + 1u),
                subgroupShuffle(loaded, giver + 2u), subgroupShuffle(loaded, giver + 3u),
            );
            // Rows beyond the last meet zeros.
            let row = 4u * min(k + q, length - 1u);
            a = accumulate(a, inputs, weights_at(row, column));
            b = accumulate(b, inputs, weights_at(row, column + 1u));
        }
    }
    finish(first, o, a);
    finish(first, o + 1u, b);
}
