//! Pictures and their places in, composited pictures out: the small rasteriser of the synthetic scenes.

use super::place::{Affine, Place};

/// Red, green, blue in 0..=1 times coverage, and the coverage itself.
pub(crate) type Rgba = [f32; 4];

/// A picture of premultiplied RGBA; texel (i, j) covers the square from (i, j) to (i + 1, j + 1).
#[derive(Clone, Debug)]
pub(crate) struct Raster {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) px: Vec<Rgba>,
}

impl Raster {
    /// Paints each texel by its centre's coordinates.
    pub(crate) fn paint(width: usize, height: usize, mut colour: impl FnMut([f32; 2]) -> Rgba) -> Self {
        let mut px = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                px.push(colour([x as f32 + 0.5, y as f32 + 0.5]));
            }
        }
        Self { width, height, px }
    }

    /// Half the size, each texel the mean of four: the next level for minified drawing.
    fn halved(&self) -> Self {
        let (width, height) = (self.width.div_ceil(2), self.height.div_ceil(2));
        let at = |x: usize, y: usize| self.px[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let mut px = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let four =
                    [at(2 * x, 2 * y), at(2 * x + 1, 2 * y), at(2 * x, 2 * y + 1), at(2 * x + 1, 2 * y + 1)];
                px.push(std::array::from_fn(|c| four.iter().map(|p| p[c]).sum::<f32>() * 0.25));
            }
        }
        Self { width, height, px }
    }

    /// Bilinear value at texel coordinates less one half, in 1/65536 texel, that lie inside the picture.
    #[inline]
    fn bilinear(&self, x: i32, y: i32) -> Rgba {
        let (ix, iy) = ((x >> 16).max(0) as usize, (y >> 16).max(0) as usize);
        let (ix, iy) = (ix.min(self.width - 2), iy.min(self.height - 2));
        let part = |v: i32, i: usize| (v - ((i as i32) << 16)) as f32 / 65536.0;
        let (fx, fy) = (part(x, ix), part(y, iy));
        let i = iy * self.width + ix;
        let pair = |i: usize| match &self.px[i..i + 2] {
            [a, b] => lerp(a, b, fx),
            _ => [0.0; 4],
        };
        lerp(&pair(i), &pair(i + self.width), fy)
    }
}

#[inline]
fn lerp(a: &Rgba, b: &Rgba, t: f32) -> Rgba {
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t, a[3] + (b[3] - a[3]) * t]
}

/// A picture with its place in a layer's coordinates and its smaller levels.
#[derive(Clone, Debug)]
pub(crate) struct Sprite {
    levels: Vec<Raster>,
    /// Layer coordinates -> texels of the largest level.
    to_texels: Affine,
}

impl Sprite {
    /// `to_texels` maps the layer's coordinates to texels of `raster`. `levels` pictures are kept, each
    /// half of the one before; 1 is enough where the sprite is never drawn smaller than it is.
    pub(crate) fn new(raster: Raster, to_texels: Affine, levels: usize) -> Self {
        let mut all = vec![raster];
        while all.len() < levels && all[all.len() - 1].width.min(all[all.len() - 1].height) > 8 {
            all.push(all[all.len() - 1].halved());
        }
        Self { levels: all, to_texels }
    }

    /// The same picture for a layer whose unit is `density` texels.
    pub(crate) fn magnified(self, density: f32) -> Self {
        Self { to_texels: Affine::scale([density; 2]).then(self.to_texels), ..self }
    }

    /// The level for drawing with this map from pixels to layer coordinates, and the map from layer coordinates to its
    /// texels: at most about 1.5 texels are skipped between neighbours.
    fn level(&self, to_layer: Affine) -> Option<(&Raster, Affine)> {
        let texels_per_pixel = to_layer.then(self.to_texels).determinant().abs().sqrt();
        let level = (texels_per_pixel.log2() + 0.4).max(0.0) as usize;
        let level = level.min(self.levels.len() - 1);
        let raster = &self.levels[level];
        let to_texels = self.to_texels.then(Affine::scale([0.5f32.powi(level as i32); 2]));
        (raster.width >= 2 && raster.height >= 2).then_some((raster, to_texels))
    }

    /// The two parts on either side of a line of the layer: where `side` is negative, and the rest.
    pub(crate) fn parted(&self, side: impl Fn([f32; 2]) -> f32) -> [Self; 2] {
        let whole = &self.levels[0];
        let from_texels = self.to_texels.inverse();
        [-1.0, 1.0].map(|sign| {
            let mut part = whole.clone();
            for (i, px) in part.px.iter_mut().enumerate() {
                let texel = [(i % whole.width) as f32 + 0.5, (i / whole.width) as f32 + 0.5];
                let cover = (0.5 + sign * side(from_texels.apply(texel))).clamp(0.0, 1.0);
                *px = px.map(|c| c * cover);
            }
            Self::new(part, self.to_texels, self.levels.len())
        })
    }

    /// A soft dark copy, for shadows: coverage at a quarter of the resolution, blurred `passes` times.
    pub(crate) fn shadow(&self, strength: f32, passes: usize) -> Self {
        let source = self.levels[0].halved().halved();
        let margin = 2 * passes + 1;
        let (width, height) = (source.width + 2 * margin, source.height + 2 * margin);
        let mut alpha = vec![0.0f32; width * height];
        for y in 0..source.height {
            for x in 0..source.width {
                alpha[(y + margin) * width + x + margin] = source.px[y * source.width + x][3] * strength;
            }
        }
        for _ in 0..passes {
            alpha = blur_121(&alpha, width, height, 1);
            alpha = blur_121(&alpha, width, height, width);
        }
        let px = alpha.into_iter().map(|a| [0.0, 0.0, 0.0, a]).collect();
        let to_texels = self.to_texels.then(Affine::scale([0.25; 2])).then(Affine::shift([margin as f32; 2]));
        Self { levels: vec![Raster { width, height, px }], to_texels }
    }
}

/// [1 2 1] / 4 along the axis with the given stride; the outermost values stay.
fn blur_121(values: &[f32], width: usize, height: usize, stride: usize) -> Vec<f32> {
    let mut out = values.to_vec();
    for i in width..width * (height - 1) {
        out[i] = 0.25 * values[i - stride] + 0.5 * values[i] + 0.25 * values[i + stride];
    }
    out
}

/// A picture being composited, and which layer shows at each pixel.
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) px: Vec<Rgba>,
    /// Index of the front-most layer that covers more than half of the pixel.
    pub(crate) owner: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { width, height, px: vec![[0.0; 4]; width * height], owner: vec![0; width * height] }
    }

    /// Lays a sprite over the picture. `place` maps layer coordinates to pixels, whose centres are at halves. With an
    /// `owner`, pixels that it mostly covers are recorded as its own.
    pub(crate) fn draw(&mut self, sprite: &Sprite, place: &Place, owner: Option<u8>) {
        match place.affine() {
            Some(map) => self.draw_flat(sprite, map, owner),
            None => self.draw_bent(sprite, place, owner),
        }
    }

    /// A sprite whose place is affine: along a row of pixels its texels lie in even steps.
    fn draw_flat(&mut self, sprite: &Sprite, to_screen: Affine, owner: Option<u8>) {
        let to_layer = to_screen.inverse();
        let Some((raster, to_texels)) = sprite.level(to_layer) else { return };
        let to_texels = to_layer.then(to_texels);
        let [du, _, dv, _] = to_texels.linear;
        for y in 0..self.height {
            let [u0, v0] = to_texels.apply([0.5, y as f32 + 0.5]);
            let across = inside(u0, du, raster.width).and(inside(v0, dv, raster.height));
            let (first, end) = across.pixels(self.width);
            if first >= end {
                continue;
            }
            // Fixed-point steps: over a row they stray by less than a hundredth of a texel.
            let fixed = |v: f32| (v * 65536.0) as i32;
            let (mut u, mut v) = (fixed(u0 + du * first as f32 - 0.5), fixed(v0 + dv * first as f32 - 0.5));
            let (du, dv) = (fixed(du), fixed(dv));
            let row = y * self.width;
            let pixels = self.px[row + first..row + end].iter_mut();
            let owners = self.owner[row + first..row + end].iter_mut();
            for (target, who) in pixels.zip(owners) {
                lay(target, who, &raster.bilinear(u, v), owner);
                (u, v) = (u.wrapping_add(du), v.wrapping_add(dv));
            }
        }
    }

    /// Any other: each pixel finds its own way back.
    fn draw_bent(&mut self, sprite: &Sprite, place: &Place, owner: Option<u8>) {
        let back = place.back();
        // How far apart its texels are is looked at about its middle.
        let Some([x, y]) = place.apply([0.0; 2]) else { return };
        let near = [[x, y], [x + 1.0, y], [x, y + 1.0]].map(|p| back.apply(p));
        let [Some(o), Some(a), Some(b)] = near else { return };
        let local = Affine { linear: [a[0] - o[0], b[0] - o[0], a[1] - o[1], b[1] - o[1]], shift: o };
        let Some((raster, to_texels)) = sprite.level(local) else { return };
        let [columns, rows] = self.reach(sprite, place);
        for y in rows {
            for x in columns.clone() {
                let Some(p) = back.apply([x as f32 + 0.5, y as f32 + 0.5]) else { continue };
                let [u, v] = to_texels.apply(p);
                let within = |t: f32, side: usize| t >= 0.5 && t <= side as f32 - 0.5;
                if within(u, raster.width) && within(v, raster.height) {
                    let fixed = |t: f32| ((t - 0.5) * 65536.0) as i32;
                    let at = y * self.width + x;
                    lay(&mut self.px[at], &mut self.owner[at], &raster.bilinear(fixed(u), fixed(v)), owner);
                }
            }
        }
    }

    /// Columns and rows that a sprite can touch: around where points of its border, and of a grid in it, come to be.
    fn reach(&self, sprite: &Sprite, place: &Place) -> [std::ops::Range<usize>; 2] {
        const POINTS: usize = 16;
        let from_texels = sprite.to_texels.inverse();
        let [width, height] = [sprite.levels[0].width, sprite.levels[0].height].map(|side| side as f32);
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for i in 0..=POINTS {
            for j in 0..=POINTS {
                let share = |k: usize, side: f32| side * k as f32 / POINTS as f32;
                match place.apply(from_texels.apply([share(i, width), share(j, height)])) {
                    Some(p) => {
                        low = std::array::from_fn(|c| low[c].min(p[c]));
                        high = std::array::from_fn(|c| high[c].max(p[c]));
                    }
                    // Part of it reaches to the horizon.
                    None => return [0..self.width, 0..self.height],
                }
            }
        }
        let margin = 3.0;
        let range = |c: usize, side: usize| {
            let end = ((high[c] + margin).max(0.0) as usize).min(side);
            ((low[c] - margin).max(0.0) as usize).min(end)..end
        };
        [range(0, self.width), range(1, self.height)]
    }

    /// Adds another picture, for averaging over the time the shutter is open.
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, value) in self.px.iter_mut().zip(&other.px) {
            for c in 0..4 {
                sum[c] += value[c];
            }
        }
    }
}

/// Puts one premultiplied colour over a pixel.
#[inline]
fn lay(target: &mut Rgba, who: &mut u8, source: &Rgba, owner: Option<u8>) {
    let alpha = source[3];
    if alpha <= 0.0 {
        return;
    }
    let through = 1.0 - alpha;
    *target = std::array::from_fn(|c| target[c] * through + source[c]);
    if let Some(id) = owner
        && alpha > 0.5
    {
        *who = id;
    }
}

/// Pixels of a row, as a range of real numbers.
struct Span {
    low: f32,
    high: f32,
}

impl Span {
    fn and(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    fn pixels(self, width: usize) -> (usize, usize) {
        (self.low.ceil().max(0.0) as usize, ((self.high.floor() + 1.0).max(0.0) as usize).min(width))
    }
}

/// Where `start + step * x` lies within a raster's side, half a texel inside.
fn inside(start: f32, step: f32, side: usize) -> Span {
    let (low, high) = (0.5 - start, side as f32 - 0.5 - start);
    if step.abs() < 1e-9 {
        let always = low <= 0.0 && high >= 0.0;
        return if always {
            Span { low: f32::NEG_INFINITY, high: f32::INFINITY }
        } else {
            Span { low: f32::INFINITY, high: f32::NEG_INFINITY }
        };
    }
    let (a, b) = (low / step, high / step);
    Span { low: a.min(b), high: a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sprite_lands_where_the_map_says() {
        let raster = Raster::paint(6, 6, |[x, y]| {
            if (1.0..5.0).contains(&x) && (1.0..5.0).contains(&y) { [1.0; 4] } else { [0.0; 4] }
        });
        let sprite = Sprite::new(raster, Affine::shift([3.0, 3.0]), 1);
        let mut canvas = Canvas::new(20, 10);
        canvas.draw(&sprite, &Affine::shift([12.0, 5.0]).into(), Some(7));
        let covered: Vec<usize> = (0..200).filter(|&i| canvas.owner[i] == 7).collect();
        let expected: Vec<usize> = (3..7).flat_map(|y| (10..14).map(move |x| y * 20 + x)).collect();
        assert_eq!(covered, expected);
    }
    #[test]
    fn a_bent_sprite_lands_where_a_flat_one_does() {
        // As it is, and so small that its second level is drawn: 21 texels have a half of 11.
        for (side, scale) in [(9, 1.0), (21, 0.4)] {
            let half = side as f32 / 2.0;
            let raster = Raster::paint(side, side, |[x, y]| [x / (2.0 * half), y / (2.0 * half), 0.5, 1.0]);
            let sprite = Sprite::new(raster, Affine::shift([half; 2]), 2);
            let map = Affine::scale([scale; 2]).then(Affine::turn(0.3)).then(Affine::shift([10.0, 9.0]));
            let [mut flat, mut bent] = [(); 2].map(|()| Canvas::new(20, 18));
            flat.draw(&sprite, &map.into(), Some(1));
            bent.draw(&sprite, &Place::from(map).tilted([1e-9, 0.0]), Some(1));
            let worst = flat.px.iter().zip(&bent.px).flat_map(|(a, b)| (0..4).map(|c| (a[c] - b[c]).abs()));
            assert!(worst.fold(0.0, f32::max) < 1e-3 && flat.owner == bent.owner, "side {side}");
        }
    }
}
