// Element by element: a + b, or a * b where PRODUCT. In quads; one invocation, one quad.

override PRODUCT: bool;

struct Params { length: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn combine(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.length { return; }
    if PRODUCT { y[id] = a[id] * b[id]; } else { y[id] = a[id] + b[id]; }
}
