//! Clips as the trained part of the network reads them, and the ways in which an epoch looks at them.

use std::sync::Arc;

use half::f16;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::augment::Crop;
use crate::recipe::Recipe;
use crate::synth::Symmetry;
use crate::videos::Choice;

/// One prepared clip: frozen features in half precision, or the normalised clip itself.
pub(crate) struct Example {
    /// T, then the shape of one frame.
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f16>,
    /// For each motion module the true displacements on its grid, `[T-1, h, w, 2]` in cells, not finite where there is
    /// none; empty where the data has no flow.
    pub(crate) truth: Vec<Truth>,
    pub(crate) label: usize,
}

/// True displacements of a clip on one grid.
pub(crate) struct Truth {
    pub(crate) grid: [usize; 2],
    pub(crate) cells: Vec<f16>,
}

/// How a clip is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// Which clip.
    pub(crate) index: usize,
    /// Which frames of its video it takes, where it is one.
    pub(crate) choice: Choice,
    /// The first frame of the run.
    pub(crate) start: usize,
    /// Length of the run.
    pub(crate) frames: usize,
    /// Turned how, if its class may be.
    pub(crate) seen: Symmetry,
    /// Which part; the centre where absent.
    pub(crate) crop: Option<Crop>,
}

impl View {
    /// The clip as it is.
    pub(crate) fn whole(index: usize, frames: usize, choice: Choice) -> Self {
        Self { index, choice, start: 0, frames, seen: Symmetry::default(), crop: None }
    }
}

/// Order and views of the `count` clips of an epoch (from 0): they follow from the recipe's seed alone.
pub(crate) fn views(
    recipe: &Recipe,
    epoch: usize,
    count: usize,
    frames: usize,
    (resize, input_size): ([usize; 2], usize),
) -> Vec<View> {
    let mut random = ChaCha8Rng::seed_from_u64(recipe.seed ^ (epoch as u64 + 1));
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut random);
    let run = recipe.run_frames.map_or(frames, |run| run.clamp(2, frames));
    let choice = Choice::Train { seed: recipe.seed, epoch };
    let view = |index| {
        let start = random.random_range(0..=frames - run);
        let mut view = View { start, ..View::whole(index, run, choice) };
        if recipe.symmetries {
            view.seen = Symmetry {
                mirrored: random.random(),
                upside_down: random.random(),
                reversed: random.random(),
            };
        }
        if let Some(augment) = &recipe.augment {
            view.crop = Some(augment.crop(resize, input_size, &mut random));
            view.seen.mirrored ^= augment.flip && random.random();
        }
        view
    };
    order.into_iter().map(view).collect()
}

/// One clip as a step sees it.
pub(crate) struct Look {
    pub(crate) example: Arc<Example>,
    pub(crate) view: View,
    /// What it shows, seen that way.
    pub(crate) label: usize,
}

impl Look {
    /// `[frames, h, w, C]`.
    pub(crate) fn values(&self) -> Vec<f32> {
        let &[_, height, width, channels] = self.example.shape.as_slice() else { return Vec::new() };
        let View { start, frames, seen: Symmetry { mirrored, upside_down, reversed }, .. } = self.view;
        let mut values = Vec::with_capacity(frames * height * width * channels);
        for t in 0..frames {
            let t = start + turned(t, frames, reversed);
            for y in 0..height {
                let y = turned(y, height, upside_down);
                for x in 0..width {
                    let from = ((t * height + y) * width + turned(x, width, mirrored)) * channels;
                    values.extend(self.example.values[from..from + channels].iter().map(|v| v.to_f32()));
                }
            }
        }
        values
    }

    /// True displacements on the grid of motion module `module` for each pair of the run, `[frames - 1, h, w, 2]`, from
    /// the frame that was filmed first to the other: in a reversed look, from the next to the one before.
    pub(crate) fn truth(&self, module: usize) -> Vec<f32> {
        let Truth { grid: [height, width], cells } = &self.example.truth[module];
        let View { start, frames, seen: Symmetry { mirrored, upside_down, reversed }, .. } = self.view;
        let mut truth = Vec::with_capacity((frames - 1) * height * width * 2);
        for t in 0..frames - 1 {
            let t = start + turned(t, frames - 1, reversed);
            for y in 0..*height {
                let y = turned(y, *height, upside_down);
                for x in 0..*width {
                    let at = 2 * ((t * height + y) * width + turned(x, *width, mirrored));
                    let sign = |turn| if turn { -1.0 } else { 1.0 };
                    truth.push(sign(mirrored) * cells[at].to_f32());
                    truth.push(sign(upside_down) * cells[at + 1].to_f32());
                }
            }
        }
        truth
    }
}

/// Position `i` of `length`, counted from the other end where turned.
fn turned(i: usize, length: usize, turn: bool) -> usize {
    if turn { length - 1 - i } else { i }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(seen: Symmetry) -> Look {
        let halves = |range: std::ops::Range<u8>| range.map(|v| f16::from_f32(f32::from(v))).collect();
        let truth = vec![Truth { grid: [1, 2], cells: halves(1..9) }];
        let example = Example { shape: vec![3, 1, 2, 1], values: halves(0..6), truth, label: 0 };
        Look { example: Arc::new(example), view: View { seen, ..View::whole(0, 3, Choice::Test) }, label: 0 }
    }

    #[test]
    fn flow_turns_with_its_clip() {
        let seen = Symmetry { mirrored: true, ..Symmetry::default() };
        assert_eq!(look(seen).values(), [1.0, 0.0, 3.0, 2.0, 5.0, 4.0]);
        assert_eq!(look(seen).truth(0), [-3.0, 4.0, -1.0, 2.0, -7.0, 8.0, -5.0, 6.0]);
        let seen = Symmetry { upside_down: true, reversed: true, ..Symmetry::default() };
        assert_eq!(look(seen).values(), [4.0, 5.0, 2.0, 3.0, 0.0, 1.0]);
        assert_eq!(look(seen).truth(0), [5.0, -6.0, 7.0, -8.0, 1.0, -2.0, 3.0, -4.0]);
    }

    #[test]
    fn an_epoch_follows_from_the_seed() {
        let recipe = Recipe { symmetries: true, run_frames: Some(4), ..Recipe::example() };
        let epoch = |recipe: &Recipe, epoch| views(recipe, epoch, 50, 8, ([240, 320], 224));
        assert_eq!(epoch(&recipe, 3), epoch(&recipe, 3));
        assert_ne!(epoch(&recipe, 3), epoch(&recipe, 4));
        let mut indices: Vec<usize> = epoch(&recipe, 3).iter().map(|view| view.index).collect();
        indices.sort_unstable();
        assert_eq!(indices, (0..50).collect::<Vec<_>>());
        let augmented = Recipe { augment: Some(toml::from_str("").unwrap()), ..Recipe::example() };
        let mirrored = epoch(&augmented, 0).iter().filter(|view| view.seen.mirrored).count();
        assert!((10..40).contains(&mirrored), "{mirrored} of 50 are mirrored");
        assert!(epoch(&augmented, 0).iter().all(|view| view.crop.is_some()));
    }
}
