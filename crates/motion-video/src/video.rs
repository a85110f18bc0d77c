//! Videos, by the programs `ffprobe` and `ffmpeg`. In: a file. Out: how many frames really decode, each one's time
//! and the size after rotation; then those frames that are asked for, one at a time.
//!
//! The file is decoded twice. The first pass counts (metadata lies), the second one hands over pictures, so that
//! memory holds one of them whatever the length of the video. One decoded frame is one frame, at its own time: no
//! frame is dropped or doubled to even out the rate; edit lists and rotation are ffmpeg's to follow.

use std::ffi::OsString;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use motion_clip::Frame;
use serde::Deserialize;

use crate::child::{Complaints, Ended, Running, TimeLimit};
use crate::error::{Error, Result};

/// Largest picture, in pixels: 8192 x 4320, the largest that cameras make.
const MAX_PIXELS: usize = 8192 * 4320;
/// Largest single allocation that ffmpeg may make, in bytes; a picture of [`MAX_PIXELS`] in 16 bit RGBA fits.
const MAX_ALLOCATION: usize = 1 << 29;
/// Longest video, in frames: more than two hours at 60 per second.
const MAX_FRAMES: usize = 500_000;
/// For counting: a frame takes well under a second, a header far less.
const COUNT_LIMIT: TimeLimit =
    TimeLimit { silence: Duration::from_secs(20), total: Duration::from_secs(1800) };
const PROBE_LIMIT: TimeLimit = TimeLimit { silence: Duration::from_secs(15), total: Duration::from_secs(15) };
/// Ranges of frames that ffmpeg is asked to pick by itself; with more of them it sends every frame.
const MAX_RANGES: usize = 300;
/// Frames at least this high whose file does not name their colour matrix are taken for BT.709, lower ones for
/// BT.601. Browsers guess the same way.
const HD_HEIGHT: usize = 720;
/// Containers that are opened. Playlists are not among them: they could make ffmpeg open other files.
const FORMATS: &str = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,h264,hevc,m4v,ivf,mxf,nut,obu,\
                       dv,rm,wtv,yuv4mpegpipe,mjpeg,jpeg_pipe,png_pipe,webp_pipe";

/// A video file whose frames have been counted.
#[derive(Debug)]
pub(crate) struct Video {
    path: PathBuf,
    /// Of the decoder; as many as it likes where absent.
    threads: Option<usize>,
    /// Which of the file's streams.
    stream: usize,
    /// What to tell ffmpeg of the colour matrix.
    matrix: &'static str,
    /// Width and height after rotation.
    pub(crate) size: [usize; 2],
    /// When each frame is shown, in seconds.
    pub(crate) times: Vec<f64>,
    /// What is damaged, if something is.
    pub(crate) note: Option<String>,
    /// How long counting took.
    counting: Duration,
}

#[derive(Debug, Deserialize)]
struct Probe {
    #[serde(default)]
    streams: Vec<Stream>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    index: usize,
    #[serde(default)]
    codec_type: String,
    codec_name: Option<String>,
    codec_tag_string: Option<String>,
    #[serde(default)]
    width: usize,
    #[serde(default)]
    height: usize,
    pix_fmt: Option<String>,
    color_space: Option<String>,
    nb_frames: Option<String>,
    #[serde(default)]
    disposition: Disposition,
}

#[derive(Debug, Default, Deserialize)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
}

impl Video {
    /// Opens a file and counts the frames that decode. A partly damaged file gives what decodes, with a note.
    /// `counted` hears of every frame.
    ///
    /// # Errors
    /// Not a video, no video track, no decoder, no frame, too large, too long, too slow, or no ffmpeg.
    pub(crate) fn open(path: &Path, threads: Option<usize>, counted: &mut dyn FnMut()) -> Result<Self> {
        let length = std::fs::metadata(path)?.len();
        if length == 0 {
            return Err(Error::Empty);
        }
        let stream = probe(path)?;
        let unspecified = stream.color_space.as_deref().is_none_or(|space| space == "unknown");
        let luma_first = stream.pix_fmt.as_deref().is_some_and(|format| format.starts_with("yuv"));
        let matrix = if unspecified && luma_first && stream.height >= HD_HEIGHT {
            ":in_color_matrix=bt709"
        } else {
            ""
        };
        let mut video = Self {
            path: path.to_owned(),
            threads,
            stream: stream.index,
            matrix,
            size: [0, 0],
            times: Vec::new(),
            note: None,
            counting: Duration::ZERO,
        };
        video.count(counted)?;
        Ok(video)
    }

    /// First pass: how many frames, when, how large.
    fn count(&mut self, counted: &mut dyn FnMut()) -> Result<()> {
        let begun = Instant::now();
        let (mut size, mut times) = ([0, 0], Vec::new());
        let output =
            ["-enc_time_base", "1:1000000", "-c:v", "rawvideo", "-f", "framecrc", "-flush_packets", "1"];
        let complaints = self.ffmpeg(&output, COUNT_LIMIT, |child| -> Result<()> {
            let mut line = String::new();
            // Lines of framecrc: `#dimensions 0: 320x240`, then `stream, dts, pts, duration, bytes, checksum`.
            while child.stdout().read_line(&mut line)? > 0 {
                child.alive();
                let strange = |expected| Error::Output {
                    program: "ffmpeg",
                    found: format!("{:?}", line.trim()),
                    expected,
                };
                if let Some(found) = line.strip_prefix("#dimensions 0:") {
                    size = parse_size(found).ok_or_else(|| strange("a size"))?;
                    check_size(size)?;
                } else if !line.starts_with('#') {
                    let pts = line.split(',').nth(2).and_then(|pts| pts.trim().parse::<i64>().ok());
                    times.push(pts.ok_or_else(|| strange("a frame"))? as f64 / 1e6);
                    if times.len() > MAX_FRAMES {
                        return Err(Error::TooLong { most: MAX_FRAMES });
                    }
                    counted();
                }
                line.clear();
            }
            Ok(())
        })?;
        if times.is_empty() {
            complaints.iter().filter_map(refused_size).try_for_each(check_size)?;
            return Err(Error::NoFrame { reason: reason(&complaints) });
        }
        if size[0] * size[1] == 0 {
            return Err(Error::Output {
                program: "ffmpeg",
                found: "frames".into(),
                expected: "their size, too",
            });
        }
        self.note = (complaints.count > 0).then(|| {
            let (frames, times, reason) = (times.len(), complaints.count, reason(&complaints));
            format!("partly damaged: {frames} frame(s) decoded; ffmpeg complained {times} time(s), first: {reason}")
        });
        (self.size, self.times, self.counting) = (size, times, begun.elapsed());
        Ok(())
    }

    /// Second pass: hands over the frames at `indices` (increasing), one at a time.
    ///
    /// # Errors
    /// When `each` fails, or the second decoding does not give what the first one did.
    pub(crate) fn visit<E: From<Error>>(
        &self,
        indices: &[usize],
        mut each: impl FnMut(usize, Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(&last) = indices.last() else { return Ok(()) };
        let select = self.selection(indices);
        let sent = if select.is_some() { indices.to_vec() } else { (0..=last).collect() };
        let filter = format!(
            "{}scale=flags=bicubic+accurate_rnd+full_chroma_int{},format=rgb24",
            select.unwrap_or_default(),
            self.matrix
        );
        let count = sent.len().to_string();
        // Once it has sent them all there is nothing more to decode.
        let output = ["-vf", &filter, "-frames:v", &count, "-c:v", "rawvideo", "-f", "rawvideo"];
        // Between two frames that were asked for may lie many that were not; all of them took `counting`.
        let limit = TimeLimit { silence: COUNT_LIMIT.silence + 4 * self.counting, total: Duration::MAX };
        let [width, height] = self.size;
        let mut met = 0;
        let complaints = self.ffmpeg(&output, limit, |child| -> Result<(), E> {
            let mut wanted = indices.iter().peekable();
            for &index in &sent {
                let mut rgb = vec![0; width * height * 3];
                if let Err(error) = child.stdout().read_exact(&mut rgb) {
                    if error.kind() == std::io::ErrorKind::UnexpectedEof {
                        break;
                    }
                    return Err(Error::from(error).into());
                }
                met += 1;
                if wanted.next_if_eq(&&index).is_some() {
                    child.pause();
                    each(index, Frame::new(width, height, rgb, self.times[index]).map_err(Error::from)?)?;
                }
                child.alive();
            }
            Ok(())
        })?;
        if met == sent.len() {
            return Ok(());
        }
        let reason = reason(&complaints);
        Err(Error::SecondTime { found: met, expected: sent.len(), reason }.into())
    }

    /// A filter that lets only these frames through: by time, because ffmpeg's own numbering starts again where a
    /// stream changes its format. None when every frame has to be sent.
    fn selection(&self, indices: &[usize]) -> Option<String> {
        let ranges = ranges(indices);
        let distinct = self.times.windows(2).all(|pair| pair[1] - pair[0] > 4e-6);
        if indices.len() == self.times.len() || ranges.len() > MAX_RANGES || !distinct {
            return None;
        }
        let between = |&[first, last]: &[usize; 2]| {
            format!("between(t,{:.7},{:.7})", self.times[first] - 1.5e-6, self.times[last] + 1.5e-6)
        };
        Some(format!("select='{}',", ranges.iter().map(between).collect::<Vec<_>>().join("+")))
    }

    /// Runs ffmpeg over the video track, each decoded frame once, and lets `read` have its output.
    fn ffmpeg<E: From<Error>>(
        &self,
        output: &[&str],
        limit: TimeLimit,
        mut read: impl FnMut(&mut Running) -> Result<(), E>,
    ) -> Result<Complaints, E> {
        // The first is the name since ffmpeg 5.1, the second the one before; newer versions drop it.
        for every_frame in ["-fps_mode", "-vsync"] {
            let mut args: Vec<OsString> =
                ["-hide_banner", "-nostdin", "-v", "error", "-max_alloc"].map(Into::into).into();
            args.push(MAX_ALLOCATION.to_string().into());
            if let Some(threads) = self.threads {
                for option in ["-filter_threads", "-threads"] {
                    args.extend([option.into(), threads.to_string().into()]);
                }
            }
            args.extend(["-copyts", "-max_pixels"].map(Into::into));
            args.push(MAX_PIXELS.to_string().into());
            args.extend(input(&self.path));
            args.extend(["-map".into(), format!("0:{}", self.stream).into()]);
            args.extend([every_frame, "passthrough"].map(Into::into));
            args.extend(output.iter().map(Into::into));
            args.push("-".into());
            let mut child = Running::start("ffmpeg", &args, limit)?;
            read(&mut child)?;
            let Ended { complaints, .. } = child.finish()?;
            if !complaints.iter().any(|line| line.contains("Unrecognized option 'fps_mode'")) {
                return Ok(complaints);
            }
        }
        Err(Error::TooOld.into())
    }
}

/// The input file as both programs take it: `file:` in front, so that no name can be taken for an option or for
/// another protocol, and nothing else may be opened.
fn input(path: &Path) -> Vec<OsString> {
    let mut url = OsString::from("file:");
    url.push(path);
    let whitelists = ["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-i"];
    whitelists.into_iter().map(OsString::from).chain([url]).collect()
}

/// Asks ffprobe which video track there is to decode.
fn probe(path: &Path) -> Result<Stream> {
    let mut args: Vec<OsString> = ["-v", "error", "-show_streams", "-of", "json"].map(Into::into).into();
    args.extend(["-max_pixels".into(), MAX_PIXELS.to_string().into()]);
    args.extend(input(path));
    let mut child = Running::start("ffprobe", &args, PROBE_LIMIT)?;
    let mut json = Vec::new();
    child.stdout().take(1 << 24).read_to_end(&mut json)?;
    let Ended { status, complaints } = child.finish()?;
    if !status.success() {
        return Err(Error::NotAVideo { reason: reason(&complaints) });
    }
    let Probe { streams } = serde_json::from_slice(&json).map_err(|error| Error::Output {
        program: "ffprobe",
        found: error.to_string(),
        expected: "JSON",
    })?;
    let tracks: Vec<String> = streams.iter().map(|s| format!("{} {}", s.codec_type, s.codec())).collect();
    let is_video = |s: &Stream| s.codec_type == "video" && s.disposition.attached_pic == 0;
    // Some files hold an empty video track beside the real one.
    let is_filled = |s: &Stream| s.pix_fmt.is_some() && s.nb_frames.as_deref() != Some("0");
    let mut videos: Vec<Stream> = streams.into_iter().filter(is_video).collect();
    let best = videos.iter().position(is_filled).unwrap_or(0);
    if videos.is_empty() {
        let found = if tracks.is_empty() { "nothing".to_owned() } else { tracks.join(", ") };
        return Err(Error::NoTrack { found });
    }
    let stream = videos.swap_remove(best);
    if !stream.codec_name.as_deref().is_some_and(|name| name != "none" && name != "unknown") {
        return Err(Error::Codec { codec: stream.codec().to_owned() });
    }
    check_size([stream.width, stream.height])?;
    Ok(stream)
}

impl Stream {
    fn codec(&self) -> &str {
        let known = self.codec_name.as_deref().filter(|name| *name != "none" && *name != "unknown");
        known.or(self.codec_tag_string.as_deref()).unwrap_or("unknown")
    }
}

fn check_size([width, height]: [usize; 2]) -> Result<()> {
    match width.saturating_mul(height) <= MAX_PIXELS {
        true => Ok(()),
        false => Err(Error::TooLarge { width, height, most: MAX_PIXELS }),
    }
}

/// The size in `Picture size 12336x12336 exceeds specified max pixel count`.
fn refused_size(complaint: &str) -> Option<[usize; 2]> {
    let (_, tail) = complaint.split_once("Picture size ")?;
    parse_size(tail.split_once(' ')?.0)
}

fn parse_size(text: &str) -> Option<[usize; 2]> {
    let (width, height) = text.trim().split_once('x')?;
    Some([width.parse().ok()?, height.parse().ok()?])
}

/// Neighbouring indices as (first, last).
fn ranges(indices: &[usize]) -> Vec<[usize; 2]> {
    let mut ranges: Vec<[usize; 2]> = Vec::new();
    for &index in indices {
        match ranges.last_mut() {
            Some([_, last]) if *last + 1 == index => *last = index,
            _ => ranges.push([index, index]),
        }
    }
    ranges
}

/// The complaint that tells most, without ffmpeg's addresses and names of ours.
fn reason(complaints: &Complaints) -> String {
    // Repeated in other words by a line that says more.
    let vague = [
        "Invalid data found",
        "Error while decoding",
        "Error marking filters",
        "Truncating packet",
        "Last message repeated",
    ];
    let plain = |mut line: &str| {
        // `[vp9 @ 0x55e6] [IMGUTILS @ 0x7fff] Picture size ...`
        while let Some((from, rest)) = line.split_once("] ")
            && from.starts_with('[')
            && from.contains(" @ 0x")
        {
            line = rest;
        }
        let line = line.strip_suffix(", see the documentation if you wish to increase it").unwrap_or(line);
        let line = if line.starts_with("file:") { line.rsplit(": ").next().unwrap_or(line) } else { line };
        line.trim_end_matches('.').to_owned()
    };
    let lines: Vec<String> = complaints.iter().map(plain).collect();
    let telling = lines.iter().find(|line| !vague.iter().any(|vague| line.starts_with(vague)));
    telling.or(lines.last()).cloned().unwrap_or_else(|| "ffmpeg gave no reason".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), [[0, 2], [5, 5], [7, 8]]);
        assert!(ranges(&[]).is_empty());
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!(parse_size(" 320x240\n"), Some([320, 240]));
        assert_eq!(parse_size("320"), None);
        let complaint = "[vp9 @ 0x5] Picture size 12336x12000 exceeds specified max pixel count 1000";
        assert_eq!(refused_size(complaint), Some([12336, 12000]));
        assert!(check_size([8192, 4320]).is_ok());
        assert!(check_size([12336, 12336]).is_err());
        assert!(check_size([usize::MAX, 2]).is_err());
    }

    #[test]
    fn the_telling_complaint_is_found_and_stripped() {
        let reason_of = |lines: &[&str]| reason(&lines.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(reason_of(&["[vp9 @ 0x5] [IMGUTILS @ 0x7] Picture size 9x9", "b"]), "Picture size 9x9");
        assert_eq!(
            reason_of(&["[mov,mp4 @ 0x5] moov atom not found", "file:a.mp4: Invalid data found"]),
            "moov atom not found"
        );
        assert_eq!(reason_of(&["Last message repeated 1 times", "file:a.webm: End of file"]), "End of file");
        assert_eq!(
            reason_of(&["file:a: b.mp4: Invalid data found when processing input"]),
            "Invalid data found when processing input"
        );
        assert_eq!(
            reason_of(&["[webm @ 0x5] Element at 0x28ef ends at 0x1e."]),
            "Element at 0x28ef ends at 0x1e"
        );
        assert_eq!(reason_of(&[]), "ffmpeg gave no reason");
    }

    #[test]
    fn a_name_cannot_be_an_option_or_a_protocol() {
        for name in ["-i", "http://host/x", "concat:a|b", "a:b.mp4"] {
            let args = input(Path::new(name));
            assert_eq!(args.last(), Some(&OsString::from(format!("file:{name}"))));
        }
    }
}
