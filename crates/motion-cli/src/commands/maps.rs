//! `motionlens maps`. In: a video. Out: displacement and confidence maps as pictures and as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use motion_clip::windows::{Window, sliding};
use motion_clip::{Frame, sample};
use motion_net::{Backend, Estimation, Estimator};
use serde::{Deserialize, Serialize};

use motion_export::{Found, Resolution, Stage, csv, flo, npz};

use crate::model::{EstimationArgs, Model, ModelArgs, with_model};
use crate::output;
use crate::pictures;
use crate::progress::Progress;
use crate::source::{Source, SourceArgs};

/// Longest video for --every-frame: what the network sees of its frames takes half a gigabyte then.
const MAX_EVERY_FRAME: usize = 3000;
/// Says what the folder's files are and which of them are ours.
const MANIFEST: &str = "maps.json";

/// What `--help` says of it.
const ABOUT: &str = "\
Displacement and confidence maps: where a video moves, as pictures and as numbers

Displacements in .flo, .npz and .csv are in pixels of the source frame, +x right, +y down, at the map's own grid
(--size frame: for every pixel; unknown outside the network's centre crop). maps.json lists what was written.

  png  frames, displacement (Middlebury colours, one scale for the clip) and confidence, side by side
  gif  the frame beside the displacement laid over it
  flo  one Middlebury file for each stage and pair of frames
  npz  displacement.<stage> [T-1, 2, h, w], confidence.<stage> [T-1, 1, h, w], cell.<stage> [2], times [T]
  csv  stage,pair,time_from,time_to,row,column,x,y,dx,dy,confidence,argmax";

/// Displacement and confidence maps: where a video moves, as pictures and as numbers
#[derive(Debug, Args)]
#[command(
    long_about = ABOUT,
    after_help = "Examples:\n  motionlens maps clip.mp4 --model model --out maps\n  \
                  motionlens maps clip.mp4 --model model --out maps --format png,flo,npz,csv,gif --every-frame"
)]
pub(crate) struct Maps {
    /// Video file or folder of frames
    #[arg(value_name = "VIDEO")]
    video: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Folder for the results; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to write, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "png")]
    format: Vec<Format>,
    /// Stages to look at, separated by commas [default: those with a trained motion module]
    ///
    /// A stage without one is shown as a probe: its own features are compared, and the picture says so.
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    stage: Vec<String>,
    #[command(flatten)]
    estimation: EstimationArgs,
    /// Maps between all neighbouring frames, not only between those of one clip
    #[arg(long)]
    every_frame: bool,
    /// For which places .flo and .npz hold values
    #[arg(long, value_enum, default_value_t)]
    size: Size,
    #[command(flatten)]
    source: SourceArgs,
    /// Replace files in the folder that an earlier run did not write
    #[arg(long)]
    overwrite: bool,
    /// Say what was written as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Format {
    /// Pictures
    Png,
    /// Middlebury optical flow
    Flo,
    /// NumPy arrays
    Npz,
    /// A table
    Csv,
    /// A moving picture
    Gif,
}

/// For which places values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Size {
    /// The map's own grid
    #[default]
    Grid,
    /// Every pixel of the source frame; unknown where the network's centre crop does not reach
    Frame,
}

impl From<Size> for Resolution {
    fn from(size: Size) -> Self {
        match size {
            Size::Grid => Self::Grid,
            Size::Frame => Self::Frame,
        }
    }
}

/// What `maps.json` says.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    video: String,
    model: String,
    backend: &'static str,
    ms: f64,
    /// Width and height of the source frame in pixels.
    size: [usize; 2],
    frames: &'a [usize],
    times: &'a [f64],
    estimation: Estimation,
    stages: Vec<StageEntry<'a>>,
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StageEntry<'a> {
    stage: &'a str,
    /// No motion module is trained for this stage.
    probe: bool,
    /// Height and width of a map in cells.
    grid: [usize; 2],
    /// Width and height of a cell in source pixels.
    cell: [f32; 2],
    /// A displacement of 1 in the network is so many cells.
    radius: usize,
}

impl Maps {
    pub(crate) fn run(&self) -> Result<()> {
        let formats: BTreeSet<Format> = self.format.iter().copied().collect();
        ensure!(
            self.size == Size::Grid || !formats.contains(&Format::Csv),
            "--format csv is for the map's own grid (a line for every pixel would be gigabytes); leave out --size frame"
        );
        with_model!(&self.model, |model| self.on(&formats, &model))
    }

    fn on<B: Backend>(&self, formats: &BTreeSet<Format>, model: &Model<B>) -> Result<()> {
        let estimation = self.estimation.over(model.config())?;
        let stages = self.stages(model)?;
        ensure!(
            model.config().frames >= 2,
            "model {}: frames is 1, but a map needs at least 2 frames; use another model",
            self.model.model.display()
        );
        let source = Source::open(&self.video, &self.source)?;
        let (frames, windows) = self.plan(model, &source)?;
        let views = views(model, &source, &frames)?;
        let begun = Instant::now();
        let found_stages = look(model, &estimation, &stages, &windows, &views)
            .with_context(|| self.video.display().to_string())?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        let [width, height] = source.size();
        let found = Found {
            size: source.size(),
            geometry: model.preprocess.geometry(width, height),
            times: frames.iter().map(|&index| source.times()[index]).collect(),
            frames,
            stages: found_stages,
        };
        let manifest = Manifest {
            video: self.video.display().to_string(),
            model: self.model.model.display().to_string(),
            backend: model.backend.name(),
            ms,
            size: found.size,
            frames: &found.frames,
            times: &found.times,
            estimation,
            stages: found.stages.iter().map(|stage| entry(&found, stage)).collect(),
            files: files(formats, &found),
        };
        self.write(formats, &found, &views, &manifest)?;
        if self.json {
            return output::json(&manifest);
        }
        for file in &manifest.files {
            output::line(&self.out.join(file).display().to_string())?;
        }
        Ok(())
    }

    /// Positions of the stages to look at.
    fn stages<B: Backend>(&self, model: &Model<B>) -> Result<Vec<usize>> {
        let trained: Vec<String> = match &model.config().motion {
            Some(motion) => motion.stages.clone(),
            // The paper's place for the module.
            None => vec![model.config().backbone.stages()[2].to_owned()],
        };
        let names = if self.stage.is_empty() { &trained } else { &self.stage };
        let positions: BTreeSet<usize> = names
            .iter()
            .map(|name| model.net.stage_index(name))
            .collect::<Result<_, _>>()
            .context("--stage")?;
        Ok(positions.into_iter().collect())
    }

    /// Frames to show maps between, and the runs of the network that it takes.
    fn plan<B: Backend>(&self, model: &Model<B>, source: &Source) -> Result<(Vec<usize>, Vec<Window>)> {
        let (n, t) = (source.frame_count(), model.config().frames);
        if self.every_frame {
            ensure!(
                n <= MAX_EVERY_FRAME,
                "{}: {n} frames, expected at most {MAX_EVERY_FRAME} for --every-frame; cut out the part you mean, \
                 e.g. ffmpeg -ss 60 -t 10 -i VIDEO part.mp4",
                self.video.display()
            );
            return Ok(((0..n).collect(), sliding(n, t)));
        }
        let frames = sample::clip_indices(model.sampling(), n, t, 1)?.concat();
        if n < t {
            output::note(&format!(
                "{}: {n} frames for clips of {t}: some are repeated, and maps between equal frames show no motion; \
                 --every-frame writes the true pairs only",
                self.video.display()
            ));
        }
        let window = Window { frames: frames.clone(), pairs: 0..t - 1 };
        Ok((frames, vec![window]))
    }

    fn write(
        &self,
        formats: &BTreeSet<Format>,
        found: &Found,
        views: &BTreeMap<usize, Frame>,
        manifest: &Manifest<'_>,
    ) -> Result<()> {
        let folder = output::create_folder(&self.out)?;
        let ours = earlier_files(&folder.join(MANIFEST));
        let mut names = manifest.files.iter().map(String::as_str).chain([MANIFEST]);
        let strange = names.find(|&file| {
            !self.overwrite && !ours.contains(file) && folder.join(file).symlink_metadata().is_ok()
        });
        if let Some(file) = strange {
            anyhow::bail!(
                "{} is there already and was not written by an earlier run; choose another --out, or pass --overwrite",
                folder.join(file).display()
            );
        }
        let json = serde_json::to_string_pretty(manifest)?;
        output::write_atomically(&folder.join(MANIFEST), |file| Ok(writeln!(file, "{json}")?))?;
        let views: Vec<&Frame> = found.frames.iter().filter_map(|index| views.get(index)).collect();
        let words = self.words(&manifest.estimation);
        for format in formats {
            match format {
                Format::Npz => {
                    let path = folder.join(NPZ);
                    output::write_atomically(&path, |file| Ok(npz::write(file, found, self.size.into())?))?;
                }
                Format::Csv => {
                    output::write_atomically(&folder.join(CSV), |file| Ok(csv::write(file, found)?))?
                }
                Format::Flo => self.write_flo(&folder, found)?,
                Format::Png => pictures::write_png(&folder, found, &views, &words)?,
                Format::Gif => pictures::write_gif(&folder, found, &views, &words)?,
            }
        }
        Ok(())
    }

    fn words(&self, estimation: &Estimation) -> pictures::Words {
        let Estimation { estimator, patch, sigma, temperature } = *estimation;
        let title = self.video.file_name().unwrap_or(self.video.as_os_str()).to_string_lossy().into_owned();
        let sigma =
            if estimator == Estimator::Kernel { format!(", σ {sigma} cells") } else { String::new() };
        pictures::Words { title, note: format!("P {patch}{sigma}, τ {temperature}"), estimator }
    }

    fn write_flo(&self, folder: &Path, found: &Found) -> Result<()> {
        let pairs = found.times.len() - 1;
        let size = self.size.into();
        let progress = Progress::bar(found.stages.len() * pairs, "writing .flo");
        for stage in &found.stages {
            let [width, _] = found.shape(stage, size);
            for pair in 0..pairs {
                let field = found.field(stage, pair, size);
                let path = folder.join(flo::name(stage, pair));
                output::write_atomically(&path, |file| Ok(flo::write(file, width, &field.displacement)?))?;
                progress.inc();
            }
        }
        Ok(())
    }
}

const NPZ: &str = "maps.npz";
const CSV: &str = "maps.csv";

/// Names of the files that a run writes, [`MANIFEST`] apart.
fn files(formats: &BTreeSet<Format>, found: &Found) -> Vec<String> {
    let mut names = Vec::new();
    for format in formats {
        match format {
            Format::Npz => names.push(NPZ.to_owned()),
            Format::Csv => names.push(CSV.to_owned()),
            Format::Png => names.extend(pictures::png_names(found)),
            Format::Gif => names.extend(pictures::gif_names(found)),
            Format::Flo => {
                for stage in &found.stages {
                    names.extend((0..stage.maps.pairs).map(|pair| flo::name(stage, pair)));
                }
            }
        }
    }
    names
}

fn entry<'a>(found: &Found, stage: &'a Stage) -> StageEntry<'a> {
    let maps = &stage.maps;
    StageEntry {
        stage: &maps.stage,
        probe: stage.probe,
        grid: maps.grid,
        cell: found.cell(stage, Resolution::Grid),
        radius: maps.radius,
    }
}

/// Files that an earlier run into the same folder wrote: they may be replaced.
fn earlier_files(manifest: &Path) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Earlier {
        files: BTreeSet<String>,
        #[allow(dead_code, reason = "a foreign maps.json hardly has it")]
        estimation: Estimation,
    }
    let earlier = std::fs::read(manifest).ok().and_then(|json| serde_json::from_slice::<Earlier>(&json).ok());
    let mut files = earlier.map(|earlier| earlier.files).unwrap_or_default();
    if !files.is_empty() {
        files.insert(MANIFEST.to_owned());
    }
    files
}

/// What the network sees of the frames, by their numbers.
fn views<B: Backend>(model: &Model<B>, source: &Source, frames: &[usize]) -> Result<BTreeMap<usize, Frame>> {
    let wanted: Vec<usize> = frames.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let mut views = BTreeMap::new();
    source.visit(&wanted, &mut |index, frame| {
        views.insert(index, model.preprocess.view(&frame)?);
        Ok(())
    })?;
    Ok(views)
}

/// Runs the network over all windows as far as the last stage that is wanted.
fn look<B: Backend>(
    model: &Model<B>,
    estimation: &Estimation,
    stages: &[usize],
    windows: &[Window],
    views: &BTreeMap<usize, Frame>,
) -> Result<Vec<Stage>> {
    let progress = Progress::bar(windows.len(), "network");
    let mut found: Vec<Stage> = Vec::new();
    for window in windows {
        let clip = model.clip(window.frames.iter().filter_map(|index| views.get(index)))?;
        let maps_of_stages = model.maps(&clip, stages, estimation)?;
        for (position, (maps, &stage)) in maps_of_stages.into_iter().zip(stages).enumerate() {
            let probe = model.net.motion_module(stage).is_none();
            let maps = maps.of_pairs(window.pairs.clone());
            match found.get_mut(position) {
                Some(before) => before.maps.append(maps),
                None => found.push(Stage { maps, probe }),
            }
        }
        progress.inc();
    }
    Ok(found)
}
