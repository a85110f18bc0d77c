//! Scalars in, a TensorBoard event file out.
//!
//! A record is its length (u64), that length's checksum, a protobuf message `Event`, the message's checksum; all little
//! endian. The few fields that scalars need are written by hand: the crates that know the whole format bring a protobuf
//! compiler or a picture library with them. Source: `tensorflow/core/util/event.proto`, `summary.proto` and
//! `lib/io/record_writer.h`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Result, at};

/// An event file that is being written.
pub(crate) struct Events {
    file: File,
    path: std::path::PathBuf,
}

impl Events {
    /// A new file in a folder. What earlier files of the folder say of `step` and later ones does not count any more.
    pub(crate) fn create(folder: &Path, step: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let now = now();
        // TensorBoard reads a folder's files in the order of their names.
        let name = format!("events.out.tfevents.{:010}.{:09}", now.as_secs(), now.subsec_nanos());
        let path = folder.join(name);
        let file = File::create_new(&path).map_err(at(&path))?;
        let mut events = Self { file, path };
        events.write(step, &bytes_field(3, b"brain.Event:2"))?;
        // SessionLog { status: START }.
        events.write(step, &bytes_field(7, &[varint_key(1), 1]))?;
        Ok(events)
    }

    /// Adds scalars of a step; those that are absent are left out.
    pub(crate) fn scalars(&mut self, step: usize, scalars: &[(&str, Option<f64>)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars {
            let Some(value) = value else { continue };
            // Value { tag, simple_value }.
            let mut entry = bytes_field(1, tag.as_bytes());
            entry.push(2 << 3 | FOUR_BYTES);
            entry.extend((*value as f32).to_le_bytes());
            summary.extend(bytes_field(1, &entry));
        }
        self.write(step, &bytes_field(5, &summary))
    }

    fn write(&mut self, step: usize, what: &[u8]) -> Result<()> {
        let mut event = vec![1 << 3 | EIGHT_BYTES];
        event.extend(now().as_secs_f64().to_le_bytes());
        event.push(varint_key(2));
        varint(&mut event, step as u64);
        event.extend(what);
        self.file.write_all(&record(&event)).map_err(at(&self.path))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), event, &checksum(event)].concat()
}

/// CRC-32C, turned and moved so that the checksum of data with checksums in it is a good one too.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

// Protobuf's wire types.
const EIGHT_BYTES: u8 = 1;
const LENGTH_FIRST: u8 = 2;
const FOUR_BYTES: u8 = 5;

/// The key of a field that is a varint, wire type 0.
const fn varint_key(field: u8) -> u8 {
    field << 3
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn bytes_field(field: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![field << 3 | LENGTH_FIRST];
    varint(&mut bytes, value.len() as u64);
    bytes.extend(value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_protobufs() {
        for (value, expected) in
            [(1, vec![1]), (300, vec![0xac, 0x02]), (u64::MAX, [vec![0xff; 9], vec![1]].concat())]
        {
            let mut bytes = Vec::new();
            varint(&mut bytes, value);
            assert_eq!(bytes, expected);
        }
    }

    /// TensorBoard 2.21's `RecordWriter` on `Event(wall_time=1.5, step=300, summary=Summary(value=[
    /// Summary.Value(tag="loss", simple_value=0.5)]))`.
    #[test]
    fn a_record_is_tensorboards() {
        let event = b"\x09\0\0\0\0\0\0\xf8\x3f\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f";
        let framed = [&b"\x1b\0\0\0\0\0\0\0\x1a\x0d\x9e\x13"[..], event, b"\x69\xf9\x31\x5b"];
        assert_eq!(record(event), framed.concat());
    }

    #[test]
    fn a_file_has_every_scalar() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::create(folder.path(), 0).unwrap();
        let before = std::fs::metadata(&events.path).unwrap().len();
        events.scalars(300, &[("loss", Some(0.5)), ("none", None)]).unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        // After length, checksum and time, which is the clock's: step 300 and the one scalar.
        let said = b"\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\0\x3f";
        assert_eq!(bytes[before as usize..][12 + 9..][..said.len()], said[..]);
    }
}
