//! A displacement map in words, for those who do not see its colours. In: a map. Out: how much moves, where, and whither.

use std::f32::consts::PI;

/// Cells that go less far lie still: most of it is noise.
const LEAST_CELLS: f32 = 0.5;
/// Below this share of the cells nothing is said to move.
const LEAST_SHARE: f32 = 0.01;
/// From this share on it is the whole picture that moves.
const WHOLE_SHARE: f32 = 0.7;
/// Directions agree when their mean is so long; 1 when all are the same.
const AGREEMENT: f32 = 0.6;

/// A sentence such as "12 % of the picture moves, in the upper left, to the right, by 2.1 cells on average.".
///
/// # Shapes
/// - `displacement`: (dx, dy), `[h, w, 2]`, in units of the radius, `radius_cells` of them a cell's sides; what is no
///   finite number lies still
/// - `grid`: h and w
pub fn describe(displacement: &[f32], [height, width]: [usize; 2], radius_cells: usize) -> String {
    let cells = displacement.as_chunks::<2>().0.iter().map(|d| d.map(|d| d * radius_cells as f32));
    let moving: Vec<([f32; 2], [f32; 2])> = cells
        .enumerate()
        .filter(|(_, [dx, dy])| dx.hypot(*dy) >= LEAST_CELLS && dx.is_finite() && dy.is_finite())
        .map(|(cell, d)| ([(cell % width) as f32 + 0.5, (cell / width) as f32 + 0.5], d))
        .collect();
    let share = moving.len() as f32 / (width * height).max(1) as f32;
    if share < LEAST_SHARE {
        return "Nothing moves.".to_owned();
    }
    let middle = mean(moving.iter().map(|(at, _)| *at));
    let place = if share >= WHOLE_SHARE {
        "nearly everywhere".to_owned()
    } else {
        format!("in the {}", area([middle[0] / width as f32, middle[1] / height as f32]))
    };
    let length = mean(moving.iter().map(|(_, [dx, dy])| [dx.hypot(*dy), 0.0]))[0];
    let percent = (100.0 * share).round();
    format!(
        "{percent} % of the picture moves, {place}, {}, by {length:.1} cells on average.",
        whither(&moving, middle)
    )
}

/// What directions have in common: one of eight, out of or into the middle, around it, or nothing.
fn whither(moving: &[([f32; 2], [f32; 2])], middle: [f32; 2]) -> &'static str {
    let [x, y] = mean(moving.iter().map(|(_, d)| unit(*d)));
    if x.hypot(y) >= AGREEMENT {
        return towards(x, y);
    }
    // Along the way out of the middle, and across it.
    let [out, around] = mean(moving.iter().map(|(at, d)| {
        let ([x, y], [dx, dy]) = (unit([at[0] - middle[0], at[1] - middle[1]]), unit(*d));
        [x * dx + y * dy, x * dy - y * dx]
    }));
    match (out, around) {
        (out, _) if out >= AGREEMENT => "apart",
        (out, _) if out <= -AGREEMENT => "together",
        (_, around) if around >= AGREEMENT => "turning clockwise",
        (_, around) if around <= -AGREEMENT => "turning anticlockwise",
        _ => "in different directions",
    }
}

fn towards(x: f32, y: f32) -> &'static str {
    let names = [
        "to the right",
        "down to the right",
        "down",
        "down to the left",
        "to the left",
        "up to the left",
        "up",
        "up to the right",
    ];
    let eighth = (y.atan2(x) / (PI / 4.0)).round() as i32;
    names[eighth.rem_euclid(8) as usize]
}

/// Which ninth of the picture, of whose sides a place is so far.
fn area([x, y]: [f32; 2]) -> &'static str {
    let third = |part: f32| ((3.0 * part) as usize).min(2);
    let names = [
        ["upper left", "upper middle", "upper right"],
        ["left", "middle", "right"],
        ["lower left", "lower middle", "lower right"],
    ];
    names[third(y)][third(x)]
}

fn unit([x, y]: [f32; 2]) -> [f32; 2] {
    let length = x.hypot(y).max(f32::MIN_POSITIVE);
    [x / length, y / length]
}

fn mean(values: impl Iterator<Item = [f32; 2]>) -> [f32; 2] {
    let (count, [x, y]) = values.fold((0, [0.0; 2]), |(n, sum), [x, y]| (n + 1, [sum[0] + x, sum[1] + y]));
    [x / count.max(1) as f32, y / count.max(1) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 12 x 12 map of displacements in cells, by the place relative to the middle.
    fn map(of: impl Fn(f32, f32) -> [f32; 2]) -> String {
        let place = |cell: usize| (cell as f32 + 0.5) / 6.0 - 1.0;
        let cells = (0..144).flat_map(|i| of(place(i % 12), place(i / 12)));
        describe(&cells.map(|d| d / 7.0).collect::<Vec<_>>(), [12, 12], 7)
    }

    #[test]
    fn a_thing_that_moves() {
        let corner = |d: [f32; 2]| move |x: f32, y: f32| if x < -0.5 && y < -0.5 { d } else { [0.1, 0.0] };
        assert_eq!(
            map(corner([2.0, 0.0])),
            "6 % of the picture moves, in the upper left, to the right, by 2.0 cells on average."
        );
        assert!(map(corner([-1.5, 1.5])).contains("down to the left, by 2.1 cells"));
        assert!(map(|x, _| [0.0, if x > 0.5 { -3.0 } else { 0.0 }]).contains("in the right, up, by 3.0"));
    }

    #[test]
    fn a_camera_that_moves() {
        let everywhere = |_, _| [-3.0, 0.0];
        assert_eq!(
            map(everywhere),
            "100 % of the picture moves, nearly everywhere, to the left, by 3.0 cells on average."
        );
        assert!(map(|x, y| [4.0 * x, 4.0 * y]).contains("apart"));
        assert!(map(|x, y| [-4.0 * x, -4.0 * y]).contains("together"));
        assert!(map(|x, y| [-4.0 * y, 4.0 * x]).contains("turning clockwise"));
        assert!(map(|x, y| [4.0 * y, -4.0 * x]).contains("turning anticlockwise"));
        assert!(
            map(|x, y| [3.0 * (9.0 * x).sin(), 3.0 * (7.0 * y).cos()]).contains("in different directions")
        );
    }

    #[test]
    fn what_lies_still_or_is_no_number() {
        assert_eq!(map(|_, _| [0.2, -0.2]), "Nothing moves.");
        assert_eq!(map(|_, _| [f32::NAN, f32::INFINITY]), "Nothing moves.");
        assert_eq!(describe(&[], [0, 0], 7), "Nothing moves.");
    }
}
