//! WebM and Matroska: EBML elements in, a [`Track`] out (RFC 8794 and RFC 9559).
//!
//! `matroska-demuxer` reads what is said about the tracks, from a small copy that holds nothing else: it would refuse
//! a file whose index was cut off, and it loses frames in block groups. So the blocks are found here, by their
//! headers alone.

use std::io::{Cursor, Read, Seek};

use matroska_demuxer::{
    ContentCompAlgo, ContentEncodingValue, MatrixCoefficients, MatroskaFile, TrackEntry, TrackType,
};

use super::colour::{self, Colour};
use super::{Sample, Shown, Track, cut_note, mp4, push, read_at};
use crate::orientation::Orientation;
use crate::{Error, Result};

const CONTAINER: &str = "Matroska";

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const VIDEO: u32 = 0xe0;
const PROJECTION: u32 = 0x7670;
const POSE_YAW: u32 = 0x7673;
const POSE_ROLL: u32 = 0x7675;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const REFERENCE_BLOCK: u32 = 0xfb;

/// Bits of a block's flags (RFC 9559, 10.2).
const KEYFRAME: u8 = 0x80;
const INVISIBLE: u8 = 0x08;
const LACING: u8 = 0x06;

fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged { container: CONTAINER, what: what.into() }
}

/// The start of an element.
#[derive(Debug, Clone, Copy)]
struct Header {
    id: u32,
    /// Bytes of content; `None` when it was written before that was known.
    size: Option<u64>,
    /// Bytes of the header itself.
    length: u64,
}

impl Header {
    /// `None` where no element can start.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let id_length = bytes.first()?.leading_zeros() as usize + 1;
        let id = bytes.get(..id_length).filter(|_| id_length <= 4)?;
        let id = id.iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
        let rest = bytes.get(id_length..)?;
        let (size, size_length) = variable(rest)?;
        let unknown = size == (1 << (7 * size_length)) - 1;
        Some(Self { id, size: (!unknown).then_some(size), length: (id_length + size_length) as u64 })
    }
}

/// A number of variable length (RFC 8794, 4) and how many bytes it took.
fn variable(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let all = bytes.get(..length).filter(|_| length <= 8)?;
    let value = all.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some((value & !(1 << (7 * length)), length))
}

/// Elements of a content in memory, up to the first one that does not fit.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = Header::parse(self.0)?;
        let end = usize::try_from(header.length.checked_add(header.size?)?).ok()?;
        let content = self.0.get(header.length as usize..end)?;
        self.0 = &self.0[end..];
        Some((header.id, content))
    }
}

fn unsigned(content: &[u8]) -> u64 {
    content.iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn float(content: &[u8]) -> f64 {
    match content {
        &[a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
        content => content.first_chunk().map_or(0.0, |bytes| f64::from_be_bytes(*bytes)),
    }
}

/// A block of any track.
#[derive(Debug)]
struct Block {
    track: u64,
    time: i64,
    flags: u8,
    offset: u64,
    size: u64,
    keyframe: bool,
    /// The first byte of its content.
    first: u8,
}

/// Goes from element to element, into segments and clusters, and collects what a track is made of. A long file has
/// many: so it goes in steps, between which the page can be told how far it is.
#[derive(Debug)]
pub(super) struct Walk {
    /// Where it is, and where the file ends.
    at: u64,
    length: u64,
    /// Time of the present cluster, in ticks.
    clock: u64,
    /// Nanoseconds of a tick.
    scale: u64,
    /// The whole element.
    tracks: Vec<u8>,
    blocks: Vec<Block>,
    /// Blocks that reach beyond the end of the file.
    cut: usize,
    /// Where something stood that is no element, if the walk ended there.
    broken_at: Option<u64>,
}

impl Walk {
    pub(super) fn new(length: u64) -> Self {
        let (tracks, blocks) = (Vec::new(), Vec::new());
        Self { at: 0, length, clock: 0, scale: 1_000_000, tracks, blocks, cut: 0, broken_at: None }
    }

    /// Where it is in the file.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Goes on by some elements; the track once it has met the end of the file, or something that is no element.
    pub(super) fn step<R: Read + Seek>(&mut self, reader: &mut R, elements: usize) -> Result<Option<Track>> {
        for _ in 0..elements {
            if self.at >= self.length {
                return track(self, reader).map(Some);
            }
            let Some(next) = self.element(reader)? else {
                self.broken_at = Some(self.at);
                return track(self, reader).map(Some);
            };
            self.at = next;
        }
        Ok(None)
    }

    /// Looks at the element that starts here: where the next one does, or `None` when none starts here.
    fn element<R: Read + Seek>(&mut self, reader: &mut R) -> Result<Option<u64>> {
        let bytes = read_at(reader, self.at, (self.length - self.at).min(16))?;
        let Some(header) = Header::parse(&bytes) else { return Ok(None) };
        let content = self.at + header.length;
        if matches!(header.id, SEGMENT | CLUSTER) {
            return Ok(Some(content));
        }
        let Some(end) = header.size.and_then(|size| content.checked_add(size)) else { return Ok(None) };
        let whole = end <= self.length;
        match header.id {
            TRACKS if whole && self.tracks.is_empty() => {
                self.tracks = read_at(reader, self.at, end - self.at)?;
            }
            INFO if whole => {
                let info = read_at(reader, content, end - content)?;
                let scale = Elements(&info).find(|(id, _)| *id == TIMESTAMP_SCALE);
                let scale = scale.map(|(_, value)| unsigned(value));
                self.scale = scale.filter(|&scale| scale > 0).unwrap_or(self.scale);
            }
            TIMESTAMP if whole => self.clock = unsigned(&read_at(reader, content, (end - content).min(8))?),
            SIMPLE_BLOCK | BLOCK_GROUP if !whole => self.cut += 1,
            SIMPLE_BLOCK => self.block(reader, content, end, None)?,
            BLOCK_GROUP => self.group(reader, content, end)?,
            _ => {}
        }
        Ok(Some(end))
    }

    /// A block with things about it: one that refers to no other can be decoded alone.
    fn group<R: Read + Seek>(&mut self, reader: &mut R, start: u64, end: u64) -> Result<()> {
        let (mut at, mut place, mut keyframe) = (start, None, true);
        while at < end {
            let bytes = read_at(reader, at, (end - at).min(16))?;
            let Some(header) = Header::parse(&bytes) else { break };
            let content = at + header.length;
            let next = header.size.and_then(|size| content.checked_add(size));
            let Some(next) = next.filter(|&next| next <= end) else { break };
            match header.id {
                BLOCK => place = Some((content, next)),
                REFERENCE_BLOCK => keyframe = false,
                _ => {}
            }
            at = next;
        }
        match place {
            Some((start, end)) => self.block(reader, start, end, Some(keyframe)),
            None => Ok(()),
        }
    }

    /// The head of a block: track, time, flags.
    fn block<R: Read + Seek>(
        &mut self,
        reader: &mut R,
        start: u64,
        end: u64,
        keyframe: Option<bool>,
    ) -> Result<()> {
        let bytes = read_at(reader, start, (end - start).min(12))?;
        let Some((track, length)) = variable(&bytes) else { return Ok(()) };
        let Some(&[t0, t1, flags, first]) = bytes.get(length..length + 4) else { return Ok(()) };
        let offset = start + length as u64 + 3;
        let relative = i64::from(i16::from_be_bytes([t0, t1]));
        let time = i64::try_from(self.clock).unwrap_or(i64::MAX).saturating_add(relative);
        let keyframe = keyframe.unwrap_or(flags & KEYFRAME != 0);
        if self.blocks.len() >= 4 * super::SAMPLE_LIMIT {
            let (found, limit) = (self.blocks.len() as u64, 4 * super::SAMPLE_LIMIT as u64);
            return Err(Error::TooLarge { what: "Blocks of the file", found, limit });
        }
        self.blocks.push(Block { track, time, flags, offset, size: end - offset, keyframe, first });
        Ok(())
    }
}

/// Finds the video track among what the walk found.
fn track<R: Read + Seek>(found: &Walk, reader: &mut R) -> Result<Track> {
    if found.tracks.is_empty() {
        return Err(damaged("it does not say what tracks it has"));
    }
    let headers = headers(&found.tracks)?;
    let kinds: Vec<_> =
        headers.tracks().iter().map(|t| format!("{:?}", t.track_type()).to_ascii_lowercase()).collect();
    let video = headers.tracks().iter().find(|track| track.track_type() == TrackType::Video);
    let video = video.ok_or(Error::NoVideoTrack { container: CONTAINER, found: kinds.join(", ") })?;
    let number = video.track_number().get();
    let scale = i128::from(found.scale);

    let mut track = describe(video)?;
    if let Some([yaw, roll]) = projection(&found.tracks, number) {
        // The projection turns the picture anticlockwise; a yaw of half a turn is a mirror.
        match Orientation::from_turn(-roll, yaw.abs() == 180.0) {
            Some(orientation) => track.orientation = orientation,
            None => {
                track.notes.push("It asks to be turned by an odd angle; it is shown as it was filmed.".into())
            }
        }
    }
    let mine = || found.blocks.iter().filter(|block| block.track == number);
    if mine().any(|block| block.flags & LACING != 0) {
        return Err(Error::Codec { codec: format!("{} with several frames in a block", track.codec) });
    }
    let first = mine().next().map(|block| read_at(reader, block.offset, block.size.min(64))).transpose()?;
    if let Some(first) = first {
        let frame = [&track.prefix[..], &first].concat();
        name_vp9(&mut track, &frame);
    }
    let mut order = Vec::new();
    for block in mine() {
        let nanos = i128::from(block.time) * scale;
        if !is_hidden(reader, &track, block)? {
            order.push(Shown { sample: track.samples.len(), time_secs: nanos as f64 * 1e-9 });
        }
        let stamp = i64::try_from(nanos / 1000).unwrap_or(i64::MAX);
        let Block { offset, size, keyframe, .. } = *block;
        push(&mut track.samples, Sample { offset, size, stamp, keyframe })?;
    }
    order.sort_by(|a, b| a.time_secs.total_cmp(&b.time_secs));
    track.shown = order;
    if found.cut > 0 || found.broken_at.is_some() {
        let frames = track.shown.len();
        track.notes.push(match found.broken_at {
            Some(at) => {
                format!("The file is damaged at byte {at}. The {frames} frames before that are shown.")
            }
            None => cut_note(found.cut, frames + found.cut),
        });
    }
    Ok(track)
}

/// Lets `matroska-demuxer` read what is said about the tracks, in a file without anything else.
fn headers(tracks: &[u8]) -> Result<MatroskaFile<Cursor<Vec<u8>>>> {
    // DocType "matroska" of version 4, readable by version 2; a segment of unknown size; names of the writing program.
    const BEFORE: &[u8] = b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska\x42\x87\x81\x04\x42\x85\x81\x02\
        \x18\x53\x80\x67\xff\x15\x49\xa9\x66\x88\x4d\x80\x81-\x57\x41\x81-";
    const EMPTY_CLUSTER: &[u8] = b"\x1f\x43\xb6\x75\x80";
    let copy = [BEFORE, tracks, EMPTY_CLUSTER].concat();
    MatroskaFile::open(Cursor::new(copy))
        .map_err(|error| damaged(format!("its header cannot be read ({error})")))
}

/// Codec, size, and what was stripped from the frames.
fn describe(entry: &TrackEntry) -> Result<Track> {
    let id = entry.codec_id().trim_end_matches('\0');
    let unknown = || Error::Codec { codec: format!("{id:?}") };
    let private = entry.codec_private();
    let known = |string: Option<String>| string.ok_or_else(unknown);
    let (codec, description) = match id {
        "V_VP8" => ("vp8".to_owned(), None),
        "V_VP9" => ("vp09.00.10.08".to_owned(), None),
        "V_AV1" => (known(private.and_then(mp4::av1_string))?, None),
        "V_MPEG4/ISO/AVC" => (known(private.and_then(|p| mp4::avc_string("avc1", p)))?, private),
        "V_MPEGH/ISO/HEVC" => (known(private.and_then(|p| mp4::hevc_string("hvc1", p)))?, private),
        _ => return Err(unknown()),
    };
    let size =
        |side: Option<std::num::NonZeroU64>| side.map_or(0, |s| s.get().min(u64::from(u32::MAX)) as usize);
    let mut prefix = Vec::new();
    for encoding in entry.content_encodings().unwrap_or_default() {
        match encoding.encoding() {
            ContentEncodingValue::Compression(c) if matches!(c.algo(), ContentCompAlgo::Stripping) => {
                prefix.extend_from_slice(c.settings().unwrap_or_default());
            }
            ContentEncodingValue::Encryption(_) => {
                return Err(Error::Codec { codec: format!("{id:?}, encrypted") });
            }
            _ => return Err(Error::Codec { codec: format!("{id:?}, compressed once more") }),
        }
    }
    Ok(Track {
        codec,
        description: description.map(<[u8]>::to_vec),
        width: size(entry.video().map(|v| v.pixel_width())),
        height: size(entry.video().map(|v| v.pixel_height())),
        colour: colour_of(entry, id, private),
        prefix,
        ..Track::default()
    })
}

/// What the stream says about colours (VP9's waits for its first frame), else the container.
fn colour_of(entry: &TrackEntry, id: &str, private: Option<&[u8]>) -> Option<Colour> {
    // Others than these two are too rare to tell apart: any number that is neither leaves them to the decoder.
    const OTHER: u8 = 255;
    let named = entry.video().and_then(|video| video.colour()?.matrix_coefficients());
    let container = named.and_then(|matrix| match matrix {
        MatrixCoefficients::Unknown => None,
        MatrixCoefficients::Bt709 => Some(1),
        MatrixCoefficients::Bt470bg | MatrixCoefficients::Smpte170 => Some(6),
        _ => Some(OTHER),
    });
    let stream = match id {
        "V_MPEG4/ISO/AVC" => private.and_then(colour::of_avc),
        "V_VP8" | "V_VP9" => Some(Colour { matrix: None, full_range: false }),
        _ => None,
    };
    stream.map(|colour| colour.or_matrix(container))
}

/// Yaw and roll of a track's projection in degrees; `matroska-demuxer` does not read them.
fn projection(tracks: &[u8], number: u64) -> Option<[f64; 2]> {
    let (_, entries) = Elements(tracks).next()?;
    let is_mine =
        |entry: &[u8]| Elements(entry).any(|(id, value)| id == TRACK_NUMBER && unsigned(value) == number);
    let entry = Elements(entries).find(|(id, entry)| *id == TRACK_ENTRY && is_mine(entry))?.1;
    let (_, video) = Elements(entry).find(|(id, _)| *id == VIDEO)?;
    let (_, projection) = Elements(video).find(|(id, _)| *id == PROJECTION)?;
    let pose =
        |wanted| Elements(projection).find(|(id, _)| *id == wanted).map_or(0.0, |(_, value)| float(value));
    Some([pose(POSE_YAW), pose(POSE_ROLL)])
}

/// VP9's profile, depth and colours stand in its first frame, not in the container.
fn name_vp9(track: &mut Track, frame: &[u8]) {
    if let Some((profile, depth, colour)) = colour::of_vp9(frame).filter(|_| track.codec.starts_with("vp09"))
    {
        track.codec = format!("vp09.{profile:02}.10.{depth:02}");
        track.colour = Some(colour.or_matrix(track.colour.and_then(|container| container.matrix)));
    }
}

/// Frames that only later ones refer to: marked by the container, or by the first byte of VP8 (RFC 6386, 9.1) or VP9.
fn is_hidden<R: Read + Seek>(reader: &mut R, track: &Track, block: &Block) -> Result<bool> {
    let vp9 = track.codec.starts_with("vp09");
    if block.flags & INVISIBLE != 0 || !track.prefix.is_empty() || !(vp9 || track.codec == "vp8") {
        return Ok(block.flags & INVISIBLE != 0);
    }
    if !vp9 {
        return Ok(block.first & 0x10 == 0);
    }
    // The last byte matters only to those that look hidden: few, and it lies elsewhere.
    Ok(colour::vp9_is_hidden(block.first, 0)
        && colour::vp9_is_hidden(block.first, read_at(reader, block.offset + block.size - 1, 1)?[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_variable_length() {
        assert_eq!(variable(&[0x81]), Some((1, 1)));
        assert_eq!(variable(&[0x40, 0x02]), Some((2, 2)));
        assert_eq!(variable(&[0x01, 0, 0, 0, 0, 0, 1, 0]), Some((256, 8)));
        assert_eq!(variable(&[0x40]), None);
        assert_eq!(variable(&[0x00, 1]), None);
    }

    #[test]
    fn a_size_may_be_unknown() {
        let header =
            Header::parse(&[0x1f, 0x43, 0xb6, 0x75, 0x01, 255, 255, 255, 255, 255, 255, 255]).unwrap();
        assert_eq!((header.id, header.size, header.length), (CLUSTER, None, 12));
        let header = Header::parse(&[0xa3, 0x40, 0x7f]).unwrap();
        assert_eq!((header.id, header.size, header.length), (SIMPLE_BLOCK, Some(127), 3));
        assert!(Header::parse(&[0x08, 0x81]).is_none());
    }

    #[test]
    fn the_projection_of_the_right_track() {
        let roll = [&[0x76, 0x75, 0x84][..], &90_f32.to_be_bytes()].concat();
        let element = |id: &[u8], content: &[u8]| [id, &[0x80 | content.len() as u8], content].concat();
        let video = element(&[0xe0], &element(&[0x76, 0x70], &roll));
        let entry = |number, rest: &[u8]| element(&[0xae], &[&element(&[0xd7], &[number]), rest].concat());
        let tracks = element(&[0x16, 0x54, 0xae, 0x6b], &[entry(1, &[]), entry(2, &video)].concat());
        assert_eq!(projection(&tracks, 2), Some([0.0, 90.0]));
        assert_eq!(projection(&tracks, 1), None);
        assert_eq!(projection(&tracks[..20], 2), None);
    }

    #[test]
    fn vp9_is_named_by_its_first_frame() {
        let mut track = Track { codec: "vp09.00.10.08".into(), ..Track::default() };
        name_vp9(&mut track, &[0x92, 0x49, 0x83, 0x42, 0x00]);
        assert_eq!(track.codec, "vp09.02.10.10");
        name_vp9(&mut track, b"junk");
        assert_eq!(track.codec, "vp09.02.10.10");
    }
}
