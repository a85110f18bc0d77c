// The convolution of conv2d.wgsl, tiled through workgroup memory: the same bindings, numbers and meaning.
//
// A workgroup of 8 x 16 invocations makes a tile of 16 quads of outputs x 64 positions (128 where TALL). It walks along
// K x K x C in steps of 4 quads, which all of it loads together. One invocation: 2 quads x 4 positions (8 where TALL)
// in registers; each value that it takes from workgroup memory is used 8 times or 4 (8 where TALL).

override TALL: bool;

override TILE: u32 = select(64u, 128u, TALL);
// [4 quads along the sum][positions], [16 along the sum][16 quads of outputs].
var<workgroup> inputs: array<vec4f, 4u * TILE>;
var<workgroup> weights: array<vec4f, 256>;

@compute @workgroup_size(8, 16)
fn conv2d_tiled(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
    @builtin(local_invocation_index) index: u32,
) {
    let first = (group.z * groups.y + group.y) * TILE;
    let first_output = group.x * 16u;
    // This invocation loads quad `index % 4` of the sum for every 32nd position.
    let at0 = place_within(first + index / 4u);
    let at1 = place_within(first + index / 4u + 32u);
    var at2 = vec3u(); var at3 = vec3u();
    if TALL {
        at2 = place_within(first + index / 4u + 64u);
        at3 = place_within(first + index / 4u + 96u);
    }
    // Its column of the weights; beyond the last one any will do, for it is not written out.
    let output = min(first_output + index % 16u, params.packed - 1u);

    // A letter for each quad of outputs, a number for each 4 positions.
    var a0 = mat4x4f(); var a1 = mat4x4f();
    var b0 = mat4x4f(); var b1 = mat4x4f();
    let length = KERNEL * KERNEL * params.channels;
    for (var k = 0u; k < length; k += 4u) {
        let mine = k + index % 4u;
        let cell = vec2u(mine / params.channels % KERNEL, mine / params.channels / KERNEL);
        let c = mine % params.channels;
        let row = index % 4u * TILE + index / 4u;
        let ends = mine >= length;
        inputs[row] = x[select(shifted_index(at0, cell, c), 0u, ends)];
        inputs[row + 32u] = x[select(shifted_index(at1, cell, c), 0u, ends)];
        if TALL {
            inputs[row + 64u] = x[select(shifted_index(at2, cell, c), 0u, ends)];
            inputs[row + 96u] = x[select(shifted_index(at3, cell, c), 0u, ends)];
        }
        // Rows beyond the last meet zeros above.
        let rows = 4u * length - 1u;
        weights[index] = weight_at(min(4u * k + index / 16u, rows) * params.packed + output);
        weights[index + 128u] = weight_at(min(4u * k + index / 16u + 8u, rows) * params.packed + output);
        workgroupBarrier();
        for (var q = 0u; q < 4u; q++) {
            let column = q * 64u + local.x * 2u;
            let wa = mat4x4f(weights[column], weights[column + 16u], weights[column + 32u], weights[column + 48u]);
            let wb = mat4x4f(weights[column + 1u], weights[column + 17u], weights[column + 33u], weights[column + 49u]);
            let line = q * TILE + local.y * 4u;
            let x0 = mat4x4f(inputs[line], inputs[line + 1u], inputs[line + 2u], inputs[line + 3u]);
            a0 = accumulate(a0, x0, wa);
            b0 = accumulate(b0, x0, wb);
            if TALL {
                let x1 = mat4x4f(inputs[line + 64u], inputs[line + 65u], inputs[line + 66u], inputs[line + 67u]);
                a1 = accumulate(a1, x1, wa);
                b1 = accumulate(b1, x1, wb);
            }
        }
        workgroupBarrier();
    }
    let o = first_output + local.x * 2u;
    let p = first + local.y * 4u;
    finish(p, o, a0);
    finish(p, o + 1u, b0);
    if TALL {
        finish(p + 64u, o, a1);
        finish(p + 64u, o + 1u, b1);
    }
}
