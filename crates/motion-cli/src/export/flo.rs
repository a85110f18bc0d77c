//! Middlebury's `.flo`, one file a frame pair. In: displacements. Out: the number 202021.25, width and height
//! (32 bit), then (dx, dy) row by row, all little-endian; unknown values are 1e10, beyond the 1e9 that readers test.

use std::io::Write;

use anyhow::Result;

/// Stands for "unknown".
const UNKNOWN: f32 = 1e10;

/// Writes one map of `width` columns.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(file: &mut impl Write, width: usize, displacement: &[[f32; 2]]) -> Result<()> {
    let height = displacement.len() / width;
    file.write_all(&202_021.25_f32.to_le_bytes())?;
    file.write_all(&i32::try_from(width)?.to_le_bytes())?;
    file.write_all(&i32::try_from(height)?.to_le_bytes())?;
    for value in displacement.iter().flatten() {
        file.write_all(&(if value.is_nan() { UNKNOWN } else { *value }).to_le_bytes())?;
    }
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
}
