//! Contact sheets of the synthetic classes: a row a clip, to look at. In: folder, split, seed. Out: one PNG a class.

use std::time::Instant;

use image::RgbImage;
use motion_train::synth::{CLASSES, RenderOptions, Split, render};

const ROWS: u64 = 8;
const SMALL: [u32; 2] = [160, 120];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, split, seed] = arguments.as_slice() else {
        return Err("usage: synth_sheet FOLDER train|test SEED".into());
    };
    let split = if split == "test" { Split::Test } else { Split::Train };
    let seed: u64 = seed.parse()?;
    std::fs::create_dir_all(out)?;
    let options = RenderOptions::default();
    for (class, name) in CLASSES.iter().enumerate() {
        let started = Instant::now();
        let mut sheet = RgbImage::new(SMALL[0] * options.frames as u32, SMALL[1] * ROWS as u32);
        for row in 0..ROWS {
            let clip = render(class, seed + row, split, &options)?;
            for (column, frame) in clip.frames.iter().enumerate() {
                for y in 0..SMALL[1] {
                    for x in 0..SMALL[0] {
                        let at = ((2 * y as usize) * frame.width + 2 * x as usize) * 3;
                        let px = image::Rgb([frame.rgb[at], frame.rgb[at + 1], frame.rgb[at + 2]]);
                        sheet.put_pixel(column as u32 * SMALL[0] + x, row as u32 * SMALL[1] + y, px);
                    }
                }
            }
        }
        let took = started.elapsed().as_secs_f64() / ROWS as f64;
        eprintln!("{class:2} {name}: {:.1} ms a clip", took * 1000.0);
        sheet.save(format!("{out}/{class:02}.png"))?;
    }
    Ok(())
}
