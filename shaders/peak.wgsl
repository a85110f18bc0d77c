// Nothing but multiplications and additions: what the card can do at most. Eight sums that do not wait for each other,
// so many times four lanes, two operations each.

struct Params { rounds: u32, length: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn peak(@builtin(global_invocation_id) id: vec3u) {
    if id.x >= params.length { return; }
    let m = x[id.x];
    var a = m; var b = m + 1f; var c = m + 2f; var d = m + 3f;
    var e = m + 4f; var f = m + 5f; var g = m + 6f; var h = m + 7f;
    for (var i = 0u; i < params.rounds; i++) {
        a = fma(a, m, m); b = fma(b, m, m); c = fma(c, m, m); d = fma(d, m, m);
        e = fma(e, m, m); f = fma(f, m, m); g = fma(g, m, m); h = fma(h, m, m);
        a = fma(a, m, m); b = fma(b, m, m); c = fma(c, m, m); d = fma(d, m, m);
        e = fma(e, m, m); f = fma(f, m, m); g = fma(g, m, m); h = fma(h, m, m);
    }
    y[id.x] = a + b + c + d + e + f + g + h;
}
