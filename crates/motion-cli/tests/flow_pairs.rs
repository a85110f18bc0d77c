//! How far are the default model's maps from the true flow of real image pairs?
//!
//! Each pair of `../shared/data/flow` goes through `motionlens maps` as a folder of two frames, four times: as it is,
//! mirrored, transposed, both. The truth of a cell is the mean flow of its known pixels after the network's own
//! resize and crop; it counts where at least 80 % of them are known and their deviation is below 0.35 cell.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use candle_core::Tensor;
use image::{DynamicImage, imageops};
use motion_clip::Preprocess;
use motion_train::synth::FlowField;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Speeds in cells that are reported apart.
const BINS: [(&str, f32, f32); 4] =
    [("< 0.5", 0.0, 0.5), ("0.5-1", 0.5, 1.0), ("1-3", 1.0, 3.0), ("3-7", 3.0, 7.001)];

/// Two pictures and the flow from the first to the second.
struct Pair {
    first: DynamicImage,
    second: DynamicImage,
    flow: FlowField,
}

/// Sums over cells: distance from the truth, length of the truth, number.
#[derive(Default, Clone, Copy)]
struct Sums {
    found: f64,
    zero: f64,
    cells: usize,
}

#[test]
fn maps_of_fast_real_pairs_beat_a_map_of_zeros() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (data, model) = (root.join("../shared/data/flow"), root.join("web/models/default"));
    if !data.is_dir() {
        eprintln!("skipped: no image pairs with true flow at ../shared/data/flow");
        return Ok(());
    }
    eprintln!("end-point error in cells on the map's grid / of a map of zeros (number of cells)");
    for (name, pair) in pairs(&data)? {
        let (mut total, mut bins) = (Sums::default(), [Sums::default(); BINS.len()]);
        for turn in 0..4 {
            add_cells(&pair.turned(turn), &model, &mut total, &mut bins)?;
        }
        let show = |s: &Sums| {
            let n = s.cells.max(1) as f64;
            format!("{:.2} / {:.2} ({})", s.found / n, s.zero / n, s.cells)
        };
        let apart = BINS.iter().zip(&bins).map(|(bin, sums)| format!("{}: {}", bin.0, show(sums)));
        eprintln!("{name:12} all: {}  {}", show(&total), apart.collect::<Vec<_>>().join("  "));
        assert!(total.cells > 400, "{name}: only {} cells have a truth", total.cells);
        // RubberWhale moves less than a quarter of a cell: nothing for a search over whole cells to win.
        if name != "rubberwhale" {
            assert!(total.found < total.zero, "{name}: further from the truth than a map of zeros");
        }
    }
    Ok(())
}

/// The four pairs, as `SOURCES.md` beside them describes.
fn pairs(data: &Path) -> Result<Vec<(&'static str, Pair)>> {
    let flo = std::fs::read(data.join("rubberwhale/flow10.flo"))?;
    let uv: Vec<f32> = flo[12..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let known: Vec<u8> =
        uv.as_chunks::<2>().0.iter().map(|v| u8::from(v.iter().all(|c| c.abs() < 1e6))).collect();
    let mut found = vec![(
        "rubberwhale",
        Pair::read(data, "rubberwhale/frame10.png", "rubberwhale/frame11.png", uv, known)?,
    )];
    for (name, first, second, map) in [
        ("cloth3", "cloth3/view1.png", "cloth3/view5.png", "cloth3/disp1.png"),
        ("wood2", "wood2/view1.png", "wood2/view5.png", "wood2/disp1.png"),
    ] {
        let disparity = image::open(data.join(map))?.into_luma8();
        let disparity = disparity.as_raw().iter().map(|&d| f32::from(d) / 2.0).collect();
        found.push((name, Pair::stereo(data, first, second, disparity)?));
    }
    let stored = arrays(&data.join("motorcycle/motorcycle_disp.npz"))?;
    let disparity = stored[0].1.flatten_all()?.to_vec1()?;
    let (first, second) = ("motorcycle/motorcycle_left.png", "motorcycle/motorcycle_right.png");
    found.push(("motorcycle", Pair::stereo(data, first, second, disparity)?));
    Ok(found)
}

impl Pair {
    fn read(data: &Path, first: &str, second: &str, uv: Vec<f32>, visible: Vec<u8>) -> Result<Self> {
        let (first, second) = (image::open(data.join(first))?, image::open(data.join(second))?);
        let (width, height) = (first.width() as usize, first.height() as usize);
        assert_eq!((uv.len(), visible.len()), (width * height * 2, width * height), "one vector a pixel");
        Ok(Self { first, second, flow: FlowField { width, height, uv, visible } })
    }

    /// Between rectified views everything moves left by its disparity.
    fn stereo(data: &Path, first: &str, second: &str, disparity: Vec<f32>) -> Result<Self> {
        let known = |d: f32| d.is_finite() && d > 0.0;
        let uv = disparity.iter().flat_map(|&d| [if known(d) { -d } else { 0.0 }, 0.0]).collect();
        Self::read(data, first, second, uv, disparity.iter().map(|&d| u8::from(known(d))).collect())
    }

    /// 0 as it is, 1 mirrored, 2 transposed, 3 both.
    fn turned(&self, turn: usize) -> Self {
        let mut out =
            Self { first: self.first.clone(), second: self.second.clone(), flow: self.flow.clone() };
        if turn % 2 == 1 {
            (out.first, out.second) = (out.first.fliph(), out.second.fliph());
            out.flow = moved(&out.flow, false, |v| [-v[0], v[1]]);
        }
        if turn / 2 == 1 {
            (out.first, out.second) = (transposed(&out.first), transposed(&out.second));
            out.flow = moved(&out.flow, true, |v| [v[1], v[0]]);
        }
        out
    }
}

fn transposed(picture: &DynamicImage) -> DynamicImage {
    DynamicImage::from(imageops::flip_horizontal(&imageops::rotate90(&picture.to_rgb8())))
}

/// A flow field mirrored, or transposed, with its vectors turned alike.
fn moved(flow: &FlowField, transpose: bool, turn: impl Fn([f32; 2]) -> [f32; 2]) -> FlowField {
    let (width, height) = if transpose { (flow.height, flow.width) } else { (flow.width, flow.height) };
    let mut out = FlowField { width, height, uv: Vec::new(), visible: Vec::new() };
    for y in 0..height {
        for x in 0..width {
            let from = if transpose { x * flow.width + y } else { y * flow.width + (width - 1 - x) };
            out.uv.extend(turn([flow.uv[2 * from], flow.uv[2 * from + 1]]));
            out.visible.push(flow.visible[from]);
        }
    }
    out
}

fn add_cells(pair: &Pair, model: &Path, total: &mut Sums, bins: &mut [Sums]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (frames, out) = (folder.path().join("frames"), folder.path().join("maps"));
    std::fs::create_dir(&frames)?;
    pair.first.to_rgb8().save(frames.join("0.png"))?;
    pair.second.to_rgb8().save(frames.join("1.png"))?;
    let run = Command::new(env!("CARGO_BIN_EXE_motionlens"))
        .args(["maps".as_ref(), frames.as_os_str(), "--model".as_ref(), model.as_os_str()])
        .args(["--out".as_ref(), out.as_os_str()])
        .args(["--every-frame", "--format", "npz"])
        .output()?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let arrays = arrays(&out.join("maps.npz"))?;
    let array = |prefix: &str| {
        let found = arrays.iter().find(|(name, _)| name.starts_with(prefix));
        found.map(|(_, tensor)| tensor).ok_or_else(|| format!("no {prefix} in maps.npz"))
    };
    let displacement = array("displacement.")?;
    let (pairs, _, height, width) = displacement.dims4()?;
    assert_eq!(pairs, 1, "two frames are one pair");
    let values = displacement.flatten_all()?.to_vec1::<f32>()?;
    let cell = array("cell.")?.to_vec1::<f32>()?;
    let truth = pair.flow.to_grid(&Preprocess::default(), [height, width]);
    for i in (0..height * width).filter(|&i| truth.counts[i]) {
        let (u, v) = (truth.cells[2 * i], truth.cells[2 * i + 1]);
        let (found_u, found_v) = (values[i] / cell[0], values[height * width + i] / cell[1]);
        let (error, speed) = ((found_u - u).hypot(found_v - v), u.hypot(v));
        let bin = BINS.iter().position(|&(_, low, high)| (low..high).contains(&speed));
        for sums in std::iter::once(&mut *total).chain(bin.map(|b| &mut bins[b])) {
            sums.found += f64::from(error);
            sums.zero += f64::from(speed);
            sums.cells += 1;
        }
    }
    Ok(())
}

/// The arrays of an `.npz` file, by name.
fn arrays(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path)?)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("array.npy");
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.trim_end_matches(".npy").to_owned();
        std::io::copy(&mut entry, &mut std::fs::File::create(&file)?)?;
        arrays.push((name, Tensor::read_npy(&file)?));
    }
    Ok(arrays)
}
