//! How many clips of videos are decoded in a second: `decode_rate FOLDER/CLASS/VIDEO... [segment|dense]`.
//!
//! Takes a folder of class folders, decodes every video's clip, first with the frames still to be counted, then again
//! with them counted. `RAYON_NUM_THREADS` says on how many threads.

use std::path::Path;
use std::time::Instant;

use motion_train::data::{Data, Frames};
use motion_train::recipe::DataSpec;
use motion_train::videos::Choice;
use rayon::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("expected a folder of class folders")?;
    let sampling = args.next().unwrap_or("segment".to_owned());
    let spec = DataSpec { folder: Some(Path::new(&folder).to_owned()), ..DataSpec::default() };
    let data = Data::open(&spec, Frames::Exactly(8), None)?;
    let names: Vec<String> = (0..data.labels().len()).map(|i| format!("\"{i}\": \"{i}\"")).collect();
    let config = motion_net::Config::from_json(&format!(
        r#"{{"architecture": "msnet", "backbone": "tsm_resnet18", "frames": 8, "input_size": 224, "resize": [240, 320],
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "sampling": "{sampling}",
        "id2label": {{{}}}}}"#,
        names.join(",")
    ))?;
    for epoch in 0..3 {
        let begun = Instant::now();
        let clips = (0..data.count())
            .into_par_iter()
            .filter_map(|index| data.sample(index, &config, Choice::Train { seed: 1, epoch }).transpose());
        let decoded = clips.map(|clip| clip.map(|_| 1)).sum::<Result<usize, _>>()?;
        let secs = begun.elapsed().as_secs_f64();
        eprintln!("epoch {epoch}: {decoded} of {} clips, {:.2} clips/s", data.count(), decoded as f64 / secs);
    }
    Ok(())
}
