//! Are the frames of a video the right ones: counted, in time, turned, in colour?

use crate::support::{arg, array, ffmpeg, frames, has_ffmpeg, json, lossless, model, shared, succeeds};

/// A video without losses gives what its frames as a folder give, to the bit.
#[test]
fn a_lossless_video_equals_its_frames() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 23, [80, 60], [3, 1]));
    // Names that could be taken for an option, a protocol, a pattern.
    for name in ["video.mkv", "-i.mkv", "a:b %d.mkv"] {
        let video = folder.path().join(name);
        lossless(&frames, &folder.path().join("made.mkv"));
        std::fs::rename(folder.path().join("made.mkv"), &video).unwrap();
        for options in [&[][..], &["--every-frame"]] {
            let maps = |source: &str| {
                let out = folder.path().join("maps");
                let args = ["maps", source, "--model", arg(&model), "--out", arg(&out), "--format", "npz"];
                succeeds(&[&args[..], options].concat());
                ["displacement.res3", "confidence.res3"].map(|name| array(&out.join("maps.npz"), name))
            };
            assert_eq!(maps(arg(&video)), maps(arg(&frames)), "{name} {options:?}");
        }
    }
}

#[test]
fn each_decoded_frame_counts_once_at_its_own_time() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (model, video, out) =
        (model(folder.path()), folder.path().join("uneven.mkv"), folder.path().join("maps"));
    // Frame n is shown at n^2 / 100 s: no rate would do.
    let passthrough = ["-fps_mode", "-vsync"].into_iter().any(|option| {
        let args = [
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=64x48:r=100",
            "-frames:v",
            "12",
        ];
        let made = std::process::Command::new("ffmpeg")
            .args(args)
            .args(["-vf", "settb=1/1000,setpts=N*N*10", option, "passthrough", "-c:v", "png", arg(&video)])
            .output();
        made.unwrap().status.success()
    });
    assert!(passthrough);
    let args =
        ["maps", arg(&video), "--model", arg(&model), "--out", arg(&out), "--format", "npz", "--every-frame"];
    succeeds(&args);
    let (_, times) = array(&out.join("maps.npz"), "times");
    let expected: Vec<f32> = (0..12).map(|n| (n * n) as f32 / 100.0).collect();
    assert_eq!(times.len(), 12);
    for (found, expected) in times.iter().zip(&expected) {
        assert!((found - expected).abs() < 2e-3, "{times:?}");
    }
}

#[test]
fn rotation_and_edit_lists_are_followed() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (model, video) = (model(folder.path()), folder.path().join("video.mp4"));
    ffmpeg(&["-f", "lavfi", "-i", "testsrc=s=96x48:r=10:d=1.5", "-c:v", "mpeg4", "-g", "1", arg(&video)]);
    let mut bytes = std::fs::read(&video).unwrap();
    // The track header's display matrix, 40 bytes after its name: a quarter turn.
    let at = bytes.windows(4).position(|name| name == b"tkhd").unwrap() + 44;
    let one = 0x1_0000_i32;
    for (i, value) in [0, one, 0, -one, 0, 0, 48 * one, 0, 0x4000_0000].into_iter().enumerate() {
        bytes[at + 4 * i..][..4].copy_from_slice(&value.to_be_bytes());
    }
    let turned = folder.path().join("turned.mp4");
    std::fs::write(&turned, &bytes).unwrap();
    let look = |video: &std::path::Path| {
        let out = folder.path().join("maps");
        let args =
            ["maps", arg(video), "--model", arg(&model), "--out", arg(&out), "--format", "npz", "--json"];
        json(&succeeds(&[&args[..], &["--every-frame"]].concat()).stdout)
    };
    assert_eq!(look(&video)["size"], serde_json::json!([96, 48]));
    assert_eq!(look(&turned)["size"], serde_json::json!([48, 96]));
    assert_eq!(look(&turned)["frames"].as_array().unwrap().len(), 15);

    // Cut without decoding, the first half second is in the file but not in the edit list.
    let (stream, cut) = (folder.path().join("h264.mp4"), folder.path().join("cut.mp4"));
    let encoded = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=96x48:r=10:d=1.5"])
        .args(["-c:v", "libx264", "-bf", "0", "-g", "100", arg(&stream)])
        .output();
    if !encoded.unwrap().status.success() {
        eprintln!("skipped: this ffmpeg has no H.264 encoder");
        return;
    }
    ffmpeg(&["-ss", "0.5", "-i", arg(&stream), "-c", "copy", arg(&cut)]);
    assert_eq!(look(&cut)["frames"].as_array().unwrap().len(), 10);
}

#[test]
fn colours_follow_the_file() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    // One green in both matrices and both ranges: it must come out alike, so the scores must be alike.
    let scores = |matrix: &str, range: &str| {
        let video = folder.path().join(format!("{matrix}{range}.mkv"));
        let filter = format!("scale=out_color_matrix={matrix}:out_range={range},format=yuv444p");
        let input = "color=c=0x20c040:s=64x64:r=5:d=1";
        let tags =
            ["-colorspace", if matrix == "bt709" { "bt709" } else { "smpte170m" }, "-color_range", range];
        let args = ["-f", "lavfi", "-i", input, "-vf", &filter, "-c:v", "ffv1"];
        ffmpeg(&[&args[..], &tags, &[arg(&video)]].concat());
        let ran = succeeds(&["classify", arg(&video), "--model", arg(&model), "--json"]);
        let answer = json(ran.stdout.trim());
        let top = answer["top"].as_array().unwrap().clone();
        let mut pairs: Vec<(String, f64)> = top
            .iter()
            .map(|a| (a["label"].as_str().unwrap().to_owned(), a["probability"].as_f64().unwrap()))
            .collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    let expected = scores("bt601", "tv");
    for (matrix, range) in [("bt709", "tv"), ("bt709", "pc"), ("bt601", "pc")] {
        for (found, expected) in scores(matrix, range).iter().zip(&expected) {
            assert!((found.1 - expected.1).abs() < 0.01, "{matrix} {range}: {found:?} {expected:?}");
        }
    }
}

#[test]
fn a_damaged_file_gives_what_decodes_with_a_note() {
    let Some(hostile) = shared("data/hostile") else { return };
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let ran = succeeds(&[
        "classify",
        arg(&hostile.join("derived_truncated_after_moov.mp4")),
        "--model",
        arg(&model),
    ]);
    assert!(ran.stderr.starts_with("note: ") && ran.stderr.contains("partly damaged"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}
