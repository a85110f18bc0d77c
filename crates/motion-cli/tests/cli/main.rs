//! The program from outside, on files made here and, where it is present, on the folder of shared files.

#![allow(clippy::unwrap_used, reason = "what a test's helper cannot unwrap is the test's failure")]

mod bad_input;
mod classify;
mod convert;
mod evaluate;
mod foreign;
mod forward;
mod maps;
mod support;
mod surface;
mod training;
mod videos;
