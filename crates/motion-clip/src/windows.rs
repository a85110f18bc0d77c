//! A clip for every pair of neighbouring frames. In: how many frames a video has. Out: windows that slide over it.

use std::ops::Range;

/// T frames for one run of the network, and which of its T - 1 pairs are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Indices of the frames.
    pub frames: Vec<usize>,
    /// The pairs that are wanted, counted within the window.
    pub pairs: Range<usize>,
}

/// Windows of `t` neighbouring frames such that each of the `n - 1` pairs of neighbours is wanted exactly once, and
/// away from a window's ends where that can be: the temporal shift fills in zeros there and the maps are worse.
///
/// With fewer frames than a window has, the first and the last are repeated, so that the true pairs stand in the
/// middle. Both are 2 or more; with less there is no pair, and no window.
pub fn sliding(n: usize, t: usize) -> Vec<Window> {
    if n < 2 || t < 2 {
        return Vec::new();
    }
    if n < t {
        let before = (t - n) / 2;
        let frames = (0..t).map(|i| i.saturating_sub(before).min(n - 1)).collect();
        return vec![Window { frames, pairs: before..before + n - 1 }];
    }
    let margin = usize::from(t >= 4);
    let step = t - 1 - 2 * margin;
    let (mut windows, mut start, mut done) = (Vec::new(), 0, 0);
    loop {
        let is_last = start + t >= n;
        start = start.min(n - t);
        let end = if is_last { n - 1 } else { start + t - 1 - margin };
        windows.push(Window { frames: (start..start + t).collect(), pairs: done - start..end - start });
        if is_last {
            return windows;
        }
        done = end;
        start += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sliding_windows_cover_every_pair_once() {
        for t in [2, 3, 4, 8, 16] {
            for n in 2..60 {
                let mut pairs = Vec::new();
                for window in sliding(n, t) {
                    assert_eq!(window.frames.len(), t);
                    assert!(window.pairs.end < t, "n {n}, t {t}: {window:?}");
                    pairs.extend(window.pairs.clone().map(|p| (window.frames[p], window.frames[p + 1])));
                }
                let expected: Vec<_> = (0..n - 1).map(|first| (first, first + 1)).collect();
                assert_eq!(pairs, expected, "n {n}, t {t}");
            }
        }
    }

    #[test]
    fn pairs_keep_away_from_the_ends_of_a_window() {
        let windows = sliding(40, 8);
        assert_eq!(windows[0].pairs, 0..6);
        assert_eq!(windows[1].pairs, 1..6);
        assert!(windows[1..].iter().all(|window| window.pairs.start >= 1));
        assert_eq!(windows.last().unwrap().pairs.end, 7);
    }

    #[test]
    fn a_lone_pair_stands_in_the_middle() {
        let [window] = &sliding(2, 8)[..] else { panic!("one window is enough") };
        assert_eq!((window.frames.as_slice(), &window.pairs), (&[0, 0, 0, 0, 1, 1, 1, 1][..], &(3..4)));
    }

    #[test]
    fn without_a_pair_there_is_no_window() {
        assert!(sliding(1, 8).is_empty() && sliding(0, 8).is_empty() && sliding(9, 1).is_empty());
    }
}
