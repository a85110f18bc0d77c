//! Does the demuxer find what ffprobe finds, and does it survive damage?
//!
//! Files of the shared data folder are used where it is there, and clips made by ffmpeg where that is installed.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use motion_web::demux::{Track, open};

fn data(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder);
    let Ok(entries) = std::fs::read_dir(&root) else {
        eprintln!("skipped: no folder {}", root.display());
        return Vec::new();
    };
    let video = |path: &PathBuf| {
        path.extension()
            .is_some_and(|e| ["mp4", "mov", "webm", "mkv"].contains(&e.to_str().unwrap_or_default()))
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(video).collect();
    files.sort();
    assert!(!files.is_empty(), "no video in {}", root.display());
    files
}

fn demux(path: &Path) -> motion_web::Result<Track> {
    open(&mut File::open(path).unwrap())
}

/// What ffprobe says: size, turn in degrees clockwise, and when each decoded frame is shown.
struct Probed {
    size: [usize; 2],
    degrees: u32,
    times: Vec<f64>,
}

fn ffprobe(path: &Path) -> Option<Probed> {
    let show = "stream=width,height:stream_side_data=rotation:frame=best_effort_timestamp_time";
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", "v:0", "-show_frames", "-show_entries", show])
        .args(["-of", "default=noprint_wrappers=1"])
        .arg(path)
        .output()
        .ok()?;
    let mut probed = Probed { size: [0, 0], degrees: 0, times: Vec::new() };
    for line in String::from_utf8(output.stdout).ok()?.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key {
            "width" => probed.size[0] = value.parse().ok()?,
            "height" => probed.size[1] = value.parse().ok()?,
            // ffprobe turns anticlockwise.
            "rotation" => probed.degrees = value.parse::<i32>().ok()?.rem_euclid(360).cast_unsigned(),
            "best_effort_timestamp_time" => probed.times.push(value.parse().ok()?),
            _ => {}
        }
    }
    probed.degrees = (360 - probed.degrees) % 360;
    Some(probed)
}

/// Frames, size, turn and times are those that ffprobe gives after decoding everything.
fn agrees_with_ffprobe(path: &Path) {
    let track = demux(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Some(probed) = ffprobe(path) else {
        eprintln!("skipped: ffprobe is not installed");
        return;
    };
    let name = path.file_name().unwrap().to_string_lossy();
    assert_eq!([track.width, track.height], probed.size, "{name}");
    assert_eq!(track.orientation.degrees(), probed.degrees, "{name}");
    assert_eq!(track.shown.len(), probed.times.len(), "{name}");
    for (i, (shown, time)) in track.shown.iter().zip(&probed.times).enumerate() {
        // ffprobe prints microseconds; Matroska itself keeps milliseconds.
        assert!((shown.time_secs - time).abs() < 2e-6, "{name}: frame {i} at {} not {time}", shown.time_secs);
    }
}

#[test]
fn every_clip_has_the_frames_and_times_that_ffprobe_finds() {
    for path in data("clips") {
        agrees_with_ffprobe(&path);
    }
}

/// The colour matrix and range that ffprobe finds in a stream, where this is looked for at all.
#[test]
fn colours_are_those_that_ffprobe_finds() {
    let mut seen = 0;
    for path in data("clips").into_iter().chain(data("hostile")) {
        let Some(colour) = demux(&path).ok().and_then(|track| track.colour) else { continue };
        let probe =
            ["-v", "quiet", "-select_streams", "v:0", "-show_entries", "stream=color_space,color_range"];
        let Ok(output) =
            Command::new("ffprobe").args(probe).args(["-of", "default=nw=1"]).arg(&path).output()
        else {
            eprintln!("skipped: ffprobe is not installed");
            return;
        };
        let text = String::from_utf8(output.stdout).unwrap();
        let said =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("unknown").to_owned();
        let found = match colour.matrix {
            None => "unknown",
            Some(1) => "bt709",
            Some(5) => "bt470bg",
            Some(6) => "smpte170m",
            Some(9) => "bt2020nc",
            Some(_) => "another",
        };
        // VP9 knows BT.601 only under one name, which ffprobe calls by another.
        let space = said("color_space=");
        let same = found == space || (found == "smpte170m" && space == "bt470bg");
        assert!(same, "{}: {found}, ffprobe: {space}", path.display());
        assert_eq!(colour.full_range, said("color_range=") == "pc", "{}", path.display());
        seen += 1;
    }
    eprintln!("colours of {seen} files");
}

/// What each hostile file is to the demuxer: what it promises, or why it is refused.
#[test]
fn every_hostile_file_is_opened_or_refused_in_words() {
    let mut seen = 0;
    for path in data("hostile") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = match demux(&path) {
            Ok(track) => format!("{} frames {}", track.shown.len(), track.codec),
            Err(error) => error.to_string(),
        };
        let expected = match name.as_str() {
            "bbb_176x144_192kbps_15fps_mpeg4.mp4" => "mp4v",
            "bear-vp9-odd-dimensions.webm" | "derived_odd_97x55.webm" => "30 frames vp09.00",
            "block_ends_beyond_cluster.mkv" => "V_MS/VFW/FOURCC",
            "corrupted.mp4" => "50 frames avc1.",
            "derived_alpha_vp9.webm" => "30 frames vp09.00",
            "derived_html_named.webm" => "an HTML",
            "derived_jpeg_named.mp4" => "a JPEG picture",
            "derived_single_frame.mp4" => "1 frames avc1.",
            "derived_tiny_16x16.mp4" => "18 frames avc1.",
            "derived_truncated_after_moov.mp4" => "frames avc1.",
            "derived_truncated_mid_cluster.webm" => "22 frames vp8",
            "derived_truncated_no_moov.mp4" => "no index",
            "derived_vfr.mp4" => "19 frames avc1.",
            "derived_zero_length.mp4" => "empty",
            "h264_10bits.mp4" => "30 frames avc1.6E",
            "invalid-bitstream.webm" => "frames vp09",
            "invalid_vp9_bitstream-bug_1416.webm" => "damaged",
            "roadtrip-vp92-10bit.webm" => "72 frames vp09.02.10.10",
            "sample_audio_only.mp4" => "no video track (found: sound)",
            "sample_vvc.mp4" => "vvc1",
            "sample_rotate_and_reflect.mp4" | "sample_empty_track.mp4" => "30 frames avc1.",
            "silent-black-10s.mp4" => "300 frames avc1.",
            "unordered.mov" => "4 frames avc1.",
            "video_90.mov" | "video_180.mov" => "3 frames avc1.",
            _ => "",
        };
        assert!(outcome.contains(expected), "{name}: {outcome}, expected {expected:?}");
        eprintln!("{name}: {outcome}");
        seen += 1;
    }
    eprintln!("{seen} hostile files");
}

#[test]
fn turned_and_edited_files_agree_with_ffprobe() {
    let sound = [
        "video_90.mov",
        "video_180.mov",
        "sample_rotate_and_reflect.mp4",
        "derived_vfr.mp4",
        "unordered.mov",
        "roadtrip-vp92-10bit.webm",
    ];
    for path in data("hostile") {
        if sound.iter().any(|name| path.ends_with(name)) {
            agrees_with_ffprobe(&path);
        }
    }
}

/// Files of kinds that the shared data lack: fragments, edits that cut into a group of pictures, no edits, WebM live.
#[test]
fn files_that_ffmpeg_makes_agree_with_ffprobe() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=4"];
    let coded = ["-c:v", "libx264", "-g", "12", "-bf", "2", "-pix_fmt", "yuv420p"];
    let made =
        Command::new("ffmpeg").args(["-v", "error", "-y"]).args(picture).args(coded).arg(&source).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: ffmpeg with libx264 is not installed");
        return;
    }
    let cases: [(&str, &[&str]); 8] = [
        ("fragments.mp4", &["-c", "copy", "-movflags", "frag_keyframe+empty_moov"]),
        ("base_moof.mp4", &["-c", "copy", "-movflags", "frag_keyframe+default_base_moof+delay_moov"]),
        ("cut.mp4", &["-ss", "1.3", "-t", "1.5", "-c", "copy"]),
        ("no_edits.mp4", &["-c", "copy", "-use_editlist", "0"]),
        ("negative.mov", &["-c", "copy", "-movflags", "negative_cts_offsets"]),
        ("copied.mkv", &["-c", "copy"]),
        (
            "hidden.webm",
            &["-c:v", "libvpx-vp9", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "100k"],
        ),
        ("live.webm", &["-c:v", "libvpx", "-live", "1", "-auto-alt-ref", "1"]),
    ];
    for (name, options) in cases {
        let path = folder.path().join(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]);
        // Seeking in the input keeps the group of pictures and writes an edit list.
        let (before, after) = if options[0] == "-ss" { options.split_at(4) } else { options.split_at(0) };
        let status = command.args(before).arg("-i").arg(&source).args(after).arg(&path).status().unwrap();
        assert!(status.success(), "{name}");
        agrees_with_ffprobe(&path);
    }
}

/// A generator of the same numbers on every machine (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// Damaged copies of real files must end in a track or an error: no panic, no flood of memory, no endless loop.
#[test]
fn damaged_files_do_no_harm() {
    let mut files = data("clips");
    files.extend(data("hostile"));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        for round in 0..60 {
            let mut copy = bytes.clone();
            if round % 3 == 0 {
                copy.truncate(numbers.below(bytes.len()));
            } else {
                for _ in 0..=numbers.below(8) {
                    // Headers stand at the start or the end: half of the damage goes there.
                    let reach = if round % 2 == 0 { copy.len() } else { copy.len().min(4096) };
                    let from_end = numbers.below(2) == 0;
                    let place = numbers.below(reach);
                    let place = if from_end { copy.len().saturating_sub(1 + place) } else { place };
                    if let Some(byte) = copy.get_mut(place) {
                        *byte ^= 1 << numbers.below(8);
                    }
                }
            }
            let length = copy.len() as u64;
            let result = std::panic::catch_unwind(|| open(&mut Cursor::new(&copy)));
            let outcome = result.unwrap_or_else(|_| panic!("{} panics in round {round}", path.display()));
            if let Ok(track) = outcome {
                assert!(track.samples.iter().all(|s| s.size > 0 && s.offset + s.size <= length));
                assert!(track.shown.iter().all(|shown| shown.sample < track.samples.len()));
            }
        }
    }
}
