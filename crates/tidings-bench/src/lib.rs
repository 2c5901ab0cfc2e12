//! Load generators and side-by-side runs: every figure in the docs comes from here.
//!
//! A bench runs its contenders in turn, several rounds, so that a slow minute of a shared machine hits
//! all of them, and reports medians. Bare limits and peers are contenders of the same run. What counts
//! is the ratio; absolute rates are written down for orientation. Nothing is asserted on a timing.

pub mod demo;
pub mod graph;
pub mod ingest;
pub mod limit;
pub mod process;
pub mod push;
pub mod realtime;
pub mod recommend;
pub mod report;
