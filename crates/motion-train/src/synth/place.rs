//! Maps of the plane, and their way back: where the points of a layer are in a picture.

/// An affine map of the plane, `p -> linear * p + shift`; x right, y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    /// Row-major 2x2 matrix.
    pub(crate) linear: [f32; 4],
    pub(crate) shift: [f32; 2],
}

impl Affine {
    pub(crate) fn shift(by: [f32; 2]) -> Self {
        Self { linear: [1.0, 0.0, 0.0, 1.0], shift: by }
    }

    pub(crate) fn scale(by: [f32; 2]) -> Self {
        Self { linear: [by[0], 0.0, 0.0, by[1]], shift: [0.0; 2] }
    }

    /// Clockwise on screen for positive angles, because y points down.
    pub(crate) fn turn(radians: f32) -> Self {
        let (sin, cos) = radians.sin_cos();
        Self { linear: [cos, -sin, sin, cos], shift: [0.0; 2] }
    }

    /// First `self`, then `next`.
    pub(crate) fn then(self, next: Self) -> Self {
        let [a, b, c, d] = self.linear;
        let [e, f, g, h] = next.linear;
        Self {
            linear: [e * a + f * c, e * b + f * d, g * a + h * c, g * b + h * d],
            shift: next.apply(self.shift),
        }
    }

    pub(crate) fn apply(self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d] = self.linear;
        [a * x + b * y + self.shift[0], c * x + d * y + self.shift[1]]
    }

    pub(crate) fn determinant(self) -> f32 {
        self.linear[0] * self.linear[3] - self.linear[1] * self.linear[2]
    }

    /// The map back. Scales in a scene stay well above zero, so this always exists.
    pub(crate) fn inverse(self) -> Self {
        let [a, b, c, d] = self.linear;
        let k = 1.0 / self.determinant();
        let linear = [d * k, -b * k, -c * k, a * k];
        let [x, y] = self.shift;
        Self { linear, shift: [-(linear[0] * x + linear[1] * y), -(linear[2] * x + linear[3] * y)] }
    }
}

/// How something soft departs from its shape; each part can be undone in closed form.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Warp {
    /// x is narrowed by this share where y is 0, and less the farther from there: by half at `width`.
    pub(crate) pinch: f32,
    pub(crate) width: f32,
    /// y gains `bend * x * x`.
    pub(crate) bend: f32,
    /// y gains `amplitude * sin(frequency * x + phase)`.
    pub(crate) wave: [f32; 3],
}

impl Warp {
    fn is_none(&self) -> bool {
        self.pinch == 0.0 && self.bend == 0.0 && self.wave[0] == 0.0
    }

    fn narrowing(&self, y: f32) -> f32 {
        if self.pinch == 0.0 { 1.0 } else { 1.0 - self.pinch / (1.0 + (y / self.width).powi(2)) }
    }

    fn lift(&self, x: f32) -> f32 {
        let [amplitude, frequency, phase] = self.wave;
        let wave = if amplitude == 0.0 { 0.0 } else { amplitude * (frequency * x + phase).sin() };
        self.bend * x * x + wave
    }

    fn apply(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let x = x * self.narrowing(y);
        [x, y + self.lift(x)]
    }

    fn undo(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let y = y - self.lift(x);
        [x / self.narrowing(y), y]
    }
}

/// What divides by less than this lies behind the camera, or as good as there.
const NEAREST: f32 = 0.2;

/// One step of a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Affine(Affine),
    /// Perspective: p is divided by `1 + tilt . p`.
    Tilt([f32; 2]),
    Warp(Warp),
}

/// Where the points of a layer are in a picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    steps: Vec<Step>,
}

impl From<Affine> for Place {
    fn from(map: Affine) -> Self {
        Self { steps: vec![Step::Affine(map)] }
    }
}

impl Place {
    /// After all that was, `next`.
    pub(crate) fn then(mut self, next: Affine) -> Self {
        match self.steps.last_mut() {
            Some(Step::Affine(last)) => *last = last.then(next),
            _ => self.steps.push(Step::Affine(next)),
        }
        self
    }

    /// After all that was, a plane that does not face the camera: `tilt` is the share by which distance grows for each
    /// pixel right and down.
    pub(crate) fn tilted(mut self, tilt: [f32; 2]) -> Self {
        if tilt != [0.0; 2] {
            self.steps.push(Step::Tilt(tilt));
        }
        self
    }

    /// After all that was, something soft.
    pub(crate) fn warped(mut self, warp: Warp) -> Self {
        if !warp.is_none() {
            self.steps.push(Step::Warp(warp));
        }
        self
    }

    /// After all that was, another place.
    pub(crate) fn then_all(mut self, next: &Self) -> Self {
        for step in &next.steps {
            match *step {
                Step::Affine(map) => self = self.then(map),
                step => self.steps.push(step),
            }
        }
        self
    }

    /// The whole map where it is affine.
    pub(crate) fn affine(&self) -> Option<Affine> {
        match self.steps.as_slice() {
            [Step::Affine(map)] => Some(*map),
            _ => None,
        }
    }

    /// Where a point of the layer is seen; `None` where that is nowhere.
    pub(crate) fn apply(&self, mut p: [f32; 2]) -> Option<[f32; 2]> {
        for step in &self.steps {
            p = match step {
                Step::Affine(map) => map.apply(p),
                Step::Tilt(tilt) => divided(p, 1.0 + tilt[0] * p[0] + tilt[1] * p[1])?,
                Step::Warp(warp) => warp.apply(p),
            };
        }
        Some(p)
    }

    /// The way back, for many points.
    pub(crate) fn back(&self) -> Back {
        let undone = self.steps.iter().rev().map(|step| match step {
            Step::Affine(map) => Step::Affine(map.inverse()),
            step => *step,
        });
        Back { steps: undone.collect() }
    }
}

/// A [`Place`] in the other direction: from the picture to the layer.
#[derive(Clone, Debug)]
pub(crate) struct Back {
    steps: Vec<Step>,
}

impl Back {
    /// What point of the layer is seen here; `None` where none is.
    pub(crate) fn apply(&self, mut p: [f32; 2]) -> Option<[f32; 2]> {
        for step in &self.steps {
            p = match step {
                Step::Affine(map) => map.apply(p),
                Step::Tilt(tilt) => divided(p, 1.0 - tilt[0] * p[0] - tilt[1] * p[1])?,
                Step::Warp(warp) => warp.undo(p),
            };
        }
        Some(p)
    }
}

fn divided([x, y]: [f32; 2], by: f32) -> Option<[f32; 2]> {
    (by > NEAREST).then(|| [x / by, y / by])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes_the_map() {
        let map = Affine::scale([1.3, 0.4]).then(Affine::turn(0.7)).then(Affine::shift([12.0, -5.0]));
        let [x, y] = map.inverse().apply(map.apply([3.0, 8.0]));
        assert!((x - 3.0).abs() < 1e-4 && (y - 8.0).abs() < 1e-4, "{x} {y}");
    }

    #[test]
    fn the_way_back_undoes_every_step() {
        let warp = Warp { pinch: 0.4, width: 20.0, bend: 0.004, wave: [3.0, 0.1, 0.5] };
        let place = Place::from(Affine::turn(0.4))
            .warped(warp)
            .then(Affine::scale([1.2, 0.9]))
            .tilted([0.002, -0.003])
            .then(Affine::shift([160.0, 120.0]));
        let back = place.back();
        for p in [[0.0, 0.0], [30.0, -12.0], [-25.0, 40.0]] {
            let [x, y] = back.apply(place.apply(p).unwrap()).unwrap();
            assert!((x - p[0]).abs() < 1e-3 && (y - p[1]).abs() < 1e-3, "{p:?} came back as {x}, {y}");
        }
        assert!(place.affine().is_none());
        assert_eq!(place.apply([0.0, -1e5]), None, "behind the camera");
    }
}
