//! One table for everything. In: maps. Out: a line for each cell of each map, with the columns of [`HEADER`].
//!
//! `pair` counts from 0; `time_from` and `time_to` are in seconds; `row` and `column` number the cell; `x` and `y`
//! are its centre and `dx` and `dy` its displacement, in pixels of the source frame; `argmax` is the index of the
//! best match in the P x P window, dy-major.

use std::io::Write;

use crate::{Found, Resolution, Result};

/// The first line.
pub const HEADER: &str = "stage,pair,time_from,time_to,row,column,x,y,dx,dy,confidence,argmax";

/// Writes the table.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &mut impl Write, found: &Found) -> Result<()> {
    writeln!(file, "{HEADER}")?;
    for stage in &found.stages {
        let [rows, columns] = stage.maps.grid;
        for pair in 0..stage.maps.pairs {
            let field = found.field(stage, pair, Resolution::Grid);
            let argmax = &stage.maps.argmax[pair * rows * columns..];
            for (cell, ([dx, dy], confidence)) in field.displacement.iter().zip(&field.confidence).enumerate()
            {
                let (row, column) = (cell / columns, cell % columns);
                let centre = [column as f32 + 0.5, row as f32 + 0.5];
                let [x, y] = found.geometry.source_from_grid(centre, [columns, rows]);
                // `:?` writes tiny values as 1.5e-11, not with all their zeros.
                writeln!(
                    file,
                    "{},{pair},{},{},{row},{column},{x},{y},{dx:?},{dy:?},{confidence:?},{}",
                    stage.maps.stage,
                    found.times[pair],
                    found.times[pair + 1],
                    argmax[cell]
                )?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_cell() {
        let mut file = Vec::new();
        write(&mut file, &crate::tests::found()).unwrap();
        let text = String::from_utf8(file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 2 * 4);
        assert_eq!(lines[0], HEADER);
        assert_eq!(lines[2], "res3,0,0,0.4,0,1,10,2,-28.0,0.0,0.2,105");
        assert_eq!(lines[8], "res3,1,0.4,0.9,1,1,10,6,14.0,14.0,0.8,112");
    }
}
