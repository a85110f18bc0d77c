//! Anybody's videos: does a network learn from each published layout, past what is damaged?

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Ran, arg, config_json, fails, ffmpeg, frames, has_ffmpeg, json as parsed, model, program, ran, shared,
    succeeds, weights, write_model,
};
use crate::training::{MODEL, survives_kills};

/// Sound videos of a set, half of them of each class.
const SOUND: usize = 6;
const CLASSES: [&str; 2] = ["Moving left", "Moving right"];

/// A set in one of the published layouts: the keys of its three parts in a recipe.
struct Set {
    folder: TempDir,
    /// Of the training videos; one of them is damaged.
    train: &'static str,
    /// Of sound ones, for validation and test.
    sound: &'static str,
    sampling: &'static str,
    /// The damaged one, below the folder.
    damaged: &'static str,
}

impl Set {
    fn new(train: &'static str, sound: &'static str, sampling: &'static str, damaged: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), train, sound, sampling, damaged }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Frames of video `i`, more than a clip takes; its class is i modulo 2.
    fn frames(&self, i: usize) -> PathBuf {
        let right = [-2, 2][i % 2];
        frames(&self.place(&format!("made{i}")), 7 + i, [72, 56], [right, i as i64 % 3 - 1])
    }

    /// The same as a file, with what ffmpeg takes for a codec.
    fn video(&self, i: usize, name: &str, codec: &[&str]) {
        let path = self.place(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pattern = self.frames(i).join("%04d.png");
        ffmpeg(&[&["-framerate", "12", "-i", arg(&pattern)], codec, &[arg(&path)]].concat());
    }

    /// Something-Something V1: folders of JPEG files.
    fn something_v1() -> Self {
        let set = Self::new(
            "folder = \"set\"\nlist = \"train.csv\"\nlabels = \"labels.csv\"",
            "folder = \"set\"\nlist = \"sound.csv\"",
            "segment",
            "set/90",
        );
        let line = |i: usize| format!("{};{}\n", 10 + i, CLASSES[i % 2]);
        for i in 0..SOUND {
            let (frames, folder) = (set.frames(i), set.place(&format!("set/{}", 10 + i)));
            fs::create_dir_all(&folder).unwrap();
            let files = [arg(&frames.join("%04d.png")), arg(&folder.join("%05d.jpg"))].map(str::to_owned);
            ffmpeg(&["-i", &files[0], "-q:v", "2", &files[1]]);
        }
        let sound: String = (0..SOUND).map(line).collect();
        set.write("sound.csv", &sound);
        set.write("train.csv", &format!("90;{}\n{sound}", CLASSES[0]));
        set.write("labels.csv", &format!("{}\n{}\n", CLASSES[1], CLASSES[0]));
        for i in 1..9 {
            set.write(&format!("set/90/{i:05}.jpg"), "no picture");
        }
        set
    }

    /// Something-Something V2: WebM files and JSON.
    fn something_v2() -> Self {
        let set = Self::new(
            "folder = \"set\"\nlist = \"train.json\"\nlabels = \"labels.json\"",
            "folder = \"set\"\nlist = \"sound.json\"\nlabels = \"labels.json\"",
            "segment",
            "set/90.webm",
        );
        let entry = |id: usize, class: &str| json!({"id": id.to_string(), "label": "", "template": class});
        let mut entries: Vec<Value> =
            (0..SOUND).map(|i| entry(10 + i, &CLASSES[i % 2].replace("left", "[left]"))).collect();
        for i in 0..SOUND {
            set.video(i, &format!("set/{}.webm", 10 + i), &["-c:v", "libvpx", "-deadline", "realtime"]);
        }
        set.write("sound.json", &Value::from(entries.clone()).to_string());
        entries.insert(2, entry(90, CLASSES[1]));
        set.write("train.json", &Value::from(entries).to_string());
        set.write("labels.json", &json!({CLASSES[0]: "0", CLASSES[1]: "1"}).to_string());
        // Cut off in its header.
        let whole = fs::read(set.place("set/10.webm")).unwrap();
        fs::write(set.place("set/90.webm"), &whole[..200]).unwrap();
        set
    }

    /// Kinetics: MP4 files named after where they were cut from, some of which are gone.
    fn kinetics() -> Self {
        let set = Self::new(
            "folder = \"set\"\nlist = \"train.csv\"",
            "folder = \"set\"\nlist = \"sound.csv\"",
            "dense",
            "set/gone_000000_000010",
        );
        let mut text = String::from("label,youtube_id,time_start,time_end,split\n");
        for i in 0..SOUND {
            set.video(i, &format!("set/v_{i}_000003_000013.mp4"), &["-c:v", "mpeg4"]);
            text += &format!("\"{}\",v_{i},3,13,train\n", CLASSES[i % 2]);
        }
        set.write("sound.csv", &text);
        set.write("train.csv", &format!("{text}{},gone,0,10,train\n", CLASSES[0]));
        set
    }

    /// HMDB51: AVI files in class folders, a list a class.
    fn hmdb51() -> Self {
        let set = Self::new(
            "folder = \"set\"\nlist = \"splits\"",
            "folder = \"set\"\nlist = \"splits\"\nsplit = \"test\"",
            "dense",
            "set/Moving left/empty.avi",
        );
        for (class, name) in CLASSES.into_iter().enumerate() {
            let mut list = String::new();
            for i in (class..SOUND).step_by(2) {
                set.video(i, &format!("set/{name}/{i}.avi"), &["-c:v", "mpeg4"]);
                list += &format!("{i}.avi {}\n", if i < 4 { 1 } else { 2 });
            }
            if class == 0 {
                list += "empty.avi 1\n";
            }
            set.write(&format!("splits/{name}_test_split1.txt"), &list);
        }
        set.write("set/Moving left/empty.avi", "");
        set
    }

    /// A recipe that remembers everything from step to step, in a folder of its own below the set's.
    fn recipe(&self, name: &str, keys: &str) -> PathBuf {
        let Self { train, sound, sampling, .. } = self;
        let above = |keys: &str| keys.replace("= \"", "= \"../").replace("\"../test", "\"test");
        let (train, sound) = (above(train), above(sound));
        let model = MODEL.replace("\"segment\"", &format!("{sampling:?}"));
        let text = format!(
            "out = \"run\"\nseed = 5\nbatch = 2\noptimizer = \"sgd\"\nlearning_rate = 0.01\nbatch_norms = true\n\
             dropout = 0.3\nsave_every = 1\n{keys}\n[augment]\n[train]\n{train}\n[validate]\n{sound}\n[test]\n{sound}\n{model}"
        );
        self.write(&format!("{name}/recipe.toml"), &text);
        self.place(&format!("{name}/recipe.toml"))
    }
}

/// Two epochs, a damaged video among the training videos, then its figures on those.
fn trains_past_what_is_damaged(set: &Set) {
    let recipe = set.recipe("net", "epochs = 2");
    let Ran { stdout, stderr, .. } = succeeds(&["train", "--config", arg(&recipe), "--json"]);
    let report = parsed(&stdout);
    assert_eq!((&report["skipped"], &report["test"]["skipped"]), (&1.into(), &0.into()), "{report}");
    let named: Vec<&str> =
        stderr.lines().filter(|line| line.starts_with("note: ") && line.contains(set.damaged)).collect();
    assert!(named.len() == 1 && named[0].ends_with("; skipped"), "{stderr}");
    let file = |name: &str| fs::read_to_string(set.place("net/run").join(name)).unwrap();
    let skipped = parsed(&file("skipped.jsonl"));
    assert_eq!(skipped["set"], "train");
    assert!(skipped["video"].as_str().unwrap().ends_with(set.damaged), "{skipped}");
    assert!(named[0].contains(skipped["problem"].as_str().unwrap()), "{skipped} {stderr}");
    let log: Vec<Value> = file("log.jsonl").lines().map(parsed).collect();
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|line| line["skipped"] == 1 && line["loss"].as_f64().unwrap() > 0.0), "{log:?}");

    // The training videos once more, by the list that the recipe has.
    let line = |key: &str| {
        let value = set.train.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        value.map(|value| set.place(value.trim_matches('"')))
    };
    let (model, list) = (set.place("net/run/model"), line("list").unwrap());
    let data = line("folder").unwrap();
    let args = ["evaluate", "--model", arg(&model), "--data", arg(&data), "--list", arg(&list), "--json"];
    let ran = succeeds(&args);
    let figures = parsed(&ran.stdout);
    assert_eq!(figures["per_class"].as_object().unwrap().len(), 2);
    let test = report["test"]["clips"].as_u64().unwrap();
    // HMDB51's folder of lists has its own test videos.
    let skipped = u64::from(!list.is_dir());
    assert_eq!((&figures["clips"], &figures["skipped"]), (&test.into(), &skipped.into()), "{}", ran.stderr);
}

#[test]
fn something_something_v1_trains() {
    if has_ffmpeg() {
        trains_past_what_is_damaged(&Set::something_v1());
    }
}

#[test]
fn something_something_v2_trains() {
    if has_ffmpeg() {
        trains_past_what_is_damaged(&Set::something_v2());
    }
}

#[test]
fn kinetics_trains() {
    if has_ffmpeg() {
        trains_past_what_is_damaged(&Set::kinetics());
    }
}

#[test]
fn hmdb51_trains() {
    if has_ffmpeg() {
        trains_past_what_is_damaged(&Set::hmdb51());
    }
}

#[test]
fn a_run_on_videos_is_killed_and_ends_with_the_same_weights() {
    if !has_ffmpeg() {
        return;
    }
    let set = Set::something_v2();
    survives_kills(&set.recipe("whole", "epochs = 3"), &set.recipe("killed", "epochs = 3"), 5);
    let skipped = |name: &str| {
        let lines = fs::read_to_string(set.place(name).join("run/skipped.jsonl")).unwrap();
        lines.replace(&format!("/{name}/../"), "/")
    };
    assert_eq!(skipped("whole"), skipped("killed"));

    // On other threads the clips are the same ones in the same order, too.
    let alone = set.recipe("alone", "epochs = 3");
    ran(program().env("RAYON_NUM_THREADS", "1").args(["train", "--config", arg(&alone)]));
    let weights = |name: &str| fs::read(set.place(name).join("run/last/model.safetensors")).unwrap();
    assert!(weights("whole") == weights("alone"));
}

#[test]
fn a_set_that_is_mostly_damaged_is_refused() {
    if !has_ffmpeg() {
        return;
    }
    let set = Set::kinetics();
    for i in 0..4 {
        set.write(&format!("set/v_{i}_000003_000013.mp4"), "no video");
    }
    let recipe = set.recipe("net", "epochs = 1");
    let said = ["train.csv", "of its 7 videos", "at most half", "motionlens data check"];
    let refused = fails(&["train", "--config", arg(&recipe)], &said).stderr;
    assert!(refused.contains("v_1_000003_000013.mp4: not a video"), "{refused}");
    let listed = fs::read_to_string(set.place("net/run/skipped.jsonl")).unwrap();
    assert!((4..=5).contains(&listed.lines().count()), "{listed}");

    // Where nothing can be decoded the videos are not to blame.
    let mut command = program();
    command.env("PATH", set.folder.path()).args(["train", "--config", arg(&recipe)]);
    let Ran { code, stderr, .. } = ran(&mut command);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("not installed") && !stderr.contains("v_1"), "{stderr}");
}

#[test]
fn sets_that_do_not_belong_together_are_named() {
    let set = Set::new("", "", "segment", "");
    for class in ["Nod", "Wave"] {
        let path = set.place(&format!("set/{class}"));
        fs::create_dir_all(&path).unwrap();
        fs::rename(frames(&path, 4, [32, 32], [1, 0]), path.join("1")).unwrap();
    }
    set.write("names.txt", "Wave\nNod\n");
    let recipe = |train: &str, test: &str| {
        let text = format!(
            "out = \"run\"\nseed = 1\nepochs = 1\nbatch = 2\nlearning_rate = 0.01\n[train]\n{train}\n[validate]\n{train}\n\
             [test]\n{test}\n{MODEL}"
        );
        set.write("recipe.toml", &text);
        set.place("recipe.toml")
    };
    let videos = "folder = \"set\"";
    for (train, test, said) in [
        ("list = \"set.csv\"\ncount = 1", videos, &["recipe.toml", "`folder`"][..]),
        (videos, "folder = \"set\"\nlabels = \"names.txt\"", &["recipe.toml", "[test]", "in their order"]),
        (videos, "count = 3", &["[test]", "26 classes"]),
        ("folder = \"absent\"", videos, &["absent"]),
    ] {
        fails(&["train", "--config", arg(&recipe(train, test))], said);
    }
    succeeds(&["train", "--config", arg(&recipe(videos, videos))]);
    // The small model's classes are others.
    let (model, data) = (model(set.folder.path()), set.place("set"));
    fails(&["evaluate", "--model", arg(&model), "--data", arg(&data)], &["Nod", "3 labels"]);
}

#[test]
fn hostile_files_are_a_data_set() {
    let Some(hostile) = shared("data/hostile") else { return };
    if !has_ffmpeg() {
        return;
    }
    let set = Set::new("folder = \"set\"", "folder = \"set\"", "segment", "");
    let mut count = 0;
    for (i, file) in fs::read_dir(hostile).unwrap().map(|entry| entry.unwrap().path()).enumerate() {
        if file.extension().is_some_and(|extension| extension != "md") {
            let place = set.place("set").join(["Down", "Still", "Up"][i % 3]);
            fs::create_dir_all(&place).unwrap();
            fs::copy(&file, place.join(file.file_name().unwrap())).unwrap();
            count += 1;
        }
    }
    let told = |stderr: &str| stderr.lines().filter(|line| line.ends_with("; skipped")).count() as u64;
    let recipe = set.recipe("net", "epochs = 1");
    let ran = succeeds(&["train", "--config", arg(&recipe), "--json"]);
    let report = parsed(&ran.stdout);
    let [seen, skipped] = ["clips", "skipped"].map(|key| report["test"][key].as_u64().unwrap());
    assert_eq!(seen + skipped, count);
    // Empty, cut off, one frame, sound alone, no codec, too large: a third of them.
    assert!((8..=count / 2).contains(&skipped), "{}", ran.stderr);
    assert_eq!((&report["skipped"], told(&ran.stderr)), (&(3 * skipped).into(), 3 * skipped));
    let listed = fs::read_to_string(set.place("net/run/skipped.jsonl")).unwrap();
    for name in ["derived_zero_length.mp4", "invalid_vp9_bitstream-bug_1416.webm", "sample_audio_only.mp4"] {
        assert!(listed.contains(name), "{listed}");
    }
}

/// Two clips of three crops of every video, by two models.
#[test]
fn videos_are_looked_at_as_often_as_the_published_tests_do() {
    if !has_ffmpeg() {
        return;
    }
    let set = Set::something_v2();
    let config =
        config_json("resnet18", true).replace("\"resize\": [64, 64]", "\"resize\": [72, 104]").replace(
            "\"0\": \"Up\", \"1\": \"Down\", \"2\": \"Still\"",
            "\"0\": \"Moving left\", \"1\": \"Moving right\"",
        );
    let (four, five) = (set.place("four"), set.place("five"));
    write_model(&four, &config, weights(&config));
    let longer = config.replace("\"frames\": 4", "\"frames\": 5");
    write_model(&five, &longer, weights(&longer));
    let (data, list) = (set.place("set"), set.place("train.json"));
    let args = [
        "evaluate",
        "--model",
        arg(&four),
        "--model",
        arg(&five),
        "--data",
        arg(&data),
        "--list",
        arg(&list),
    ];
    let ran = succeeds(&[&args[..], &["--clips", "2", "--crops", "3", "--json"]].concat());
    let figures = parsed(&ran.stdout);
    assert_eq!((&figures["clips"], &figures["skipped"]), (&SOUND.into(), &1.into()), "{}", ran.stderr);
}
