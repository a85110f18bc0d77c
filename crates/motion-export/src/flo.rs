//! Middlebury's `.flo`, one file a frame pair. In: displacements. Out: the number 202021.25, width and height
//! (32 bit), then (dx, dy) row by row, all little-endian; unknown values are 1e10, beyond the 1e9 that readers test.

use std::io::{self, Write};

use rawzip::ZipArchiveWriter;

use crate::{Found, Resolution, Result, Stage, file};

/// Stands for "unknown".
const UNKNOWN: f32 = 1e10;

/// Writes one map of `width` columns.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &mut impl Write, width: usize, displacement: &[[f32; 2]]) -> Result<()> {
    let height = displacement.len() / width;
    file.write_all(&202_021.25_f32.to_le_bytes())?;
    for side in [width, height] {
        file.write_all(&i32::try_from(side).map_err(io::Error::other)?.to_le_bytes())?;
    }
    for value in displacement.iter().flatten() {
        file.write_all(&(if value.is_nan() { UNKNOWN } else { *value }).to_le_bytes())?;
    }
    Ok(())
}

/// What the file of a stage's pair is called.
pub fn name(stage: &Stage, pair: usize) -> String {
    format!("displacement.{}.{pair:04}.flo", stage.maps.stage)
}

/// Writes a zip archive with a file for each stage and pair.
///
/// # Errors
/// When the file cannot be written.
pub fn write_zip(to: impl Write, found: &Found, resolution: Resolution) -> Result<()> {
    let mut archive = ZipArchiveWriter::new(to);
    for stage in &found.stages {
        let [width, _] = found.shape(stage, resolution);
        for pair in 0..stage.maps.pairs {
            let field = found.field(stage, pair, resolution);
            file(&mut archive, &name(stage, pair), |mut file| write(&mut file, width, &field.displacement))?;
        }
    }
    archive.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_middleburys() {
        let mut file = Vec::new();
        write(&mut file, 1, &[[1.0, -2.0], [f32::NAN, 0.0]]).unwrap();
        // 202021.25 spells "PIEH".
        assert_eq!(&file[..4], b"PIEH");
        assert_eq!(file[4..12], [1, 0, 0, 0, 2, 0, 0, 0]);
        let values: Vec<f32> = file[12..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        assert_eq!(values, [1.0, -2.0, 1e10, 0.0]);
    }

    #[test]
    fn an_archive_holds_every_pair() {
        let mut file = io::Cursor::new(Vec::new());
        let found = crate::tests::found();
        write_zip(&mut file, &found, Resolution::Grid).unwrap();
        let mut zip = zip::ZipArchive::new(file).unwrap();
        assert_eq!(zip.len(), 2);
        let mut second = Vec::new();
        io::copy(&mut zip.by_name("displacement.res3.0001.flo").unwrap(), &mut second).unwrap();
        let mut alone = Vec::new();
        write(&mut alone, 2, &found.field(&found.stages[0], 1, Resolution::Grid).displacement).unwrap();
        assert_eq!(second, alone);
    }
}
