// Confidence maps, each from its own lowest value (dark) to its own highest (bright), as in the paper's Fig. 6.
//
// maps    [N, H, W, 1]
// ranges  [N, 2], the lowest and the highest value of each
//
// One invocation, one pixel. Its twin is motion-view's heat.rs.

@compute @workgroup_size(64)
fn confidence_rgba(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.maps * params.height * params.width { return; }
    let at = place(id);
    let value = value_at(at).x;
    if !is_finite(value) { paint(at, 0u); return; }
    let range = ranges[at.x];
    let part = select(0.5f, (value - range.x) / (range.y - range.x), range.x < range.y);
    paint(at, opaque(colour_at(clamp(part, 0f, 1f) * f32(params.shades - 1u))));
}
