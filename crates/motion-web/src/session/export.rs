//! What is shown, as files for other programs: the same as `motionlens maps` writes. In: maps of a clip. Out: bytes.

use std::io::Cursor;

use motion_export::{Found, Resolution, Stage, csv, flo, npz};
use motion_net::Estimation;
use serde::Serialize;

use crate::{Error, Result};

/// Everything shown, as JSON. Displacements are in pixels of the source frame, as in the other files.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    pub(super) video: &'a str,
    /// The frames are not exactly those that were asked for.
    pub(super) approximate: bool,
    pub(super) backbone: &'a str,
    pub(super) backend: &'static str,
    pub(super) estimation: Estimation,
    /// The likeliest actions, best first.
    pub(super) top: Vec<Action<'a>>,
    pub(super) logits: Vec<f32>,
    #[serde(flatten)]
    pub(super) maps: Maps,
}

#[derive(Serialize)]
pub(super) struct Action<'a> {
    pub(super) label: &'a str,
    pub(super) probability: f32,
}

#[derive(Serialize)]
pub(super) struct Maps {
    /// Width and height of the source frame in pixels.
    size: [usize; 2],
    frames: Vec<usize>,
    times: Vec<f64>,
    stages: Vec<StageMaps>,
}

#[derive(Serialize)]
struct StageMaps {
    stage: String,
    /// No motion module is trained for this stage.
    probe: bool,
    /// Height and width of a map in cells.
    grid: [usize; 2],
    /// Width and height of a cell in source pixels.
    cell: [f32; 2],
    /// `[pairs][h * w]`, (dx, dy) each.
    displacement: Vec<Vec<[f32; 2]>>,
    /// `[pairs][h * w]`.
    confidence: Vec<Vec<f32>>,
}

impl Maps {
    pub(super) fn of(found: Found) -> Self {
        let stages = found.stages.iter().map(|stage| StageMaps::of(&found, stage)).collect();
        Self { stages, size: found.size, frames: found.frames, times: found.times }
    }
}

impl StageMaps {
    fn of(found: &Found, stage: &Stage) -> Self {
        let fields = (0..stage.maps.pairs).map(|pair| found.field(stage, pair, Resolution::Grid));
        let (displacement, confidence) = fields.map(|field| (field.displacement, field.confidence)).unzip();
        Self {
            stage: stage.maps.stage.clone(),
            probe: stage.probe,
            grid: stage.maps.grid,
            cell: found.cell(stage, Resolution::Grid),
            displacement,
            confidence,
        }
    }
}

/// Name, media type and content of a file of maps.
///
/// # Errors
/// For a kind that there is not, and for maps too large for it.
pub(super) fn file(kind: &str, found: &Found) -> Result<(&'static str, &'static str, Vec<u8>)> {
    let mut bytes = Cursor::new(Vec::new());
    let (name, mime) = match kind {
        "npz" => {
            npz::write(&mut bytes, found, Resolution::Grid)?;
            ("maps.npz", "application/octet-stream")
        }
        "flo" => {
            flo::write_zip(&mut bytes, found, Resolution::Grid)?;
            ("flo.zip", "application/zip")
        }
        "csv" => {
            csv::write(&mut bytes, found)?;
            ("maps.csv", "text/csv")
        }
        _ => {
            let expected = "npz, flo, csv, json or clip";
            return Err(Error::Message { what: "what to save", found: kind.to_owned(), expected });
        }
    };
    Ok((name, mime, bytes.into_inner()))
}
