// Correlation, best match, softmax and displacement in one go: how far did each position move, and how sure is that?
//
//   s(p)          = relu( sum over c of first[n, y, x, c] * second[n, y + dy, x + dx, c] )     paper, Eq. 1
//   confidence    = max over p of s(p),  argmax: the lowest p that has it
//   w(p)          = softmax over p of g(p) s(p) / tau                                          paper, Eq. 3
//   g(p)          = exp(-|p - argmax|^2 / (2 sigma^2)), or 1 (soft-argmax)                     paper, Eq. 4
//   displacement  = sum over p of w(p) (dx, dy) / r                                            paper, Eq. 2
//
// first, second  [N, H, W, C]    unit length along C, channels in quads; where not FUSED `first` is the scores
//                                [N, H, W, P P] themselves and `second` is not read
// displacement   [N, H, W, 2]    confidence, argmax  [N, H, W, 1], each in one quad
//
// A workgroup takes POSITIONS neighbouring positions of a line. Their windows overlap, so one load of `second` serves
// them all; the scores stay in workgroup memory.

override FUSED: bool;
override PATCH: u32;
// 1 or 4.
override POSITIONS: u32;

struct Params {
    height: u32, width: u32, channels: u32,
    // Groups of POSITIONS in a line; of all lines.
    line_groups: u32, groups: u32,
    // 1 / tau; 1 / (2 sigma^2), 0 for the soft-argmax.
    sharpness: f32, falloff: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<vec4f>;
@group(0) @binding(2) var<storage, read> second: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> displacement: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> confidence: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> argmax: array<vec4f>;

override AREA: u32 = PATCH * PATCH;
// Invocations that share a position.
override TEAM: u32 = 64u / POSITIONS;
var<workgroup> scores: array<f32, select(1u, POSITIONS * AREA, FUSED)>;
var<workgroup> largest: array<f32, 64>;
var<workgroup> places: array<u32, 64>;
// Of each invocation: sum of the softmax's terms, of those times dx, times dy.
var<workgroup> sums: array<vec3f, 64>;

fn correlate(line: u32, column: u32, local: u32) {
    let last = params.width - 1u;
    let start = (line * params.width + min(vec4u(column, column + 1u, column + 2u, column + 3u), vec4u(last))) * params.channels;
    let columns = PATCH + POSITIONS - 1u;
    for (var i = local; i < PATCH * columns; i += 64u) {
        let dy = i / columns;
        let y = line % params.height + dy - PATCH / 2u;
        let x = column + i % columns - PATCH / 2u;
        // Four positions' dot products with one neighbour; outside they stay 0. Below 0 has wrapped around.
        var dots = vec4f();
        if y < params.height && x < params.width {
            let goal = ((line / params.height * params.height + y) * params.width + x) * params.channels;
            for (var c = 0u; c < params.channels; c++) {
                let other = second[goal + c];
                dots.x += dot(first[start.x + c], other);
                if POSITIONS > 1u {
                    dots.y += dot(first[start.y + c], other);
                    dots.z += dot(first[start.z + c], other);
                    dots.w += dot(first[start.w + c], other);
                }
            }
        }
        for (var p = 0u; p < POSITIONS; p++) {
            let dx = i % columns - p;
            if dx < PATCH { scores[p * AREA + dy * PATCH + dx] = max(dots[p], 0f); }
        }
    }
    workgroupBarrier();
}

fn score(team: u32, position: u32, p: u32) -> f32 {
    if FUSED { return scores[team * AREA + p]; }
    return first[position * params.channels + p / 4u][p % 4u];
}

@compute @workgroup_size(64)
fn match_frames(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    // Groups beyond the last one do its work again: all invocations must meet at the barriers.
    let id = min(group.y * groups.x + group.x, params.groups - 1u);
    let line = id / params.line_groups;
    let column = id % params.line_groups * POSITIONS;
    if FUSED { correlate(line, column, local); }

    let team = local / TEAM;
    let position = line * params.width + min(column + team, params.width - 1u);
    var best = -1f;
    var place = 0u;
    for (var p = local % TEAM; p < AREA; p += TEAM) {
        let s = score(team, position, p);
        if s > best { best = s; place = p; }
    }
    largest[local] = best;
    places[local] = place;
    for (var half = TEAM / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        let other = local + half;
        if local % TEAM < half {
            let same = largest[other] == largest[local] && places[other] < places[local];
            if largest[other] > largest[local] || same {
                largest[local] = largest[other];
                places[local] = places[other];
            }
        }
    }
    workgroupBarrier();
    best = largest[team * TEAM];
    place = places[team * TEAM];

    let radius = f32(PATCH / 2u);
    let match_x = f32(place % PATCH);
    let match_y = f32(place / PATCH);
    var sum = vec3f();
    for (var p = local % TEAM; p < AREA; p += TEAM) {
        let x = f32(p % PATCH);
        let y = f32(p / PATCH);
        let distance = (x - match_x) * (x - match_x) + (y - match_y) * (y - match_y);
        let near = exp(-params.falloff * distance);
        // The Gaussian is 1 at the best match, so that nothing exceeds its score.
        let weight = exp((near * score(team, position, p) - best) * params.sharpness);
        sum += weight * vec3f(1f, x - radius, y - radius);
    }
    sums[local] = sum;
    for (var half = TEAM / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local % TEAM < half { sums[local] += sums[local + half]; }
    }
    if local % TEAM != 0u || column + team >= params.width { return; }
    displacement[position] = vec4f(sums[local].yz / sums[local].x / radius, 0f, 0f);
    confidence[position] = vec4f(best, 0f, 0f, 0f);
    argmax[position] = vec4f(f32(place), 0f, 0f, 0f);
}
