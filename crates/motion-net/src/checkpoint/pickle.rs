//! Bytes of a pickle in, plain data out.
//!
//! A pickle is a program for a stack machine, and Python's runs whatever it names. This machine builds data and
//! nothing else: it knows the opcodes that make numbers, texts and containers, and the few names that a checkpoint
//! is described with. Any other name is an error, so nothing from a file is ever imported, called or executed.
//! Values live in one list and refer to each other by position: no recursion, no deep copies, and at most one new
//! value per opcode, so memory is bounded by the length of the file.

use std::collections::HashMap;

use crate::{Error, Result};

/// Position of a value in [`Pickle`].
pub(super) type Id = u32;

/// More values than any checkpoint has (a ResNet-50's has about ten thousand); keeps hostile files small.
const MOST_VALUES: usize = 4_000_000;

/// Type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// By PyTorch's name of the storage class.
    fn named(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }
}

/// A block of numbers that lies elsewhere in the file. Where it claims to live (`cuda:0`) does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    pub(super) elements: usize,
}

/// Names that a pickle may mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    OrderedDict,
    Storage(Dtype),
    /// `_rebuild_tensor_v2(storage, offset, size, stride, ...)` and its forerunner with the same first four.
    Tensor,
    /// `_rebuild_parameter(tensor, ...)` and `torch.Size(tuple)`: their first argument.
    First,
    /// Settings that lie beside the weights: kept as something unknown, never looked into.
    Ignored,
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") | ("torch", "Size") => Self::First,
            ("torch", class) if Dtype::named(class).is_some() => Self::Storage(Dtype::named(class)?),
            ("argparse", "Namespace")
            | ("numpy", "dtype")
            | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")
            | ("_codecs", "encode") => Self::Ignored,
            _ => return None,
        })
    }
}

/// A value; texts and bytes are views of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian.
    Long(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Storage(Storage<'a>),
    /// Arguments of a tensor: (storage, offset, size, stride, ...).
    Tensor(Id),
    Unknown,
    /// A name on its way to being called.
    Callable(Callable),
}

/// Keeps [`Global`] to this file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Callable(Global);

impl Value<'_> {
    /// For messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a truth value",
            Self::Int(_) | Self::Long(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dictionary",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Unknown => "an object",
            Self::Callable(_) => "a name",
        }
    }
}

/// What a pickle describes.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The described value.
    pub(super) root: Id,
    /// Every storage that is mentioned, in the order of mention.
    pub(super) storages: Vec<Storage<'a>>,
    /// Where the pickle ends in the bytes.
    pub(super) end: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that begins at `start`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the bytes end early, are no pickle, or mention a name that is no data.
    pub(super) fn read(bytes: &'a [u8], start: usize) -> Result<Self> {
        Machine {
            bytes,
            at: start,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            storages: Vec::new(),
        }
        .run()
    }

    /// The value at this position.
    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// The text at this position, if it is one.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        if let Value::Text(text) = self.value(id) { Some(text) } else { None }
    }

    /// What a dictionary holds under this name; the later of two.
    pub(super) fn field(&self, dict: Id, name: &str) -> Option<Id> {
        let Value::Dict(items) = self.value(dict) else { return None };
        items.iter().rev().find(|(key, _)| self.text(*key) == Some(name)).map(|&(_, value)| value)
    }

    /// Lengths, strides and offsets: a tuple of integers that are not negative.
    pub(super) fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let Value::Tuple(items) = self.value(id) else { return None };
        items.iter().map(|&item| self.size(item)).collect()
    }

    /// One such integer.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        if let Value::Int(value) = self.value(id) { usize::try_from(*value).ok() } else { None }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Lengths of the stack where marks were set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    storages: Vec<Storage<'a>>,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Pickle<'a>> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                let root = self.pop()?;
                return Ok(Pickle { values: self.values, root, storages: self.storages, end: self.at });
            }
            self.step(opcode)?;
        }
    }

    /// One opcode; names of the opcodes are those of Python's `pickletools`.
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => self.skip(1), // PROTO
            0x95 => self.skip(8), // FRAME
            b'(' => {
                self.marks.push(self.stack.len()); // MARK
                Ok(())
            }
            b'0' => self.pop().map(drop),      // POP
            b'1' => self.pop_mark().map(drop), // POP_MARK
            b'2' => {
                let top = self.top()?; // DUP
                self.stack.push(top);
                Ok(())
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let value = i32::from_le_bytes(self.array()?); // BININT
                self.push(Value::Int(value.into()))
            }
            b'K' => {
                let value = self.byte()?; // BININT1
                self.push(Value::Int(value.into()))
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?); // BININT2
                self.push(Value::Int(value.into()))
            }
            0x8a => {
                let length = self.byte()?; // LONG1
                self.long(length.into())
            }
            0x8b => {
                let length = self.length4()?; // LONG4
                self.long(length)
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?); // BINFLOAT
                self.push(Value::Float(value))
            }
            b'X' | b'T' => {
                let length = self.length4()?; // BINUNICODE, BINSTRING
                self.text(length)
            }
            0x8c | b'U' => {
                let length = self.byte()?; // SHORT_BINUNICODE, SHORT_BINSTRING
                self.text(length.into())
            }
            0x8d => {
                let length = self.length8()?; // BINUNICODE8
                self.text(length)
            }
            b'B' => {
                let length = self.length4()?; // BINBYTES
                self.skip(length)?;
                self.push(Value::Bytes)
            }
            b'C' => {
                let length = self.byte()?; // SHORT_BINBYTES
                self.skip(length.into())?;
                self.push(Value::Bytes)
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84); // TUPLE1 to TUPLE3
                let mut items = vec![0; count];
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                self.push(Value::Tuple(items))
            }
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            b'a' => {
                let item = self.pop()?; // APPEND
                self.append(vec![item])
            }
            b'e' => {
                let items = self.pop_mark()?; // APPENDS
                self.append(items)
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_mark()?; // DICT
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&items)
            }
            b's' => {
                let value = self.pop()?; // SETITEM
                let key = self.pop()?;
                self.set_items(&[key, value])
            }
            b'u' => {
                let items = self.pop_mark()?; // SETITEMS
                self.set_items(&items)
            }
            b'h' => {
                let place = self.byte()?; // BINGET
                self.recall(place.into())
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?); // LONG_BINGET
                self.recall(place)
            }
            b'q' => {
                let place = self.byte()?; // BINPUT
                self.remember(place.into())
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?); // LONG_BINPUT
                self.remember(place)
            }
            0x94 => self.remember(u32::try_from(self.memo.len()).unwrap_or(u32::MAX)), // MEMOIZE
            b'c' => {
                let module = self.line()?; // GLOBAL
                let name = self.line()?;
                self.global(module, name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?); // STACK_GLOBAL
                let (&Value::Text(module), &Value::Text(name)) = (self.value(module), self.value(name))
                else {
                    return Err(self.wrong("a name that is no text"));
                };
                self.global(module, name)
            }
            b'R' | 0x81 => self.call(), // REDUCE, NEWOBJ
            // BUILD: attributes of an object; a state dict's `_metadata`, a Namespace's options.
            b'b' => self.pop().and_then(|_| self.top()).map(drop),
            b'Q' => self.persistent(),
            _ => Err(self.wrong(&format!("opcode 0x{opcode:02x}, which no checkpoint needs"))),
        }
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Checkpoint(format!("{what} (near byte {}); is the file damaged?", self.at))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..count) else {
            return Err(self.wrong("the file ends inside its description; it is cut short or damaged"));
        };
        self.at += count;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn length4(&mut self) -> Result<usize> {
        let length = i32::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.wrong("a negative length"))
    }

    fn length8(&mut self) -> Result<usize> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.wrong("a length beyond this machine's memory"))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(length.unwrap_or(rest.len()))?;
        self.skip(1)?;
        std::str::from_utf8(line).map_err(|_| self.wrong("a name that is not UTF-8"))
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        if self.values.len() >= MOST_VALUES {
            return Err(Error::Checkpoint(format!(
                "its description has more than {MOST_VALUES} values; that is no checkpoint of a network"
            )));
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id> {
        if self.stack.len() <= self.floor() {
            return Err(self.wrong("a value is missing"));
        }
        self.stack.pop().ok_or_else(|| self.wrong("a value is missing"))
    }

    fn top(&self) -> Result<Id> {
        let top = self.stack.get(self.floor()..).and_then(<[Id]>::last);
        top.copied().ok_or_else(|| self.wrong("a value is missing"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let Some(mark) = self.marks.pop() else { return Err(self.wrong("a mark is missing")) };
        Ok(self.stack.split_off(mark))
    }

    fn long(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        if length > 8 {
            return self.push(Value::Long(bytes));
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        // Python 2 stored raw bytes as texts; those that are no UTF-8 cannot be names of tensors.
        self.push(std::str::from_utf8(bytes).map_or(Value::Bytes, Value::Text))
    }

    fn append(&mut self, mut items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match &mut self.values[list as usize] {
            Value::List(list) => list.append(&mut items),
            Value::Unknown => {}
            _ => return Err(self.wrong("an item for something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.wrong("a key without a value"));
        }
        let dict = self.top()?;
        match &mut self.values[dict as usize] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Unknown => {}
            _ => return Err(self.wrong("a key for something that is no dictionary")),
        }
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        let Some(&id) = self.memo.get(&place) else {
            return Err(self.wrong(&format!("a reference to value {place}, which was never stored")));
        };
        self.stack.push(id);
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let Some(global) = Global::named(module, name) else {
            let named: String = format!("{module}.{name}").chars().take(80).collect();
            return Err(Error::Checkpoint(format!(
                "it names {named:?}, which is not among the names that weights need; nothing of it was run. \
                 Save the weights alone: torch.save({{'state_dict': model.state_dict()}}, path)"
            )));
        };
        self.push(Value::Callable(Callable(global)))
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Callable(Callable(global)) = *self.value(callable) else {
            return match self.value(callable) {
                Value::Unknown => self.push(Value::Unknown),
                other => Err(self.wrong(&format!("a call of {}", other.kind()))),
            };
        };
        let Value::Tuple(items) = self.value(arguments) else {
            return Err(self.wrong("a call without arguments"));
        };
        let first = items.first().copied();
        match global {
            Global::Tensor => self.push(Value::Tensor(arguments)),
            Global::Ignored | Global::Storage(_) => self.push(Value::Unknown),
            Global::First => {
                let Some(first) = first else { return Err(self.wrong("a call without arguments")) };
                self.stack.push(first);
                Ok(())
            }
            Global::OrderedDict => {
                // Python 2 passes the pairs here; Python 3 adds them later.
                let pairs = match first.map(|first| self.value(first)) {
                    None => Vec::new(),
                    Some(Value::List(pairs)) => {
                        let pairs = pairs.iter().map(|&pair| match self.value(pair) {
                            Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => {
                                Ok((pair[0], pair[1]))
                            }
                            other => Err(self.wrong(&format!("{} for a pair", other.kind()))),
                        });
                        pairs.collect::<Result<_>>()?
                    }
                    Some(other) => {
                        return Err(self.wrong(&format!("a dictionary made of {}", other.kind())));
                    }
                };
                self.push(Value::Dict(pairs))
            }
        }
    }

    /// `('storage', class, key, device, elements[, view])`.
    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let fields: Option<Vec<&Value<'a>>> = match self.value(id) {
            Value::Tuple(items) => Some(items.iter().take(6).map(|&item| self.value(item)).collect()),
            _ => None,
        };
        let Some(
            &[
                Value::Text("storage"),
                &Value::Callable(Callable(Global::Storage(dtype))),
                &Value::Text(key),
                _,
                &Value::Int(elements),
                ref view @ ..,
            ],
        ) = fields.as_deref()
        else {
            return Err(self.wrong("a storage that is described in an unknown way"));
        };
        if !matches!(view, [] | [Value::None]) {
            let message =
                "it holds a view of a storage, as PyTorch before 0.4 wrote; save it again with a newer one";
            return Err(Error::Checkpoint(message.to_owned()));
        }
        let Ok(elements) = usize::try_from(elements) else {
            return Err(self.wrong(&format!("a storage of {elements} elements")));
        };
        let storage = Storage { key, dtype, elements };
        self.storages.push(storage);
        self.push(Value::Storage(storage))
    }
}
