//! The page's demo videos: renders them and has `ffmpeg` encode them. In: a folder, and the names of those that shall
//! be MP4 (H.264). Out: these, the others as WebM (VP9), and `index.json`.
//!
//!     cargo run --release -p motion-train --example demo_clips -- web/clips lift_pear camera_left

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use motion_clip::Frame;
use motion_train::synth::{CLASSES, DEMO_FPS, DEMOS, FAILURES, demo_clip, failure_clip};

const VP9: &[&str] = &["-c:v", "libvpx-vp9", "-crf", "30", "-b:v", "0", "-row-mt", "1", "-deadline", "good"];
const H264: &[&str] = &["-c:v", "libx264", "-crf", "26", "-preset", "slow", "-movflags", "+faststart"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, mp4)) = arguments.split_first() else {
        return Err("usage: demo_clips FOLDER [NAME OF A DEMO TO ENCODE AS MP4 ...]".into());
    };
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    let write = |name: &str, frames: &[Frame]| {
        let (end, codec) =
            if mp4.iter().any(|wanted| wanted == name) { ("mp4", H264) } else { ("webm", VP9) };
        let file = format!("{name}.{end}");
        encode(frames, codec, &folder.join(&file)).map(|()| file)
    };
    let mut index = Vec::new();
    for demo in &DEMOS {
        let file = write(demo.name, &demo_clip(demo)?)?;
        index.push(serde_json::json!({"file": file, "title": demo.title, "expected": CLASSES[demo.class]}));
    }
    for failure in &FAILURES {
        let file = write(failure.name, &failure_clip(failure))?;
        index.push(serde_json::json!({"file": file, "title": failure.title, "fails": failure.why}));
    }
    std::fs::write(folder.join("index.json"), serde_json::to_string_pretty(&index)? + "\n")?;
    Ok(())
}

fn encode(frames: &[Frame], codec: &[&str], path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let size = format!("{}x{}", frames[0].width, frames[0].height);
    let fps = DEMO_FPS.to_string();
    let mut ffmpeg = Command::new("ffmpeg")
        .args([
            "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", &fps, "-i", "-",
        ])
        .args(codec)
        .args(["-g", "30", "-pix_fmt", "yuv420p", "-fflags", "+bitexact", "-flags:v", "+bitexact"])
        .args(["-map_metadata", "-1"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ffmpeg cannot be started ({error}); is it installed?"))?;
    let mut pipe = ffmpeg.stdin.take().ok_or("ffmpeg has no input")?;
    for frame in frames {
        pipe.write_all(&frame.rgb)?;
    }
    drop(pipe);
    let status = ffmpeg.wait()?;
    if !status.success() {
        return Err(format!("ffmpeg: {status} for {}", path.display()).into());
    }
    Ok(())
}
