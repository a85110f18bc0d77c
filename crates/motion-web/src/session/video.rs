//! A video, from its bytes to the frames of a clip. In: a file, then decoded frames or the browser's player's pictures. Out: the
//! session's shot.

use motion_clip::Preprocess;
use wasm_bindgen::prelude::*;

use super::model::model_of;
use super::shot::{Shot, View};
use super::{Session, now};
use crate::blob::BlobReader;
use crate::demux::{Opening, Track};
use crate::message::object;
use crate::orientation::Orientation;
use crate::schedule::{Part, Schedule, Spread};
use crate::{Error, Result};

/// Largest frame that is taken from the decoder, in pixels: 8K video, twice over.
const PIXEL_LIMIT: u64 = 64 << 20;
/// Frames a second that a video is taken to have when only the browser's player can open it.
const ASSUMED_RATE: f64 = 30.0;

/// A video that is being taken apart.
pub(super) struct Video {
    name: String,
    reader: BlobReader,
    track: Track,
    schedule: Schedule,
    /// The upright size, and what the network sees of each sample.
    shot: Shot,
}

impl Video {
    /// The clip, once every frame of it has come.
    fn finish(mut self) -> Result<Shot> {
        let notes = std::mem::take(&mut self.track.notes).into_iter().chain(self.schedule.notes());
        self.shot.notes = notes.collect();
        self.shot.name = self.name;
        self.shot.codec = self.track.codec;
        self.shot.degrees = self.track.orientation.degrees();
        self.shot.frames = self.schedule.frame_count();
        self.shot.seconds = self.schedule.seconds();
        if self.shot.frames == 1 {
            return Err(Error::OneFrame);
        }
        self.shot.choose(self.schedule.chosen())?;
        Ok(self.shot)
    }
}

#[wasm_bindgen]
impl Session {
    /// Begins to open a video; `again`: the same one, because its frames are gone. `part` says which part of it makes the
    /// clip and how, where it is given: `from` and `to` in seconds, `sampling` as `segment`, `dense`, `every`, `every2` or
    /// `every4`, and how many `frames` the network looks at together.
    ///
    /// # Errors
    /// Without a model, or when the browser cannot read the file.
    pub fn open(&mut self, blob: web_sys::Blob, name: String, again: bool, part: &JsValue) -> Result<()> {
        self.forget_clip();
        self.stopped &= again;
        let part = self.model_mut()?.take_part(part)?;
        self.every = matches!(part.spread, Spread::Every(_));
        self.opening = Some((Opening::default(), BlobReader::new(blob)?, name, part));
        Ok(())
    }

    /// Goes on opening: finds the video's frames, and in the end chooses those of the clip. Whether it is open.
    ///
    /// # Errors
    /// What the file is instead, or what is damaged; with `fallback` where the browser's player may open it.
    pub fn open_step(&mut self) -> Result<bool> {
        let (opening, reader, _, part) = self.opening.as_mut().ok_or(Error::Order("Open a video first."))?;
        let Some(track) = opening.step(reader)? else { return Ok(false) };
        let part = *part;
        check_size(track.width as u64, track.height as u64)?;
        let model = self.model()?;
        let schedule = Schedule::new(&track, part, model.config().frames)?;
        if let Some((_, reader, name, _)) = self.opening.take() {
            self.video = Some(Video { name, reader, track, schedule, shot: Shot::default() });
        }
        self.log.times.opened = now();
        Ok(true)
    }

    /// `{done, total, text}` of opening, in megabytes.
    pub fn reading(&self) -> JsValue {
        let (done, total) = self.opening.as_ref().map_or((0, 0), |(o, r, ..)| (o.position(), r.length()));
        let megabytes = |bytes: u64| JsValue::from((bytes as f64 / 1e6).ceil());
        let text = "looking for the frames, megabytes".into();
        object([("done", megabytes(done)), ("total", megabytes(total)), ("text", text)])
    }

    /// What `VideoDecoder.configure` takes.
    ///
    /// # Errors
    /// Without an open video.
    pub fn decoder_config(&self) -> Result<JsValue> {
        let track = &self.video()?.track;
        let mut entries = vec![("codec", track.codec.as_str().into())];
        if track.width > 0 && track.height > 0 {
            entries.extend([("codedWidth", track.width.into()), ("codedHeight", track.height.into())]);
        }
        let colour =
            track.colour.and_then(|colour| Some((colour.standard(track.height)?, colour.full_range)));
        if let Some((standard, full_range)) = colour {
            let [primaries, transfer, matrix] = [standard; 3].map(JsValue::from);
            let space = [("primaries", primaries), ("transfer", transfer), ("matrix", matrix)];
            let space = space.into_iter().chain([("fullRange", full_range.into())]);
            entries.push(("colorSpace", object(space)));
        }
        if let Some(description) = &track.description {
            entries.push(("description", js_sys::Uint8Array::from(&description[..]).into()));
        }
        Ok(object(entries))
    }

    /// Starts the next stretch of compressed frames, the first of them a keyframe; `false` when all have been sent.
    ///
    /// # Errors
    /// When no frame at all came out of the decoder.
    pub fn next_run(&mut self) -> Result<bool> {
        let video = self.video_mut()?;
        let codec = video.track.codec.clone();
        video.schedule.next_run(&codec)
    }

    /// The next compressed frame of this stretch, as `new EncodedVideoChunk` takes it; undefined after the last.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn next_chunk(&mut self) -> Result<JsValue> {
        let video = self.video_mut()?;
        let Some(index) = video.schedule.next_sample() else { return Ok(JsValue::UNDEFINED) };
        let sample = video.track.samples[index];
        check_chunk(sample.size)?;
        let bytes = [&video.track.prefix[..], &video.reader.part(sample.offset, sample.size)?].concat();
        Ok(object([
            ("type", if sample.keyframe { "key" } else { "delta" }.into()),
            ("timestamp", (sample.stamp as f64).into()),
            ("data", js_sys::Uint8Array::from(&bytes[..]).into()),
        ]))
    }

    /// A frame came out of the decoder: whether its pixels are needed.
    ///
    /// # Errors
    /// When it is too large.
    pub fn wants(&mut self, stamp: f64, width: u32, height: u32) -> Result<bool> {
        let wanted = self.video_mut()?.schedule.came(stamp as i64).is_some();
        if wanted {
            check_size(u64::from(width), u64::from(height))?;
        }
        Ok(wanted)
    }

    /// Whether frames can go straight to a graphics card.
    pub fn takes_pictures(&self) -> bool {
        self.card_in_use().is_some_and(|card| card.copies())
    }

    /// A frame that [`Self::wants`] asked for, as a picture that goes straight to the graphics card; `false` where its
    /// pixels are needed.
    ///
    /// # Errors
    /// When the CPU has to take over in the middle of a video; with `again`.
    pub fn put_picture(
        &mut self,
        stamp: f64,
        picture: &web_sys::ImageBitmap,
        width: usize,
        height: usize,
    ) -> Result<bool> {
        let Some(card) = self.card_in_use() else { return Ok(false) };
        let Some(pixels) = card.copy(picture, [width, height]) else { return Ok(false) };
        let seen =
            |orientation, preprocess: &Preprocess| View::on_card(&card, preprocess, orientation, &pixels);
        self.put_view(stamp, [width, height], seen)?;
        Ok(true)
    }

    /// The pixels of a frame that [`Self::wants`] asked for, RGBA.
    ///
    /// # Errors
    /// When size and bytes do not fit; or as [`Self::put_picture`].
    pub fn put(&mut self, stamp: f64, width: usize, height: usize, rgba: &[u8]) -> Result<()> {
        let card = self.card_in_use();
        let size = [width, height];
        let seen = |orientation, preprocess: &Preprocess| match &card {
            None => View::here(preprocess, orientation, size, rgba),
            Some(card) => View::sent(card, preprocess, orientation, size, rgba),
        };
        self.put_view(stamp, size, seen)
    }

    /// The decoder gave up; a new one takes the next run.
    ///
    /// # Errors
    /// Without an open video.
    pub fn decoder_failed(&mut self, complaint: &str) -> Result<()> {
        self.video_mut()?.schedule.failed(complaint);
        Ok(())
    }

    /// `{done, total, text}` of decoding.
    ///
    /// # Errors
    /// Without an open video.
    pub fn decoding(&self) -> Result<JsValue> {
        let schedule = &self.video()?.schedule;
        let (done, total) = schedule.progress();
        Ok(object([("done", done.into()), ("total", total.into()), ("text", schedule.text().into())]))
    }

    /// Where the browser's player should seek, in seconds; `part` as for [`Self::open`].
    ///
    /// # Errors
    /// Without a model, or when the player does not know how long the video is.
    pub fn seek_times(&mut self, duration: f64, part: &JsValue) -> Result<Vec<f64>> {
        self.forget_clip();
        self.log.times.opened = now();
        let model = model_of(&mut self.model)?;
        if !(duration.is_finite() && duration > 0.0) {
            let (what, found) = ("the video's duration", duration.to_string());
            return Err(Error::Message { what, found, expected: "a number of seconds above 0" });
        }
        let Part { seconds: [from, to], spread } = model.take_part(part)?;
        let (from, to) = (from.clamp(0.0, duration), to.clamp(0.0, duration));
        let count = ((to - from) * ASSUMED_RATE).clamp(1.0, 10_000_000.0) as usize;
        let chosen = spread.choose(count, model.config().frames)?;
        let middle = |index: usize| from + (index as f64 + 0.5) / count as f64 * (to - from);
        let times = chosen.into_iter().map(middle).collect();
        self.every = matches!(spread, Spread::Every(_));
        self.shot.insert(Shot::default()).seconds = [0.0, duration];
        Ok(times)
    }

    /// One picture from the browser's player, in the order of `seek_times`.
    ///
    /// # Errors
    /// When size and bytes do not fit.
    pub fn put_approximate(&mut self, time: f64, width: usize, height: usize, rgba: &[u8]) -> Result<()> {
        check_size(width as u64, height as u64)?;
        let (preprocess, size) = (self.model()?.preprocess(), [width, height]);
        let view = View::here(&preprocess, Orientation::default(), size, rgba)?;
        self.shot.get_or_insert_default().put_approximate(time, view, size);
        Ok(())
    }

    /// The clip is complete: brings it to the network. Returns the 'clip' message.
    ///
    /// # Errors
    /// When no frame came; or as [`Self::put_picture`].
    pub async fn clip(&mut self, name: String) -> Result<JsValue> {
        self.log.times.decoded = now();
        if let Some(video) = self.video.take() {
            self.shot = Some(video.finish()?);
        } else if let Some(shot) = &mut self.shot {
            shot.name = name;
        }
        let pictures = loop {
            let shot = self.shot.as_ref().filter(|shot| shot.has_views()).ok_or(Error::NoFrames)?;
            match shot.pictures(self.card_in_use().as_ref()).await {
                Err(error) => self.take_over(error)?,
                Ok(pictures) => break pictures,
            }
        };
        self.begin_clip()?;
        let (Some(model), Some(shot)) = (&self.model, &self.shot) else { return Err(Error::NoFrames) };
        self.log.times.prepared = now();
        Ok(shot.message(pictures, &model.preprocess()))
    }
}

impl Session {
    /// A decoded frame as the network sees it.
    fn put_view(
        &mut self,
        stamp: f64,
        [width, height]: [usize; 2],
        seen: impl Fn(Orientation, &Preprocess) -> Result<View>,
    ) -> Result<()> {
        let preprocess = self.model()?.preprocess();
        let video = self.video_mut()?;
        let Some(sample) = video.schedule.sample(stamp as i64) else { return Ok(()) };
        let orientation = video.track.orientation;
        match seen(orientation, &preprocess) {
            Ok(view) => {
                video.shot.put(sample, view, orientation.size(width, height));
                Ok(())
            }
            Err(error) => {
                self.take_over(error)?;
                // With the card went the frames that came before.
                Err(Error::FramesGone)
            }
        }
    }

    fn video(&self) -> Result<&Video> {
        self.video.as_ref().ok_or(Error::Order("Open a video first."))
    }

    fn video_mut(&mut self) -> Result<&mut Video> {
        self.video.as_mut().ok_or(Error::Order("Open a video first."))
    }
}

fn check_size(width: u64, height: u64) -> Result<()> {
    let found = width.saturating_mul(height);
    if found > PIXEL_LIMIT {
        return Err(Error::TooLarge { what: "Pixels of a frame", found, limit: PIXEL_LIMIT });
    }
    Ok(())
}

fn check_chunk(size: u64) -> Result<()> {
    const LIMIT: u64 = 256 << 20;
    if size > LIMIT {
        return Err(Error::TooLarge { what: "Bytes of a compressed frame", found: size, limit: LIMIT });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_limit() {
        assert!(check_size(8192, 4352).is_ok());
        assert!(check_size(12336, 12336).is_err());
        assert!(check_size(u64::MAX, 3).is_err());
    }
}
