//! Which frames make a clip. In: how many frames a video has. Out: 0-based indices, T for each clip.
//!
//! The published code adds 1 to each index because its picture files count from 1.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Frames of a dense window (published code, `new_length` 64).
pub const DENSE_WINDOW: usize = 64;

/// How the frames of a clip are spread over the video.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// One frame from each of T equal parts of the whole video (TSN; Something-Something).
    #[default]
    Segment,
    /// T frames from a window of [`DENSE_WINDOW`] frames (Kinetics, HMDB).
    Dense,
}

/// The centre of each of `t` equal parts of `n` frames; repeats frames when `n < t`.
///
/// Works in f64 and truncates, as the published test sampler does. Empty when `n` or `t` is 0.
pub fn segment_test(n: usize, t: usize) -> Vec<usize> {
    segment_phase(n, t, 0.5)
}

/// The published validation sampler: as [`segment_test`], except that a video with no more frames than
/// parts gives frame 0 throughout. Empty when `n` or `t` is 0.
pub fn segment_val(n: usize, t: usize) -> Vec<usize> {
    if n > t { segment_test(n, t) } else { vec![0; if n == 0 { 0 } else { t }] }
}

/// TSM's two-clip test, `2 * t` indices: the centres of the parts, then their starts.
pub fn segment_twice(n: usize, t: usize) -> Vec<usize> {
    [segment_phase(n, t, 0.5), segment_phase(n, t, 0.0)].concat()
}

/// `clips` windows of `window` frames, evenly spread, `clips * t` indices: each window every
/// `window / t` frames, wrapping around at the end of the video. Empty when `n` or `t` is 0.
///
/// The starts are numpy's `linspace(0, last, clips)` truncated to integers.
pub fn dense_test(n: usize, t: usize, clips: usize, window: usize) -> Vec<usize> {
    let last = n.saturating_sub(window);
    let step = last as f64 / clips.saturating_sub(1).max(1) as f64;
    (0..clips)
        // numpy writes the end itself, so that it is exact whatever `step` was rounded to.
        .map(|clip| if clip > 0 && clip + 1 == clips { last } else { (clip as f64 * step) as usize })
        .flat_map(|start| dense_from(n, t, start, window))
        .collect()
}

/// The published training sampler: a frame at random from each of `t` parts of `n / t` frames; `below(k)` is a random
/// number of 0 ..< k. The last `n % t` frames are never taken, and a video with fewer frames than parts gives frame 0
/// throughout. Empty when `n` or `t` is 0.
pub fn segment_train(n: usize, t: usize, mut below: impl FnMut(usize) -> usize) -> Vec<usize> {
    match n.checked_div(t).unwrap_or(0) {
        0 => vec![0; if n == 0 { 0 } else { t }],
        part => (0..t).map(|i| i * part + below(part)).collect(),
    }
}

/// A window of `window` frames from a random start, as the published code takes it for training and validation: every
/// `window / t` frames, wrapping around at the end of the video; `below(k)` is a random number of 0 ..< k. The latest
/// window that fits is never taken, as there. Empty when `n` or `t` is 0.
pub fn dense_train(n: usize, t: usize, window: usize, mut below: impl FnMut(usize) -> usize) -> Vec<usize> {
    let start = if n > window { below(n - window) } else { 0 };
    dense_from(n, t, start, window)
}

/// The frames of each of `clips` clips of `t` frames.
///
/// Segment: one clip takes the centres of the parts; two take the centres and the starts, as TSM does;
/// `k` clips go on in that manner, each 1/k of a part after the one before it, modulo the part.
/// Dense: one clip takes the window in the middle of the video; more are spread as [`dense_test`] says.
///
/// # Errors
/// [`Error::NoFrames`] for a video of 0 frames, [`Error::NothingAsked`] when `t` or `clips` is 0.
pub fn clip_indices(
    sampling: Sampling,
    frame_count: usize,
    t: usize,
    clips: usize,
) -> Result<Vec<Vec<usize>>> {
    if frame_count == 0 {
        return Err(Error::NoFrames);
    }
    if t == 0 || clips == 0 {
        return Err(Error::NothingAsked { clips, frames: t });
    }
    Ok(match (sampling, clips) {
        (Sampling::Segment, _) => (0..clips)
            .map(|clip| segment_phase(frame_count, t, (0.5 + clip as f64 / clips as f64).fract()))
            .collect(),
        (Sampling::Dense, 1) => {
            vec![dense_from(frame_count, t, frame_count.saturating_sub(DENSE_WINDOW) / 2, DENSE_WINDOW)]
        }
        (Sampling::Dense, _) => {
            dense_test(frame_count, t, clips, DENSE_WINDOW).chunks(t).map(<[usize]>::to_vec).collect()
        }
    })
}

/// One frame from each part, `phase` (0 ..< 1) of a part after its start.
fn segment_phase(n: usize, t: usize, phase: f64) -> Vec<usize> {
    if n == 0 {
        return Vec::new();
    }
    let tick = n as f64 / t as f64;
    (0..t).map(|i| ((tick * phase + tick * i as f64) as usize).min(n - 1)).collect()
}

/// `t` frames from `start` on, every `window / t`, modulo the video.
fn dense_from(n: usize, t: usize, start: usize, window: usize) -> Vec<usize> {
    if n == 0 {
        return Vec::new();
    }
    let stride = window.checked_div(t).unwrap_or(0);
    (0..t).map(|i| (start + i * stride) % n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_is_repeated() {
        for sampling in [Sampling::Segment, Sampling::Dense] {
            assert_eq!(clip_indices(sampling, 1, 8, 3), Ok(vec![vec![0; 8]; 3]));
        }
    }

    #[test]
    fn nothing_gives_an_error_that_says_so() {
        assert_eq!(clip_indices(Sampling::Segment, 0, 8, 1), Err(Error::NoFrames));
        assert_eq!(clip_indices(Sampling::Dense, 9, 0, 1), Err(Error::NothingAsked { clips: 1, frames: 0 }));
        assert_eq!(clip_indices(Sampling::Dense, 9, 8, 0), Err(Error::NothingAsked { clips: 0, frames: 8 }));
        for empty in [segment_test(0, 8), segment_val(0, 8), segment_twice(0, 8), dense_test(0, 8, 10, 64)] {
            assert!(empty.is_empty());
        }
        assert!(segment_test(9, 0).is_empty() && dense_test(9, 0, 10, 64).is_empty());
    }

    #[test]
    fn one_and_two_clips_are_the_published_ones() {
        for n in [1, 7, 8, 9, 50, 333] {
            let two: Vec<usize> = segment_twice(n, 8);
            assert_eq!(clip_indices(Sampling::Segment, n, 8, 1), Ok(vec![segment_test(n, 8)]));
            assert_eq!(
                clip_indices(Sampling::Segment, n, 8, 2),
                Ok(two.chunks(8).map(<[_]>::to_vec).collect())
            );
        }
    }

    #[test]
    fn ten_dense_clips_are_the_published_ones() {
        let clips = clip_indices(Sampling::Dense, 300, 8, 10).unwrap();
        assert_eq!(clips.concat(), dense_test(300, 8, 10, 64));
        assert_eq!(clips.len(), 10);
    }

    #[test]
    fn training_takes_its_frames_at_random() {
        // 19 frames in 4 parts of 4; the last three are left over.
        let highest = |k: usize| k - 1;
        assert_eq!(segment_train(19, 4, highest), [3, 7, 11, 15]);
        assert_eq!(segment_train(19, 4, |_| 0), [0, 4, 8, 12]);
        assert_eq!(segment_train(3, 4, highest), [0; 4]);
        assert_eq!(dense_train(100, 8, 64, highest), [35, 43, 51, 59, 67, 75, 83, 91]);
        assert_eq!(dense_train(20, 8, 64, highest), [0, 8, 16, 4, 12, 0, 8, 16]);
        for nothing in [segment_train(0, 8, highest), dense_train(0, 8, 64, highest)] {
            assert!(nothing.is_empty());
        }
        assert!(segment_train(9, 0, highest).is_empty() && dense_train(99, 0, 64, highest).is_empty());
    }

    #[test]
    fn one_dense_clip_is_the_middle() {
        let clip = &clip_indices(Sampling::Dense, 164, 8, 1).unwrap()[0];
        assert_eq!(clip, &[50, 58, 66, 74, 82, 90, 98, 106]);
    }

    #[test]
    fn indices_stay_inside_the_video_and_segments_in_order() {
        for n in 1..200 {
            for clips in 1..6 {
                for (t, sampling) in [(8, Sampling::Segment), (16, Sampling::Segment), (70, Sampling::Dense)]
                {
                    for clip in clip_indices(sampling, n, t, clips).unwrap() {
                        assert!(clip.len() == t && clip.iter().all(|&i| i < n));
                        assert!(sampling == Sampling::Dense || clip.is_sorted());
                    }
                }
            }
        }
    }
}
