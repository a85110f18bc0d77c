//! A published checkpoint's bytes in; tensors by name out, and from them a model folder's weights and config.
//!
//! Three layouts are told apart by their first bytes: PyTorch's zip (since 1.6), PyTorch's older stream of pickles
//! (1.0.1, which the MSNet release used), and safetensors. Files are untrusted: nothing in them is executed, no
//! bytes cause a panic, and memory stays within a small multiple of the file's length.

mod convert;
pub mod labels;
mod pickle;

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype as SafeDtype, SafeTensors};

pub use convert::{Converted, to_msnet};
use pickle::{Dtype, Id, Pickle, Storage, Value};

use crate::{Error, Result};

/// First pickle of the old layout, little-endian: 0x1950a86a20f9469cfc6c (PyTorch, `serialization.py`).
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Second pickle of the old layout (same source).
const LEGACY_PROTOCOL: i64 = 1001;
/// PyTorch has no tensors with more axes.
const MOST_AXES: usize = 64;

/// What a checkpoint holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// The state dict, names as in the file (usually with a leading `module.`).
    pub tensors: BTreeMap<String, CheckpointTensor>,
    /// After which epoch it was saved.
    pub epoch: Option<i64>,
    /// What the training script called the architecture (`MS` in the MSNet release).
    pub arch: Option<String>,
    /// Best top-1 accuracy on the validation set so far, in percent.
    pub best_prec1: Option<f64>,
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointTensor {
    /// Length of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// Row-major values, however they were strided in the file.
    pub data: TensorData,
}

/// Values, widened to one type of each kind.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// From f16, bf16, f32 and f64.
    Float(Vec<f32>),
    /// From integers and truth values.
    Int(Vec<i64>),
}

/// Reads a checkpoint: PyTorch's zip or old layout, with the state dict under `state_dict` or bare; or safetensors.
///
/// # Errors
/// [`Error::Checkpoint`] saying what was found, expected and can be done: no checkpoint, cut short, damaged, a name
/// in it that is no data, a tensor that does not fit its storage.
pub fn read(bytes: &[u8]) -> Result<Checkpoint> {
    if bytes.starts_with(b"PK\x03\x04") {
        read_zip(bytes)
    } else if bytes.get(8) == Some(&b'{') {
        read_safetensors(bytes)
    } else if bytes.first() == Some(&0x80) {
        read_legacy(bytes)
    } else if bytes.get(257..262) == Some(b"ustar") {
        Err(wrong("a tar file, as PyTorch before 0.1.10 wrote; save it again with a newer PyTorch"))
    } else {
        let start = &bytes[..bytes.len().min(8)];
        Err(wrong(format!(
            "{} bytes that begin with {start:02x?}; expected a PyTorch checkpoint (.pth, .pth.tar) or a safetensors file",
            bytes.len()
        )))
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::Checkpoint(message.into())
}

/// Raw numbers of each storage by its key.
type Blocks<'a> = HashMap<&'a str, &'a [u8]>;

/// An archive of stored (never compressed) entries: `<name>/data.pkl`, `<name>/data/<key>`.
fn read_zip(bytes: &[u8]) -> Result<Checkpoint> {
    let broken =
        |error: rawzip::Error| wrong(format!("the zip archive cannot be read ({error}); is the file whole?"));
    let archive = rawzip::ZipArchive::from_slice(bytes).map_err(broken)?;
    let mut entries = HashMap::new();
    let mut prefix = None;
    let mut left = bytes.len() as u64;
    let mut listing = archive.entries();
    while let Some(entry) = listing.next_entry().map_err(broken)? {
        let Ok(name) = std::str::from_utf8(entry.file_path().as_bytes()) else { continue };
        if entry.compression_method() != rawzip::CompressionMethod::STORE {
            return Err(wrong(format!(
                "{name:?} in the zip archive is compressed; PyTorch never compresses"
            )));
        }
        // Entries that lie over each other would make a small file look large.
        let Some(rest) = left.checked_sub(entry.compressed_size_hint()) else {
            return Err(wrong("the zip archive's entries are together longer than the file; is it damaged?"));
        };
        left = rest;
        if let Some(folder) = name.strip_suffix("data.pkl") {
            prefix = Some(folder.to_owned());
        }
        entries.insert(name.to_owned(), entry.wayfinder());
    }
    let Some(prefix) = prefix else {
        return Err(wrong("a zip archive without data.pkl; expected one written by torch.save"));
    };
    if entries.contains_key(&format!("{prefix}constants.pkl")) {
        return Err(wrong("a TorchScript program, not a checkpoint; save the model's state_dict() instead"));
    }
    let entry = |name: String| -> Result<&[u8]> {
        let Some(&wayfinder) = entries.get(&name) else {
            return Err(wrong(format!("{name:?} is missing from the zip archive; is the file whole?")));
        };
        let entry = archive.get_entry(wayfinder).map_err(broken)?;
        let mut reader = entry.verifying_reader(entry.data());
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(|error| {
            wrong(format!("{name:?} in the zip archive is damaged ({error}); fetch the file again"))
        })?;
        Ok(entry.data())
    };
    if entries.contains_key(&format!("{prefix}byteorder"))
        && entry(format!("{prefix}byteorder"))?.trim_ascii() != b"little"
    {
        return Err(wrong("numbers are big-endian; save it again on an ordinary (little-endian) machine"));
    }
    let pickle = Pickle::read(entry(format!("{prefix}data.pkl"))?, 0)?;
    let mut blocks = Blocks::new();
    for storage in &pickle.storages {
        if !blocks.contains_key(storage.key) {
            blocks.insert(storage.key, entry(format!("{prefix}data/{}", storage.key))?);
        }
    }
    collect(&pickle, &blocks, bytes.len())
}

/// Five pickles (magic number, protocol, facts about the machine, the object, keys of the storages), then for each
/// key its number of elements (i64) and its numbers.
fn read_legacy(bytes: &[u8]) -> Result<Checkpoint> {
    let magic = Pickle::read(bytes, 0)?;
    if *magic.value(magic.root) != Value::Long(&LEGACY_MAGIC) {
        return Err(wrong("a pickle, but not one written by torch.save; expected a PyTorch checkpoint"));
    }
    let protocol = Pickle::read(bytes, magic.end)?;
    if *protocol.value(protocol.root) != Value::Int(LEGACY_PROTOCOL) {
        return Err(wrong(format!("its layout is not number {LEGACY_PROTOCOL}; is the file damaged?")));
    }
    let machine = Pickle::read(bytes, protocol.end)?;
    let endian = machine.field(machine.root, "little_endian").map(|id| machine.value(id));
    if endian == Some(&Value::Bool(false)) {
        return Err(wrong("numbers are big-endian; save it again on an ordinary (little-endian) machine"));
    }
    let pickle = Pickle::read(bytes, machine.end)?;
    let keys = Pickle::read(bytes, pickle.end)?;
    let Value::List(order) = keys.value(keys.root) else {
        return Err(wrong("the list of storages is missing; is the file damaged?"));
    };
    let known: HashMap<&str, &Storage<'_>> = pickle.storages.iter().map(|s| (s.key, s)).collect();
    let mut blocks = Blocks::new();
    let mut rest = &bytes[keys.end..];
    for &id in order {
        let Some(storage) = keys.text(id).and_then(|key| known.get(key)) else {
            return Err(wrong("the list of storages holds one that no tensor uses; is the file damaged?"));
        };
        let cut =
            || wrong(format!("the file ends inside storage {:?}; it is cut short or damaged", storage.key));
        let (count, after) = rest.split_first_chunk().ok_or_else(cut)?;
        if usize::try_from(i64::from_le_bytes(*count)) != Ok(storage.elements) {
            return Err(wrong(format!(
                "storage {:?} has {} elements by its description, {} by its data; is the file damaged?",
                storage.key,
                storage.elements,
                i64::from_le_bytes(*count)
            )));
        }
        let length = storage.elements.checked_mul(storage.dtype.size()).ok_or_else(cut)?;
        let (block, after) = after.split_at_checked(length).ok_or_else(cut)?;
        blocks.insert(storage.key, block);
        rest = after;
    }
    collect(&pickle, &blocks, bytes.len())
}

fn read_safetensors(bytes: &[u8]) -> Result<Checkpoint> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| wrong(format!("not a readable safetensors file ({error}); is it whole?")))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            SafeDtype::F64 => Dtype::F64,
            SafeDtype::F32 => Dtype::F32,
            SafeDtype::F16 => Dtype::F16,
            SafeDtype::BF16 => Dtype::Bf16,
            SafeDtype::I64 => Dtype::I64,
            SafeDtype::I32 => Dtype::I32,
            SafeDtype::I16 => Dtype::I16,
            SafeDtype::I8 => Dtype::I8,
            SafeDtype::U8 => Dtype::U8,
            SafeDtype::BOOL => Dtype::Bool,
            other => {
                return Err(wrong(format!("{name:?} is of type {other:?}, expected floats or integers")));
            }
        };
        let count = view.data().len() / dtype.size();
        let data = widen(dtype, view.data(), 0..count);
        tensors.insert(name.to_owned(), CheckpointTensor { shape: view.shape().to_vec(), data });
    }
    Ok(Checkpoint { tensors, ..Checkpoint::default() })
}

/// The described object as a checkpoint. `length` of the file bounds how many values all tensors may have together:
/// views can share a storage, and a file of a few bytes must not become gigabytes.
fn collect(pickle: &Pickle<'_>, blocks: &Blocks<'_>, length: usize) -> Result<Checkpoint> {
    let is_tensor = |id: Id| matches!(pickle.value(id), Value::Tensor(_));
    let Value::Dict(root) = pickle.value(pickle.root) else {
        return Err(wrong(format!(
            "it holds {}, expected a dictionary with 'state_dict'",
            pickle.value(pickle.root).kind()
        )));
    };
    let states = match pickle.field(pickle.root, "state_dict").map(|id| pickle.value(id)) {
        Some(Value::Dict(states)) => states,
        Some(other) => return Err(wrong(format!("'state_dict' is {}, expected a dictionary", other.kind()))),
        None if root.iter().any(|&(_, value)| is_tensor(value)) => root,
        None => {
            let names: Vec<&str> = root.iter().filter_map(|&(key, _)| pickle.text(key)).take(8).collect();
            return Err(wrong(format!(
                "no 'state_dict' and no tensors in it (found {}); expected torch.save({{'state_dict': ...}})",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            )));
        }
    };
    let mut left = length;
    let mut tensors = BTreeMap::new();
    for &(key, value) in states {
        let Some(name) = pickle.text(key) else {
            return Err(wrong(format!("a tensor's name is {}, expected a text", pickle.value(key).kind())));
        };
        if !is_tensor(value) {
            return Err(wrong(format!("{name:?} is {}, expected a tensor", pickle.value(value).kind())));
        }
        tensors.insert(name.to_owned(), tensor(pickle, blocks, name, value, &mut left)?);
    }
    let field = |name: &str| pickle.field(pickle.root, name);
    let best = field("best_prec1").map(|id| match pickle.value(id) {
        Value::Float(value) => Ok(Some(*value)),
        Value::Int(value) => Ok(Some(*value as f64)),
        // Some scripts keep it as a tensor of one number.
        Value::Tensor(_) => tensor(pickle, blocks, "best_prec1", id, &mut left).map(|one| match one.data {
            TensorData::Float(data) => data.first().map(|&value| value.into()),
            TensorData::Int(data) => data.first().map(|&value| value as f64),
        }),
        _ => Ok(None),
    });
    Ok(Checkpoint {
        tensors,
        epoch: field("epoch").and_then(|id| match pickle.value(id) {
            Value::Int(epoch) => Some(*epoch),
            _ => None,
        }),
        arch: field("arch").and_then(|id| pickle.text(id)).map(str::to_owned),
        best_prec1: best.transpose()?.flatten(),
    })
}

/// One tensor, row-major. `left` counts down how many more values the file may become.
fn tensor(
    pickle: &Pickle<'_>,
    blocks: &Blocks<'_>,
    name: &str,
    id: Id,
    left: &mut usize,
) -> Result<CheckpointTensor> {
    let odd = |what: &str| wrong(format!("{name:?} {what}; is the file damaged?"));
    let Value::Tensor(arguments) = pickle.value(id) else { return Err(odd("is no tensor")) };
    let arguments = match pickle.value(*arguments) {
        Value::Tuple(arguments) => arguments.as_slice(),
        _ => &[],
    };
    let &[storage, offset, shape, strides, ..] = arguments else {
        return Err(odd("is described in an unknown way"));
    };
    let Value::Storage(storage) = pickle.value(storage) else { return Err(odd("has no storage")) };
    let (Some(offset), Some(shape), Some(strides)) =
        (pickle.size(offset), pickle.sizes(shape), pickle.sizes(strides))
    else {
        return Err(odd("has an offset, shape or strides that are no positive integers"));
    };
    if shape.len() != strides.len() || shape.len() > MOST_AXES {
        return Err(odd("has another number of strides than axes"));
    }
    let Some(count) = shape.iter().try_fold(1_usize, |count, &n| count.checked_mul(n)) else {
        return Err(odd("has a size beyond all memory"));
    };
    let Some(rest) = left.checked_sub(count) else {
        return Err(odd("makes the tensors larger than the whole file"));
    };
    *left = rest;
    if count == 0 {
        return Ok(CheckpointTensor { shape, data: widen(storage.dtype, &[], 0..0) });
    }
    let last = shape.iter().zip(&strides).try_fold(offset, |last, (&n, &stride)| {
        (n - 1).checked_mul(stride).and_then(|span| last.checked_add(span))
    });
    let block = blocks.get(storage.key).copied().unwrap_or_default();
    let elements = storage.elements.min(block.len() / storage.dtype.size());
    if last.is_none_or(|last| last >= elements) {
        return Err(odd(&format!("reaches beyond its storage of {elements} elements")));
    }
    let data = if contiguous(&shape, &strides) {
        widen(storage.dtype, block, offset..offset + count)
    } else {
        widen(storage.dtype, block, (0..count).map(|index| position(&shape, &strides, offset, index)))
    };
    Ok(CheckpointTensor { shape, data })
}

fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&n, &stride)| {
        let fits = n == 1 || stride == expected;
        expected *= n;
        fits
    })
}

/// Where element `index` (row-major) of a view lies in its storage.
fn position(shape: &[usize], strides: &[usize], offset: usize, index: usize) -> usize {
    let mut rest = index;
    shape.iter().zip(strides).rev().fold(offset, |position, (&n, &stride)| {
        let step = (rest % n) * stride;
        rest /= n;
        position + step
    })
}

/// Elements at these positions of a block, which holds them all.
fn widen(dtype: Dtype, block: &[u8], positions: impl IntoIterator<Item = usize>) -> TensorData {
    fn each<const N: usize, T>(
        block: &[u8],
        positions: impl IntoIterator<Item = usize>,
        number: impl Fn([u8; N]) -> T,
    ) -> Vec<T> {
        let elements = block.as_chunks().0;
        positions.into_iter().map(|position| number(elements[position])).collect()
    }
    match dtype {
        Dtype::F64 => TensorData::Float(each(block, positions, |b| f64::from_le_bytes(b) as f32)),
        Dtype::F32 => TensorData::Float(each(block, positions, f32::from_le_bytes)),
        Dtype::F16 => TensorData::Float(each(block, positions, |b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::Bf16 => TensorData::Float(each(block, positions, |b| half::bf16::from_le_bytes(b).to_f32())),
        Dtype::I64 => TensorData::Int(each(block, positions, i64::from_le_bytes)),
        Dtype::I32 => TensorData::Int(each(block, positions, |b| i32::from_le_bytes(b).into())),
        Dtype::I16 => TensorData::Int(each(block, positions, |b| i16::from_le_bytes(b).into())),
        Dtype::I8 => TensorData::Int(each(block, positions, |b| i8::from_le_bytes(b).into())),
        Dtype::U8 => TensorData::Int(each(block, positions, |[b]: [u8; 1]| b.into())),
        Dtype::Bool => TensorData::Int(each(block, positions, |[b]: [u8; 1]| (b != 0).into())),
    }
}
