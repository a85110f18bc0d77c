//! The frames of a clip, as they come. In: RGBA of any size. Out: what the network sees, and the 'clip' message.

use std::collections::HashMap;

use motion_clip::{Frame, Preprocess};
use motion_view::Picture;
use wasm_bindgen::JsValue;

use crate::demux::Shown;
use crate::message::{array, object, picture, texts};
use crate::orientation::Orientation;
use crate::{Error, Result};

/// A clip and where it comes from. Full frames are not kept: eight of an 8K video would not fit into memory.
#[derive(Debug, Default)]
pub(super) struct Shot {
    pub(super) name: String,
    /// The network's view of each sample that was wanted, until the clip is put together.
    came: HashMap<usize, Frame>,
    /// The network's view of each frame of the clip.
    pub(super) views: Vec<Frame>,
    /// The same normalised, `[T, H, W, 3]`.
    pub(super) tensor: Vec<f32>,
    /// Seconds.
    pub(super) times: Vec<f64>,
    /// Numbers of the frames in the video; empty when nobody knows.
    pub(super) indices: Vec<usize>,
    /// Upright width and height of the video in pixels.
    pub(super) source: [usize; 2],
    /// Frames of the video; 0 when nobody knows.
    pub(super) frames: usize,
    pub(super) codec: String,
    pub(super) degrees: u32,
    pub(super) approximate: bool,
    pub(super) notes: Vec<String>,
}

impl Shot {
    /// A decoded frame: turned upright, resized, cropped, and the rest of it forgotten.
    pub(super) fn put(
        &mut self,
        sample: usize,
        preprocess: &Preprocess,
        orientation: Orientation,
        [width, height]: [usize; 2],
        rgba: &[u8],
    ) -> Result<()> {
        let rgb = orientation.upright(width, height, rgba);
        let wrong = motion_clip::Error::FrameBytes { width, height, found: rgba.len() };
        let [width, height] = orientation.size(width, height);
        let view = preprocess.view(&Frame::new(width, height, rgb.ok_or(wrong)?, 0.0)?)?;
        if self.source == [0, 0] {
            self.source = [width, height];
        }
        self.came.insert(sample, view);
        Ok(())
    }

    /// A picture from the browser's player, upright already.
    pub(super) fn put_approximate(
        &mut self,
        time: f64,
        preprocess: &Preprocess,
        size: [usize; 2],
        rgba: &[u8],
    ) -> Result<()> {
        let next = self.views.len();
        self.put(next, preprocess, Orientation::default(), size, rgba)?;
        self.views.extend(self.came.remove(&next));
        self.times.push(time);
        self.approximate = true;
        Ok(())
    }

    /// Puts the clip together from what came.
    pub(super) fn choose(&mut self, chosen: impl Iterator<Item = (usize, Shown)>) -> Result<()> {
        for (place, shown) in chosen {
            let view = self.came.get(&shown.sample).ok_or_else(|| Error::NotDecoded {
                codec: self.codec.clone(),
                reason: format!("frame {} did not come out a second time", place + 1),
            })?;
            self.views.push(Frame { time_secs: shown.time_secs, ..view.clone() });
            self.times.push(shown.time_secs);
            self.indices.push(place);
        }
        self.came.clear();
        Ok(())
    }

    /// `[T, H, W, 3]`.
    pub(super) fn shape(&self) -> Vec<usize> {
        let side = self.views.first().map_or(0, |view| view.width);
        vec![self.views.len(), side, side, 3]
    }

    /// The 'clip' message.
    pub(super) fn message(&self, preprocess: &Preprocess) -> Result<JsValue> {
        let views: Vec<_> = self.views.iter().map(Picture::from_frame).collect::<motion_view::Result<_>>()?;
        let [width, height] = self.source;
        let crop = preprocess.geometry(width, height).crop();
        let crop = object([
            ("x", crop.x.into()),
            ("y", crop.y.into()),
            ("width", crop.width.into()),
            ("height", crop.height.into()),
        ]);
        let codec = if self.approximate { "opened by the browser's player" } else { &self.codec };
        let source = object([
            ("width", width.into()),
            ("height", height.into()),
            ("frames", self.frames.into()),
            ("codec", codec.into()),
            ("rotation", self.degrees.into()),
            ("crop", crop),
        ]);
        Ok(object([
            ("name", self.name.as_str().into()),
            ("frames", array(views.iter().map(picture))),
            ("times", array(self.times.iter().copied())),
            ("indices", array(self.indices.iter().copied())),
            ("source", source),
            ("approximate", self.approximate.into()),
            ("notes", texts(&self.notes)),
        ]))
    }
}
