//! MP4 and MOV: boxes in, a [`Track`] out (ISO/IEC 14496-12, the numbers in the comments are its sections).

use std::io::{Cursor, Read, Seek};

use re_mp4::{
    Co64Box, CttsBox, ElstBox, HdlrBox, HevcBox, MdhdBox, MvhdBox, RawBox, ReadBox, StcoBox, StscBox,
    StsdBoxContent, StssBox, StszBox, SttsBox, TfdtBox, TfhdBox, TkhdBox, TrexBox, TrunBox,
};

use super::colour::{self, Colour};
use super::{Sample, Shown, Track, cut_note, push, read_at};
use crate::orientation::Orientation;
use crate::{Error, Result};

const CONTAINER: &str = "MP4";
/// Bit 16 of a fragment's sample flags: decoding cannot start here (8.8.3.1).
const NOT_SYNC: u32 = 1 << 16;
/// Length of a video sample entry before its own boxes, without the box header (12.1.3.2).
const VISUAL_ENTRY: usize = 78;

/// Whether these bytes, found at offset 4, are the name of a box that a file may start with.
pub(super) fn starts_with(name: &[u8]) -> bool {
    const FIRST: [&[u8]; 9] =
        [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"];
    FIRST.iter().any(|first| name.starts_with(first))
}

fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged { container: CONTAINER, what: what.into() }
}

/// A box in memory.
#[derive(Clone, Copy)]
struct Atom<'a> {
    name: [u8; 4],
    /// Its content, with the last 8 bytes of its header before it.
    bytes: &'a [u8],
}

impl<'a> Atom<'a> {
    fn content(&self) -> &'a [u8] {
        self.bytes.get(8..).unwrap_or_default()
    }

    fn children(&self) -> Atoms<'a> {
        Atoms(self.content())
    }

    fn child(&self, name: &[u8; 4]) -> Option<Atom<'a>> {
        self.children().find(|atom| atom.name == *name)
    }

    fn need(&self, name: &[u8; 4]) -> Result<Atom<'a>> {
        self.child(name)
            .ok_or_else(|| damaged(format!("its {:?} box has no {:?} box", text(self.name), text(*name))))
    }

    /// What `re_mp4` makes of a single box. It is given no more than the box, so it cannot stray.
    fn read<'r, T: for<'c> ReadBox<&'c mut Cursor<&'a [u8]>>>(&'r self) -> Result<T> {
        let mut cursor = Cursor::new(self.bytes);
        cursor.set_position(8);
        T::read_box(&mut cursor, self.bytes.len() as u64)
            .map_err(|error| damaged(format!("its {:?} box cannot be read ({error})", text(self.name))))
    }
}

/// The boxes of a content, up to the first one that does not fit.
struct Atoms<'a>(&'a [u8]);

impl<'a> Iterator for Atoms<'a> {
    type Item = Atom<'a>;

    fn next(&mut self) -> Option<Atom<'a>> {
        let (size, name, header) = box_header(self.0, self.0.len() as u64)?;
        let size = usize::try_from(size).ok()?;
        let bytes = self.0.get(header - 8..size)?;
        self.0 = &self.0[size..];
        Some(Atom { name, bytes })
    }
}

/// Size of the whole box, its name, length of its header; `None` unless it fits into what is `left`.
fn box_header(bytes: &[u8], left: u64) -> Option<(u64, [u8; 4], usize)> {
    let [s0, s1, s2, s3, n0, n1, n2, n3, long @ ..] = bytes else { return None };
    let name = [*n0, *n1, *n2, *n3];
    let (size, header) = match u32::from_be_bytes([*s0, *s1, *s2, *s3]) {
        0 => (left, 8),
        1 => (u64::from_be_bytes(*long.first_chunk()?), 16),
        size => (u64::from(size), 8),
    };
    (size >= header as u64).then_some((size, name, header))
}

fn text(name: [u8; 4]) -> String {
    String::from_utf8_lossy(&name).into_owned()
}

/// A sample as the tables give it; times in units of the track.
struct Raw {
    offset: u64,
    size: u64,
    shown: i64,
    keyframe: bool,
}

/// Finds the video track.
pub(super) fn open<R: Read + Seek>(reader: &mut R, length: u64) -> Result<Track> {
    let mut moov = None;
    let mut fragments = Vec::new();
    let mut at = 0;
    while let Some((size, name, header)) = header_at(reader, at, length)? {
        match &name {
            b"moov" if moov.is_none() => {
                let whole = size.min(length - at);
                moov = Some(read_at(reader, at + header as u64 - 8, whole - (header as u64 - 8))?);
            }
            b"moof" if fragments.len() < super::SAMPLE_LIMIT => fragments.push((at, size.min(length - at))),
            _ => {}
        }
        let Some(next) = at.checked_add(size).filter(|&next| next < length) else { break };
        at = next;
    }
    let Some(moov) = moov else {
        return Err(damaged("it has no index (no \"moov\" box)"));
    };
    let moov = Atom { name: *b"moov", bytes: &moov };
    let video = video_track(&moov)?;
    let mut track = describe(&video)?;
    let timescale = i64::from(video.need(b"mdia")?.need(b"mdhd")?.read::<MdhdBox>()?.timescale.max(1));
    let mut raw = sample_table(&video.need(b"mdia")?.need(b"minf")?.need(b"stbl")?, length)?;
    let header: TkhdBox = video.need(b"tkhd")?.read()?;
    let extends = moov.child(b"mvex").and_then(|mvex| {
        let all = mvex.children().filter(|atom| atom.name == *b"trex");
        all.filter_map(|trex| trex.read::<TrexBox>().ok()).find(|trex| trex.track_id == header.track_id)
    });
    let mut clock = 0;
    for (start, size) in fragments {
        let bytes = read_at(reader, start, size)?;
        if let Some(moof) = Atoms(&bytes).next() {
            fragment(&moof, start, length, header.track_id, extends.as_ref(), &mut clock, &mut raw)?;
        }
    }

    let promised = raw.len();
    raw.retain(|s| s.size > 0 && s.offset.checked_add(s.size).is_some_and(|end| end <= length));
    if raw.len() < promised {
        track.notes.push(cut_note(promised - raw.len(), promised));
    }
    let micros = |t: i64| (i128::from(t) * 1_000_000 / i128::from(timescale)) as i64;
    for s in &raw {
        let sample = Sample { offset: s.offset, size: s.size, stamp: micros(s.shown), keyframe: s.keyframe };
        push(&mut track.samples, sample)?;
    }
    if let Some(first) = track.samples.first_mut() {
        first.keyframe = true;
    }
    let movie_scale = moov.need(b"mvhd")?.read::<MvhdBox>()?.timescale.max(1);
    let edits = match video.child(b"edts").and_then(|edts| edts.child(b"elst")) {
        Some(elst) => edits(&elst.read()?, i64::from(movie_scale), timescale),
        None => Vec::new(),
    };
    track.shown = present(&raw, &edits, timescale);
    if track.shown.is_empty() && !raw.is_empty() {
        track.notes.push("Its edit list shows nothing; it is ignored.".to_owned());
        track.shown = present(&raw, &[], timescale);
    }
    Ok(track)
}

fn header_at<R: Read + Seek>(reader: &mut R, at: u64, length: u64) -> Result<Option<(u64, [u8; 4], usize)>> {
    let left = length - at;
    let bytes = read_at(reader, at, left.min(16))?;
    Ok(box_header(&bytes, left))
}

/// The first enabled track of pictures, or the first one.
fn video_track<'a>(moov: &Atom<'a>) -> Result<Atom<'a>> {
    let mut kinds = Vec::new();
    let mut videos = Vec::new();
    for trak in moov.children().filter(|atom| atom.name == *b"trak") {
        let handler = trak.child(b"mdia").and_then(|mdia| mdia.child(b"hdlr"));
        let Some(handler) = handler.and_then(|hdlr| hdlr.read::<HdlrBox>().ok()) else { continue };
        let kind = handler.handler_type.value;
        if kind == *b"vide" {
            videos.push(trak);
        }
        kinds.push(match &kind {
            b"vide" => "video".to_owned(),
            b"soun" => "sound".to_owned(),
            b"sbtl" | b"text" | b"subt" => "text".to_owned(),
            _ => text(kind),
        });
    }
    // A track without samples is a leftover of editing; one with a sample table comes first.
    let filled = |trak: &&Atom<'_>| {
        let table =
            || trak.child(b"mdia")?.child(b"minf")?.child(b"stbl")?.child(b"stsz")?.read::<StszBox>().ok();
        table().is_some_and(|stsz| stsz.sample_count > 0)
    };
    let found = if kinds.is_empty() { "no track at all".to_owned() } else { kinds.join(", ") };
    let first = videos.iter().find(filled).or(videos.first()).copied();
    first.ok_or(Error::NoVideoTrack { container: CONTAINER, found })
}

/// Codec, size and orientation.
fn describe(video: &Atom<'_>) -> Result<Track> {
    let stsd = video.need(b"mdia")?.need(b"minf")?.need(b"stbl")?.need(b"stsd")?;
    let entries = stsd.content().get(8..).unwrap_or_default();
    let entry = Atoms(entries).next().ok_or_else(|| damaged("it does not say how its video is coded"))?;
    let short = || damaged(format!("its {:?} entry is too short", text(entry.name)));
    let fixed = entry.content().get(..VISUAL_ENTRY).ok_or_else(short)?;
    let side = |at: usize| usize::from(u16::from_be_bytes([fixed[at], fixed[at + 1]]));
    let (codec, description) = codec(&entry)?;
    let matrix = video.need(b"tkhd")?.read::<TkhdBox>()?.matrix;
    let upright = Orientation::from_matrix([matrix.a, matrix.b, matrix.c, matrix.d].map(f64::from));
    let colour = colour(&entry, description.as_deref());
    let mut track =
        Track { codec, description, width: side(24), height: side(26), colour, ..Track::default() };
    match upright {
        Some(orientation) => track.orientation = orientation,
        None => {
            track.notes.push("It asks to be turned by an odd angle; it is shown as it was filmed.".to_owned())
        }
    }
    Ok(track)
}

/// The sample entry as a box that holds only its boxes.
fn entry_boxes<'a>(entry: &Atom<'a>) -> Atom<'a> {
    Atom { bytes: entry.bytes.get(VISUAL_ENTRY..).unwrap_or_default(), ..*entry }
}

/// What the stream says about colours, else the container (`colr`, 12.1.5).
fn colour(entry: &Atom<'_>, description: Option<&[u8]>) -> Option<Colour> {
    let boxes = entry_boxes(entry);
    let content = |name| boxes.child(name).map(|atom| atom.content());
    let container = match content(b"colr") {
        Some([b'n', b'c', b'l', _, _, _, _, _, m0, m1, ..]) => {
            colour::matrix(u64::from(u16::from_be_bytes([*m0, *m1])))
        }
        _ => None,
    };
    let stream = match &entry.name {
        b"avc1" | b"avc3" => description.and_then(colour::of_avc),
        b"vp09" => match content(b"vpcC") {
            Some([_, _, _, _, _, _, range, _, _, matrix, ..]) => {
                Some(Colour { matrix: colour::matrix(u64::from(*matrix)), full_range: range & 1 == 1 })
            }
            _ => None,
        },
        _ => None,
    };
    stream.map(|colour| colour.or_matrix(container))
}

/// The codec string of WebCodecs and the decoder's configuration.
fn codec(entry: &Atom<'_>) -> Result<(String, Option<Vec<u8>>)> {
    let children = entry_boxes(entry);
    let name = text(entry.name);
    let unknown = || Error::Codec { codec: format!("{name:?}") };
    Ok(match &entry.name {
        b"avc1" | b"avc3" => {
            let bytes = children.need(b"avcC")?.content();
            (avc_string(&name, bytes).ok_or_else(unknown)?, Some(bytes.to_vec()))
        }
        b"hvc1" | b"hev1" => {
            let bytes = children.need(b"hvcC")?.content();
            (hevc_string(&name, bytes).ok_or_else(unknown)?, Some(bytes.to_vec()))
        }
        b"av01" => (av1_string(children.need(b"av1C")?.content()).ok_or_else(unknown)?, None),
        b"vp08" => ("vp8".to_owned(), None),
        b"vp09" => match children.need(b"vpcC")?.content() {
            [_, _, _, _, profile, level, depth, ..] => {
                (format!("vp09.{profile:02}.{:02}.{:02}", (*level).max(10), depth >> 4), None)
            }
            _ => return Err(unknown()),
        },
        _ => return Err(unknown()),
    })
}

/// `avc1.PPCCLL` of an avcC record.
pub(super) fn avc_string(name: &str, record: &[u8]) -> Option<String> {
    let [_, profile, constraints, level, ..] = record else { return None };
    Some(format!("{name}.{profile:02X}{constraints:02X}{level:02X}"))
}

/// `hvc1.…` of an hvcC record.
pub(super) fn hevc_string(name: &str, record: &[u8]) -> Option<String> {
    let contents = ReadBox::read_box(&mut Cursor::new(record), record.len() as u64).ok()?;
    let hevc = HevcBox { hvcc: RawBox { contents, raw: Vec::new() }, ..HevcBox::default() };
    let content = if name == "hev1" { StsdBoxContent::Hev1(hevc) } else { StsdBoxContent::Hvc1(hevc) };
    content.codec_string()
}

/// `av01.P.LLT.DD` of an av1C record (AV1 in ISOBMFF, 2.3.3 and 5).
pub(super) fn av1_string(record: &[u8]) -> Option<String> {
    let [_, level, depth, ..] = *record else { return None };
    let (profile, level) = (level >> 5, level & 31);
    let tier = if depth & 0x80 == 0 { 'M' } else { 'H' };
    let bits = match (depth & 0x40 != 0, depth & 0x20 != 0) {
        (true, true) if profile == 2 => 12,
        (true, _) => 10,
        _ => 8,
    };
    Some(format!("av01.{profile}.{level:02}{tier}.{bits:02}"))
}

/// Samples of the index (8.6.1, 8.7).
fn sample_table(stbl: &Atom<'_>, length: u64) -> Result<Vec<Raw>> {
    let sizes: StszBox = stbl.need(b"stsz")?.read()?;
    let count = if sizes.sample_size == 0 {
        sizes.sample_sizes.len()
    } else {
        // More samples than bytes there are for them cannot be.
        (u64::from(sizes.sample_count)).min(length / u64::from(sizes.sample_size) + 1) as usize
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let durations: SttsBox = stbl.need(b"stts")?.read()?;
    let runs: StscBox = stbl.need(b"stsc")?.read()?;
    let shifts: Option<CttsBox> = stbl.child(b"ctts").map(|atom| atom.read()).transpose()?;
    let keys: Option<StssBox> = stbl.child(b"stss").map(|atom| atom.read()).transpose()?;
    let chunks: Vec<u64> = match stbl.child(b"stco") {
        Some(stco) => stco.read::<StcoBox>()?.entries.into_iter().map(u64::from).collect(),
        None => stbl.need(b"co64")?.read::<Co64Box>()?.entries,
    };

    let mut durations =
        RunLength::new(durations.entries.iter().map(|e| (e.sample_count, i64::from(e.sample_delta))));
    let shifts = shifts.map_or_else(Vec::new, |ctts| ctts.entries);
    let mut shifts = RunLength::new(shifts.iter().map(|e| (e.sample_count, i64::from(e.sample_offset))));
    let mut is_key = vec![keys.is_none(); count.min(super::SAMPLE_LIMIT + 1)];
    for number in keys.iter().flat_map(|stss| &stss.entries) {
        if let Some(key) = (*number as usize).checked_sub(1).and_then(|i| is_key.get_mut(i)) {
            *key = true;
        }
    }

    let mut raw = Vec::with_capacity(is_key.len());
    let mut decoded: i64 = 0;
    let mut run = 0;
    for (chunk, &start) in chunks.iter().enumerate() {
        while runs.entries.get(run + 1).is_some_and(|next| next.first_chunk as usize <= chunk + 1) {
            run += 1;
        }
        let mut offset = start;
        for _ in 0..runs.entries.get(run).map_or(0, |r| r.samples_per_chunk) {
            let i = raw.len();
            let Some(&keyframe) = is_key.get(i).filter(|_| i < count) else { return Ok(raw) };
            let size = u64::from(sizes.sample_sizes.get(i).copied().unwrap_or(sizes.sample_size));
            raw.push(Raw { offset, size, shown: decoded.saturating_add(shifts.next()), keyframe });
            decoded = decoded.saturating_add(durations.next());
            offset = offset.saturating_add(size);
        }
    }
    Ok(raw)
}

/// A table of (count, value) read value by value; the last value goes on for ever, and an empty table is 0.
struct RunLength<I> {
    runs: I,
    left: u32,
    value: i64,
}

impl<I: Iterator<Item = (u32, i64)>> RunLength<I> {
    fn new(runs: I) -> Self {
        Self { runs, left: 0, value: 0 }
    }

    fn next(&mut self) -> i64 {
        while self.left == 0 {
            let Some((count, value)) = self.runs.next() else { return self.value };
            (self.left, self.value) = (count, value);
        }
        self.left -= 1;
        self.value
    }
}

/// Adds the samples of one fragment (8.8): `start` is where its box begins in the file.
fn fragment(
    moof: &Atom<'_>,
    start: u64,
    length: u64,
    track: u32,
    extends: Option<&TrexBox>,
    clock: &mut i64,
    raw: &mut Vec<Raw>,
) -> Result<()> {
    for traf in moof.children().filter(|atom| atom.name == *b"traf") {
        let header: TfhdBox = traf.need(b"tfhd")?.read()?;
        if header.track_id != track {
            continue;
        }
        if let Some(tfdt) = traf.child(b"tfdt") {
            *clock = i64::try_from(tfdt.read::<TfdtBox>()?.base_media_decode_time).unwrap_or(i64::MAX);
        }
        let duration =
            header.default_sample_duration.or(extends.map(|t| t.default_sample_duration)).unwrap_or(0);
        let size = header.default_sample_size.or(extends.map(|t| t.default_sample_size)).unwrap_or(0);
        let flags = header.default_sample_flags.or(extends.map(|t| t.default_sample_flags)).unwrap_or(0);
        let base = header.base_data_offset.unwrap_or(start);
        let mut offset = base;
        for atom in traf.children().filter(|atom| atom.name == *b"trun") {
            let count =
                atom.content().get(4..8).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b));
            // Every sample has at least a byte somewhere in the file.
            if u64::from(count) > length {
                return Err(damaged(format!("a fragment announces {count} frames in {length} bytes")));
            }
            let run: TrunBox = atom.read()?;
            if let Some(from) = run.data_offset {
                offset = base.saturating_add_signed(i64::from(from));
            }
            for i in 0..run.sample_count as usize {
                let first = run.first_sample_flags.filter(|_| i == 0);
                let flags = run.sample_flags.get(i).copied().or(first).unwrap_or(flags);
                let size = u64::from(run.sample_sizes.get(i).copied().unwrap_or(size));
                let shift = i64::from(run.sample_cts.get(i).copied().unwrap_or(0).cast_signed());
                if raw.len() > super::SAMPLE_LIMIT {
                    return Ok(());
                }
                raw.push(Raw {
                    offset,
                    size,
                    shown: clock.saturating_add(shift),
                    keyframe: flags & NOT_SYNC == 0,
                });
                offset = offset.saturating_add(size);
                *clock =
                    clock.saturating_add(i64::from(run.sample_durations.get(i).copied().unwrap_or(duration)));
            }
        }
    }
    Ok(())
}

/// One entry of an edit list, in units of the track.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Edit {
    /// When it begins on the screen.
    begins: i64,
    /// Where it begins in the media.
    from: i64,
    /// How long it lasts.
    lasts: i64,
}

/// The edit list (8.6.6): empty edits delay, others show a stretch of the media.
fn edits(elst: &ElstBox, movie_scale: i64, timescale: i64) -> Vec<Edit> {
    let mut begins: i64 = 0;
    let mut edits = Vec::new();
    for entry in &elst.entries {
        let ticks = i128::from(entry.segment_duration) * i128::from(timescale);
        let lasts = (ticks + i128::from(movie_scale) / 2) / i128::from(movie_scale);
        let lasts = i64::try_from(lasts).unwrap_or(i64::MAX);
        let from = match elst.version {
            1 => entry.media_time.cast_signed(),
            _ => i64::from((entry.media_time as u32).cast_signed()),
        };
        if from >= 0 {
            // Fragmented files write 0 for "to the end".
            edits.push(Edit { begins, from, lasts: if lasts == 0 { i64::MAX } else { lasts } });
        }
        begins = begins.saturating_add(lasts);
    }
    edits
}

/// What is shown, in order; without edits everything, from where it stands.
fn present(raw: &[Raw], edits: &[Edit], timescale: i64) -> Vec<Shown> {
    let mut order: Vec<usize> = (0..raw.len()).collect();
    order.sort_by_key(|&i| (raw[i].shown, i));
    let from = |time: i64| order.partition_point(|&i| raw[i].shown < time);
    let stretch = |edit: &Edit| from(edit.from)..from(edit.from.saturating_add(edit.lasts));
    let everything = [(Edit { begins: 0, from: 0, lasts: i64::MAX }, 0..order.len())];
    let edited = edits.iter().map(|edit| (*edit, stretch(edit)));
    let all = everything.into_iter().filter(|_| edits.is_empty()).chain(edited);
    let shown = all.flat_map(|(edit, range)| order[range].iter().map(move |&sample| (edit, sample)));
    let time =
        |edit: Edit, sample: usize| raw[sample].shown.saturating_sub(edit.from).saturating_add(edit.begins);
    let shown: Vec<(i64, usize)> =
        shown.map(|(edit, sample)| (time(edit, sample), sample)).take(super::SAMPLE_LIMIT).collect();
    // An edit may begin in the middle of a frame that is not shown; as ffmpeg does, the first frame then shown
    // takes its place.
    let first = shown.iter().map(|&(time, _)| time).min().unwrap_or(0);
    let late = edits.first().map_or(0, |edit| first.saturating_sub(edit.begins).max(0));
    let seconds = |ticks: i64| ticks.saturating_sub(late) as f64 / timescale as f64;
    shown.into_iter().map(|(time, sample)| Shown { sample, time_secs: seconds(time) }).collect()
}
