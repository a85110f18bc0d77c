//! Turning decoded pictures upright. In: RGBA as the browser decodes it. Out: RGB as the viewer should see it.

use motion_net::gpu::Steps;

/// Where the axes of a decoded picture point on the screen: a turn by quarters, with or without a reflection.
///
/// A decoded pixel (x, y) belongs at `(a x + c y, b x + d y)`, moved so that the picture starts at (0, 0): the
/// upper left part of the display matrix of an MP4 track (ISO/IEC 14496-12, 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation {
    a: i8,
    b: i8,
    c: i8,
    d: i8,
}

impl Default for Orientation {
    fn default() -> Self {
        Self { a: 1, b: 0, c: 0, d: 1 }
    }
}

impl Orientation {
    /// From the four numbers of a display matrix in any scale; `None` when it is no turn by quarters.
    pub fn from_matrix([a, b, c, d]: [f64; 4]) -> Option<Self> {
        let largest = [a, b, c, d].into_iter().map(f64::abs).fold(0.0, f64::max);
        let unit = |x: f64| match x / largest {
            x if x > 0.99 => Some(1),
            x if x < -0.99 => Some(-1),
            x if x.abs() < 0.01 => Some(0),
            _ => None,
        };
        let found = Self { a: unit(a)?, b: unit(b)?, c: unit(c)?, d: unit(d)? };
        // Each axis lies along one axis of the screen, and they lie along different ones.
        (matches!(found.determinant(), 1 | -1) && found.a * found.b == 0).then_some(found)
    }

    /// From a turn in degrees, clockwise, and whether left and right are swapped before it.
    pub fn from_turn(clockwise: f64, mirrored: bool) -> Option<Self> {
        let (sin, cos) = clockwise.to_radians().sin_cos();
        let flip = if mirrored { -1.0 } else { 1.0 };
        Self::from_matrix([cos * flip, sin * flip, -sin, cos])
    }

    fn determinant(self) -> i8 {
        self.a * self.d - self.b * self.c
    }

    /// Degrees clockwise that the picture is turned: 0, 90, 180 or 270.
    pub fn degrees(self) -> u32 {
        match (self.a, self.b) {
            (1, _) => 0,
            (_, 1) => 90,
            (-1, _) => 180,
            _ => 270,
        }
    }

    /// Whether it is a mirror image.
    pub fn is_mirrored(self) -> bool {
        self.determinant() < 0
    }

    /// Width and height once upright.
    pub fn size(self, width: usize, height: usize) -> [usize; 2] {
        if self.a == 0 { [height, width] } else { [width, height] }
    }

    /// Where the upright picture's pixels lie in a decoded one whose lines are `stride` pixels apart.
    pub fn steps(self, width: usize, height: usize, stride: usize) -> Steps {
        let [a, b, c, d] = [self.a, self.b, self.c, self.d].map(i32::from);
        // A negative axis counts from the far end.
        let far = |forward: i32, beside: i32, length: usize| {
            if forward + beside < 0 { length as i32 - 1 } else { 0 }
        };
        let stride = stride as i32;
        Steps {
            start: far(c, d, height) * stride + far(a, b, width),
            across: c * stride + a,
            down: d * stride + b,
        }
    }

    /// `[height, width, 4]` in, `[height', width', 3]` out, upright; alpha is dropped. `None` when there are not
    /// 4 bytes for each pixel.
    pub fn upright(self, width: usize, height: usize, rgba: &[u8]) -> Option<Vec<u8>> {
        if width.checked_mul(height)?.checked_mul(4)? != rgba.len() {
            return None;
        }
        let (pixels, _) = rgba.as_chunks::<4>();
        let [new_width, new_height] = self.size(width, height);
        // A turn by quarters is undone by its transpose; a negative axis counts from the far end.
        let index = |forward: i8, at: usize, length: usize| match forward {
            0 => 0,
            1 => at,
            _ => length - 1 - at,
        };
        let mut rgb = Vec::with_capacity(pixels.len() * 3);
        for y in 0..new_height {
            for x in 0..new_width {
                let from_x = index(self.a, x, width) + index(self.b, y, width);
                let from_y = index(self.c, x, height) + index(self.d, y, height);
                let [r, g, b, _] = pixels[from_y * width + from_x];
                rgb.extend([r, g, b]);
            }
        }
        Some(rgb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture `1 2 3 / 4 5 6`, turned.
    fn turned(orientation: Orientation) -> (usize, Vec<u8>) {
        let rgba: Vec<u8> = (1..=6).flat_map(|v| [v, v, v, 255]).collect();
        let rgb = orientation.upright(3, 2, &rgba).unwrap();
        (orientation.size(3, 2)[0], rgb.chunks(3).map(|p| p[0]).collect())
    }

    #[test]
    fn the_eight_ways_to_hold_a_picture() {
        for (clockwise, mirrored, width, expected) in [
            (0.0, false, 3, [1, 2, 3, 4, 5, 6]),
            (90.0, false, 2, [4, 1, 5, 2, 6, 3]),
            (180.0, false, 3, [6, 5, 4, 3, 2, 1]),
            (270.0, false, 2, [3, 6, 2, 5, 1, 4]),
            (0.0, true, 3, [3, 2, 1, 6, 5, 4]),
            (90.0, true, 2, [6, 3, 5, 2, 4, 1]),
            (180.0, true, 3, [4, 5, 6, 1, 2, 3]),
            (-90.0, true, 2, [1, 4, 2, 5, 3, 6]),
        ] {
            let orientation = Orientation::from_turn(clockwise, mirrored).unwrap();
            assert_eq!(turned(orientation), (width, expected.to_vec()), "{clockwise} {mirrored}");
            assert_eq!(orientation.is_mirrored(), mirrored);
            // The same by steps, in lines of 5 pixels of which 3 are the picture's.
            let lines = [1, 2, 3, 0, 0, 4, 5, 6, 0, 0];
            let Steps { start, across, down } = orientation.steps(3, 2, 5);
            let [wide, high] = orientation.size(3, 2).map(|side| side as i32);
            let places = (0..high).flat_map(|y| (0..wide).map(move |x| start + x * across + y * down));
            assert_eq!(places.map(|place| lines[place as usize]).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_matrix_of_a_telephone_held_upright() {
        let portrait = Orientation::from_matrix([0.0, 65536.0, -65536.0, 0.0]).unwrap();
        assert_eq!((portrait.degrees(), portrait.size(568, 320)), (90, [320, 568]));
        assert_eq!(Orientation::from_matrix([0.7, 0.7, -0.7, 0.7]), None);
        assert_eq!(Orientation::from_matrix([0.0; 4]), None);
        assert_eq!(Orientation::from_matrix([1.0, 0.0, 1.0, 0.0]), None);
    }

    #[test]
    fn a_picture_of_the_wrong_length_is_refused() {
        assert_eq!(Orientation::default().upright(2, 2, &[0; 15]), None);
        assert_eq!(Orientation::default().upright(usize::MAX, 2, &[0; 16]), None);
    }
}
