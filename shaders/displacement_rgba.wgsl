// Displacement maps in the colours of the Middlebury wheel: direction is hue, length is saturation.
//
// maps  [N, H, W, 2], (dx, dy), +x right, +y down
//
// One invocation, one pixel. Its twin, with the source, is motion-view's wheel.rs.

const PI = 3.14159265358979f;
// Lengths up to this much above the scale still count as the scale: the scale is often a length of the map, rounded.
const ROUNDING = 4e-6f;

// Where on the rim a direction is, from 0 (right) over down, left and up to its last colour.
fn place_on_rim(d: vec2f, last: f32) -> f32 {
    // A sign of zero would decide between the first and the last colour, and not every card keeps it.
    if d.y == 0f { return select(0f, 0.5f * last, d.x < 0f); }
    return clamp((atan2(-d.y, -d.x) / PI + 1f) / 2f * last, 0f, last);
}

@compute @workgroup_size(64)
fn displacement_rgba(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.maps * params.height * params.width { return; }
    let at = place(id);
    let moved = value_at(at).xy;
    if !(is_finite(moved.x) && is_finite(moved.y)) { paint(at, 0u); return; }
    let d = select(vec2f(), moved / params.scale, params.scale > 0f);
    let full = colour_at(place_on_rim(d, f32(params.shades - 1u))) / 255f;
    let far = length(d);
    let level = select(0.75f * full, 1f - min(far, 1f) * (1f - full), far <= 1f + ROUNDING);
    paint(at, opaque(255f * level));
}
