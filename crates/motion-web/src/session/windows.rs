//! Every frame of a part, window by window. In: what each run of the network gives. Out: maps of all pairs, and what the
//! network says of each stretch.

use std::collections::BTreeMap;
use std::ops::Range;

use motion_clip::windows::{Window, sliding};
use motion_net::StageMaps;

/// The windows that slide over the frames, and what came of those that are through.
#[derive(Debug, Default)]
pub(super) struct Windows {
    all: Vec<Window>,
    /// By stage.
    maps: BTreeMap<usize, StageMaps>,
    /// Of each window that is through.
    pub(super) logits: Vec<Vec<f32>>,
}

impl Windows {
    /// Over `count` frames, for clips of `frames`; nothing has run yet.
    pub(super) fn over(count: usize, frames: usize) -> Self {
        Self { all: sliding(count, frames), ..Self::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// How many are through.
    pub(super) fn through(&self) -> usize {
        self.logits.len()
    }

    /// The one that runs, or is to be run; none when all are through.
    pub(super) fn current(&self) -> Option<&Window> {
        self.all.get(self.through())
    }

    /// What the window that ran gave: maps by stage, and scores.
    pub(super) fn gather(&mut self, maps: Vec<(usize, StageMaps)>, logits: Vec<f32>) {
        let Some(Window { pairs, .. }) = self.current().cloned() else { return };
        for (stage, maps) in maps {
            let maps = maps.of_pairs(pairs.clone());
            match self.maps.get_mut(&stage) {
                Some(before) => before.append(maps),
                None => {
                    self.maps.insert(stage, maps);
                }
            }
        }
        self.logits.push(logits);
    }

    /// Maps of all pairs of a stage, once all windows are through and if they were gathered.
    pub(super) fn maps(&self, stage: usize) -> Option<&StageMaps> {
        self.maps.get(&stage).filter(|_| self.current().is_none())
    }

    /// Number and frames of the window in which a pair is found, and which of its pairs that is.
    pub(super) fn of_pair(&self, pair: usize) -> Option<(usize, Vec<usize>, usize)> {
        let mut before = 0;
        for (number, Window { frames, pairs }) in self.all.iter().enumerate() {
            if pair < before + pairs.len() {
                return Some((number, frames.clone(), pairs.start + pair - before));
            }
            before += pairs.len();
        }
        None
    }

    /// First and last frame of each window.
    pub(super) fn stretches(&self) -> impl Iterator<Item = Range<usize>> {
        self.all.iter().filter_map(|window| Some(*window.frames.first()?..*window.frames.last()?))
    }

    /// Mean scores over all windows, as over several clips of a video.
    pub(super) fn mean_logits(&self) -> Vec<f32> {
        let classes = self.logits.first().map_or(0, Vec::len);
        let mean =
            |class: usize| self.logits.iter().map(|of| of[class]).sum::<f32>() / self.logits.len() as f32;
        (0..classes).map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(pairs: usize, first: f32) -> StageMaps {
        StageMaps {
            stage: "res3".to_owned(),
            pairs,
            grid: [1, 1],
            radius: 7,
            displacement: (0..2 * pairs).map(|i| first + (i / 2) as f32).collect(),
            confidence: vec![1.0; pairs],
            argmax: vec![0.0; pairs],
        }
    }

    #[test]
    fn every_pair_is_there_once_and_knows_its_window() {
        let mut windows = Windows::over(21, 8);
        while let Some(window) = windows.current().cloned() {
            // A map says which frame its pair begins with.
            windows.gather(vec![(2, maps(7, window.frames[0] as f32))], vec![windows.through() as f32, 1.0]);
            assert!(windows.maps(2).is_none() || windows.current().is_none());
        }
        let found = windows.maps(2).unwrap();
        let begins: Vec<f32> = found.displacement.iter().step_by(2).copied().collect();
        assert_eq!(begins, (0..20).map(|i| i as f32).collect::<Vec<_>>());
        for pair in 0..20 {
            let (_, frames, local) = windows.of_pair(pair).unwrap();
            assert_eq!(frames[local], pair);
        }
        assert!(windows.of_pair(20).is_none() && windows.maps(0).is_none());
        assert_eq!(windows.mean_logits(), [(windows.count() - 1) as f32 / 2.0, 1.0]);
    }
}
