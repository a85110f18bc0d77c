//! One small face on the vector instructions of every processor: what a kernel is written in, once.

/// Vectors of f32 of one instruction set.
///
/// # Safety
/// Every method may be called only where the instruction set is there ([`Level::available`]), and inside a function
/// compiled for it, or it is slow. Pointers must be good for [`Simd::LANES`] values.
pub(crate) trait Simd {
    /// Values in a vector.
    const LANES: usize;
    type Vector: Copy;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// c - a * b, rounded once or twice.
    unsafe fn neg_mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// a * b + c, rounded once or twice.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The smaller one; `b` where they cannot be compared.
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The larger one; `b` where they cannot be compared.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Whether a value of one equals the other's in the same place.
    unsafe fn any_equal(a: Self::Vector, b: Self::Vector) -> bool;
    /// 2^n, for whole numbers n from -126 to 127.
    unsafe fn power_of_two(n: Self::Vector) -> Self::Vector;
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Plain arithmetic, one value at a time: for processors without anything else, and to test the others against.
    Scalar,
    /// x86-64 with AVX2 and FMA: 8 values.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512F: 16 values.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 64-bit ARM: 4 values.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// WebAssembly: 4 values.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

impl Level {
    /// What this machine has, from the slowest to the fastest.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "some processors have nothing to add")]
        let mut levels = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                levels.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f") {
                    levels.push(Self::Avx512);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        levels.push(Self::Simd128);
        levels
    }

    /// Refuses what this machine has not: its instructions would be the end of the program, or worse.
    pub(crate) fn check(self) {
        assert!(self == Self::best() || Self::available().contains(&self), "this machine has no {self:?}");
    }

    /// Values in a vector.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Scalar => Scalar::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::LANES,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => Simd128::LANES,
        }
    }

    /// The fastest that this machine has, or the one that the environment variable `MOTIONLENS_LEVEL` names instead
    /// (`scalar`, `avx2`, `avx512`, `neon`, `simd128`), so that every path can be tested. It is read once.
    ///
    /// # Panics
    /// Where [`Level::chosen`] is an error: programs ask that first.
    pub fn best() -> Self {
        match Self::chosen() {
            Ok(level) => level,
            Err(message) => panic!("{message}"),
        }
    }

    /// [`Level::best`], or why there is none.
    ///
    /// # Errors
    /// When the environment names what this machine has not.
    pub fn chosen() -> Result<Self, String> {
        static CHOSEN: std::sync::OnceLock<Result<Level, String>> = std::sync::OnceLock::new();
        let choose = || match std::env::var(LEVEL_VARIABLE) {
            Ok(name) => Self::named(&name).map_err(|error| format!("{LEVEL_VARIABLE}: {error}")),
            Err(_) => Ok(Self::available().last().copied().unwrap_or(Self::Scalar)),
        };
        CHOSEN.get_or_init(choose).clone()
    }

    /// The level of this name, if this machine has it.
    ///
    /// # Errors
    /// When it has not.
    pub fn named(name: &str) -> Result<Self, String> {
        let levels = Self::available();
        levels.iter().find(|level| level.name() == name).copied().ok_or_else(|| {
            let names: Vec<&str> = levels.iter().map(|level| level.name()).collect();
            format!("{name:?} is no level of this machine, expected one of {}", names.join(", "))
        })
    }

    /// What it is called in `MOTIONLENS_LEVEL`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => "simd128",
        }
    }
}

/// Names the level that is to run instead of the best.
pub const LEVEL_VARIABLE: &str = "MOTIONLENS_LEVEL";

/// Plain arithmetic.
pub(crate) struct Scalar;

impl Simd for Scalar {
    const LANES: usize = 1;
    type Vector = f32;

    #[inline(always)]
    unsafe fn splat(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: promised by the caller.
        unsafe { *from }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: f32) {
        // SAFETY: promised by the caller.
        unsafe { *to = vector }
    }
    #[inline(always)]
    unsafe fn add(a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    unsafe fn sub(a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    unsafe fn mul(a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: f32, b: f32, c: f32) -> f32 {
        c - a * b
    }
    #[inline(always)]
    unsafe fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    unsafe fn min(a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    unsafe fn max(a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    unsafe fn any_equal(a: f32, b: f32) -> bool {
        a == b
    }
    #[inline(always)]
    unsafe fn power_of_two(n: f32) -> f32 {
        f32::from_bits(((n as i32 + 127) as u32) << 23)
    }
}

/// Writes an implementation in terms of a processor's own functions.
#[allow(unused_macros, reason = "a processor may have none")]
macro_rules! simd {
    ($name:ident, $lanes:expr, $vector:ident, $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident,
     $mul:ident, $mul_add:ident, $neg_mul_add:ident, $min:ident, $max:ident, $any_equal:ident,
     $power_of_two:ident) => {
        /// Vectors of this instruction set; see [`Level`].
        pub(crate) struct $name;

        #[allow(unused_unsafe, reason = "some processors have safe ones")]
        // SAFETY (of all): what the processor's functions ask for, the caller promises.
        impl Simd for $name {
            const LANES: usize = $lanes;
            type Vector = $vector;

            #[inline(always)]
            unsafe fn splat(value: f32) -> $vector {
                unsafe { $splat(value) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> $vector {
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut f32, vector: $vector) {
                unsafe { $store(to.cast(), vector) }
            }
            #[inline(always)]
            unsafe fn add(a: $vector, b: $vector) -> $vector {
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            unsafe fn sub(a: $vector, b: $vector) -> $vector {
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            unsafe fn mul(a: $vector, b: $vector) -> $vector {
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            unsafe fn neg_mul_add(a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $neg_mul_add(a, b, c) }
            }
            #[inline(always)]
            unsafe fn mul_add(a: $vector, b: $vector, c: $vector) -> $vector {
                unsafe { $mul_add(a, b, c) }
            }
            #[inline(always)]
            unsafe fn min(a: $vector, b: $vector) -> $vector {
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            unsafe fn max(a: $vector, b: $vector) -> $vector {
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            unsafe fn any_equal(a: $vector, b: $vector) -> bool {
                unsafe { $any_equal(a, b) }
            }
            #[inline(always)]
            unsafe fn power_of_two(n: $vector) -> $vector {
                unsafe { $power_of_two(n) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::Simd;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn any_equal_256(a: __m256, b: __m256) -> bool {
        _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b)) != 0
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn power_of_two_256(n: __m256) -> __m256 {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn any_equal_512(a: __m512, b: __m512) -> bool {
        _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) != 0
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn power_of_two_512(n: __m512) -> __m512 {
        _mm512_scalef_ps(_mm512_set1_ps(1.0), n)
    }
    simd!(
        Avx2,
        8,
        __m256,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        _mm256_fnmadd_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        any_equal_256,
        power_of_two_256
    );
    simd!(
        Avx512,
        16,
        __m512,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        _mm512_fnmadd_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        any_equal_512,
        power_of_two_512
    );
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use core::arch::aarch64::*;

    use super::Simd;

    /// vfmaq takes the sum first.
    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit ARM has these.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmsq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn any_equal(a: float32x4_t, b: float32x4_t) -> bool {
        // SAFETY: as above.
        unsafe { vmaxvq_u32(vceqq_f32(a, b)) != 0 }
    }
    #[inline(always)]
    unsafe fn power_of_two(n: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)))) }
    }
    simd!(
        Neon,
        4,
        float32x4_t,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vaddq_f32,
        vsubq_f32,
        vmulq_f32,
        mul_add,
        neg_mul_add,
        vminq_f32,
        vmaxq_f32,
        any_equal,
        power_of_two
    );
}
#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
    use core::arch::wasm32::*;

    use super::Simd;

    // One instruction where the engine has relaxed SIMD; `xtask` takes it apart again for engines that have not.
    #[inline(always)]
    unsafe fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        return f32x4_add(f32x4_mul(a, b), c);
    }
    #[inline(always)]
    unsafe fn neg_mul_add(a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_nmadd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        return f32x4_sub(c, f32x4_mul(a, b));
    }
    // x86's order of the operands of min and max, so that one instruction does.
    #[inline(always)]
    unsafe fn min(a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    unsafe fn max(a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    unsafe fn any_equal(a: v128, b: v128) -> bool {
        v128_any_true(f32x4_eq(a, b))
    }
    #[inline(always)]
    unsafe fn power_of_two(n: v128) -> v128 {
        i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(n), i32x4_splat(127)), 23)
    }
    simd!(
        Simd128,
        4,
        v128,
        f32x4_splat,
        v128_load,
        v128_store,
        f32x4_add,
        f32x4_sub,
        f32x4_mul,
        mul_add,
        neg_mul_add,
        min,
        max,
        any_equal,
        power_of_two
    );
}
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(crate) use wasm::Simd128;

/// A piece of work written for any instruction set.
pub(crate) trait Kernel {
    /// Must be `#[inline(always)]`, and so must all that it calls with vectors: only then is it compiled for the set.
    fn run<S: Simd>(self);
}

/// Runs a piece of work compiled for an instruction set.
pub(crate) fn dispatch(level: Level, kernel: impl Kernel) {
    match level {
        Level::Scalar => kernel.run::<Scalar>(),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            #[target_feature(enable = "avx2,fma")]
            fn compiled(kernel: impl Kernel) {
                kernel.run::<Avx2>();
            }
            // SAFETY: whoever packs for a level checks that its instructions are there.
            unsafe { compiled(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn compiled(kernel: impl Kernel) {
                kernel.run::<Avx512>();
            }
            // SAFETY: whoever packs for a level checks that its instructions are there.
            unsafe { compiled(kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run::<Neon>(),
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Level::Simd128 => kernel.run::<Simd128>(),
    }
}

/// Runs plain loops, compiled for the best instructions of this machine: the compiler makes vectors of them. Worth it
/// for loops that only move through memory; whatever computes more is a kernel of its own.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    match Level::best() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            #[target_feature(enable = "avx2,fma")]
            fn compiled<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
            // SAFETY: the machine has these instructions.
            unsafe { compiled(work) }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            #[target_feature(enable = "avx512f,avx2,fma")]
            fn compiled<R>(work: impl FnOnce() -> R) -> R {
                work()
            }
            // SAFETY: the machine has these instructions.
            unsafe { compiled(work) }
        }
        // What the others have is there for every function.
        _ => work(),
    }
}
