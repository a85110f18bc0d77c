//! A folder of real image pairs with true flow in, the errors of models' maps out.
//!
//! Each folder in it is a pair, in one of three forms:
//!
//! | files | true flow from the first to the second |
//! |---|---|
//! | two pictures and a `.flo` | Middlebury's flow file; a component of 10^6 or more is unknown |
//! | `view1.png`, `view5.png`, `disp1.png` | Middlebury's stereo of 2006 at half size: (-disparity / 2, 0); 0 is unknown |
//! | two pictures and an `.npz` | (-disparity, 0), of its first array; unknown where not a positive number |
//!
//! Pictures follow each other by name. Each pair is taken four times, as it is, mirrored, transposed, both, so that
//! stereo's one direction becomes four. The truth of a cell is that of [`FlowField::to_grid`].

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use motion_clip::Frame;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result, at};
use crate::evaluate::{Viewer, network_input, preprocess};
use crate::flow_figures::{StageFlow, StageSums};
use crate::progress;
use crate::synth::FlowField;

/// How often a pair is taken.
const TURNS: usize = 4;
/// From here on Middlebury's flow is unknown: its mark is 10^9.
const UNKNOWN_FLOW: f32 = 1e6;
/// The first number of a `.flo` file.
const FLO_MAGIC: f32 = 202_021.25;

/// The errors of models' maps on real pairs.
#[derive(Debug, Clone, Serialize)]
pub struct PairsEvaluation {
    /// Over all pairs.
    pub flow: Vec<StageFlow>,
    /// Pair by pair.
    pub pairs: Vec<PairEvaluation>,
}

/// The errors on one pair.
#[derive(Debug, Clone, Serialize)]
pub struct PairEvaluation {
    /// The name of its folder.
    pub pair: String,
    /// Of every motion stage of every model.
    pub flow: Vec<StageFlow>,
}

/// Two pictures and the flow from the first to the second.
#[derive(Debug, Clone)]
struct Pair {
    name: String,
    frames: [Frame; 2],
    flow: FlowField,
}

/// Measures models on a folder of pairs.
///
/// # Errors
/// When a model or a pair cannot be read, or a model has no motion module.
pub fn evaluate(models: &[PathBuf], folder: &Path) -> Result<PairsEvaluation> {
    let viewers: Vec<Viewer> = models.iter().map(|model| viewer(model)).collect::<Result<_>>()?;
    let pairs = read_all(folder)?;
    let bar = progress::bar("evaluating", pairs.len() * TURNS);
    let turns: Vec<(usize, usize)> =
        (0..pairs.len()).flat_map(|pair| (0..TURNS).map(move |turn| (pair, turn))).collect();
    let found: Vec<StageSums> = turns
        .par_iter()
        .map(|&(pair, turn)| {
            let sums = errors(&viewers, &pairs[pair].turned(turn)?)?;
            bar.inc(1);
            Ok(sums)
        })
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    let sum = |parts: &[StageSums]| {
        let mut sums = StageSums::default();
        parts.iter().for_each(|part| sums.merge(part));
        sums.figures(models)
    };
    let of_pair = |(pair, turns): (&Pair, _)| PairEvaluation { pair: pair.name.clone(), flow: sum(turns) };
    Ok(PairsEvaluation {
        flow: sum(&found),
        pairs: pairs.iter().zip(found.chunks(TURNS)).map(of_pair).collect(),
    })
}

fn viewer(folder: &Path) -> Result<Viewer> {
    let viewer = Viewer::load(folder)?;
    let config = viewer.net.config();
    if config.motion.is_none() || config.frames < 2 {
        let message =
            "it has no motion module and 2 frames to show motion between; expected a model with maps".into();
        return Err(Error::Data { path: folder.join("config.json"), message });
    }
    Ok(viewer)
}

/// The errors of every model on one pair.
fn errors(viewers: &[Viewer], pair: &Pair) -> Result<StageSums> {
    let mut sums = StageSums::default();
    for (model, viewer) in viewers.iter().enumerate() {
        let config = viewer.net.config();
        // The pair stands in the middle of its clip: temporal shift fills in zeros at the ends.
        let before = (config.frames - 2) / 2;
        let clip: Vec<Frame> =
            (0..config.frames).map(|i| pair.frames[usize::from(i > before)].clone()).collect();
        let (_, stages) = viewer.look(&network_input(config, &clip)?)?;
        for maps in &stages {
            sums.add(model, maps, before, &pair.flow.to_grid(&preprocess(config), maps.grid));
        }
    }
    Ok(sums)
}

/// The pairs of a folder, by name.
fn read_all(folder: &Path) -> Result<Vec<Pair>> {
    let mut folders = entries(folder)?;
    folders.retain(|path| path.is_dir());
    if folders.is_empty() {
        let message = format!("no folder in it; expected one for each pair: {FORMS}");
        return Err(Error::Data { path: folder.to_owned(), message });
    }
    folders.par_iter().map(|path| Pair::read(path)).collect()
}

const FORMS: &str =
    "two pictures and a .flo file; view1.png, view5.png and disp1.png; or two pictures and an .npz file";

/// What a folder holds, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = folder.read_dir().map_err(at(folder))?;
    let mut paths: Vec<PathBuf> =
        read.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>().map_err(at(folder))?;
    paths.sort();
    Ok(paths)
}

impl Pair {
    fn read(folder: &Path) -> Result<Self> {
        let paths = entries(folder)?;
        let with = |endings: &[&str]| -> Vec<&PathBuf> {
            let ends = |path: &&PathBuf| {
                path.extension()
                    .is_some_and(|end| endings.iter().any(|ending| end.eq_ignore_ascii_case(ending)))
            };
            paths.iter().filter(ends).collect()
        };
        let pictures = with(&["png", "jpg", "jpeg"]);
        let stereo = ["view1.png", "view5.png", "disp1.png"].map(|name| folder.join(name));
        let (pictures, flow) = match (&with(&["flo"])[..], &with(&["npz"])[..], &pictures[..]) {
            ([flow], [], [first, second]) => ([*first, *second], read_flo(flow)?),
            ([], [disparity], [first, second]) => ([*first, *second], read_npz(disparity)?),
            ([], [], _) if stereo.iter().all(|path| path.is_file()) => {
                let [first, second, disparity] = &stereo;
                ([first, second], read_disparity(disparity)?)
            }
            _ => {
                let message = format!("no pair of pictures with true flow; expected {FORMS}");
                return Err(Error::Data { path: folder.to_owned(), message });
            }
        };
        let [first, second] = pictures.map(|path| read_picture(path));
        let frames = [first?, second?];
        for (frame, path) in frames.iter().zip(pictures) {
            if (frame.width, frame.height) != (flow.width, flow.height) {
                let message = format!(
                    "{} x {} pixels, its true flow has {} x {}; expected the same size",
                    frame.width, frame.height, flow.width, flow.height
                );
                return Err(Error::Data { path: path.clone(), message });
            }
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, frames, flow })
    }

    /// 0 as it is, 1 mirrored, 2 transposed, 3 both.
    fn turned(&self, turn: usize) -> Result<Self> {
        let (mirrored, transposed) = (turn % 2 == 1, turn / 2 == 1);
        let FlowField { width, height, ref uv, ref visible } = self.flow;
        let (across, down) = if transposed { (height, width) } else { (width, height) };
        // Which pixel here comes to each place there.
        let order: Vec<usize> = (0..across * down)
            .map(|i| {
                let (x, y) = if transposed { (i / across, i % across) } else { (i % across, i / across) };
                y * width + if mirrored { width - 1 - x } else { x }
            })
            .collect();
        let frame = |frame: &Frame| {
            let pixels = frame.rgb.as_chunks::<3>().0;
            Frame::new(across, down, order.iter().flat_map(|&i| pixels[i]).collect(), frame.time_secs)
        };
        let vector = |&i: &usize| {
            let u = if mirrored { -uv[2 * i] } else { uv[2 * i] };
            if transposed { [uv[2 * i + 1], u] } else { [u, uv[2 * i + 1]] }
        };
        let [first, second] = self.frames.each_ref().map(frame);
        Ok(Self {
            name: self.name.clone(),
            frames: [first?, second?],
            flow: FlowField {
                width: across,
                height: down,
                uv: order.iter().flat_map(vector).collect(),
                visible: order.iter().map(|&i| visible[i]).collect(),
            },
        })
    }
}

fn picture(path: &Path) -> Result<image::DynamicImage> {
    let wrong = |error: image::ImageError| Error::Data {
        path: path.to_owned(),
        message: format!("no picture that can be read ({error}); expected a PNG or JPEG file"),
    };
    let bytes = std::fs::read(path).map_err(at(path))?;
    image::load_from_memory(&bytes).map_err(wrong)
}

fn read_picture(path: &Path) -> Result<Frame> {
    let rgb = picture(path)?.into_rgb8();
    Ok(Frame::new(rgb.width() as usize, rgb.height() as usize, rgb.into_raw(), 0.0)?)
}

fn read_flo(path: &Path) -> Result<FlowField> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    let words = bytes.as_chunks::<4>().0;
    let wrong = || Error::Data {
        path: path.to_owned(),
        message: format!(
            "{} bytes that are no flow file; expected the number {FLO_MAGIC}, width, height and two numbers a pixel",
            bytes.len()
        ),
    };
    let ([magic, width, height], values) = words.split_first_chunk().ok_or_else(wrong)?;
    let [width, height] = [width, height].map(|&side| u32::from_le_bytes(side) as usize);
    let count = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(2));
    if f32::from_le_bytes(*magic) != FLO_MAGIC || count != Some(values.len()) {
        return Err(wrong());
    }
    let values: Vec<f32> = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
    let known = |uv: &[f32; 2]| uv.iter().all(|d| d.abs() < UNKNOWN_FLOW);
    let visible = values.as_chunks::<2>().0.iter().map(|uv| u8::from(known(uv))).collect();
    Ok(FlowField { width, height, uv: values, visible })
}

fn read_disparity(path: &Path) -> Result<FlowField> {
    let map = picture(path)?.into_luma8();
    let disparity = map.as_raw().iter().map(|&d| f32::from(d) / 2.0);
    Ok(stereo(map.width() as usize, map.height() as usize, disparity))
}

fn read_npz(path: &Path) -> Result<FlowField> {
    let wrong = |message: String| Error::Data { path: path.to_owned(), message };
    let expected = "expected an array of disparities, [height, width]";
    let broken =
        |error: candle_core::Error| wrong(format!("no arrays that can be read ({error}); {expected}"));
    let arrays = Tensor::read_npz(path).map_err(broken)?;
    let (_, array) = arrays.first().ok_or_else(|| wrong(format!("no array in it; {expected}")))?;
    let &[height, width] = array.dims() else {
        return Err(wrong(format!("its array is {:?}; {expected}", array.dims())));
    };
    let disparity: Vec<f32> = array.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?;
    Ok(stereo(width, height, disparity.into_iter()))
}

/// Between rectified views everything moves left by its disparity.
fn stereo(width: usize, height: usize, disparity: impl Iterator<Item = f32>) -> FlowField {
    let disparity: Vec<f32> = disparity.collect();
    let known = |d: f32| d.is_finite() && d > 0.0;
    FlowField {
        width,
        height,
        uv: disparity.iter().flat_map(|&d| [if known(d) { -d } else { 0.0 }, 0.0]).collect(),
        visible: disparity.iter().map(|&d| u8::from(known(d))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 x 2 pixels; red says where a pixel is, and so does its flow.
    fn pair() -> Pair {
        let frame = Frame::new(3, 2, (0..6).flat_map(|i| [i, 0, 0]).collect(), 0.0).unwrap();
        let flow = FlowField {
            width: 3,
            height: 2,
            uv: (0..6).flat_map(|i| [i as f32, 10.0]).collect(),
            visible: vec![1, 1, 1, 1, 1, 0],
        };
        Pair { name: "pair".into(), frames: [frame.clone(), frame], flow }
    }

    #[test]
    fn a_turned_pair_moves_the_way_it_is_turned() {
        for (turn, size, places, first) in [
            (0, (3, 2), [0, 1, 2, 3, 4, 5], [0.0, 10.0]),
            (1, (3, 2), [2, 1, 0, 5, 4, 3], [-2.0, 10.0]),
            (2, (2, 3), [0, 3, 1, 4, 2, 5], [10.0, 0.0]),
            (3, (2, 3), [2, 5, 1, 4, 0, 3], [10.0, -2.0]),
        ] {
            let Pair { frames, flow, .. } = pair().turned(turn).unwrap();
            assert_eq!((flow.width, flow.height), size);
            assert_eq!((frames[1].width, frames[1].height), size);
            let red: Vec<u8> = frames[0].rgb.iter().step_by(3).copied().collect();
            assert_eq!(red, places, "turn {turn}");
            assert_eq!(flow.uv[..2], first, "turn {turn}");
            assert_eq!(flow.visible.iter().position(|&seen| seen == 0), places.iter().position(|&i| i == 5));
        }
    }

    #[test]
    fn every_form_of_a_pair_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let save = |name: &str| image::RgbImage::new(2, 1).save(place(name)).unwrap();
        save("flow/frame10.png");
        save("flow/frame11.png");
        let flo = |values: [f32; 4]| {
            let head = [FLO_MAGIC.to_le_bytes(), 2u32.to_le_bytes(), 1u32.to_le_bytes()];
            [head.to_vec(), values.map(f32::to_le_bytes).to_vec()].concat().concat()
        };
        std::fs::write(place("flow/flow10.flo"), flo([1.5, -2.0, 1e9, 1e9])).unwrap();
        save("stereo/view1.png");
        save("stereo/view5.png");
        image::GrayImage::from_raw(2, 1, vec![5, 0]).unwrap().save(place("stereo/disp1.png")).unwrap();
        save("zip/a_left.png");
        save("zip/a_right.png");
        let array = Tensor::new(&[[7f32, f32::INFINITY]], &candle_core::Device::Cpu).unwrap();
        Tensor::write_npz(&[("disparity", array)], place("zip/disp.npz")).unwrap();
        std::fs::write(place("SOURCES.md"), "no pair").unwrap();

        let pairs = read_all(folder.path()).unwrap();
        let names: Vec<&str> = pairs.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names, ["flow", "stereo", "zip"]);
        let firsts: Vec<[f32; 2]> = pairs.iter().map(|pair| [pair.flow.uv[0], pair.flow.uv[1]]).collect();
        assert_eq!(firsts, [[1.5, -2.0], [-2.5, 0.0], [-7.0, 0.0]]);
        assert!(pairs.iter().all(|pair| pair.flow.visible == [1, 0]));

        let fails = |hint: &str| {
            let error = read_all(folder.path()).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        };
        std::fs::write(place("flow/flow10.flo"), &flo([0.0; 4])[..16]).unwrap();
        fails("no flow file");
        std::fs::remove_file(place("flow/flow10.flo")).unwrap();
        fails("no pair of pictures");
        std::fs::remove_dir_all(folder.path().join("flow")).unwrap();
        image::GrayImage::new(2, 2).save(place("stereo/disp1.png")).unwrap();
        fails("2 x 1 pixels, its true flow has 2 x 2");
    }
}
