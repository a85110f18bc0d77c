//! Which compressed frames go to the decoder, and which decoded ones make the clip. In: a [`Track`] and what the
//! decoder gives back. Out: runs of samples to decode, and the chosen frames.
//!
//! First only the stretches that hold chosen frames are decoded, each from a keyframe. When a chosen frame does not
//! come out, its keyframe was none, or the container promised more than there is: then everything is decoded in one
//! go. If it still does not come, the choice is made again among the frames that did, and they are fetched.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use motion_clip::{Sampling, sample};

use crate::demux::{Shown, Track};
use crate::{Error, Result};

/// Times that differ by less are the same, in seconds: a slider has no more digits.
const SAME_TIME: f64 = 0.0005;

/// Most frames that are looked at one by one: what the network sees of them takes a third of a megabyte each, once for it
/// and once for the page.
const MOST_FRAMES: usize = 300;

/// Which frames of a part are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// As many as a clip has.
    Clip(Sampling),
    /// Each so many-th, in windows that slide over them.
    Every(usize),
}

impl Spread {
    /// Which of `count` frames, for clips of `frames`.
    ///
    /// # Errors
    /// When there is none.
    pub fn choose(self, count: usize, frames: usize) -> Result<Vec<usize>> {
        match self {
            Self::Clip(sampling) => Ok(sample::clip_indices(sampling, count, frames, 1)?.concat()),
            Self::Every(step) => {
                // Two at least.
                let step = step.min(count.saturating_sub(1)).max(1);
                Ok((0..count).step_by(step).take(MOST_FRAMES).collect())
            }
        }
    }
}

/// Which part of a video is looked at, and which frames of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// First and last second that a frame may be shown at.
    pub seconds: [f64; 2],
    /// Which frames.
    pub spread: Spread,
}

impl Part {
    /// All of it.
    pub fn whole(sampling: Sampling) -> Self {
        Self { seconds: [f64::NEG_INFINITY, f64::INFINITY], spread: Spread::Clip(sampling) }
    }
}

/// What is being decoded, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The frames chosen by what the container promises.
    Trust,
    /// The same in one go; and what comes is counted.
    Whole,
    /// The frames chosen among those that came, in one go.
    Again,
}

/// Walks a decoder through a track.
#[derive(Debug)]
pub struct Schedule {
    part: Part,
    frames: usize,
    phase: Phase,
    /// Samples where decoding can start, in decoding order.
    keys: Vec<usize>,
    /// Sample by the time stamp that a decoded frame carries.
    stamps: HashMap<i64, usize>,
    stamp_of: Vec<i64>,
    /// What can be shown: in the end, of what came out of the decoder.
    shown: Vec<Shown>,
    promised: usize,
    /// Positions in `shown` that make the clip.
    chosen: Vec<usize>,
    /// More frames were asked for than can be looked at.
    cut_off: bool,
    wanted: HashSet<usize>,
    /// Samples that came out of the decoder when it was given everything.
    seen: HashSet<usize>,
    /// Those among them whose pixels were asked for.
    taken: HashSet<usize>,
    runs: std::vec::IntoIter<Range<usize>>,
    /// What is left of the present one.
    run: Range<usize>,
    /// Where the present one began.
    begun: usize,
    done: usize,
    total: usize,
    complaint: Option<String>,
}

impl Schedule {
    /// Chooses `frames` frames of a track.
    ///
    /// # Errors
    /// When the track shows no frame, or not two in that part of it.
    pub fn new(track: &Track, part: Part, frames: usize) -> Result<Self> {
        let mut schedule = Self {
            part,
            frames,
            phase: Phase::Trust,
            keys: track.samples.iter().enumerate().filter(|(_, s)| s.keyframe).map(|(i, _)| i).collect(),
            stamps: track.samples.iter().enumerate().map(|(i, s)| (s.stamp, i)).collect(),
            stamp_of: track.samples.iter().map(|s| s.stamp).collect(),
            promised: track.shown.len(),
            shown: track.shown.clone(),
            chosen: Vec::new(),
            cut_off: false,
            wanted: HashSet::new(),
            seen: HashSet::new(),
            taken: HashSet::new(),
            runs: Vec::new().into_iter(),
            run: 0..0,
            begun: 0,
            done: 0,
            total: 0,
            complaint: None,
        };
        schedule.choose()?;
        Ok(schedule)
    }

    /// Picks the clip's frames among those that can be shown, and the stretches that they need.
    fn choose(&mut self) -> Result<()> {
        let [from, to] = self.part.seconds;
        let lies_in = |shown: &Shown| (from - SAME_TIME..=to + SAME_TIME).contains(&shown.time_secs);
        let part: Vec<usize> = (0..self.shown.len()).filter(|&place| lies_in(&self.shown[place])).collect();
        if part.len() < 2 && self.shown.len() >= 2 {
            return Err(Error::Part { from, to, found: part.len(), frames: self.shown.len() });
        }
        let chosen = self.part.spread.choose(part.len(), self.frames)?;
        self.cut_off = matches!(self.part.spread, Spread::Every(step) if chosen.len() < part.len().div_ceil(step.max(1)));
        self.chosen = chosen.into_iter().map(|place| part[place]).collect();
        self.wanted = self.chosen.iter().map(|&place| self.shown[place].sample).collect();
        let mut stretches: BTreeMap<usize, usize> = BTreeMap::new();
        for &sample in self.wanted.difference(&self.taken) {
            let whole = self.phase == Phase::Again;
            let start = if whole { self.keys.first().copied().unwrap_or(0) } else { self.start_for(sample) };
            let last = stretches.entry(start).or_default();
            *last = (*last).max(sample);
        }
        self.start(stretches.into_iter().map(|(key, last)| key..last + 1).collect());
        Ok(())
    }

    /// Where decoding must start so that a sample comes out whole: its keyframe, or the one before if the sample is
    /// shown before its keyframe and so may refer to what stands before that.
    fn start_for(&self, sample: usize) -> usize {
        let place = self.keys.partition_point(|&key| key <= sample);
        let key = |back: usize| place.checked_sub(back).map_or(0, |i| self.keys[i]);
        let leads = self.stamp_of[sample] < self.stamp_of[key(1)];
        if leads && place >= 2 { key(2) } else { key(1) }
    }

    fn start(&mut self, runs: Vec<Range<usize>>) {
        self.done = 0;
        self.total = runs.iter().map(ExactSizeIterator::len).sum();
        self.runs = runs.into_iter();
        self.run = 0..0;
    }

    /// Starts the next stretch; the decoder has been flushed. `false` when the clip is complete.
    ///
    /// # Errors
    /// [`Error::NotDecoded`] when nothing came out at all.
    pub fn next_run(&mut self, codec: &str) -> Result<bool> {
        loop {
            if self.wanted.is_subset(&self.taken) {
                return Ok(false);
            }
            if let Some(run) = self.runs.next() {
                self.begun = run.start;
                self.run = run;
                return Ok(true);
            }
            match self.phase {
                Phase::Trust => {
                    self.phase = Phase::Whole;
                    self.seen.clear();
                    self.start(self.keys.first().map(|&key| key..self.stamp_of.len()).into_iter().collect());
                }
                Phase::Whole => {
                    self.phase = Phase::Again;
                    self.shown.retain(|s| self.seen.contains(&s.sample) || self.taken.contains(&s.sample));
                    if self.shown.is_empty() {
                        let reason =
                            self.complaint.clone().unwrap_or_else(|| "no picture came out".to_owned());
                        return Err(Error::NotDecoded { codec: codec.to_owned(), reason });
                    }
                    self.choose()?;
                }
                Phase::Again => return Ok(false),
            }
        }
    }

    /// The next sample of this stretch, for the decoder.
    pub fn next_sample(&mut self) -> Option<usize> {
        let sample = self.run.next()?;
        self.done += 1;
        Some(sample)
    }

    /// The sample that a time stamp names.
    pub fn sample(&self, stamp: i64) -> Option<usize> {
        self.stamps.get(&stamp).copied()
    }

    /// A frame came out of the decoder: the sample it belongs to, if its pixels are needed, which they are once.
    pub fn came(&mut self, stamp: i64) -> Option<usize> {
        let sample = self.sample(stamp)?;
        self.seen.insert(sample);
        (self.wanted.contains(&sample) && self.taken.insert(sample)).then_some(sample)
    }

    /// The decoder gave up; a new one goes on from the next keyframe.
    pub fn failed(&mut self, complaint: &str) {
        self.complaint.get_or_insert_with(|| complaint.trim_end_matches('.').to_owned());
        // Never the same keyframe again.
        let sent = self.run.start.max(self.begun + 1);
        let next = self.keys.get(self.keys.partition_point(|&key| key < sent));
        let rest = next.map_or(self.run.end, |&key| key.min(self.run.end))..self.run.end;
        self.done += rest.start.saturating_sub(self.run.start);
        self.run = 0..0;
        if !rest.is_empty() {
            let runs: Vec<_> = std::iter::once(rest).chain(&mut self.runs).collect();
            self.runs = runs.into_iter();
        }
    }

    /// Samples sent and samples to send, of what is being decoded now.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.total)
    }

    /// What is being done, in words.
    pub fn text(&self) -> &'static str {
        match self.phase {
            Phase::Trust => "decoding the chosen frames",
            Phase::Whole => "a frame did not come out: decoding the whole video",
            Phase::Again => "decoding frames chosen among those that came out",
        }
    }

    /// The clip: number of each frame among those that can be shown, and what it is.
    pub fn chosen(&self) -> impl Iterator<Item = (usize, Shown)> {
        self.chosen.iter().map(|&place| (place, self.shown[place]))
    }

    /// When the first and the last frame are shown, in seconds.
    pub fn seconds(&self) -> [f64; 2] {
        let time = |shown: Option<&Shown>| shown.map_or(0.0, |shown| shown.time_secs);
        [time(self.shown.first()), time(self.shown.last())]
    }

    /// Number of frames that can be shown.
    pub fn frame_count(&self) -> usize {
        self.shown.len()
    }

    /// What the user should know.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let (came, promised) = (self.shown.len(), self.promised);
        let lost = (came < promised).then(|| {
            format!("Only {came} of the {promised} frames that the file promises could be decoded; the clip is made of those.")
        });
        let cut_off = self.cut_off.then(|| {
            format!("These are the first {MOST_FRAMES} frames: more are not looked at one by one. Move the handles to see the others.")
        });
        lost.into_iter().chain(cut_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demux::Sample;

    /// A track with a keyframe every `gop` samples, shown in decoding order.
    fn track(samples: usize, gop: usize) -> Track {
        let sample =
            |i: usize| Sample { offset: 0, size: 1, stamp: i as i64 * 10, keyframe: i.is_multiple_of(gop) };
        let shown = |i: usize| Shown { sample: i, time_secs: i as f64 };
        Track {
            samples: (0..samples).map(sample).collect(),
            shown: (0..samples).map(shown).collect(),
            ..Track::default()
        }
    }

    /// A decoder that gives only the samples that `decodes`, and dies at `dies_at`.
    fn decode(
        schedule: &mut Schedule,
        decodes: impl Fn(usize) -> bool,
        dies_at: usize,
    ) -> (usize, Vec<usize>) {
        let (mut sent, mut got) = (0, Vec::new());
        while schedule.next_run("test").unwrap() {
            while let Some(sample) = schedule.next_sample() {
                sent += 1;
                if sample == dies_at {
                    schedule.failed("dead");
                    break;
                }
                if decodes(sample) {
                    got.extend(schedule.came(sample as i64 * 10));
                }
            }
        }
        (sent, got)
    }

    fn numbers(schedule: &Schedule) -> Vec<usize> {
        schedule.chosen().map(|(place, _)| place).collect()
    }

    #[test]
    fn a_whole_file_is_decoded_in_the_stretches_that_it_needs() {
        let mut schedule = Schedule::new(&track(100, 10), Part::whole(Sampling::Segment), 4).unwrap();
        assert_eq!(numbers(&schedule), [12, 37, 62, 87]);
        let (sent, got) = decode(&mut schedule, |_| true, 1000);
        assert_eq!((sent, got), (3 + 8 + 3 + 8, vec![12, 37, 62, 87]));
        assert_eq!(schedule.notes().count(), 0);
    }

    #[test]
    fn a_frame_before_its_keyframe_needs_the_stretch_before() {
        let mut leading = track(20, 10);
        // Samples 10, 11, 12 in decoding order are shown 12, 10, 11: an open group of pictures.
        leading.samples[10].stamp = 120;
        leading.samples[11].stamp = 100;
        leading.samples[12].stamp = 110;
        let schedule = Schedule::new(&leading, Part::whole(Sampling::Segment), 1).unwrap();
        assert_eq!(schedule.start_for(11), 0);
        assert_eq!(schedule.start_for(13), 10);
    }

    #[test]
    fn a_keyframe_that_is_none_is_no_loss() {
        // The decoder refuses to begin at 10, 20, ...: the container called them keyframes, but only 0 is one.
        let mut schedule = Schedule::new(&track(40, 10), Part::whole(Sampling::Segment), 4).unwrap();
        let (mut got, mut fresh) = (Vec::new(), true);
        while schedule.next_run("test").unwrap() {
            while let Some(sample) = schedule.next_sample() {
                if fresh && sample > 0 {
                    schedule.failed("not a key frame");
                    break;
                }
                fresh = false;
                got.extend(schedule.came(sample as i64 * 10));
            }
            fresh = true;
        }
        assert_eq!(numbers(&schedule), [5, 15, 25, 35]);
        assert!([5, 15, 25, 35].iter().all(|sample| got.contains(sample)), "{got:?}");
        assert_eq!(schedule.notes().count(), 0);
    }

    #[test]
    fn the_clip_is_made_of_what_comes_out() {
        let mut schedule = Schedule::new(&track(100, 100), Part::whole(Sampling::Segment), 4).unwrap();
        let (_, got) = decode(&mut schedule, |sample| sample < 40, 1000);
        assert_eq!(numbers(&schedule), [5, 15, 25, 35]);
        assert!(got.ends_with(&[5, 15, 25, 35]), "{got:?}");
        assert_eq!(schedule.frame_count(), 40);
        assert!(schedule.notes().next().unwrap().contains("40 of the 100"));
    }

    #[test]
    fn a_decoder_that_dies_is_replaced_at_the_next_keyframe() {
        let mut schedule = Schedule::new(&track(100, 10), Part::whole(Sampling::Segment), 4).unwrap();
        let (_, got) = decode(&mut schedule, |_| true, 35);
        assert_eq!(schedule.frame_count(), 95);
        assert_eq!(got.len(), 3 + 4, "three at first and all four others afterwards");
    }

    #[test]
    fn nothing_at_all_is_an_error_with_the_first_complaint() {
        let mut schedule = Schedule::new(&track(10, 10), Part::whole(Sampling::Segment), 4).unwrap();
        assert!(schedule.next_run("avc1.test").unwrap());
        schedule.failed("bad header");
        assert!(schedule.next_run("avc1.test").unwrap());
        schedule.failed("another");
        let error = schedule.next_run("avc1.test").unwrap_err().to_string();
        assert!(error.contains("avc1.test") && error.contains("bad header"), "{error}");
        assert!(Schedule::new(&Track::default(), Part::whole(Sampling::Segment), 4).is_err());
    }

    #[test]
    fn a_sample_may_be_shown_twice() {
        let mut twice = track(4, 4);
        twice.shown = [0, 1, 0, 1].map(|sample| Shown { sample, time_secs: 0.0 }).to_vec();
        let mut schedule = Schedule::new(&twice, Part::whole(Sampling::Segment), 4).unwrap();
        let (sent, got) = decode(&mut schedule, |_| true, 1000);
        assert_eq!((sent, got), (2, vec![0, 1]));
        assert_eq!(schedule.chosen().map(|(_, shown)| shown.sample).collect::<Vec<_>>(), [0, 1, 0, 1]);
    }

    #[test]
    fn a_clip_is_made_of_a_part() {
        let part = |seconds| Part { seconds, spread: Spread::Clip(Sampling::Segment) };
        let places = |schedule: &Schedule| schedule.chosen().map(|(place, _)| place).collect::<Vec<_>>();
        let mut schedule = Schedule::new(&track(100, 10), part([40.0, 47.0]), 4).unwrap();
        assert_eq!(places(&schedule), [41, 43, 45, 47]);
        let (sent, _) = decode(&mut schedule, |_| true, usize::MAX);
        assert_eq!(sent, 8, "nothing before its keyframe, nothing after its end");
        // As many frames as the clip has: each of them.
        let schedule = Schedule::new(&track(100, 10), part([10.0, 13.0]), 4).unwrap();
        assert_eq!(places(&schedule), [10, 11, 12, 13]);
        assert_eq!(schedule.seconds(), [0.0, 99.0]);
        // One after the other, as many as there are, or as can be looked at.
        let every = |step| Part { spread: Spread::Every(step), ..part([40.0, 47.0]) };
        let schedule = Schedule::new(&track(100, 10), every(1), 4).unwrap();
        assert_eq!((places(&schedule), schedule.notes().count()), ((40..48).collect(), 0));
        assert_eq!(places(&Schedule::new(&track(100, 10), every(3), 4).unwrap()), [40, 43, 46]);
        let schedule =
            Schedule::new(&track(400, 10), Part { spread: Spread::Every(1), ..part([0.0, 1e9]) }, 4).unwrap();
        assert_eq!(places(&schedule).len(), MOST_FRAMES);
        assert!(schedule.notes().next().unwrap().contains("the first 300 frames"));
        let error = Schedule::new(&track(100, 10), part([40.2, 41.1]), 4).unwrap_err().to_string();
        assert!(error.contains("1 of its 100 frames") && error.contains("40.20"), "{error}");
    }
}
