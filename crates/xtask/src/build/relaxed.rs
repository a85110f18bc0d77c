//! Relaxed SIMD, as far as an engine has it. In: a module that the compiler made with it. Out: modules that have a * b + c
//! as one instruction, or as a product and a sum, and nothing else of it.

use anyhow::{Context, Result, bail};
use walrus::ir::{
    BinaryOp, Binop, Instr, InstrLocId, InstrSeq, LocalGet, LocalSet, TernOp, TernaryOp, UnaryOp, Unop,
    VisitorMut, dfs_pre_order_mut,
};
use walrus::{LocalId, ModuleConfig, ValType};

/// The module for engines with (`fused`) or without relaxed SIMD.
///
/// With it, the compiler takes minima and maxima whose result it leaves to the engine where one of two is no number. What
/// is no number must stay so, on every engine: they are turned back.
pub(super) fn module(wasm: &[u8], fused: bool) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    config.generate_producers_section(false);
    // Names of functions are a tenth of a download, and a panic names its line without them.
    config.generate_name_section(false);
    let mut module = config.parse(wasm).context("the module that the compiler made")?;
    // Holds c while a and b are multiplied.
    let local = module.locals.add(ValType::V128);
    let mut visitor = Apart { fused, local, other: None };
    for (_, function) in module.funcs.iter_local_mut() {
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut visitor, function, entry);
    }
    if let Some(operation) = visitor.other {
        bail!(
            "the compiler used {operation}, which has no twin outside relaxed SIMD here: add one to relaxed.rs"
        );
    }
    Ok(module.emit_wasm())
}

struct Apart {
    fused: bool,
    local: LocalId,
    /// What could not be replaced.
    other: Option<String>,
}

impl VisitorMut for Apart {
    fn start_instr_seq_mut(&mut self, seq: &mut InstrSeq) {
        let keep: Instr = LocalSet { local: self.local }.into();
        let again = || LocalGet { local: self.local }.into();
        let multiply = || Binop { op: BinaryOp::F32x4Mul }.into();
        let add = || Binop { op: BinaryOp::F32x4Add }.into();
        let mut instructions: Vec<(Instr, InstrLocId)> = Vec::with_capacity(seq.instrs.len());
        for (instruction, place) in seq.instrs.drain(..) {
            let replacement: Vec<Instr> = match &instruction {
                Instr::TernOp(TernOp { op: TernaryOp::F32x4RelaxedMadd | TernaryOp::F32x4RelaxedNmadd })
                    if self.fused =>
                {
                    vec![instruction]
                }
                Instr::TernOp(TernOp { op: TernaryOp::F32x4RelaxedMadd }) => {
                    vec![keep.clone(), multiply(), again(), add()]
                }
                // c - a * b, as -(a * b) + c: the same bits.
                Instr::TernOp(TernOp { op: TernaryOp::F32x4RelaxedNmadd }) => {
                    vec![keep.clone(), multiply(), Unop { op: UnaryOp::F32x4Neg }.into(), again(), add()]
                }
                Instr::Binop(Binop { op }) if let Some(op) = strict(*op) => vec![Binop { op }.into()],
                other => {
                    let name = match other {
                        Instr::TernOp(TernOp { op }) => format!("{op:?}"),
                        Instr::Binop(Binop { op }) => format!("{op:?}"),
                        Instr::Unop(Unop { op }) => format!("{op:?}"),
                        _ => String::new(),
                    };
                    if name.contains("Relaxed") {
                        self.other = Some(name);
                    }
                    vec![instruction]
                }
            };
            instructions.extend(replacement.into_iter().map(|instruction| (instruction, place)));
        }
        seq.instrs = instructions;
    }
}

/// Minima and maxima that every engine computes alike, in the place of those that it need not.
fn strict(op: BinaryOp) -> Option<BinaryOp> {
    match op {
        BinaryOp::F32x4RelaxedMin => Some(BinaryOp::F32x4PMin),
        BinaryOp::F32x4RelaxedMax => Some(BinaryOp::F32x4PMax),
        BinaryOp::F64x2RelaxedMin => Some(BinaryOp::F64x2PMin),
        BinaryOp::F64x2RelaxedMax => Some(BinaryOp::F64x2PMax),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::module as made;

    /// (a, b, c) to the operation with this second byte of two: 0x85 is a * b + c, 0x86 c - a * b.
    fn module(operation: u8) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend([1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b]);
        wasm.extend([3, 2, 1, 0, 7, 5, 1, 1, b'f', 0, 0]);
        wasm.extend([10, 13, 1, 11, 0, 0x20, 0, 0x20, 1, 0x20, 2, 0xfd, operation, 2, 0x0b]);
        wasm
    }

    fn has(wasm: &[u8], instruction: &[u8]) -> bool {
        wasm.windows(instruction.len()).any(|bytes| bytes == instruction)
    }

    #[test]
    fn a_product_and_a_sum_take_the_place_of_one_instruction() {
        let (multiply, add, negate) = ([0xfd, 0xe6, 1], [0xfd, 0xe4, 1], [0xfd, 0xe1, 1]);
        for (operation, negative) in [(0x85, false), (0x86, true)] {
            let fused = made(&module(operation), true).unwrap();
            assert!(has(&fused, &[0xfd, operation, 2]), "{fused:x?}");
            let plain = made(&module(operation), false).unwrap();
            assert!(!has(&plain, &[0xfd, operation, 2]), "{plain:x?}");
            assert!(has(&plain, &multiply) && has(&plain, &add), "{plain:x?}");
            assert_eq!(has(&plain, &negate), negative, "{plain:x?}");
        }
    }

    #[test]
    fn what_has_no_twin_is_named() {
        // f64x2.relaxed_madd
        let message = format!("{:#}", made(&module(0x87), true).unwrap_err());
        assert!(message.contains("F64x2RelaxedMadd"), "{message}");
    }
}
