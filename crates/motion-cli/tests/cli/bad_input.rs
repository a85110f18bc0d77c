//! Does every bad input give one clear line and no success?

use std::path::Path;

use crate::support::{
    arg, config_json, fails, ffmpeg, frame, frames, has_ffmpeg, model, program, ran, shared, succeeds,
    weights, write_model,
};

#[test]
fn what_is_no_video() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let empty = folder.path().join("no_frames");
    std::fs::create_dir(&empty).unwrap();
    let sound = folder.path().join("sound.mp4");
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=0.5", "-c:a", "aac", arg(&sound)]);
    let video = folder.path().join("video.mp4");
    ffmpeg(&["-f", "lavfi", "-i", "testsrc=s=64x64:d=1:r=10", "-c:v", "mpeg4", arg(&video)]);
    let whole = std::fs::read(&video).unwrap();
    let single = folder.path().join("single.mkv");
    ffmpeg(&["-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1", "-c:v", "png", arg(&single)]);
    let huge = folder.path().join("huge.mkv");
    ffmpeg(&["-f", "lavfi", "-i", "color=s=12000x4000", "-frames:v", "2", "-c:v", "png", arg(&huge)]);
    let secret = file("secret.txt", b"not to be read by a playlist");
    let playlist = format!("#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", video.display());
    let concat = format!("ffconcat version 1.0\nfile {}\n", secret.display());
    for (path, hints) in [
        (folder.path().join("absent.mp4"), &["absent.mp4", "No such file"][..]),
        (file("text.webm", b"<html>not a video</html>"), &["text.webm", "not a video"]),
        (file("empty.mp4", b""), &["empty.mp4", "empty (0 bytes)"]),
        (file("cut.mp4", &whole[..whole.len() / 3]), &["cut.mp4", "not a video that can be opened"]),
        (file("list.mp4", playlist.as_bytes()), &["list.mp4", "not a video that can be opened"]),
        (file("concat.mp4", concat.as_bytes()), &["concat.mp4", "not a video that can be opened"]),
        (sound, &["sound.mp4", "no video track", "audio aac"]),
        (single, &["single.mkv", "only 1 frame"]),
        (huge, &["huge.mkv", "12000 x 4000", "scale it down"]),
        (empty, &["no_frames", "no frame in the folder", ".png"]),
    ] {
        fails(&["classify", arg(&path), "--model", arg(&model)], hints);
        let out = folder.path().join("out");
        fails(&["maps", arg(&path), "--model", arg(&model), "--out", arg(&out)], hints);
        assert!(!out.exists(), "{}: a failed run writes nothing", path.display());
    }
}

#[test]
fn small_and_odd_pictures_are_no_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    for size in [[16, 16], [97, 55], [1, 300]] {
        let frames = frames(&folder.path().join(format!("{size:?}")), 5, size, [1, 0]);
        let out = frames.join("maps");
        succeeds(&["classify", arg(&frames), "--model", arg(&model)]);
        succeeds(&["maps", arg(&frames), "--model", arg(&model), "--out", arg(&out), "--format", "npz,png"]);
    }
}

#[test]
fn frames_that_do_not_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 4, [32, 32], [4, 0]));
    frame(33, 32, [0, 0]).save(frames.join("0002.png")).unwrap();
    let args = ["classify", arg(&frames), "--model", arg(&model)];
    fails(&args, &["0002.png is 33 x 32", "0000.png is 32 x 32", "one size"]);
    std::fs::write(frames.join("0002.png"), "no picture").unwrap();
    fails(&args, &["cannot decode", "0002.png"]);
}

#[test]
fn a_program_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let video = folder.path().join("video.mp4");
    std::fs::write(&video, "anything").unwrap();
    let mut command = program();
    command.env("PATH", folder.path()).args(["classify", arg(&video), "--model", arg(&model)]);
    let ran = ran(&mut command);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("not installed") && ran.stderr.contains("apt install ffmpeg"),
        "{}",
        ran.stderr
    );
}

#[test]
fn models_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let frames = frames(folder.path(), 4, [32, 32], [4, 0]);
    let config = config_json("resnet18", true);
    let whole = weights(&config);
    let path = folder.path().join("spoilt");
    let check = |hints: &[&str]| {
        fails(&["classify", arg(&frames), "--model", arg(&path)], hints);
        std::fs::remove_dir_all(&path).ok();
    };
    check(&["spoilt", "no such folder", "config.json"]);

    let spoilt = |spoil: &dyn Fn(&mut std::collections::BTreeMap<String, motion_net::HostTensor>)| {
        let mut weights = whole.clone();
        spoil(&mut weights);
        write_model(&path, &config, weights);
    };
    let name = "base_model.layer1.0.conv1.weight";
    spoilt(&|weights| drop(weights.remove(name)));
    check(&["spoilt", name, "missing"]);
    spoilt(&|weights| drop(weights.insert("base_model.layer9.weight".into(), weights[name].clone())));
    check(&["spoilt", "base_model.layer9.weight"]);
    spoilt(&|weights| weights.get_mut(name).unwrap().shape.swap(1, 3));
    check(&["spoilt", name, "[8, 3, 3, 8]", "[8, 8, 3, 3]"]);
    spoilt(&|weights| weights.get_mut(name).unwrap().data[7] = f32::NAN);
    check(&["spoilt", name, "NaN", "element 7"]);

    for (from, to, hints) in [
        ("\"frames\"", "\"framez\"", &["config.json", "framez"][..]),
        ("\"patch\": 7", "\"patch\": 8", &["config.json", "patch", "8"]),
        ("\"resnet18\"", "\"vgg\"", &["config.json", "vgg"]),
        ("\"res3\"", "\"res9\"", &["config.json", "res9"]),
        ("{\"arch", "{\"arch\"", &["config.json"]),
    ] {
        write_model(&path, &config.replace(from, to), whole.clone());
        check(hints);
    }
    write_model(&path, &config, whole.clone());
    std::fs::write(path.join("model.safetensors"), "no weights").unwrap();
    check(&["model.safetensors"]);
    write_model(&path, &config, whole.clone());
    std::fs::remove_file(path.join("model.safetensors")).unwrap();
    check(&["cannot read", "model.safetensors"]);
    write_model(&path, &config, whole.clone());
    std::fs::remove_file(path.join("config.json")).unwrap();
    check(&["cannot read", "config.json"]);
    // Far more pixels than memory should be asked for.
    let greedy = config
        .replace("\"frames\": 4", "\"frames\": 256")
        .replace("\"input_size\": 64", "\"input_size\": 2048")
        .replace("[64, 64]", "[2048, 2048]");
    write_model(&path, &greedy, whole);
    check(&["config.json", "frames x input_size x input_size is 1073741824 pixels", "at most 33554432"]);
}

#[test]
fn options_out_of_range_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (model, frames) = (model(folder.path()), frames(folder.path(), 4, [32, 32], [4, 0]));
    let out = folder.path().join("out");
    for (options, hints) in [
        (&["--patch", "8"][..], &["patch", "8", "odd"][..]),
        (&["--sigma", "0"], &["sigma"]),
        (&["--temperature", "-1"], &["temperature"]),
        (&["--stage", "res7"], &["--stage", "res7", "res3"]),
        (&["--fps", "0"], &["--fps"]),
        (&["--format", "csv", "--size", "frame"], &["csv", "--size"]),
    ] {
        let mut args = vec!["maps", arg(&frames), "--model", arg(&model), "--out", arg(&out)];
        // `--temperature -1` would be taken for an option without the equals sign.
        let joined: Vec<String> = options.chunks(2).map(|pair| pair.join("=")).collect();
        args.extend(joined.iter().map(String::as_str));
        fails(&args, hints);
    }
    for options in [["--top", "0"], ["--clips", "0"], ["--clips", "100000"]] {
        let args = ["classify", arg(&frames), "--model", arg(&model)];
        fails(&[&args[..], &options].concat(), &[options[0], options[1]]);
    }
}

/// No crash, no hang, one line per error, on every file that was collected for being difficult.
#[test]
fn hostile_files() {
    let Some(hostile) = shared("data/hostile") else { return };
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path());
    let must_fail = [
        "block_ends_beyond_cluster.mkv",
        "derived_html_named.webm",
        "derived_jpeg_named.mp4",
        "derived_single_frame.mp4",
        "derived_truncated_no_moov.mp4",
        "derived_zero_length.mp4",
        "invalid-bitstream.webm",
        "invalid_vp9_bitstream-bug_1416.webm",
        "sample_audio_only.mp4",
        "sample_malformed_free_box.mp4",
        "segment_info.webm",
        "SOURCES.md",
    ];
    let mut seen = 0;
    for entry in hostile.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // Whether there is a decoder for VVC depends on the machine.
        if name == "sample_vvc.mp4" {
            continue;
        }
        let begun = std::time::Instant::now();
        if must_fail.contains(&name.as_str()) {
            fails(&["classify", arg(&path), "--model", arg(&model)], &[&name]);
        } else {
            succeeds(&["classify", arg(&path), "--model", arg(&model)]);
        }
        assert!(begun.elapsed().as_secs() < 30, "{name} took {:?}", begun.elapsed());
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} files");
    sizes_after_rotation(&hostile, &model, folder.path());
}

fn sizes_after_rotation(hostile: &Path, model: &Path, folder: &Path) {
    for (name, size) in [
        ("video_90.mov", [320, 568]),
        ("video_180.mov", [568, 320]),
        ("sample_rotate_and_reflect.mp4", [720, 1080]),
    ] {
        let (video, out) = (hostile.join(name), folder.join(name));
        let ran = succeeds(&[
            "maps",
            arg(&video),
            "--model",
            arg(model),
            "--out",
            arg(&out),
            "--json",
            "--format",
            "npz",
        ]);
        assert_eq!(crate::support::json(&ran.stdout)["size"], serde_json::json!(size), "{name}");
    }
}

#[test]
fn instructions_that_no_machine_has() {
    let ran = ran(program().args(["bench", "--model", "model"]).env("MOTIONLENS_LEVEL", "abacus"));
    assert_eq!(ran.code, Some(1));
    let hint = "error: MOTIONLENS_LEVEL: \"abacus\" is no level of this machine, expected one of scalar";
    assert!(ran.stderr.starts_with(hint), "{}", ran.stderr);
}
