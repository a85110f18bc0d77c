//! Displacement maps and the true flow in, figures out: how far off, by what angle, and what moves where nothing does.
//!
//! All on a map's own grid and in its cells, over the cells whose truth counts ([`crate::synth::FlowGrid`]: at least
//! 80 % of its pixels visible, their deviation below 0.35 cell). Beside every error stands that of a map of zeros.
//!
//! - End-point error: the length of the difference, |(u, v) - (u*, v*)|, in cells.
//! - Angular error: the angle between (u, v, 1) and (u*, v*, 1), in degrees (Barron, Fleet and Beauchemin, IJCV 1994).
//!   The 1 keeps it defined where nothing moves; it makes the angle depend on the unit, which is the cell here.

use std::path::PathBuf;

use motion_net::StageMaps;
use serde::Serialize;

use crate::synth::FlowGrid;

/// Speeds of the truth in cells that are reported apart: from (included) and to (excluded). 7 cells are as far as the
/// paper's window reaches; the last bin is the two before it together.
pub const SPEEDS: [[f32; 2]; 5] = [[0.0, 0.5], [0.5, 1.0], [1.0, 3.0], [3.0, 7.0], [1.0, 7.0]];

/// A cell stands still where its true displacement is shorter than this, in cells.
pub const STILL_CELLS: f32 = 0.05;

/// Sums of the errors of maps, cell by cell.
#[derive(Debug, Clone, Copy, Default)]
pub struct FlowSums {
    all: Sums,
    by_speed: [Sums; SPEEDS.len()],
    leaving: Sums,
    findable: Sums,
    still: usize,
    /// Lengths of what is shown where nothing moves.
    shown: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    cells: usize,
    end_point: f64,
    zero_end_point: f64,
    angle: f64,
    zero_angle: f64,
}

/// The errors of a motion stage's maps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowFigures {
    /// Over all speeds, those beyond the last bin included.
    #[serde(flatten)]
    pub all: Errors,
    /// One for each of [`SPEEDS`].
    pub by_speed: Vec<SpeedFigures>,
    /// Over the cells among them that go to where the map does not reach: no search finds those.
    pub leaving: Errors,
    /// Over the last bin's cells without those.
    pub findable: Errors,
    /// Where nothing moves.
    pub still: StillFigures,
}

/// The errors in a bin of true speed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeedFigures {
    /// In cells, included.
    pub from_cells: f32,
    /// In cells, excluded.
    pub to_cells: f32,
    /// Over its cells.
    #[serde(flatten)]
    pub errors: Errors,
}

/// Means over cells; absent where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Errors {
    /// How many.
    pub cells: usize,
    /// End-point error in cells.
    pub epe_cells: Option<f64>,
    /// That of a map of zeros.
    pub zero_epe_cells: Option<f64>,
    /// Angular error in degrees.
    pub angle_degrees: Option<f64>,
    /// That of a map of zeros.
    pub zero_angle_degrees: Option<f64>,
}

/// What is shown where the truth is shorter than [`STILL_CELLS`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StillFigures {
    /// How many cells.
    pub cells: usize,
    /// Mean length of the vector shown there, in cells; absent where there are none.
    pub shown_cells: Option<f64>,
}

/// The figures of one motion stage of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageFlow {
    /// The model's folder, as it was named.
    pub model: String,
    /// `res3`, `stage3`, ...
    pub stage: String,
    /// (height, width) of the map in cells.
    pub grid: [usize; 2],
    /// How far off its maps are.
    #[serde(flatten)]
    pub figures: FlowFigures,
}

impl FlowSums {
    /// Adds maps of (h, w) `grid`; both `[N, h, w, 2]` in cells, `counts` says which cells have a truth.
    pub fn add(&mut self, found: &[f32], truth: &[f32], counts: &[bool], [height, width]: [usize; 2]) {
        let within = |from: usize, d: f32, side: usize| (0.0..side as f32).contains(&(from as f32 + 0.5 + d));
        let pairs = found.as_chunks::<2>().0.iter().zip(truth.as_chunks::<2>().0).zip(counts).enumerate();
        for (at, ((&found, &truth), _)) in pairs.filter(|(_, (_, counts))| **counts) {
            let speed = truth[0].hypot(truth[1]);
            let cell = Sums {
                cells: 1,
                end_point: f64::from((found[0] - truth[0]).hypot(found[1] - truth[1])),
                zero_end_point: f64::from(speed),
                angle: angle(found, truth),
                zero_angle: angle([0.0; 2], truth),
            };
            self.all.merge(&cell);
            for (sums, [from, to]) in self.by_speed.iter_mut().zip(SPEEDS) {
                if (from..to).contains(&speed) {
                    sums.merge(&cell);
                }
            }
            let stays = within(at % width, truth[0], width) && within(at / width % height, truth[1], height);
            let [from, to] = SPEEDS[SPEEDS.len() - 1];
            if !stays {
                self.leaving.merge(&cell);
            } else if (from..to).contains(&speed) {
                self.findable.merge(&cell);
            }
            if speed < STILL_CELLS {
                self.still += 1;
                self.shown += f64::from(found[0].hypot(found[1]));
            }
        }
    }

    /// Adds other sums.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.by_speed.iter_mut().zip(&other.by_speed).for_each(|(sums, other)| sums.merge(other));
        self.leaving.merge(&other.leaving);
        self.findable.merge(&other.findable);
        self.still += other.still;
        self.shown += other.shown;
    }

    /// Mean end-point error in cells over all of them; absent where there was no truth.
    pub fn end_point(&self) -> Option<f64> {
        self.all.means().epe_cells
    }

    /// All figures.
    pub fn figures(&self) -> FlowFigures {
        let bins = self.by_speed.iter().zip(SPEEDS);
        FlowFigures {
            all: self.all.means(),
            by_speed: bins
                .map(|(sums, [from_cells, to_cells])| SpeedFigures {
                    from_cells,
                    to_cells,
                    errors: sums.means(),
                })
                .collect(),
            leaving: self.leaving.means(),
            findable: self.findable.means(),
            still: StillFigures { cells: self.still, shown_cells: mean(self.shown, self.still) },
        }
    }
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        self.cells += other.cells;
        self.end_point += other.end_point;
        self.zero_end_point += other.zero_end_point;
        self.angle += other.angle;
        self.zero_angle += other.zero_angle;
    }

    fn means(&self) -> Errors {
        Errors {
            cells: self.cells,
            epe_cells: mean(self.end_point, self.cells),
            zero_epe_cells: mean(self.zero_end_point, self.cells),
            angle_degrees: mean(self.angle, self.cells),
            zero_angle_degrees: mean(self.zero_angle, self.cells),
        }
    }
}

/// Sums by model and motion stage, in the order in which they first came.
#[derive(Debug, Default)]
pub(crate) struct StageSums(Vec<StageSum>);

#[derive(Debug)]
struct StageSum {
    /// Which of the models.
    model: usize,
    stage: String,
    grid: [usize; 2],
    sums: FlowSums,
}

impl StageSums {
    /// Adds the map of one frame pair.
    pub(crate) fn add(&mut self, model: usize, maps: &StageMaps, pair: usize, truth: &FlowGrid) {
        let sums = self.of(model, &maps.stage, maps.grid);
        sums.add(&maps.cells(pair), &truth.cells, &truth.counts, maps.grid);
    }

    /// Adds other sums.
    pub(crate) fn merge(&mut self, other: &Self) {
        for StageSum { model, stage, grid, sums } in &other.0 {
            self.of(*model, stage, *grid).merge(sums);
        }
    }

    /// All figures; `models` are the folders' names.
    pub(crate) fn figures(&self, models: &[PathBuf]) -> Vec<StageFlow> {
        let figures = |StageSum { model, stage, grid, sums }: &StageSum| StageFlow {
            model: models[*model].display().to_string(),
            stage: stage.clone(),
            grid: *grid,
            figures: sums.figures(),
        };
        self.0.iter().map(figures).collect()
    }

    fn of(&mut self, model: usize, stage: &str, grid: [usize; 2]) -> &mut FlowSums {
        let known = self.0.iter().position(|sum| sum.model == model && sum.stage == stage);
        let index = known.unwrap_or_else(|| {
            self.0.push(StageSum { model, stage: stage.to_owned(), grid, sums: FlowSums::default() });
            self.0.len() - 1
        });
        &mut self.0[index].sums
    }
}

fn mean(sum: f64, cells: usize) -> Option<f64> {
    (cells > 0).then(|| sum / cells as f64)
}

/// Degrees between (u, v, 1) and (u*, v*, 1): from sine and cosine, as a cosine alone says little of small angles.
fn angle(found: [f32; 2], truth: [f32; 2]) -> f64 {
    let ([u, v], [true_u, true_v]) = (found.map(f64::from), truth.map(f64::from));
    let cosine = u * true_u + v * true_v + 1.0;
    let sine = (v - true_v).hypot(true_u - u).hypot(u * true_v - v * true_u);
    sine.atan2(cosine).to_degrees()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
    }

    #[test]
    fn only_cells_with_a_truth_count() {
        let mut sums = FlowSums::default();
        sums.add(&[3.0, 4.0, 9.0, 9.0], &[0.0, 0.0, 0.0, 0.0], &[true, false], [1, 2]);
        assert_eq!(sums.end_point(), Some(5.0));
        let figures = sums.figures();
        assert_eq!((figures.all.cells, figures.all.zero_epe_cells), (1, Some(0.0)));
        assert_eq!(FlowSums::default().end_point(), None);
    }

    #[test]
    fn angles_are_those_of_barron() {
        // (1, 0, 1) and (0, 0, 1): 45 degrees. (1, 0, 1) and (-1, 0, 1): 90.
        assert!((angle([1.0, 0.0], [0.0, 0.0]) - 45.0).abs() < 1e-9);
        assert!((angle([1.0, 0.0], [-1.0, 0.0]) - 90.0).abs() < 1e-9);
        // (1, 2, 1) and (2, -1, 1): the cosine is 1 / 6.
        assert!((angle([1.0, 2.0], [2.0, -1.0]) - (1.0f64 / 6.0).acos().to_degrees()).abs() < 1e-9);
        // (3, 4, 1) and (3.001, 4, 1), where a cosine in f32 would give 0.
        let expected = (26.003f64 / (26.0f64 * (3.001f64 * 3.001 + 17.0)).sqrt()).acos().to_degrees();
        assert!((angle([3.0, 4.0], [3.001, 4.0]) - expected).abs() < 1e-5);
        assert_eq!(angle([3.0, 4.0], [3.0, 4.0]), 0.0);
    }

    #[test]
    fn every_cell_falls_into_the_bins_of_its_speed() {
        let truth = [0.0, 0.04, 0.0, 0.05, 0.5, 0.0, 0.6, 0.8, 0.0, 3.0, 0.0, 7.0];
        // The second cell shows 2 cells where 0.05 are true, the first 0.5 where it stands still.
        let found = [0.3, 0.4, 0.0, 2.05, 0.5, 0.0, 0.6, 1.8, 4.0, 3.0, 0.0, 7.0];
        let mut sums = FlowSums::default();
        sums.add(&found, &truth, &[true; 6], [2, 3]);
        let figures = sums.figures();
        assert_eq!(figures.all.cells, 6);
        let cells: Vec<usize> = figures.by_speed.iter().map(|bin| bin.errors.cells).collect();
        // 0.04 and 0.05; 0.5; 1; 3; the last two together; 7 is beyond.
        assert_eq!(cells, [2, 1, 1, 1, 2]);
        let epe = |bin: usize| figures.by_speed[bin].errors.epe_cells;
        near(epe(0), (0.3f64.hypot(0.36) + 2.0) / 2.0);
        near(epe(1), 0.0);
        near(epe(2), 1.0);
        near(epe(3), 4.0);
        near(epe(4), 2.5);
        near(figures.by_speed[4].errors.zero_epe_cells, 2.0);
        // A map of zeros, where 1 and 3 cells are true: 45 degrees and the arc tangent of 3.
        near(figures.by_speed[4].errors.zero_angle_degrees, (45.0 + 3f64.atan().to_degrees()) / 2.0);
        assert_eq!(figures.still.cells, 1);
        near(figures.still.shown_cells, 0.5);
    }

    #[test]
    fn what_leaves_the_map_is_told_apart() {
        // Two lines of two cells: right, left, down and out of the map, up.
        let truth = [0.6, 0.0, -0.6, 0.0, 0.0, 0.6, 0.0, -1.4];
        let mut sums = FlowSums::default();
        sums.add(&[0.0; 8], &truth, &[true, true, true, true], [2, 2]);
        let FlowFigures { leaving, findable, .. } = sums.figures();
        assert_eq!(leaving.cells, 1);
        near(leaving.epe_cells, 0.6);
        // The others move less than a cell, but for the last.
        assert_eq!(findable.cells, 1);
        near(findable.epe_cells, 1.4);
    }

    #[test]
    fn sums_of_parts_are_the_whole() {
        let (found, truth) = ([1.0, 0.0, 0.0, 0.2, 0.1, 0.0], [0.0, 0.0, 0.0, 0.4, 0.4, 0.0]);
        let (mut whole, mut parts, mut second) =
            (FlowSums::default(), FlowSums::default(), FlowSums::default());
        whole.add(&found, &truth, &[true; 3], [1, 3]);
        parts.add(&found[..2], &truth[..2], &[true], [1, 1]);
        second.add(&found[2..], &truth[2..], &[true; 2], [1, 2]);
        parts.merge(&second);
        assert_eq!(parts.figures(), whole.figures());
    }
}
