// What the pictures of maps share: maps in, side by side on one picture, a pixel for each position.
// The host puts it before displacement_rgba.wgsl and confidence_rgba.wgsl.

struct Params {
    // Of one map; maps in all; pixels from a line of the picture to the next.
    width: u32, height: u32, maps: u32, stride: u32,
    // How many colours there are.
    shades: u32,
    // The length that has the full colour, in the unit of the map.
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [N, H, W, C], channels in one quad.
@group(0) @binding(1) var<storage, read> maps: array<vec4f>;
// Colours of a wheel's rim, or from the lowest to the highest value: 4 bytes each, red lowest.
@group(0) @binding(2) var<storage, read> colours: array<u32>;
@group(0) @binding(3) var<storage, read> ranges: array<vec2f>;
// [H, N, W], 4 bytes each; transparent where the map holds no finite number.
@group(0) @binding(4) var<storage, read_write> picture: array<u32>;

// Number of the map, line and column of pixel `id`.
fn place(id: u32) -> vec3u {
    let line = params.maps * params.width;
    return vec3u(id % line / params.width, id / line, id % params.width);
}

fn value_at(at: vec3u) -> vec4f { return maps[(at.x * params.height + at.y) * params.width + at.z]; }

fn is_finite(value: f32) -> bool { return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u; }

fn levels(rgba: u32) -> vec3f { return vec3f((vec3u(rgba) >> vec3u(0u, 8u, 16u)) & vec3u(255u)); }

// The colour at a place between two of them, in 0 ..= 255; behind the last one comes the first.
fn colour_at(at: f32) -> vec3f {
    let first = min(u32(at), params.shades - 1u);
    let next = (first + 1u) % params.shades;
    return mix(levels(colours[first]), levels(colours[next]), at - f32(first));
}

fn opaque(colour: vec3f) -> u32 {
    let bytes = vec3u(colour);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (255u << 24u);
}

fn paint(at: vec3u, rgba: u32) { picture[at.y * params.stride + at.x * params.width + at.z] = rgba; }
