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

// Neighbours of a line that an invocation takes at a time.
const RUN = 5u;
// The Gaussian along one axis, at each distance.
var<workgroup> near: array<f32, PATCH>;

fn correlate(line: u32, column: u32, local: u32) {
    let last = params.width - 1u;
    let start = (line * params.width + min(vec4u(column, column + 1u, column + 2u, column + 3u), vec4u(last))) * params.channels;
    let columns = PATCH + POSITIONS - 1u;
    let runs = (columns + RUN - 1u) / RUN;
    for (var i = local; i < PATCH * runs; i += 64u) {
        let dy = i / runs;
        // What is below 0 has wrapped around and is large.
        let y = line % params.height + dy - PATCH / 2u;
        let x = column + i % runs * RUN - PATCH / 2u;
        // Dot products of 4 positions with RUN neighbours: a value that is loaded is used for RUN or for 4 of them.
        var dots: array<vec4f, RUN>;
        if y < params.height {
            let row = (line / params.height * params.height + y) * params.width;
            // Outside any will do, for 0 is written there.
            let goal = (row + min(vec4u(x, x + 1u, x + 2u, x + 3u), vec4u(last))) * params.channels;
            let goal4 = (row + min(x + 4u, last)) * params.channels;
            var a = vec4f(); var b = vec4f(); var c = vec4f(); var d = vec4f(); var e = vec4f();
            for (var q = 0u; q < params.channels; q++) {
                let mine = mat4x4f(first[start.x + q], first[start.y + q], first[start.z + q], first[start.w + q]);
                a += second[goal.x + q] * mine;
                b += second[goal.y + q] * mine;
                c += second[goal.z + q] * mine;
                d += second[goal.w + q] * mine;
                e += second[goal4 + q] * mine;
            }
            dots = array<vec4f, RUN>(a, b, c, d, e);
        }
        for (var k = 0u; k < RUN; k++) {
            let inside = y < params.height && x + k < params.width;
            let found = select(vec4f(), max(dots[k], vec4f()), inside);
            for (var p = 0u; p < POSITIONS; p++) {
                let dx = i % runs * RUN + k - p;
                if dx < PATCH { scores[p * AREA + dy * PATCH + dx] = found[p]; }
            }
        }
    }
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
    for (var d = local; d < PATCH; d += 64u) { near[d] = exp(-params.falloff * f32(d * d)); }
    if FUSED { correlate(line, column, local); }
    workgroupBarrier();

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
    workgroupBarrier();
    // Each of the team looks at what all have found: that takes one barrier, where halving the team takes many.
    for (var other = team * TEAM; other < (team + 1u) * TEAM; other++) {
        let same = largest[other] == best && places[other] < place;
        if largest[other] > best || same {
            best = largest[other];
            place = places[other];
        }
    }

    let radius = f32(PATCH / 2u);
    let match_at = vec2i(vec2u(place % PATCH, place / PATCH));
    var sum = vec3f();
    for (var p = local % TEAM; p < AREA; p += TEAM) {
        let at = vec2u(p % PATCH, p / PATCH);
        let distance = abs(vec2i(at) - match_at);
        // The Gaussian is 1 at the best match, so that nothing exceeds its score.
        let weight = exp((near[distance.x] * near[distance.y] * score(team, position, p) - best) * params.sharpness);
        sum += weight * vec3f(1f, vec2f(at) - radius);
    }
    sums[local] = sum;
    workgroupBarrier();
    if local % TEAM != 0u || column + team >= params.width { return; }
    for (var other = local + 1u; other < local + TEAM; other++) { sum += sums[other]; }
    displacement[position] = vec4f(sum.yz / sum.x / radius, 0f, 0f);
    confidence[position] = vec4f(best, 0f, 0f, 0f);
    argmax[position] = vec4f(f32(place), 0f, 0f, 0f);
}
