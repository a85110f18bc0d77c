//! Container bytes in, a [`Track`] out: where each compressed frame lies, when it is shown, how to turn it upright.
//!
//! Only headers and indices are read, never the whole file: a reader that seeks is enough. What the file says about
//! sizes and counts is checked against its length before anything is allocated. The walk over boxes and blocks is
//! our own for that reason; the single boxes and the Matroska headers are read by `re_mp4` and `matroska-demuxer`.

mod colour;
mod matroska;
mod mp4;

use std::io::{Read, Seek, SeekFrom};

pub use colour::Colour;

use crate::orientation::Orientation;
use crate::{Error, Result};

/// Largest header or index that is read into memory, in bytes.
const HEADER_LIMIT: u64 = 64 << 20;
/// Most frames of a track: 18 hours at 30 frames a second.
const SAMPLE_LIMIT: usize = 2_000_000;

/// The video track of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Track {
    /// How WebCodecs names the codec, e.g. `avc1.64001F`.
    pub codec: String,
    /// What its decoder needs before the first frame (avcC or hvcC), without the box around it.
    pub description: Option<Vec<u8>>,
    /// Pixels across, before turning upright.
    pub width: usize,
    /// Pixels down, before turning upright.
    pub height: usize,
    /// How to turn a decoded frame upright.
    pub orientation: Orientation,
    /// What it says about its colours; `None` where that is left to the decoder.
    pub colour: Option<Colour>,
    /// Compressed frames in decoding order.
    pub samples: Vec<Sample>,
    /// What is shown, in the order of showing, edits applied.
    pub shown: Vec<Shown>,
    /// Bytes that precede every sample (Matroska's header stripping).
    pub prefix: Vec<u8>,
    /// What the user should know about the file.
    pub notes: Vec<String>,
}

/// One compressed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Its place in the order of showing, in microseconds; no two samples share one, so it names the sample.
    pub stamp: i64,
    /// Whether decoding can start here.
    pub keyframe: bool,
}

/// One frame that is shown. An edit list may show a sample twice, or never.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// Index in [`Track::samples`].
    pub sample: usize,
    /// When, in seconds from the start of the presentation.
    pub time_secs: f64,
}

/// Finds the video track of an MP4, MOV, WebM or MKV file.
///
/// # Errors
/// As [`Opening::step`].
pub fn open<R: Read + Seek>(reader: &mut R) -> Result<Track> {
    let mut opening = Opening::default();
    loop {
        if let Some(track) = opening.step(reader)? {
            return Ok(track);
        }
    }
}

/// Opening a file step by step: Matroska has no index of its frames, so a long file takes a while.
#[derive(Debug, Default)]
pub struct Opening(Option<matroska::Walk>);

impl Opening {
    /// Elements of a Matroska file that one step looks at.
    const STEP: usize = 256;

    /// Goes on; the video track in the end.
    ///
    /// # Errors
    /// What the file is instead, what is damaged, or what there is none of.
    pub fn step<R: Read + Seek>(&mut self, reader: &mut R) -> Result<Option<Track>> {
        let found = match &mut self.0 {
            Some(walk) => walk.step(reader, Self::STEP)?,
            None => self.begin(reader)?,
        };
        let Some(mut track) = found else { return Ok(None) };
        if track.shown.is_empty() {
            return Err(Error::NoFrames);
        }
        name_samples(&mut track);
        Ok(Some(track))
    }

    /// Bytes of the file that have been looked at.
    pub fn position(&self) -> u64 {
        self.0.as_ref().map_or(0, matroska::Walk::at)
    }

    /// Tells the containers apart by their first bytes.
    fn begin<R: Read + Seek>(&mut self, reader: &mut R) -> Result<Option<Track>> {
        let length = reader.seek(SeekFrom::End(0))?;
        let head = read_at(reader, 0, length.min(64))?;
        match &head[..] {
            [] => Err(Error::Empty),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => {
                self.0 = Some(matroska::Walk::new(length));
                Ok(None)
            }
            [_, _, _, _, kind @ ..] if mp4::starts_with(kind) => mp4::open(reader, length).map(Some),
            _ => Err(foreign(&head)),
        }
    }
}

/// What a file is that is no container.
fn foreign(head: &[u8]) -> Error {
    let text = head.trim_ascii_start();
    let found = match head {
        [0xff, 0xd8, 0xff, ..] => "a JPEG picture",
        [0x89, b'P', b'N', b'G', ..] => "a PNG picture",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive",
        [0x1f, 0x8b, ..] => "a gzip archive",
        _ if text.starts_with(b"<") => "an HTML or XML text",
        _ if head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => "a text",
        _ => return Error::UnknownContainer,
    };
    Error::NotVideo { found }
}

/// Bytes `offset .. offset + size`, once the size is known to be bearable.
fn read_at<R: Read + Seek>(reader: &mut R, offset: u64, size: u64) -> Result<Vec<u8>> {
    if size > HEADER_LIMIT {
        return Err(Error::TooLarge { what: "The file's index in bytes", found: size, limit: HEADER_LIMIT });
    }
    let mut bytes = vec![0; size as usize];
    reader.seek(SeekFrom::Start(offset))?;
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Gives every sample a stamp of its own: damaged files repeat times, and a decoder hands back nothing else.
fn name_samples(track: &mut Track) {
    let mut order: Vec<usize> = (0..track.samples.len()).collect();
    order.sort_by_key(|&i| (track.samples[i].stamp, i));
    let mut last = i64::MIN;
    for i in order {
        let stamp = &mut track.samples[i].stamp;
        *stamp = (*stamp).max(last.saturating_add(1));
        last = *stamp;
    }
}

/// Adds a sample, unless there are too many already.
fn push(samples: &mut Vec<Sample>, sample: Sample) -> Result<()> {
    if samples.len() >= SAMPLE_LIMIT {
        let (found, limit) = (samples.len() as u64 + 1, SAMPLE_LIMIT as u64);
        return Err(Error::TooLarge { what: "Frames of the video", found, limit });
    }
    samples.push(sample);
    Ok(())
}

/// The sentence about frames that lie beyond the end of the file.
fn cut_note(missing: usize, promised: usize) -> String {
    format!(
        "The file ends before {missing} of its {promised} frames: it was cut off. What is there is shown."
    )
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_file_that_is_no_video_is_called_what_it_is() {
        for (bytes, expected) in [
            (&b""[..], "empty"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture"),
            (b"  <!doctype html><p>not found", "an HTML"),
            (b"once upon a time", "a text"),
            (b"OggS\0\0\x01\x02\xff", "not known here"),
            (b"\0\0", "not known here"),
        ] {
            let error = open(&mut Cursor::new(bytes)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_sample_gets_a_stamp_of_its_own() {
        let sample = |stamp| Sample { offset: 0, size: 1, stamp, keyframe: true };
        let mut track = Track { samples: [5, 3, 5, 4, 5].map(sample).to_vec(), ..Track::default() };
        name_samples(&mut track);
        let stamps: Vec<i64> = track.samples.iter().map(|s| s.stamp).collect();
        assert_eq!(stamps, [5, 3, 6, 4, 7]);
    }
}
