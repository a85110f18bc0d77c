//! A sheet of clips that no training run has seen, to be judged by eye. In: a model folder, the sheet's file. Out: for
//! each of 40 rendered clips its frame of fastest motion, the true displacement, the one that the model finds, its
//! confidence, and what it takes the clip for.
//!
//! Run: `cargo run --release --example held_out -- web/models/actions docs/held-out.jpg`

use std::error::Error;
use std::path::Path;

use image::{DynamicImage, ImageEncoder, RgbaImage, codecs::jpeg::JpegEncoder};
use motion_net::{CpuBackend, StageMaps};
use motion_train::synth::{CLASSES, FlowGrid, RenderOptions, Split, SynthClip, render};
use motion_train::{evaluate, metrics};
use motion_view::figure::strip;
use motion_view::heat::{confidence_rgba, range};
use motion_view::overlay::{Enlarge, enlarge};
use motion_view::wheel::displacement_rgba;
use motion_view::{Picture, clip_scale};

/// Not that of any recipe.
const SEED: u64 = 40_000_000;
const CLIPS: usize = 40;
const COLUMNS: usize = 2;
/// Side of each of the four pictures of a clip.
const SIDE: usize = 144;
const GAP: usize = 4;
const PAPER: [u8; 3] = [255; 3];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, out] = arguments.as_slice() else {
        return Err("usage: held_out MODEL SHEET.jpg".into());
    };
    let net = evaluate::load_model(Path::new(model))?;
    let config = net.config();
    let labels: Vec<&String> = config.id2label.values().collect();
    if labels != CLASSES.each_ref() {
        return Err(format!("{model}: its classes are not those of rendered clips").into());
    }
    let estimation = config.motion.as_ref().ok_or("the model has no motion module")?.estimation();
    let (b, options) =
        (CpuBackend::new(), RenderOptions { frames: config.frames, ..RenderOptions::default() });
    let mut sheet: Option<Picture> = None;
    let (mut right, mut among_five) = (0, 0);
    for index in 0..CLIPS {
        let clip = render(index % CLASSES.len(), SEED + index as u64, Split::Test, &options)?;
        let pass = net.forward(&b, &evaluate::network_input(config, &clip.frames)?, &estimation)?;
        let (stage, motion) = pass.motions().next().ok_or("the model has no motion module")?;
        let name = net.stage_names().nth(stage).unwrap_or_default();
        let maps = pollster::block_on(motion_net::read_maps(&b, name, estimation.radius(), &motion.forward))?;
        let logits = pass.logits().ok_or("no scores")?.flatten_all()?.to_vec1::<f32>()?;
        let order = metrics::ranking(&logits);
        right += usize::from(order[0] == clip.label);
        among_five += usize::from(order[..5].contains(&clip.label));
        let tile = tile(&clip, &maps, &evaluate::preprocess(config), order[0])?;
        let [row, column] = [index / COLUMNS, index % COLUMNS];
        let (wide, high) = (tile.width + 3 * GAP, tile.height + 2 * GAP);
        let rows = CLIPS.div_ceil(COLUMNS);
        let sheet = match &mut sheet {
            Some(sheet) => sheet,
            none => none.insert(Picture::new(COLUMNS * wide, rows * high, PAPER)?),
        };
        sheet.draw(&tile, (column * wide + GAP) as isize, (row * high + GAP) as isize, 1.0);
    }
    let sheet = sheet.ok_or("no clips")?;
    let picture =
        RgbaImage::from_raw(sheet.width as u32, sheet.height as u32, sheet.rgba).ok_or("too small")?;
    let rgb = DynamicImage::from(picture).into_rgb8();
    let file = std::io::BufWriter::new(std::fs::File::create(out)?);
    let (width, height) = rgb.dimensions();
    JpegEncoder::new_with_quality(file, 88).write_image(
        &rgb,
        width,
        height,
        image::ExtendedColorType::Rgb8,
    )?;
    eprintln!("{right} of {CLIPS} right, {among_five} among the best five; {out}");
    Ok(())
}

/// Frame, truth, displacement and confidence of a clip's pair with the most motion, under a line of words.
fn tile(
    clip: &SynthClip,
    maps: &StageMaps,
    preprocess: &motion_clip::Preprocess,
    answer: usize,
) -> Result<Picture, Box<dyn Error>> {
    let truths: Vec<FlowGrid> = clip.flow.iter().map(|flow| flow.to_grid(preprocess, maps.grid)).collect();
    let motion =
        |truth: &FlowGrid| truth.cells.as_chunks::<2>().0.iter().map(|d| d[0].hypot(d[1])).sum::<f32>();
    let most = |a: &usize, b: &usize| motion(&truths[*a]).total_cmp(&motion(&truths[*b]));
    let pair = (0..truths.len()).max_by(most).ok_or("a clip of one frame")?;
    let true_map: Vec<f32> = truths[pair].cells.iter().map(|d| d / maps.radius as f32).collect();
    let found: Vec<f32> = maps.cells(pair).iter().map(|d| d / maps.radius as f32).collect();
    let scale = clip_scale(&true_map, maps.radius).in_map_units();
    let large = |map: &[f32], channels| enlarge(map, channels, maps.grid, [SIDE; 2], Enlarge::Bilinear);
    let confidence = large(maps.confidences(pair), 1)?;
    let [low, high] = range(&confidence).unwrap_or_default();
    let small = |rgba| Picture::from_rgba(SIDE, SIDE, rgba);
    let view = motion_clip::resize::resize(&preprocess.view(&clip.frames[pair])?, SIDE, SIDE)?;
    let pictures = [
        Picture::from_frame(&view)?,
        small(displacement_rgba(&large(&true_map, 2)?, scale))?,
        small(displacement_rgba(&large(&found, 2)?, scale))?,
        small(confidence_rgba(&confidence, low, high))?,
    ];
    let mark = if answer == clip.label { "right" } else { CLASSES[answer] };
    let width = pictures.len() * (SIDE + GAP) - GAP;
    let words = strip(&format!("{}: {mark}", CLASSES[clip.label]), width)?;
    let mut tile = Picture::new(width, words.height + SIDE, PAPER)?;
    tile.draw(&words, 0, 0, 1.0);
    for (index, picture) in pictures.iter().enumerate() {
        tile.draw(picture, (index * (SIDE + GAP)) as isize, words.height as isize, 1.0);
    }
    Ok(tile)
}
