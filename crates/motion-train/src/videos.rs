//! A labelled set of videos in, the frames of one clip after the other out. A video that cannot be used is counted,
//! named once and left out; it shifts nothing of the others, whose frames follow from the seed, the epoch and their own
//! place in the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use motion_clip::sample::{self, DENSE_WINDOW};
use motion_clip::{Frame, resize};
use motion_net::Config;
use motion_net::config::Sampling;
use motion_video::{Reading, Source};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::lists::Listed;
use crate::progress;
use crate::skipped::Skipped;

/// One thread a decoder: several videos are decoded at once, and a damaged one is the same on every machine. Times of
/// frames are not looked at.
const READING: Reading = Reading { frames_per_sec: 12.0, threads: Some(1) };
/// Videos left out that are named on standard error; all are in the run's file.
const NAMED: usize = 100;

/// Which frames of a video make the clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The centres of the parts, or the window in the middle.
    Test,
    /// The centres of the parts, or a window from a random start, which is the same in every epoch, so that epochs can
    /// be compared.
    Validate {
        /// The recipe's.
        seed: u64,
    },
    /// At random.
    Train {
        /// The recipe's.
        seed: u64,
        /// From 0.
        epoch: usize,
    },
}

impl Choice {
    /// The frames of a clip, not always in order and not always different ones, of video `index`, which has `n` frames.
    ///
    /// The centres of the parts are those of the published test sampler. The validation sampler with which the
    /// published figures were made differs where a video has no more frames than a clip: it gives the first frame
    /// throughout, in which nothing moves.
    fn frames(self, config: &Config, n: usize, index: usize) -> Vec<usize> {
        let t = config.frames;
        // Each video has numbers of its own, whatever became of the others.
        let random = |key: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(key);
            random.set_stream(index as u64 + 1);
            move |below: usize| random.random_range(0..below)
        };
        let train = |seed: u64, epoch: usize| random(seed ^ (epoch as u64 + 1));
        match (config.sampling, self) {
            (Sampling::Segment, Self::Train { seed, epoch }) => {
                sample::segment_train(n, t, train(seed, epoch))
            }
            (Sampling::Segment, _) => sample::segment_test(n, t),
            (Sampling::Dense, Self::Train { seed, epoch }) => {
                sample::dense_train(n, t, DENSE_WINDOW, train(seed, epoch))
            }
            (Sampling::Dense, Self::Validate { seed }) => {
                sample::dense_train(n, t, DENSE_WINDOW, random(seed))
            }
            (Sampling::Dense, Self::Test) => {
                let middle = sample::clip_indices(motion_clip::Sampling::Dense, n, t, 1);
                middle.unwrap_or_default().concat()
            }
        }
    }
}

/// Labelled videos, decoded when their turn comes.
pub struct Videos {
    /// Where the set comes from: its list, or its folder.
    source: PathBuf,
    listed: Listed,
    /// Files whose frames have been counted, so that they are decoded once from then on.
    counted: Vec<OnceLock<Source>>,
    /// What is wrong with those that are left out, by their place in the list.
    problems: Mutex<BTreeMap<usize, String>>,
    /// Threads that wait for decoders, so that the training's own do not.
    decoders: ThreadPool,
}

impl Videos {
    /// The videos of a list; `source` says where it comes from.
    ///
    /// # Errors
    /// When there are no threads to be had.
    pub fn new(source: &Path, listed: Listed) -> Result<Self> {
        let decoders = ThreadPoolBuilder::new().num_threads(rayon::current_num_threads()).build()?;
        let counted = listed.videos.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { source: source.to_owned(), listed, counted, problems: Mutex::default(), decoders })
    }

    /// Leaves out what is known to be bad from before the run was stopped, and what is not there at all.
    pub(crate) fn prepare(&self, known: &[Skipped]) -> Result<()> {
        for Skipped { index, problem } in known.iter().filter(|skipped| skipped.index < self.count()) {
            self.problems().insert(*index, problem.clone());
        }
        let before: BTreeSet<usize> = self.problems().keys().copied().collect();
        let others = (0..self.count()).filter(|index| !before.contains(index));
        for index in others {
            if let Err(error) = std::fs::metadata(self.path(index)) {
                self.skip(index, error.to_string())?;
            }
        }
        Ok(())
    }

    /// Class names; a label is an index into them.
    pub fn labels(&self) -> &[String] {
        &self.listed.labels
    }

    /// How many are listed.
    pub fn count(&self) -> usize {
        self.listed.videos.len()
    }

    /// The label of video `index`.
    pub fn label(&self, index: usize) -> usize {
        self.listed.videos[index].1
    }

    /// Where video `index` is.
    pub fn path(&self, index: usize) -> &Path {
        &self.listed.videos[index].0
    }

    /// The clip of video `index` for a network: `config.frames` frames of the size `config.resize`. `None` where the
    /// video is left out.
    ///
    /// # Errors
    /// When no video can be decoded here, or more than half of the set's are left out.
    pub fn clip(&self, index: usize, config: &Config, choice: Choice) -> Result<Option<Vec<Frame>>> {
        self.frames(index, config.resize, |count| choice.frames(config, count, index))
    }

    /// The frames of video `index` that `choose` names, told how many there are; in its order, and as often as it names
    /// them. Each is resized to (height, width) `size` as it comes, to which the network's input is resized in any case;
    /// nothing larger is kept. `None` where the video is left out.
    ///
    /// # Errors
    /// As [`Self::clip`].
    pub fn frames(
        &self,
        index: usize,
        size: [usize; 2],
        choose: impl FnOnce(usize) -> Vec<usize>,
    ) -> Result<Option<Vec<Frame>>> {
        if self.problems().contains_key(&index) {
            return Ok(None);
        }
        match self.decode(index, size, choose) {
            Ok(frames) => Ok(Some(frames)),
            Err(error) if error.is_of_the_machine() => Err(error.into()),
            Err(error) => self.skip(index, error.to_string()).map(|()| None),
        }
    }

    fn decode(
        &self,
        index: usize,
        [height, width]: [usize; 2],
        choose: impl FnOnce(usize) -> Vec<usize>,
    ) -> motion_video::Result<Vec<Frame>> {
        let opened;
        let source = match self.counted[index].get() {
            Some(source) => source,
            None => {
                let source = Source::open(self.path(index), READING, &mut || ())?;
                // The names of a folder's pictures take more memory than they save time.
                if source.is_file() {
                    self.counted[index].get_or_init(|| source)
                } else {
                    opened = source;
                    &opened
                }
            }
        };
        let wanted = choose(source.frame_count());
        let mut distinct = wanted.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut frames = BTreeMap::new();
        source.visit(&distinct, |index, frame| -> motion_video::Result<()> {
            frames.insert(index, resize::resize(&frame, height, width)?);
            Ok(())
        })?;
        Ok(wanted.iter().filter_map(|index| frames.get(index).cloned()).collect())
    }

    /// Leaves a video out.
    fn skip(&self, index: usize, problem: String) -> Result<()> {
        let (path, count) = (self.path(index).display(), self.count());
        let mut skipped = self.problems();
        if skipped.contains_key(&index) {
            return Ok(());
        }
        match skipped.len() {
            0..NAMED => progress::line(&format!("note: {path}: {problem}; skipped")),
            NAMED => progress::line("note: more videos are skipped; `motionlens data check` names them all"),
            _ => {}
        }
        skipped.insert(index, problem.clone());
        if 2 * skipped.len() <= count {
            return Ok(());
        }
        let message = format!(
            "{} of its {count} videos cannot be used, expected at most half, the last of them {path} ({problem}); \
             `motionlens data check` says what is wrong with a set",
            skipped.len()
        );
        Err(Error::Data { path: self.source.clone(), message })
    }

    fn problems(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are left out so far.
    pub fn skipped_count(&self) -> usize {
        self.problems().len()
    }

    /// Those that are left out so far, in the list's order.
    pub(crate) fn skipped(&self) -> Vec<Skipped> {
        let skipped = self.problems();
        skipped.iter().map(|(&index, problem)| Skipped { index, problem: problem.clone() }).collect()
    }

    /// Runs something on the threads that wait for decoders.
    pub(crate) fn with_decoders<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.decoders.install(work)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::recipe::Recipe;

    fn config(sampling: &str) -> Config {
        let text = format!(
            "architecture = \"msnet\"\nbackbone = \"resnet18\"\nframes = 4\ninput_size = 32\nresize = [32, 40]\n\
             mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\nsampling = {sampling:?}"
        );
        let recipe = Recipe { model: toml::from_str(&text).unwrap(), ..Recipe::example() };
        recipe.config(&["Nod".to_owned()]).unwrap()
    }

    /// Videos of one class: as many folders as are asked for, each of 9 frames, frame i of grey 10 i. Those of `absent`
    /// are listed and not there.
    fn videos(count: usize, absent: &[usize]) -> (tempfile::TempDir, Videos) {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..count).map(|i| folder.path().join(i.to_string())).collect();
        for path in (0..count).filter(|i| !absent.contains(i)).map(|i| &paths[i]) {
            std::fs::create_dir(path).unwrap();
            for i in 0..9 {
                RgbImage::from_pixel(50, 40, Rgb([10 * i; 3])).save(path.join(format!("{i}.png"))).unwrap();
            }
        }
        let listed = Listed {
            labels: vec!["Nod".to_owned()],
            videos: paths.into_iter().map(|path| (path, 0)).collect(),
        };
        let videos = Videos::new(folder.path(), listed).unwrap();
        (folder, videos)
    }

    #[test]
    fn a_clip_follows_from_seed_epoch_and_place() {
        for sampling in ["segment", "dense"] {
            let config = config(sampling);
            let frames = |seed, epoch, index| Choice::Train { seed, epoch }.frames(&config, 3000, index);
            let clip = frames(1, 0, 5);
            assert_eq!(clip, frames(1, 0, 5), "{sampling}");
            for (other, what) in
                [(frames(2, 0, 5), "seed"), (frames(1, 1, 5), "epoch"), (frames(1, 0, 6), "place")]
            {
                assert_ne!(clip, other, "{sampling}: another {what}");
            }
        }
    }

    #[test]
    fn validation_and_test_are_the_same_in_every_epoch() {
        let [segment, dense] = ["segment", "dense"].map(config);
        let validate = Choice::Validate { seed: 1 };
        assert_eq!(validate.frames(&segment, 40, 3), [5, 15, 25, 35]);
        assert_eq!(Choice::Test.frames(&segment, 40, 3), [5, 15, 25, 35]);
        // Few frames: all of them, in order, and not the first one throughout.
        assert_eq!(validate.frames(&segment, 3, 0), [0, 1, 1, 2]);
        assert_eq!(Choice::Test.frames(&dense, 164, 3), [50, 66, 82, 98]);
        let starts: BTreeSet<usize> = (0..20).map(|index| validate.frames(&dense, 164, index)[0]).collect();
        assert!(starts.len() > 10 && starts.iter().all(|start| *start < 100), "{starts:?}");
    }

    #[test]
    fn a_clip_has_its_frames_at_the_size_of_the_network() {
        let (_folder, videos) = videos(1, &[]);
        let clip = videos.clip(0, &config("segment"), Choice::Test).unwrap().unwrap();
        let greys: Vec<u8> = clip.iter().map(|frame| frame.rgb[0]).collect();
        assert_eq!(greys, [10, 30, 50, 70]);
        assert!(clip.iter().all(|frame| (frame.height, frame.width) == (32, 40)));
        // A window of 64 frames goes round and round in 9.
        let clip = videos.clip(0, &config("dense"), Choice::Train { seed: 1, epoch: 0 }).unwrap().unwrap();
        let greys: Vec<u8> = clip.iter().map(|frame| frame.rgb[0]).collect();
        assert_eq!(greys, [0, 70, 50, 30]);
    }

    #[test]
    fn a_frame_made_small_early_is_the_one_that_is_seen_later() {
        let (folder, videos) = videos(1, &[]);
        for i in 0..9 {
            let picture =
                RgbImage::from_fn(97, 71, |x, y| Rgb([x * y + i, 255 - 2 * x, 3 * y].map(|v| v as u8)));
            picture.save(folder.path().join(format!("0/{i}.png"))).unwrap();
        }
        let config = config("segment");
        let mut whole = Vec::new();
        let source = Source::open(videos.path(0), READING, &mut || ()).unwrap();
        let visited: motion_video::Result<()> = source.visit(&[1, 3, 5, 7], |_, frame| {
            whole.push(frame);
            Ok(())
        });
        visited.unwrap();
        let small = videos.clip(0, &config, Choice::Test).unwrap().unwrap();
        assert_eq!((whole[0].width, small[0].width), (97, 40));
        let input = |frames: &[Frame]| crate::evaluate::network_input(&config, frames).unwrap().data;
        assert_eq!(input(&whole), input(&small));
        assert_ne!(input(&whole), input(&[&small[1..], &small[..1]].concat()));
    }

    #[test]
    fn what_is_bad_is_left_out_and_remembered() {
        let (folder, set) = videos(5, &[1]);
        std::fs::write(folder.path().join("3/4.png"), "no picture").unwrap();
        let config = config("segment");
        let train = |epoch| Choice::Train { seed: 1, epoch };
        let clips = |epoch| -> Vec<Option<Vec<u8>>> {
            let greys = |clip: Vec<Frame>| clip.iter().map(|frame| frame.rgb[0]).collect();
            (0..5).map(|index| set.clip(index, &config, train(epoch)).unwrap().map(greys)).collect()
        };
        set.prepare(&[]).unwrap();
        assert_eq!(set.skipped_count(), 1);
        // A damaged frame is met when its turn comes.
        let met = (0..40).position(|epoch| clips(epoch)[3].is_none()).expect("one of two frames, 40 times");
        let skipped = set.skipped();
        assert_eq!(skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [1, 3]);
        assert!(skipped[1].problem.contains("4.png"), "{skipped:?}");
        assert!((met..met + 20).all(|epoch| clips(epoch)[3].is_none()), "what was bad stays out");

        // A set without bad videos gives the others' frames; one that is told of them leaves the same ones out.
        let (_sound, sound) = videos(5, &[]);
        for index in [0, 2, 4] {
            let clip = sound.clip(index, &config, train(7)).unwrap().unwrap();
            let greys: Vec<u8> = clip.iter().map(|frame| frame.rgb[0]).collect();
            assert_eq!(clips(7)[index], Some(greys));
        }
        sound.prepare(&skipped).unwrap();
        assert_eq!(sound.skipped(), skipped);
        assert!(sound.clip(3, &config, train(0)).unwrap().is_none());
    }

    #[test]
    fn more_bad_videos_than_good_ones_are_an_error() {
        let (_folder, half) = videos(4, &[0, 2]);
        half.prepare(&[]).unwrap();
        let (_folder, most) = videos(4, &[0, 2, 3]);
        let message = most.prepare(&[]).unwrap_err().to_string();
        assert!(message.contains("3 of its 4 videos") && message.contains("No such file"), "{message}");
    }
}
