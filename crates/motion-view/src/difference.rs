//! How far two displacement maps are apart. In: two maps in units of the radius. Out: a length in cells for each cell.

/// The length of the difference of two maps of the same pair, as of two estimators.
///
/// # Shapes
/// - `a`, `b`: `[h, w, 2]`, in units of the radius
/// - result: `[h, w]`, in cells
pub fn between(a: &[f32], b: &[f32], radius_cells: usize) -> Vec<f32> {
    let ((a, _), (b, _)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    let length = |([ax, ay], [bx, by]): (&[f32; 2], &[f32; 2])| (ax - bx).hypot(ay - by);
    a.iter().zip(b).map(|pair| length(pair) * radius_cells as f32).collect()
}

/// Forward-backward consistency: how far from itself a place ends that goes along the forward map and, from where it
/// arrives, back along the backward one. Small where the match is mutual; large where something is covered or uncovered.
///
/// # Shapes
/// - `forward`, from a frame to the next, and `backward`, from that to the frame: `[h, w, 2]`, in units of the radius
/// - `grid`: `[h, w]`
/// - result: `[h, w]`, in cells; not a number where the forward map leads off the picture
pub fn there_and_back(
    forward: &[f32],
    backward: &[f32],
    [height, width]: [usize; 2],
    radius_cells: usize,
) -> Vec<f32> {
    let ((forward, _), (backward, _)) = (forward.as_chunks::<2>(), backward.as_chunks::<2>());
    let radius = radius_cells as f32;
    let way = |at: usize| -> f32 {
        let [dx, dy] = forward[at].map(|part| part * radius);
        let [x, y] = [(at % width) as f32 + dx, (at / width) as f32 + dy];
        let inside = |place: f32, side: usize| (-0.5..=side as f32 - 0.5).contains(&place);
        if !inside(x, width) || !inside(y, height) {
            return f32::NAN;
        }
        let [bx, by] = bilinear(backward, [height, width], [x, y]).map(|part| part * radius);
        (dx + bx).hypot(dy + by)
    };
    (0..forward.len().min(backward.len()).min(height * width)).map(way).collect()
}

/// A map between its cells; beyond the middle of its outermost cells, their value.
fn bilinear(map: &[[f32; 2]], [height, width]: [usize; 2], [x, y]: [f32; 2]) -> [f32; 2] {
    let [x, y] = [x.clamp(0.0, (width - 1) as f32), y.clamp(0.0, (height - 1) as f32)];
    let [left, top] = [x.floor(), y.floor()];
    let [right, below] = [x - left, y - top];
    let cell = |line: usize, column: usize| map[line.min(height - 1) * width + column.min(width - 1)];
    let [line, column] = [top as usize, left as usize];
    std::array::from_fn(|axis| {
        let across =
            |line: usize| cell(line, column)[axis] * (1.0 - right) + cell(line, column + 1)[axis] * right;
        across(line) * (1.0 - below) + across(line + 1) * below
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: [usize; 2] = [4, 5];

    fn everywhere(displacement: [f32; 2]) -> Vec<f32> {
        displacement.repeat(GRID[0] * GRID[1])
    }

    #[test]
    fn a_difference_is_a_length_in_cells() {
        let apart = between(&everywhere([0.5, 0.0]), &everywhere([0.2, 0.4]), 10);
        assert!(apart.iter().all(|length| (length - 5.0).abs() < 1e-5), "{apart:?}");
        assert_eq!(apart.len(), 20);
        assert_eq!(between(&everywhere([0.1, 0.3]), &everywhere([0.1, 0.3]), 7), [0.0; 20]);
    }

    #[test]
    fn what_comes_back_to_itself_is_consistent() {
        // 1.5 cells to the right and as far back.
        let found = there_and_back(&everywhere([0.15, 0.0]), &everywhere([-0.15, 0.0]), GRID, 10);
        for (at, length) in found.iter().enumerate() {
            let leaves = (at % GRID[1]) as f32 + 1.5 > GRID[1] as f32 - 0.5;
            assert_eq!(length.is_nan(), leaves, "cell {at}");
            assert!(leaves || length.abs() < 1e-5, "cell {at}: {length}");
        }
        let lost = there_and_back(&everywhere([0.0, 0.0]), &everywhere([0.0, 0.2]), GRID, 10);
        assert!(lost.iter().all(|length| (length - 2.0).abs() < 1e-5));
    }

    #[test]
    fn the_way_back_is_read_between_cells() {
        let mut backward = everywhere([0.0, 0.0]);
        backward[2 * 7] = -0.1; // one cell to the left, at line 1, column 2
        let found = there_and_back(&everywhere([0.05, 0.0]), &backward, GRID, 10);
        // From column 1 half a cell on: half of that cell's way back.
        assert!((found[6] - 0.0).abs() < 1e-6, "{}", found[6]);
        assert!((found[5] - 0.5).abs() < 1e-6, "{}", found[5]);
        assert!(there_and_back(&[f32::NAN; 40], &backward, GRID, 10).iter().all(|length| length.is_nan()));
    }
}
