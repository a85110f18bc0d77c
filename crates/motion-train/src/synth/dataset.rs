//! Options in, a folder of labelled clips with their true flow out; and such a folder back in.

use std::fs;
use std::io::{Cursor, ErrorKind};
use std::path::{Path, PathBuf};

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use motion_clip::Frame;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::flow::flow_png;
use super::{CLASSES, CLIP_SECS, Error, RenderOptions, Split, SynthClip, read_flow_png, render};

/// Quality of the frames' JPEG files: their losses are below a camera's noise.
const QUALITY: u8 = 95;

/// What [`write_dataset`] shall write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteOptions {
    /// How many clips; clip i shows class i modulo the number of classes.
    pub count: usize,
    /// Clip i is rendered from seed + i.
    pub seed: u64,
    /// Which half of the world.
    pub split: Split,
    /// Frames of a clip.
    pub frames: usize,
    /// Of a frame, in pixels.
    pub width: usize,
    /// Of a frame, in pixels.
    pub height: usize,
}

impl Default for WriteOptions {
    /// 20 clips of each class for training, 8 frames of 320 x 240.
    fn default() -> Self {
        let RenderOptions { width, height, frames, .. } = RenderOptions::default();
        Self { count: 20 * CLASSES.len(), seed: 0, split: Split::Train, frames, width, height }
    }
}

impl WriteOptions {
    fn render(&self) -> RenderOptions {
        RenderOptions {
            width: self.width,
            height: self.height,
            frames: self.frames,
            ..RenderOptions::default()
        }
    }

    fn entry(&self, index: usize) -> Entry {
        let label = index % CLASSES.len();
        let digits = self.count.saturating_sub(1).to_string().len();
        Entry {
            clip: format!("clips/{}_{index:0digits$}", slug(CLASSES[label])),
            label,
            frames: self.frames,
            seed: self.seed.wrapping_add(index as u64),
        }
    }
}

/// What [`write_dataset`] has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The folder.
    pub folder: PathBuf,
    /// Clips in it.
    pub clips: usize,
    /// Of these, clips that an interrupted run had left.
    pub kept: usize,
    /// Classes they show.
    pub classes: usize,
}

/// A line of `list.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Folder of the clip, relative to the data set's.
    pub clip: String,
    /// Index into `labels.json`.
    pub label: usize,
    /// Number of frames; there is one flow file fewer.
    pub frames: usize,
    /// What it was rendered from.
    pub seed: u64,
}

/// A class name as part of a file name.
fn slug(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect::<Vec<_>>().join("-")
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|source| match source.kind() {
        ErrorKind::StorageFull => Error::Full { path: path.into() },
        _ => Error::Io { path: path.into(), source },
    })
}

/// Writes a data set to a new or empty folder; `progress` hears of every finished clip, from any thread.
///
/// The clips are collected in `OUT.partial`, which gets its name when it is complete. If a run is interrupted
/// or the disk is full, the same call goes on where it stopped.
///
/// # Errors
/// [`Error::NotEmpty`] when there is something in `out`, [`Error::Unfinished`] when other options were used in
/// an interrupted run, [`Error::Size`] and [`Error::Nothing`] for impossible options, [`Error::Full`]
/// and [`Error::Io`] naming the file that cannot be written.
pub fn write_dataset(
    out: &Path,
    options: &WriteOptions,
    progress: impl Fn() + Sync,
) -> Result<Summary, Error> {
    if options.count == 0 {
        return Err(Error::Nothing);
    }
    options.render().check()?;
    let empty = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(source) => return Err(Error::Io { path: out.into(), source }),
    };
    if !empty {
        return Err(Error::NotEmpty { path: out.into() });
    }
    let partial = partial_name(out);
    fs::create_dir_all(partial.join("clips")).map_err(io(&partial))?;
    claim(&partial, options)?;
    let kept: usize = (0..options.count)
        .into_par_iter()
        .map(|index| {
            let kept = write_clip(&partial, &options.entry(index), options)?;
            progress();
            Ok(usize::from(kept))
        })
        .collect::<Result<Vec<_>, Error>>()?
        .into_iter()
        .sum();
    write_lists(&partial, options)?;
    // Renaming onto an empty folder works on Unix alone; without the folder, everywhere.
    match fs::remove_dir(out) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::Io { path: out.into(), source: error });
        }
        _ => fs::rename(&partial, out).map_err(io(out))?,
    }
    let classes = options.count.min(CLASSES.len());
    Ok(Summary { folder: out.into(), clips: options.count, kept, classes })
}

fn partial_name(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_else(|| "synth".as_ref()).to_os_string();
    name.push(".partial");
    out.with_file_name(name)
}

/// Marks an unfinished folder with its options, or compares them with those it has.
fn claim(partial: &Path, options: &WriteOptions) -> Result<(), Error> {
    let path = partial.join("options.json");
    let found = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<WriteOptions>(&bytes).ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return write(&path, &json(&path, options)?);
        }
        Err(source) => return Err(Error::Io { path, source }),
    };
    if found.as_ref() == Some(options) { Ok(()) } else { Err(Error::Unfinished { path: partial.into() }) }
}

fn json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|source| Error::Io { path: path.into(), source: source.into() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Renders one clip into the folder of its name; true when it was there already.
fn write_clip(partial: &Path, entry: &Entry, options: &WriteOptions) -> Result<bool, Error> {
    let folder = partial.join(&entry.clip);
    if folder.is_dir() {
        return Ok(true);
    }
    let clip = render(entry.label, entry.seed, options.split, &options.render())?;
    // A clip has its name only when it is complete.
    let unfinished = folder.with_extension("unfinished");
    fs::create_dir_all(&unfinished).map_err(io(&unfinished))?;
    for (index, frame) in clip.frames.iter().enumerate() {
        let path = unfinished.join(frame_name(index));
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, QUALITY)
            .encode(&frame.rgb, frame.width as u32, frame.height as u32, ExtendedColorType::Rgb8)
            .map_err(|source| Error::Picture { path: path.clone(), source })?;
        write(&path, &bytes)?;
    }
    for (index, flow) in clip.flow.iter().enumerate() {
        let path = unfinished.join(flow_name(index));
        let bytes = flow_png(flow).map_err(|source| Error::Picture { path: path.clone(), source })?;
        write(&path, &bytes)?;
    }
    fs::rename(&unfinished, &folder).map_err(io(&folder))?;
    Ok(false)
}

fn frame_name(index: usize) -> String {
    format!("frame_{index:02}.jpg")
}

fn flow_name(index: usize) -> String {
    format!("flow_{index:02}.png")
}

fn write_lists(folder: &Path, options: &WriteOptions) -> Result<(), Error> {
    let entries: Vec<Entry> = (0..options.count).map(|index| options.entry(index)).collect();
    let path = folder.join("labels.json");
    write(&path, &json(&path, &CLASSES)?)?;
    let path = folder.join("list.json");
    write(&path, &json(&path, &entries)?)?;
    let mut csv = String::from("clip,label,class,frames,seed\n");
    for Entry { clip, label, frames, seed } in &entries {
        csv.push_str(&format!("{clip},{label},{},{frames},{seed}\n", CLASSES[*label]));
    }
    write(&folder.join("list.csv"), csv.as_bytes())?;
    write(&folder.join("README.md"), readme(options).as_bytes())
}

fn readme(options: &WriteOptions) -> String {
    let WriteOptions { count, seed, split, frames, width, height } = options;
    let split = format!("{split:?}").to_lowercase();
    let classes: String = CLASSES.iter().enumerate().map(|(i, name)| format!("| {i} | {name} |\n")).collect();
    format!(
        "# Synthetic motion clips\n\n\
         {count} procedural clips of {frames} frames, {width} x {height} pixels, `{split}` split, first seed {seed}, \
         made by `motionlens synth`. The class of a clip is its motion. The same options give the same clips.\n\n\
         | file | |\n|---|---|\n\
         | `labels.json` | names of the classes; a label is an index into them |\n\
         | `list.json`, `list.csv` | for each clip: its folder, label, number of frames, seed |\n\
         | `options.json` | what the set was made with |\n\
         | `clips/NAME/frame_00.jpg` ... | the frames, at the middles of {frames} equal parts of a clip of {CLIP_SECS} s |\n\
         | `clips/NAME/flow_00.png` ... | true displacement from frame 0 to frame 1, and so on |\n\n\
         A flow file is a 16-bit RGB PNG as KITTI's: red = 64 u + 32768, green = 64 v + 32768 with u to the right and v \
         down in pixels, of the front-most thing at each pixel; blue = 1 where that point is seen in the next frame too, \
         0 where it is hidden or outside.\n\n\
         The splits share no surface, no outline and no hue.\n\n\
         | label | class |\n|---|---|\n{classes}"
    )
}

/// A data set on disk, as [`write_dataset`] makes it.
#[derive(Clone, Debug)]
pub struct Dataset {
    folder: PathBuf,
    labels: Vec<String>,
    entries: Vec<Entry>,
}

impl Dataset {
    /// Reads the lists; the clips are read one by one when they are asked for.
    ///
    /// # Errors
    /// [`Error::NotDataset`] naming what is missing or wrong.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let wrong = |what: String| Error::NotDataset { path: folder.into(), what };
        let read = |name: &str| {
            fs::read(folder.join(name)).map_err(|error| wrong(format!("{name} cannot be read ({error})")))
        };
        let labels: Vec<String> = serde_json::from_slice(&read("labels.json")?)
            .map_err(|error| wrong(format!("labels.json is no list of names ({error})")))?;
        let entries: Vec<Entry> = serde_json::from_slice(&read("list.json")?)
            .map_err(|error| wrong(format!("list.json is no list of clips ({error})")))?;
        let Some(first) = entries.first() else {
            return Err(wrong("list.json lists no clip".into()));
        };
        for entry in &entries {
            if entry.label >= labels.len() {
                let Entry { clip, label, .. } = entry;
                return Err(wrong(format!("{clip} has label {label}, labels.json {} names", labels.len())));
            }
            if entry.frames != first.frames || entry.frames == 0 {
                let Entry { clip, frames, .. } = entry;
                return Err(wrong(format!("{clip} has {frames} frames, the first clip {}", first.frames)));
            }
        }
        Ok(Self { folder: folder.into(), labels, entries })
    }

    /// Number of clips, at least 1.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Frames of every clip.
    pub fn frames(&self) -> usize {
        self.entries[0].frames
    }

    /// Names of the classes, in the order of the labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The list of clips.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Reads a clip with its flow.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Picture`] or [`Error::NotFlow`] naming the file; [`Error::NotDataset`] for an
    /// index that is not below [`Dataset::count`].
    pub fn read(&self, index: usize) -> Result<SynthClip, Error> {
        let entry = self.entries.get(index).ok_or_else(|| Error::NotDataset {
            path: self.folder.clone(),
            what: format!("clip {index} asked for, there are {}", self.entries.len()),
        })?;
        let folder = self.folder.join(&entry.clip);
        let mut clip = SynthClip { frames: Vec::new(), flow: Vec::new(), label: entry.label };
        for index in 0..entry.frames {
            let path = folder.join(frame_name(index));
            let bytes = fs::read(&path).map_err(io(&path))?;
            let picture = image::ImageReader::with_format(Cursor::new(bytes), image::ImageFormat::Jpeg)
                .decode()
                .map_err(|source| Error::Picture { path, source })?
                .into_rgb8();
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            let time_secs = (index as f64 + 0.5) / entry.frames as f64 * CLIP_SECS;
            clip.frames.push(Frame { width, height, rgb: picture.into_raw(), time_secs });
        }
        for index in 0..entry.frames - 1 {
            clip.flow.push(read_flow_png(&folder.join(flow_name(index)))?);
        }
        Ok(clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_and_tell_the_class() {
        let options = WriteOptions { count: 101, seed: 7, ..WriteOptions::default() };
        let entry = options.entry(26);
        assert_eq!(entry.clip, "clips/moving-something-up_026");
        assert_eq!((entry.label, entry.seed), (0, 33));
    }
}
