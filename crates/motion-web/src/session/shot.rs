//! The frames of a clip, as they come. In: decoded frames of any size, on the processor or on the graphics card.
//! Out: what the network sees, and the 'clip' message.

use std::collections::HashMap;

use motion_clip::{Frame, Preprocess};
use motion_net::gpu::{GpuTensor, Pixels};
use motion_net::{Backend, GpuBackend, HostTensor};
use motion_view::Picture;
use wasm_bindgen::JsValue;

use super::card::Card;
use crate::demux::Shown;
use crate::message::{array, object, part, picture, texts};
use crate::orientation::Orientation;
use crate::{Error, Result};

/// What the network sees of a frame.
#[derive(Debug, Clone)]
pub(super) enum View {
    Here(Frame),
    OnCard(Pixels),
}

/// A clip and where it comes from. Full frames are not kept: eight of an 8K video would not fit into memory.
#[derive(Debug, Default)]
pub(super) struct Shot {
    pub(super) name: String,
    /// The network's view of each sample that was wanted, until the clip is put together.
    came: HashMap<usize, View>,
    /// The network's view of each frame of the clip.
    views: Vec<View>,
    /// Seconds.
    pub(super) times: Vec<f64>,
    /// Numbers of the frames in the video; empty when nobody knows.
    pub(super) indices: Vec<usize>,
    /// Upright width and height of the video in pixels.
    pub(super) source: [usize; 2],
    /// When the video's first and last frame are shown, in seconds.
    pub(super) seconds: [f64; 2],
    /// Frames of the video; 0 when nobody knows.
    pub(super) frames: usize,
    pub(super) codec: String,
    pub(super) degrees: u32,
    pub(super) approximate: bool,
    pub(super) notes: Vec<String>,
    /// The views that the network sees now, where it does not see all of them at once.
    pub(super) window: Option<Vec<usize>>,
}

impl View {
    /// By the processor: turned upright, resized, cropped, and the rest of the frame forgotten.
    pub(super) fn here(
        preprocess: &Preprocess,
        orientation: Orientation,
        [width, height]: [usize; 2],
        rgba: &[u8],
    ) -> Result<Self> {
        let rgb = orientation.upright(width, height, rgba);
        let wrong = motion_clip::Error::FrameBytes { width, height, found: rgba.len() };
        let [width, height] = orientation.size(width, height);
        Ok(Self::Here(preprocess.view(&Frame::new(width, height, rgb.ok_or(wrong)?, 0.0)?)?))
    }

    /// By the graphics card, from pixels that are here; where it has no room for them, it is sent what it should see.
    pub(super) fn sent(
        card: &Card,
        preprocess: &Preprocess,
        orientation: Orientation,
        [width, height]: [usize; 2],
        rgba: &[u8],
    ) -> Result<Self> {
        if card.backend.takes_pixels(width, height) {
            let frame = card.backend.upload_pixels(width, height, rgba)?;
            return Self::on_card(card, preprocess, orientation, &frame);
        }
        let View::Here(frame) = Self::here(preprocess, orientation, [width, height], rgba)? else {
            return Err(Error::FramesGone);
        };
        let rgba = Picture::from_frame(&frame)?.rgba;
        Ok(Self::OnCard(card.backend.upload_pixels(frame.width, frame.height, &rgba)?))
    }

    /// By the graphics card, from pixels that are on it.
    pub(super) fn on_card(
        card: &Card,
        preprocess: &Preprocess,
        orientation: Orientation,
        frame: &Pixels,
    ) -> Result<Self> {
        Ok(Self::OnCard(card.view(frame, orientation, preprocess)?))
    }
}

impl Shot {
    /// A decoded frame, `source` pixels upright.
    pub(super) fn put(&mut self, sample: usize, view: View, source: [usize; 2]) {
        if self.source == [0, 0] {
            self.source = source;
        }
        self.came.insert(sample, view);
    }

    /// A picture from the browser's player, upright already.
    pub(super) fn put_approximate(&mut self, time: f64, view: View, source: [usize; 2]) {
        if self.source == [0, 0] {
            self.source = source;
        }
        self.views.push(view);
        self.times.push(time);
        self.approximate = true;
    }

    /// Puts the clip together from what came.
    pub(super) fn choose(&mut self, chosen: impl Iterator<Item = (usize, Shown)>) -> Result<()> {
        for (place, shown) in chosen {
            let view = self.came.get(&shown.sample).ok_or_else(|| Error::NotDecoded {
                codec: self.codec.clone(),
                reason: format!("frame {} did not come out a second time", place + 1),
            })?;
            self.views.push(view.clone());
            self.times.push(shown.time_secs);
            self.indices.push(place);
        }
        self.came.clear();
        Ok(())
    }

    /// Whether there is a frame at all.
    pub(super) fn has_views(&self) -> bool {
        !self.views.is_empty()
    }

    /// Number of views.
    pub(super) fn count(&self) -> usize {
        self.views.len()
    }

    /// What the network sees now.
    fn seen(&self) -> Vec<&View> {
        match &self.window {
            None => self.views.iter().collect(),
            Some(window) => window.iter().filter_map(|&place| self.views.get(place)).collect(),
        }
    }

    /// The network's input `[1, T, S, S, 3]`, by the processor.
    ///
    /// # Errors
    /// [`Error::FramesGone`] where the frames are on the graphics card.
    pub(super) fn clip(&self, preprocess: &Preprocess) -> Result<HostTensor> {
        let views: Vec<Frame> = here(self.seen())?.into_iter().cloned().collect();
        let clip = preprocess.clip_of_views(&views)?;
        Ok(HostTensor::new([&[1], &clip.shape[..]].concat(), clip.data)?)
    }

    /// The network's input `[T, S, S, 3]` on the graphics card, from wherever the frames are.
    pub(super) fn clip_on_card(&self, preprocess: &Preprocess, backend: &GpuBackend) -> Result<GpuTensor> {
        if let Some(pixels) = on_card(self.seen()) {
            return Ok(backend.normalise(&pixels, &preprocess.levels()?)?);
        }
        self.clip_on(preprocess, backend)
    }

    /// The same `[T, S, S, 3]` on any backend, from frames on the processor.
    ///
    /// # Errors
    /// As [`Self::clip`].
    pub(super) fn clip_on<B: Backend>(&self, preprocess: &Preprocess, backend: &B) -> Result<B::Tensor> {
        let HostTensor { shape, data } = self.clip(preprocess)?;
        Ok(backend.upload(&HostTensor::new(&shape[1..], data)?)?)
    }

    /// The same `[T, S, S, 3]` on the host, wherever the frames are.
    ///
    /// # Errors
    /// When the graphics card fails.
    pub(super) async fn clip_here(
        &self,
        preprocess: &Preprocess,
        card: Option<&GpuBackend>,
    ) -> Result<HostTensor> {
        if let Some(card) = card {
            return Ok(card.read(&self.clip_on_card(preprocess, card)?).await?);
        }
        let HostTensor { shape, data } = self.clip(preprocess)?;
        Ok(HostTensor::new(&shape[1..], data)?)
    }

    /// The views as the messages' pictures.
    pub(super) async fn pictures(&self, card: Option<&Card>) -> Result<Vec<JsValue>> {
        let (Some(card), Some(pixels)) = (card, on_card(&self.views)) else {
            let shown = here(&self.views)?.into_iter().map(|frame| Ok(picture(&Picture::from_frame(frame)?)));
            return shown.collect();
        };
        if card.draws {
            let placed: Vec<_> =
                pixels.iter().enumerate().map(|(t, view)| (view, [t * view.size()[0], 0])).collect();
            // A clip too long for one canvas goes the other way.
            if let Ok(drawn) = card.backend.draw(&placed) {
                return Ok(placed.iter().map(|(view, corner)| part(&drawn, *corner, view.size())).collect());
            }
        }
        let mut shown = Vec::new();
        for view in &pixels {
            let [width, height] = view.size();
            let rgba = card.backend.read_pixels(view).await?;
            shown.push(picture(&Picture::from_rgba(width, height, rgba)?));
        }
        Ok(shown)
    }

    /// The 'clip' message.
    pub(super) fn message(&self, pictures: Vec<JsValue>, preprocess: &Preprocess) -> JsValue {
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
            ("seconds", array(self.seconds)),
            ("codec", codec.into()),
            ("rotation", self.degrees.into()),
            ("crop", crop),
        ]);
        object([
            ("name", self.name.as_str().into()),
            ("frames", array(pictures)),
            ("times", array(self.times.iter().copied())),
            ("indices", array(self.indices.iter().copied())),
            ("source", source),
            ("approximate", self.approximate.into()),
            ("notes", texts(&self.notes)),
        ])
    }
}

/// Views that are all on the graphics card.
fn on_card<'a>(views: impl IntoIterator<Item = &'a View>) -> Option<Vec<Pixels>> {
    let pixels = views.into_iter().map(|view| match view {
        View::OnCard(pixels) => Some(pixels.clone()),
        View::Here(_) => None,
    });
    pixels.collect()
}

/// Views that are all on the processor.
///
/// # Errors
/// [`Error::FramesGone`] where they are on the graphics card.
fn here<'a>(views: impl IntoIterator<Item = &'a View>) -> Result<Vec<&'a Frame>> {
    let frames = views.into_iter().map(|view| match view {
        View::Here(frame) => Ok(frame),
        View::OnCard(_) => Err(Error::FramesGone),
    });
    frames.collect()
}
