//! A video's frames in, the clips that a test takes of it out.

use motion_clip::{Sampling, sample};
use motion_net::{Config, config};

use crate::data::Sample;
use crate::error::Result;
use crate::synth::FlowField;

/// How clips are taken of a video, as the published tests do it ([`sample::clip_indices`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// How a clip's frames are spread over the video.
    pub sampling: Sampling,
    /// T, frames of a clip.
    pub frames: usize,
    /// Clips of a video.
    pub clips: usize,
}

impl Sampler {
    /// So many clips for a model.
    pub fn new(config: &Config, clips: usize) -> Self {
        let sampling = match config.sampling {
            config::Sampling::Segment => Sampling::Segment,
            config::Sampling::Dense => Sampling::Dense,
        };
        Self { sampling, frames: config.frames, clips }
    }

    /// The frames of each clip in a video of `frame_count`. A video of T frames is a clip as it is, and the only one: it
    /// has been sampled already, or nothing else is in it.
    ///
    /// # Errors
    /// For a video of no frames, and where no clip or no frame is asked for.
    pub fn indices(&self, frame_count: usize) -> Result<Vec<Vec<usize>>> {
        let &Self { sampling, frames, clips } = self;
        if frame_count == frames && clips > 0 {
            return Ok(vec![(0..frames).collect()]);
        }
        Ok(sample::clip_indices(sampling, frame_count, frames, clips)?)
    }

    /// The clips of a video of which all frames are here. Their flow leads from each of their frames to the next; it is
    /// absent where the video has none, and where frames are not in the order of time (dense sampling of a short one).
    ///
    /// # Errors
    /// As [`Self::indices`].
    pub(crate) fn cut(&self, video: Sample) -> Result<Vec<Sample>> {
        let clips = self.indices(video.frames.len())?;
        if clips.len() == 1 && clips[0].iter().copied().eq(0..video.frames.len()) {
            return Ok(vec![video]);
        }
        let clip = |indices: &Vec<usize>| Sample {
            frames: indices.iter().map(|&index| video.frames[index].clone()).collect(),
            label: video.label,
            flow: indices
                .windows(2)
                .map(|pair| between(&video.flow, pair[0], pair[1]))
                .collect::<Option<_>>()
                .unwrap_or_default(),
        };
        Ok(clips.iter().map(clip).collect())
    }
}

/// The flow from frame `from` to a later one, pixel by pixel along the flows between neighbours. A pixel is visible if it
/// was in every frame on the way.
fn between(flow: &[FlowField], from: usize, to: usize) -> Option<FlowField> {
    let (first, rest) = flow.get(from..to)?.split_first()?;
    let mut whole = first.clone();
    for next in rest {
        let FlowField { width, height, uv, visible } = &mut whole;
        for (i, (uv, visible)) in uv.as_chunks_mut::<2>().0.iter_mut().zip(visible).enumerate() {
            // Where the pixel is now; outside, the cast leads to no pixel or to one at the edge.
            let at = |start: usize, d: f32| (start as f32 + d).round().max(0.0) as usize;
            let (x, y) = (at(i % *width, uv[0]), at(i / *width, uv[1]));
            let here = y * *width + x;
            if *visible == 0 || x >= *width || y >= *height || next.visible[here] == 0 {
                *visible = 0;
                continue;
            }
            uv[0] += next.uv[2 * here];
            uv[1] += next.uv[2 * here + 1];
        }
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use motion_clip::Frame;

    use super::*;

    /// Frames of 4 x 1 pixels whose red is their number; everything moves right by a pixel, the last one out of sight.
    fn video(frames: usize) -> Sample {
        let frame = |i: usize| Frame::new(4, 1, [i as u8, 0, 0].repeat(4), i as f64).unwrap();
        let flow = FlowField { width: 4, height: 1, uv: [1.0, 0.0].repeat(4), visible: vec![1, 1, 1, 0] };
        Sample { frames: (0..frames).map(frame).collect(), label: 3, flow: vec![flow; frames - 1] }
    }

    fn numbers(clip: &Sample) -> Vec<u8> {
        clip.frames.iter().map(|frame| frame.rgb[0]).collect()
    }

    #[test]
    fn a_clip_of_t_frames_is_taken_as_it_is() {
        for sampling in [Sampling::Segment, Sampling::Dense] {
            let clips = Sampler { sampling, frames: 4, clips: 10 }.cut(video(4)).unwrap();
            assert_eq!(clips.len(), 1);
            assert_eq!((numbers(&clips[0]), clips[0].flow.len()), (vec![0, 1, 2, 3], 3));
        }
        assert!(Sampler { sampling: Sampling::Segment, frames: 4, clips: 0 }.cut(video(4)).is_err());
    }

    #[test]
    fn clips_of_a_longer_video_have_its_flow_over_their_own_steps() {
        let sampler = Sampler { sampling: Sampling::Segment, frames: 4, clips: 2 };
        let clips = sampler.cut(video(8)).unwrap();
        assert_eq!(clips.iter().map(numbers).collect::<Vec<_>>(), [[1, 3, 5, 7], [0, 2, 4, 6]]);
        for clip in &clips {
            assert_eq!((clip.label, clip.flow.len()), (3, 3));
            for flow in &clip.flow {
                // Two steps: the two pixels on the right leave the picture.
                assert_eq!(flow.visible, [1, 1, 0, 0]);
                assert_eq!(flow.uv[..4], [2.0, 0.0, 2.0, 0.0]);
            }
        }
    }

    #[test]
    fn what_is_hidden_on_the_way_is_not_followed() {
        let mut flow = video(3).flow;
        // In the second frame the third pixel moves on by 3, and the second is about to be hidden.
        flow[1].uv[4] = 3.0;
        flow[1].visible[1] = 0;
        let whole = between(&flow, 0, 2).unwrap();
        assert_eq!(whole.visible, [0, 1, 0, 0]);
        assert_eq!(whole.uv[2], 4.0);
        assert!(between(&flow, 1, 1).is_none() && between(&flow, 0, 3).is_none());
    }

    #[test]
    fn a_window_that_begins_anew_has_no_flow() {
        let clips = Sampler { sampling: Sampling::Dense, frames: 4, clips: 1 }.cut(video(6)).unwrap();
        // Every 16 frames, modulo 6.
        assert_eq!((numbers(&clips[0]), clips[0].flow.len()), (vec![0, 4, 2, 0], 0));
    }
}
