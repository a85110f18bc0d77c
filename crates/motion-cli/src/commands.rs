//! The subcommands, one file each. In: parsed options. Out: results written, or an error.

pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod evaluate;
pub(crate) mod forward;
pub(crate) mod maps;
pub(crate) mod synth;
pub(crate) mod train;
