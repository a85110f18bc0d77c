//! Are published checkpoints read, and is everything else refused in a sentence?
//!
//! Both of PyTorch's layouts against what PyTorch itself stored, then the same bytes cut short and damaged: never a
//! panic, never more memory than a few times the file.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, a panic is the verdict; clippy knows #[test] functions only"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use motion_net::checkpoint::{Checkpoint, CheckpointTensor, Converted, TensorData, read, to_msnet};
use motion_net::config::{Backbone, Config, Fusion};
use motion_net::{CpuBackend, Error, MsNet};
use motionlens_tests::golden::{self, Case};
use motionlens_tests::random::Random;
use safetensors::tensor::{Dtype, SafeTensors};

const GOLDEN: [&str; 2] = ["checkpoint_zip.pth.tar", "checkpoint_legacy.pth.tar"];

/// Counts what each thread holds, so that a test can say how much a call needed.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a call returns and how many bytes it held at most.
fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let output = call();
    (output, (MOST.get() - before).max(0) as usize)
}

/// Reads untrusted bytes and checks what holds for all of them: an answer or one clear line, in bounded memory.
fn read_untrusted(bytes: &[u8]) -> Result<Checkpoint, String> {
    let (result, most) = measured(|| read(bytes));
    // Per byte of file: an i64 for a one-byte element, or a value of 48 bytes (and its place) for a one-byte opcode;
    // growing vectors hold twice as much for a moment.
    let bound = 200 * bytes.len() + 10_000;
    assert!(most <= bound, "{} bytes of file took {most} bytes of memory", bytes.len());
    result.map_err(|error| {
        assert!(matches!(error, Error::Checkpoint(_)), "{error}");
        let message = error.to_string();
        assert!(!message.contains('\n') && message.len() < 600, "{message}");
        message
    })
}

fn expected() -> BTreeMap<String, CheckpointTensor> {
    let bytes = golden::bytes("checkpoint_expected.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let data = match view.dtype() {
            Dtype::F32 => {
                TensorData::Float(view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
            }
            Dtype::I64 => {
                TensorData::Int(view.data().as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect())
            }
            other => panic!("{name}: {other:?}"),
        };
        (name.to_owned(), CheckpointTensor { shape: view.shape().to_vec(), data })
    });
    tensors.collect()
}

#[test]
fn both_layouts_equal_pytorch() {
    let expected = expected();
    for name in GOLDEN {
        let found = read_untrusted(&golden::bytes(name)).unwrap();
        assert_eq!(found.tensors, expected, "{name}");
        let fields = &golden::index()[name]["fields"];
        assert_eq!(found.epoch, fields["epoch"].as_i64(), "{name}");
        assert_eq!(found.arch.as_deref(), fields["arch"].as_str(), "{name}");
        assert_eq!(found.best_prec1, fields["best_prec1"].as_f64(), "{name}");
    }
    eprintln!("checkpoints: {} tensors in each of both layouts, difference 0", expected.len());
}

#[test]
fn safetensors_are_read_too() {
    let mut bytes = golden::bytes("checkpoint_expected.safetensors");
    assert_eq!(read_untrusted(&bytes).unwrap().tensors, expected());
    // A header as long as this makes the file begin like a pickle.
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap());
    let longer = (length | 0xff) + 0x81;
    bytes.splice(8 + length as usize..8 + length as usize, vec![b' '; (longer - length) as usize]);
    bytes[..8].copy_from_slice(&longer.to_le_bytes());
    assert_eq!(bytes[0], 0x80);
    assert_eq!(read_untrusted(&bytes).unwrap().tensors, expected());
}

#[test]
fn every_truncation_is_refused() {
    for name in GOLDEN {
        let bytes = golden::bytes(name);
        for length in 0..bytes.len() {
            assert!(
                read_untrusted(&bytes[..length]).is_err(),
                "{name}: {length} bytes were taken for a whole file"
            );
        }
    }
}

#[test]
fn damaged_bytes_do_no_harm() {
    let expected = expected();
    for name in GOLDEN {
        let bytes = golden::bytes(name);
        let mut random = Random(2020);
        let mut refused = 0;
        for round in 0..6000 {
            let mut damaged = bytes.clone();
            for _ in 0..=round % 4 {
                let place = random.below(damaged.len());
                damaged[place] = match random.below(3) {
                    0 => damaged[place] ^ (1 << random.below(8)),
                    1 => random.number() as u8,
                    _ => [0, 0xff, 0x7f, 0x80][random.below(4)],
                };
            }
            match read_untrusted(&damaged) {
                Err(_) => refused += 1,
                // A checksum guards the zip's numbers and description.
                Ok(found) if name == GOLDEN[0] => assert_eq!(found.tensors, expected, "round {round}"),
                Ok(_) => {}
            }
        }
        eprintln!("{name}: {refused} of 6000 damaged files were refused, the others read");
        assert!(refused > 1000, "{name}: only {refused} refused; is damage noticed at all?");
    }
}

/// The description alone, without the checksum of the zip in the way: a stream whose bytes are random opcodes.
#[test]
fn random_descriptions_do_no_harm() {
    const OPCODES: &[u8] =
        b"\x80\x95(012NJKM\x88\x89\x8a\x8bGXTU\x8c\x8dBC)t\x85\x86\x87]lae}dsuhjqr\x94c\x93R\x81bQ.";
    let head = Stream::new("x").head;
    let mut random = Random(7);
    for _ in 0..20_000 {
        let mut bytes = head.clone();
        for _ in 0..random.below(60) {
            bytes.push(OPCODES[random.below(OPCODES.len())]);
            if random.below(4) == 0 {
                bytes.extend_from_slice(&random.number().to_le_bytes()[..random.below(8)]);
            }
        }
        let _ = read_untrusted(&bytes);
    }
}

/// Writes a checkpoint of the old layout piece by piece.
struct Stream {
    head: Vec<u8>,
    object: Vec<u8>,
    storages: Vec<(String, usize, Vec<u8>)>,
}

impl Stream {
    /// `{state_key: OrderedDict(`; a bare state dict for an empty key.
    fn new(state_key: &str) -> Self {
        let head = [
            &b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..],
            b"\x80\x02M\xe9\x03.",
            b"\x80\x02}X\x0d\0\0\0little_endian\x88s.",
        ];
        let mut stream = Self { head: head.concat(), object: b"\x80\x02".to_vec(), storages: Vec::new() };
        if !state_key.is_empty() {
            stream.object.push(b'}');
            stream.text(state_key);
        }
        stream.object.extend_from_slice(b"ccollections\nOrderedDict\n)R");
        stream
    }

    fn text(&mut self, text: &str) {
        self.object.push(b'X');
        self.object.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.object.extend_from_slice(text.as_bytes());
    }

    fn integer(&mut self, value: i64) {
        self.object.extend_from_slice(b"\x8a\x08");
        self.object.extend_from_slice(&value.to_le_bytes());
    }

    fn integers(&mut self, values: &[i64]) {
        self.object.push(b'(');
        values.iter().for_each(|&value| self.integer(value));
        self.object.push(b't');
    }

    /// A tensor and its storage under a key that nothing else uses.
    fn tensor(
        mut self,
        name: &str,
        class: &str,
        elements: usize,
        data: Vec<u8>,
        view: (i64, &[i64], &[i64]),
    ) -> Self {
        let key = (1000 + self.storages.len()).to_string();
        self.text(name);
        self.object.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.object.extend_from_slice(format!("ctorch\n{class}\n").as_bytes());
        self.text(&key);
        self.text("cuda:0");
        self.integer(elements as i64);
        self.object.extend_from_slice(b"NtQ");
        self.integer(view.0);
        self.integers(view.1);
        self.integers(view.2);
        self.object.extend_from_slice(b"\x89ccollections\nOrderedDict\n)RtRs");
        self.storages.push((key, elements, data));
        self
    }

    /// Raw opcodes after the tensors so far; for what Python adds to a state dict.
    fn raw(mut self, opcodes: &[u8]) -> Self {
        self.object.extend_from_slice(opcodes);
        self
    }

    /// The whole file; `wrapped` closes the outer dictionary.
    fn finish(self, wrapped: bool) -> Vec<u8> {
        let mut bytes =
            [self.head, self.object, if wrapped { b"s.".to_vec() } else { b".".to_vec() }].concat();
        bytes.extend_from_slice(b"\x80\x02](");
        for (key, ..) in &self.storages {
            bytes.push(b'X');
            bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
            bytes.extend_from_slice(key.as_bytes());
        }
        bytes.extend_from_slice(b"e.");
        for (_, elements, data) in &self.storages {
            bytes.extend_from_slice(&(*elements as i64).to_le_bytes());
            bytes.extend_from_slice(data);
        }
        bytes
    }
}

/// Six numbers `1 2 3 -4 5 6` of a type, read as the transposed view `[3, 2]` of `[2, 3]`.
fn transposed(class: &str, data: Vec<u8>) -> CheckpointTensor {
    let file = Stream::new("state_dict").tensor("x", class, 6, data, (0, &[3, 2], &[1, 3])).finish(true);
    read_untrusted(&file).unwrap().tensors.remove("x").unwrap()
}

#[test]
fn every_type_of_number_is_read() {
    let numbers = [1_i8, 2, 3, -4, 5, 6];
    let order = [1_i8, -4, 2, 5, 3, 6];
    let floats = TensorData::Float(order.iter().map(|&v| v.into()).collect());
    let integers = TensorData::Int(order.iter().map(|&v| v.into()).collect());
    let all = |encode: &dyn Fn(i8) -> Vec<u8>| numbers.iter().flat_map(|&v| encode(v)).collect::<Vec<u8>>();
    let cases = [
        ("DoubleStorage", all(&|v| f64::from(v).to_le_bytes().to_vec()), &floats),
        ("FloatStorage", all(&|v| f32::from(v).to_le_bytes().to_vec()), &floats),
        ("HalfStorage", all(&|v| half(v, 5, 10).to_le_bytes().to_vec()), &floats),
        ("BFloat16Storage", all(&|v| half(v, 8, 7).to_le_bytes().to_vec()), &floats),
        ("LongStorage", all(&|v| i64::from(v).to_le_bytes().to_vec()), &integers),
        ("IntStorage", all(&|v| i32::from(v).to_le_bytes().to_vec()), &integers),
        ("ShortStorage", all(&|v| i16::from(v).to_le_bytes().to_vec()), &integers),
        ("CharStorage", all(&|v| v.to_le_bytes().to_vec()), &integers),
    ];
    for (class, data, expected) in cases {
        let found = transposed(class, data);
        assert_eq!(found.shape, [3, 2], "{class}");
        assert_eq!(found.data, *expected, "{class}");
    }
    let bytes = TensorData::Int(vec![1, 252, 2, 5, 3, 6]);
    assert_eq!(transposed("ByteStorage", all(&|v| v.to_le_bytes().to_vec())).data, bytes);
    let truths = TensorData::Int(vec![1, 0, 0, 1, 1, 0]);
    assert_eq!(transposed("BoolStorage", vec![1, 0, 1, 0, 1, 0]).data, truths);
}

/// A small integer as a 16-bit float with so many bits of exponent and mantissa.
fn half(value: i8, exponent_bits: u32, mantissa_bits: u32) -> u16 {
    let size = f32::from(value.unsigned_abs());
    let exponent = size.log2().floor();
    let mantissa = (size / exponent.exp2() - 1.0) * (mantissa_bits as f32).exp2();
    let bias = (1 << (exponent_bits - 1)) - 1;
    u16::from(value < 0) << 15 | (exponent as u16 + bias) << mantissa_bits | mantissa as u16
}

#[test]
fn a_bare_state_dict_and_python_s_extras_are_read() {
    let data = 2.5_f32.to_le_bytes().to_vec();
    // `OrderedDict._metadata` is set by BUILD, as every state_dict() has it.
    let metadata = b"}X\x09\0\0\0_metadata}sb";
    let file =
        Stream::new("").tensor("x", "FloatStorage", 1, data, (0, &[], &[])).raw(metadata).finish(false);
    let found = read_untrusted(&file).unwrap();
    assert_eq!(found.tensors["x"], CheckpointTensor { shape: vec![], data: TensorData::Float(vec![2.5]) });
    assert_eq!((found.epoch, found.arch, found.best_prec1), (None, None, None));
}

/// (what is wrong with it, the file, what the message must say)
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let four = || vec![0; 16];
    let view = |view: (i64, &[i64], &[i64])| {
        Stream::new("state_dict").tensor("x", "FloatStorage", 4, four(), view).finish(true)
    };
    let call = |name: &str| {
        let opcodes = [&b"X\x01\0\0\0xc"[..], name.as_bytes(), b"\nX\x02\0\0\0ls\x85Rs"].concat();
        Stream::new("state_dict").raw(&opcodes).finish(true)
    };
    let no_data = Stream::new("state_dict")
        .tensor("x", "FloatStorage", 1 << 40, vec![], (0, &[1 << 40], &[1]))
        .finish(true);
    let mut big_endian = Stream::new("state_dict");
    let place = big_endian.head.len() - 3;
    big_endian.head[place] = 0x89;
    vec![
        ("an empty file", vec![], "0 bytes"),
        ("a text", b"epoch,loss\n1,0.5\n".to_vec(), "expected a PyTorch checkpoint"),
        ("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "expected a PyTorch checkpoint"),
        ("another pickle", b"\x80\x02}.".to_vec(), "not one written by torch.save"),
        ("a zip without data", b"PK\x03\x04".to_vec(), "zip archive"),
        ("a program", call("os\nsystem"), "os.system"),
        ("a program that looks harmless", call("builtins\neval"), "nothing of it was run"),
        ("an offset beyond the storage", view((1, &[4], &[1])), "beyond its storage"),
        ("a negative offset", view((-1, &[4], &[1])), "no positive integers"),
        ("a stride beyond the storage", view((0, &[2, 2], &[i64::MAX, 1])), "beyond its storage"),
        ("a shape beyond all memory", view((0, &[i64::MAX, i64::MAX], &[0, 0])), "beyond all memory"),
        ("a small storage seen many times", view((0, &[1 << 33], &[0])), "larger than the whole file"),
        ("strides of other axes", view((0, &[4], &[1, 1])), "strides"),
        ("a storage that is not there", no_data, "cut short"),
        ("big-endian numbers", big_endian.finish(true), "big-endian"),
        ("no tensors", Stream::new("weights").finish(true), "no 'state_dict'"),
        (
            "a number for a tensor",
            Stream::new("state_dict").raw(b"X\x01\0\0\0xK\x07s").finish(true),
            "an integer",
        ),
    ]
}

#[test]
fn hostile_files_are_refused_in_a_sentence() {
    for (what, bytes, says) in hostile() {
        let message = read_untrusted(&bytes).expect_err(what);
        assert!(message.contains(says), "{what}: {message}");
    }
}

/// A checkpoint of exactly these names and shapes, filled with zeros (and ones where a norm divides).
fn from_keys(file: &str) -> Checkpoint {
    let list = String::from_utf8(golden::bytes(file)).unwrap();
    let tensors = list.lines().map(|line| {
        let [name, shape, dtype] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let shape: Vec<usize> = serde_json::from_str(shape).unwrap();
        let count = shape.iter().product();
        let data = match dtype {
            "int64" => TensorData::Int(vec![0; count]),
            _ => TensorData::Float(vec![if name.ends_with("running_var") { 1.0 } else { 0.0 }; count]),
        };
        (name.to_owned(), CheckpointTensor { shape, data })
    });
    Checkpoint { tensors: tensors.collect(), ..Checkpoint::default() }
}

fn infer(checkpoint: Checkpoint) -> Converted {
    to_msnet(checkpoint, None, None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_release_s_networks_are_recognised() {
    let b = CpuBackend::new();
    for (keys, tensors, backbone, parameters) in [
        // Parameters with 174 classes: reference, Sec. 1; and the norms' running statistics beside them.
        ("keys_r18.txt", 181, Backbone::TsmResNet18, 11_287_015),
        ("keys_r50.txt", 379, Backbone::TsmResNet50, 23_935_719),
    ] {
        let checkpoint = from_keys(keys);
        assert_eq!(checkpoint.tensors.len(), tensors, "{keys}");
        let Converted { weights, config, notes } = infer(checkpoint);
        assert_eq!(config.backbone, backbone, "{keys}");
        assert_eq!((config.width, config.classes(), config.frames), (1.0, 174, 8), "{keys}");
        let motion = config.motion.as_ref().unwrap();
        assert_eq!(motion.stages, ["res3"], "{keys}");
        assert_eq!((motion.reduce_channels, motion.patch), (Some(64), 15), "{keys}");
        assert_eq!((motion.confidence, motion.backward, motion.fusion), (true, false, Fusion::Add), "{keys}");
        assert!(notes.iter().any(|note| note.contains("temporally shifted")), "{keys}: {notes:?}");
        let learnt = weights.tensors().iter().filter(|(name, _)| !name.contains("running_"));
        assert_eq!(learnt.map(|(_, tensor)| tensor.data.len()).sum::<usize>(), parameters, "{keys}");
        let net = MsNet::load(&b, config, weights).unwrap_or_else(|error| panic!("{keys}: {error}"));
        assert!(net.unused_motion_weights().is_empty(), "{keys}");
    }
}

/// A golden network's weights as a checkpoint of DataParallel.
fn checkpoint_of(case: &Case) -> Checkpoint {
    let weights = case.weights();
    let tensors = weights.tensors().iter().map(|(name, tensor)| {
        let data = TensorData::Float(tensor.data.clone());
        (format!("module.{name}"), CheckpointTensor { shape: tensor.shape.clone(), data })
    });
    Checkpoint { tensors: tensors.collect(), ..Checkpoint::default() }
}

fn network(name: &str) -> Case {
    Case::all("network").into_iter().find(|case| case.name == name).unwrap()
}

#[test]
fn other_networks_are_recognised() {
    let b = CpuBackend::new();
    for (name, backbone, width, stages, reduce, backward) in [
        ("net_tsm_resnet18.safetensors", Backbone::TsmResNet18, 0.125, vec!["res3"], Some(64), false),
        ("net_tsm_resnet50.safetensors", Backbone::TsmResNet50, 0.125, vec!["res3"], Some(64), false),
        ("net_tsm_mobilenet_v2.safetensors", Backbone::TsmMobileNetV2, 0.25, vec!["stage3"], None, false),
        ("net_tsm_resnet18_backward.safetensors", Backbone::TsmResNet18, 0.125, vec!["res3"], Some(64), true),
        (
            "net_tsm_resnet18_res234.safetensors",
            Backbone::TsmResNet18,
            0.125,
            vec!["res2", "res3", "res4"],
            Some(64),
            false,
        ),
    ] {
        let mut checkpoint = checkpoint_of(&network(name));
        if stages.len() > 1 {
            // This case lies on top of another's weights, whose lone module is not its own.
            checkpoint
                .tensors
                .retain(|name, _| !name.contains(".flow_refinement.") && !name.contains(".chnl_reduction."));
        }
        let Converted { weights, config, .. } = infer(checkpoint);
        let motion = config.motion.clone().unwrap();
        assert_eq!((config.backbone, config.width, config.classes()), (backbone, width, 10), "{name}");
        assert_eq!(
            (motion.stages, motion.reduce_channels, motion.backward),
            (stages.iter().map(|&stage| stage.to_owned()).collect(), reduce, backward),
            "{name}"
        );
        MsNet::load(&b, config, weights).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// The TSM release wraps shifted convolutions and classifies with a Linear.
#[test]
fn the_tsm_release_is_recognised() {
    let original = checkpoint_of(&network("net_tsm_resnet18.safetensors"));
    let without_module = |wrap: bool| {
        let tensors = original.tensors.iter().filter(|(name, _)| {
            !name.contains("flow_refinement")
                && !name.contains("chnl_reduction")
                && !name.contains("base_model.bn2")
        });
        let tensors = tensors.map(|(name, tensor)| {
            let mut tensor = tensor.clone();
            if name == "module.new_fc.weight" {
                tensor.shape.truncate(2);
            }
            let in_block = name.contains(".layer");
            let name = if wrap && in_block { name.replace(".conv1.", ".conv1.net.") } else { name.clone() };
            (name, tensor)
        });
        Checkpoint { tensors: tensors.collect(), ..Checkpoint::default() }
    };
    for (wrap, backbone) in [(true, Backbone::TsmResNet18), (false, Backbone::ResNet18)] {
        let Converted { weights, config, .. } = infer(without_module(wrap));
        assert_eq!((config.backbone, &config.motion), (backbone, &None));
        assert_eq!(weights.tensors()["new_fc.weight"].shape, [10, 64, 1]);
        assert!(weights.tensors().contains_key("base_model.layer1.0.conv1.weight"));
        MsNet::load(&CpuBackend::new(), config, weights).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn older_forms_of_msnet_are_named() {
    let set = |checkpoint: &mut Checkpoint, name: &str, shape: &[usize]| {
        let data = TensorData::Float(vec![0.0; shape.iter().product()]);
        checkpoint
            .tensors
            .insert(format!("module.base_model.{name}"), CheckpointTensor { shape: shape.to_vec(), data });
    };
    let mut first_form = from_keys("keys_r18.txt");
    first_form
        .tensors
        .retain(|name, _| !name.contains("flow_refinement") && !name.contains("chnl_reduction"));
    set(&mut first_form, "flow_refinement.conv1.0.weight", &[64, 3, 3, 3]);
    set(&mut first_form, "flow_refinement.conv2.0.weight", &[64, 64, 3, 3]);
    set(&mut first_form, "flow_refinement.conv3.0.weight", &[128, 64, 3, 3]);
    let message = to_msnet(first_form, None, None).unwrap_err().to_string();
    assert!(message.contains("June 2020") && message.contains("plain convolutions"), "{message}");

    let mut no_reduction = from_keys("keys_r18.txt");
    no_reduction.tensors.retain(|name, _| !name.contains("chnl_reduction"));
    let converted = infer(no_reduction);
    assert_eq!(converted.config.motion.unwrap().reduce_channels, None);
    assert!(converted.notes.iter().any(|note| note.contains("October 2020")), "{:?}", converted.notes);

    let mut pos_3 = from_keys("keys_r18.txt");
    set(&mut pos_3, "chnl_reduction.0.weight", &[64, 256, 1, 1]);
    set(&mut pos_3, "flow_refinement.conv4.3.weight", &[256, 64, 1, 1]);
    let converted = infer(pos_3);
    assert_eq!(converted.config.motion.unwrap().stages, ["res4"]);
    assert!(converted.notes.iter().any(|note| note.contains("2021")), "{:?}", converted.notes);
}

#[test]
fn what_is_no_msnet_is_refused() {
    type Change = fn(&mut Checkpoint);
    let cases: [(&str, Change, &str); 4] = [
        (
            "an ImageNet network",
            |c| {
                let names = std::mem::take(&mut c.tensors).into_iter();
                c.tensors = names.map(|(name, t)| (name.replace("module.base_model.", ""), t)).collect();
            },
            "no MSNet or TSM",
        ),
        ("a ResNet-34", |c| add_block(c, "module.base_model.layer1.2."), "[3, 2, 2, 2] basic blocks"),
        ("no classifier", |c| c.tensors.retain(|name, _| !name.contains("new_fc")), "new_fc.weight"),
        (
            "NaN",
            |c| {
                let tensor = c.tensors.get_mut("module.new_fc.bias").unwrap();
                tensor.data = TensorData::Float(vec![f32::NAN; 174]);
            },
            "NaN",
        ),
    ];
    for (what, change, says) in cases {
        let mut checkpoint = from_keys("keys_r18.txt");
        change(&mut checkpoint);
        let message = to_msnet(checkpoint, None, None).expect_err(what).to_string();
        assert!(message.contains(says), "{what}: {message}");
    }
}

fn add_block(checkpoint: &mut Checkpoint, prefix: &str) {
    let tensor =
        CheckpointTensor { shape: vec![64, 64, 3, 3], data: TensorData::Float(vec![0.0; 64 * 64 * 9]) };
    checkpoint.tensors.insert(format!("{prefix}conv1.weight"), tensor);
}

#[test]
fn a_user_s_config_and_labels_win() {
    let case = network("net_tsm_resnet18.safetensors");
    let mut config: Config = infer(checkpoint_of(&case)).config;
    config.backbone = Backbone::ResNet18;
    config.frames = 4;
    let labels: Vec<String> = (0..10).map(|i| format!("action {i}")).collect();
    let converted = to_msnet(checkpoint_of(&case), Some(config.clone()), Some(labels)).unwrap();
    assert_eq!((converted.config.backbone, converted.config.frames), (Backbone::ResNet18, 4));
    assert_eq!(converted.config.id2label[&9], "action 9");
    let message =
        to_msnet(checkpoint_of(&case), Some(config), Some(vec!["one".into()])).unwrap_err().to_string();
    assert!(message.contains("1 labels") && message.contains("10 classes"), "{message}");
}
