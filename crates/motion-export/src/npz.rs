//! NumPy's `.npz`: a zip of `.npy` arrays. In: maps. Out: `displacement.<stage>` `[T-1, 2, h, w]`,
//! `confidence.<stage>` `[T-1, 1, h, w]`, `cell.<stage>` `[2]` and `times` `[T]`, all f32.

use std::io::Write;

use rawzip::ZipArchiveWriter;

use crate::{Error, Found, Resolution, Result, file};

/// More than this is not written in one file.
const MAX_BYTES: u64 = 8 << 30;

/// Writes all stages.
///
/// # Errors
/// When the file would be too large or cannot be written.
pub fn write(to: impl Write, found: &Found, resolution: Resolution) -> Result<()> {
    let bytes = |[w, h]: [usize; 2], pairs: usize| 12 * (w * h * pairs) as u64;
    let all: u64 = found.stages.iter().map(|s| bytes(found.shape(s, resolution), s.maps.pairs)).sum();
    if all > MAX_BYTES {
        return Err(Error::TooLarge { gigabytes: all >> 30, limit: MAX_BYTES >> 30 });
    }
    let mut archive = ZipArchiveWriter::new(to);
    let mut array = |name: &str, shape: &[usize], parts: &mut dyn Iterator<Item = Vec<f32>>| {
        file(&mut archive, &format!("{name}.npy"), |file| {
            file.write_all(&header(shape))?;
            for values in parts {
                let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
                file.write_all(&bytes)?;
            }
            Ok(())
        })
    };
    for stage in &found.stages {
        let (name, pairs) = (&stage.maps.stage, stage.maps.pairs);
        let [width, height] = found.shape(stage, resolution);
        let mut displacement = (0..pairs).map(|pair| {
            let field = found.field(stage, pair, resolution);
            [0, 1].into_iter().flat_map(|axis| field.displacement.iter().map(move |d| d[axis])).collect()
        });
        array(&format!("displacement.{name}"), &[pairs, 2, height, width], &mut displacement)?;
        let mut confidence = (0..pairs).map(|pair| found.field(stage, pair, resolution).confidence);
        array(&format!("confidence.{name}"), &[pairs, 1, height, width], &mut confidence)?;
        let cell = found.cell(stage, resolution).to_vec();
        array(&format!("cell.{name}"), &[2], &mut std::iter::once(cell))?;
    }
    let times = found.times.iter().map(|&time| time as f32).collect();
    array("times", &[found.times.len()], &mut std::iter::once(times))?;
    archive.finish()?;
    Ok(())
}

/// The beginning of a `.npy` file, format 1.0: magic, version, length, a Python dictionary padded to 64 bytes.
fn header(shape: &[usize]) -> Vec<u8> {
    let sides: String = shape.iter().map(|side| format!("{side},")).collect();
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a shape of a few numbers is short");
    [b"\x93NUMPY\x01\x00".as_slice(), &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    #[test]
    fn arrays_come_back() {
        let mut file = Cursor::new(Vec::new());
        write(&mut file, &crate::tests::found(), Resolution::Grid).unwrap();
        let mut zip = zip::ZipArchive::new(file).unwrap();
        let names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["displacement.res3.npy", "confidence.res3.npy", "cell.res3.npy", "times.npy"]);
        let mut array = Vec::new();
        zip.by_name("displacement.res3.npy").unwrap().read_to_end(&mut array).unwrap();
        let text = String::from_utf8_lossy(&array[..128]).into_owned();
        assert!(text.contains("'shape': (2,2,2,2,), "), "{text}");
        let values: Vec<f32> = array[128..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        // Channels first: all dx of the first pair, then all dy.
        assert_eq!(values[..8], [28.0, -28.0, 0.0, 0.0, 0.0, 0.0, 28.0, -28.0]);
        assert_eq!(values.len(), 16);
    }

    #[test]
    fn the_header_fills_whole_64_bytes() {
        for shape in [&[1][..], &[7, 2, 28, 28], &[1_000_000, 2, 8192, 4320]] {
            let header = header(shape);
            assert_eq!(header.len() % 64, 0);
            assert_eq!(header.last(), Some(&b'\n'));
        }
    }
}
