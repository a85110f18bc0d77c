//! A resized clip in, another look at it out: multi-scale crops (TSN; `GroupMultiScaleCrop` of the published code) and
//! mirror images. The true flow is cropped and mirrored with its clip.

use motion_clip::{Frame, Preprocess, Rect, resize};
use rand::Rng;
use serde::Deserialize;

use crate::error::Result;

/// How training clips are cropped and mirrored. What is absent is as in the published code.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Sides that a crop may have, as shares of the resized picture's shorter side; 1, 0.875, 0.75, 0.66 where absent.
    #[serde(default = "scales")]
    pub scales: Vec<f64>,
    /// How many places of that list a crop's width and height may be apart; 1 where absent.
    #[serde(default = "max_distort")]
    pub max_distort: usize,
    /// Whether every second clip is mirrored; true where absent. Its label becomes that of the class's mirror twin:
    /// the class whose name has left and right exchanged. A class without its twin is never mirrored, as none that has
    /// one is in the published code.
    #[serde(default = "flip")]
    pub flip: bool,
    /// Pairs of classes that are each other's mirror image though their names do not tell.
    #[serde(default)]
    pub twins: Vec<[String; 2]>,
    /// Classes that are never mirrored though their names do not tell.
    #[serde(default)]
    pub one_sided: Vec<String>,
}

fn scales() -> Vec<f64> {
    vec![1.0, 0.875, 0.75, 0.66]
}
fn max_distort() -> usize {
    1
}
fn flip() -> bool {
    true
}

/// A part of the resized picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crop {
    /// Of its upper left corner, from the left.
    pub(crate) x: usize,
    /// Of its upper left corner, from the top.
    pub(crate) y: usize,
    /// Pixels across.
    pub(crate) width: usize,
    /// Pixels down.
    pub(crate) height: usize,
}

impl Augment {
    /// What is wrong with it, if something is.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        match self.scales.iter().all(|scale| (0.1..=1.0).contains(scale)) && !self.scales.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "augment.scales is {:?}, expected at least one number, each 0.1 to 1",
                self.scales
            )),
        }
    }

    /// A random crop for an input of `input_size` out of a picture of `resize` = (height, width).
    ///
    /// Sides within 3 pixels of the input's are the input's; the place is one of 13: corners, centre, middles of the
    /// sides and of the quarters, in quarter steps.
    pub(crate) fn crop(&self, [rows, columns]: [usize; 2], input_size: usize, random: &mut impl Rng) -> Crop {
        let sides: Vec<usize> = self
            .scales
            .iter()
            .map(|scale| (rows.min(columns) as f64 * scale) as usize)
            .map(|side| if side.abs_diff(input_size) < 3 { input_size } else { side })
            .collect();
        let pairs: Vec<[usize; 2]> = (0..sides.len())
            .flat_map(|i| (0..sides.len()).map(move |j| [i, j]))
            .filter(|[i, j]| i.abs_diff(*j) <= self.max_distort)
            .map(|[i, j]| [sides[i].min(rows), sides[j].min(columns)])
            .collect();
        let [height, width] = pairs[random.random_range(0..pairs.len())];
        let [x, y] = PLACES[random.random_range(0..PLACES.len())];
        Crop { x: (columns - width) / 4 * x, y: (rows - height) / 4 * y, width, height }
    }

    /// For each class the class of its mirror image, if the set has it.
    ///
    /// # Errors
    /// What is wrong with `twins` or `one_sided`.
    pub(crate) fn mirror_labels(&self, labels: &[String]) -> std::result::Result<Vec<Option<usize>>, String> {
        let find = |key: &str, name: &String| {
            labels.iter().position(|label| label == name).ok_or_else(|| {
                format!(
                    "augment.{key} names {name:?}, expected one of the {} classes of the data",
                    labels.len()
                )
            })
        };
        let twin = |label: &String| labels.iter().position(|other| *other == exchanged(label));
        let mut twins: Vec<Option<usize>> = labels.iter().map(twin).collect();
        for [one, other] in &self.twins {
            let (one, other) = (find("twins", one)?, find("twins", other)?);
            (twins[one], twins[other]) = (Some(other), Some(one));
        }
        for name in &self.one_sided {
            twins[find("one_sided", name)?] = None;
        }
        Ok(twins)
    }
}

/// (x, y) in quarter steps, in the published code's order.
const PLACES: [[usize; 2]; 13] =
    [[0, 0], [4, 0], [0, 4], [4, 4], [2, 2], [0, 2], [4, 2], [2, 4], [2, 0], [1, 1], [3, 1], [1, 3], [3, 3]];

/// A class's name with the words left and right exchanged.
fn exchanged(name: &str) -> String {
    let exchanged = |word| match word {
        "left" => "right",
        "right" => "left",
        "Left" => "Right",
        "Right" => "Left",
        word => word,
    };
    let words = name.split_inclusive(|c: char| !c.is_alphanumeric());
    let split = |part: &'_ str| {
        part.len() - part.chars().next_back().filter(|c| !c.is_alphanumeric()).map_or(0, char::len_utf8)
    };
    words
        .map(|part| {
            let (word, end) = part.split_at(split(part));
            format!("{}{end}", exchanged(word))
        })
        .collect()
}

impl Crop {
    /// What the network sees of a frame: resized, cut out, resized to the input's size, each step rounded to bytes as
    /// in the published code.
    pub(crate) fn view(self, frame: &Frame, preprocess: &Preprocess) -> Result<Frame> {
        let [rows, columns] = preprocess.resize;
        let whole = resize::resize(frame, rows, columns)?;
        let part = [self.y..self.y + self.height, self.x..self.x + self.width];
        let part = resize::resize_window(&whole, rows, columns, part)?;
        Ok(resize::resize(&part, preprocess.input_size, preprocess.input_size)?)
    }

    /// The same part of a frame of this size, in its own pixels.
    pub(crate) fn of_frame(self, width: usize, height: usize, preprocess: &Preprocess) -> Rect {
        let [rows, columns] = preprocess.resize;
        let (across, down) = (width as f32 / columns as f32, height as f32 / rows as f32);
        Rect {
            x: self.x as f32 * across,
            y: self.y as f32 * down,
            width: self.width as f32 * across,
            height: self.height as f32 * down,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::synth::{CLASSES, Symmetry};

    fn published() -> Augment {
        toml::from_str("").unwrap()
    }

    #[test]
    fn crops_are_the_published_ones() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let crops: Vec<Crop> = (0..5000).map(|_| published().crop([240, 320], 224, &mut random)).collect();
        // 240 times the scales; 210 and 224 are not within 3 pixels of each other.
        let sides = [240, 210, 180, 158];
        let sizes: BTreeSet<_> = crops.iter().map(|crop| (crop.height, crop.width)).collect();
        let near = |(i, j): &(usize, usize)| i.abs_diff(*j) <= 1;
        let expected: BTreeSet<_> =
            (0..16).map(|k| (k / 4, k % 4)).filter(near).map(|(i, j)| (sides[i], sides[j])).collect();
        assert_eq!(sizes, expected);
        let places: BTreeSet<_> = crops
            .iter()
            .filter(|crop| (crop.height, crop.width) == (180, 180))
            .map(|crop| (crop.x, crop.y))
            .collect();
        // Quarter steps of 35 across and 15 down.
        let expected: BTreeSet<_> = PLACES.iter().map(|[x, y]| (35 * x, 15 * y)).collect();
        assert_eq!((places, expected.len()), (expected, 13));
    }

    #[test]
    fn a_side_close_to_the_inputs_is_the_inputs() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let augment = Augment { scales: vec![0.93], ..published() };
        let crop = augment.crop([240, 320], 224, &mut random);
        assert_eq!((crop.height, crop.width), (224, 224));
    }

    #[test]
    fn left_and_right_change_places() {
        let labels: Vec<String> = CLASSES.map(str::to_owned).to_vec();
        let mirrored = Symmetry { mirrored: true, ..Symmetry::default() };
        let expected: Vec<Option<usize>> = (0..labels.len()).map(|label| mirrored.label(label)).collect();
        assert_eq!(published().mirror_labels(&labels).unwrap(), expected);
    }

    #[test]
    fn a_class_without_its_twin_is_not_mirrored() {
        let labels = ["Go left", "Left, then right", "Right, then left", "Wink", "Blink"].map(str::to_owned);
        let twins = |augment: Augment| augment.mirror_labels(&labels);
        assert_eq!(twins(published()).unwrap(), [None, Some(2), Some(1), Some(3), Some(4)]);
        let pair = [["Wink".to_owned(), "Blink".to_owned()]];
        let told = Augment { twins: pair.to_vec(), one_sided: vec![labels[1].clone()], ..published() };
        assert_eq!(twins(told).unwrap(), [None, None, Some(1), Some(4), Some(3)]);
        let wrong = Augment { one_sided: vec!["Nod".to_owned()], ..published() };
        assert!(twins(wrong).unwrap_err().contains("augment.one_sided names \"Nod\""));
    }

    #[test]
    fn a_crop_shows_its_part() {
        let rgb = (0..24 * 32).flat_map(|i| [(i % 32 * 8) as u8, (i / 32 * 10) as u8, 0]).collect();
        let frame = Frame::new(32, 24, rgb, 0.0).unwrap();
        let preprocess = Preprocess { resize: [24, 32], input_size: 8, ..Preprocess::default() };
        let crop = Crop { x: 4, y: 6, width: 8, height: 8 };
        let view = crop.view(&frame, &preprocess).unwrap();
        let (x, y) = (|i: usize| view.rgb[3 * i], |i: usize| view.rgb[3 * i + 1]);
        assert_eq!((x(0), y(0), x(63), y(63)), (4 * 8, 6 * 10, 11 * 8, 13 * 10));
        let part = crop.of_frame(64, 24, &preprocess);
        assert_eq!((part.x, part.y, part.width, part.height), (8.0, 6.0, 16.0, 8.0));
    }
}
