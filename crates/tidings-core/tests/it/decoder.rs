//! The decoders' corpus, and a bounded run of changed inputs; `cargo fuzz` goes on from there.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
};

use crate::check::check;

/// Changed inputs of one run.
const ROUNDS: usize = 20_000;
/// Inputs grow by what is put into them: no further than this.
const MAX_BYTES: usize = 64 << 10;

/// What a change puts in besides bytes at random: what JSON and the events are made of.
const WORDS: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"\"id\":",
    b"\"data\":",
    b"\"audience\":{\"users\":[",
    b"\"followers_of\":",
    b"\xff",
    b"\xf0\x9f\x99\x82",
    b"\n\n",
    b"specversion:1.0\n",
    b"\"data_base64\":\"e30=\"",
    b" ",
];

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/decode");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    // The order in which a folder is listed is no part of the seed.
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Shows the input that made the test fail, ready for a file of the corpus.
struct ShowIfItFails<'a>(&'a [u8]);

impl Drop for ShowIfItFails<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

fn check_and_show(input: &[u8]) {
    let _shown = ShowIfItFails(input);
    check(input);
}

/// Numbers from a seed (`SplitMix64`). The core has no use for a library of them.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is above 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

fn change(random: &mut Random, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = random.below(input.len() + 1);
    let end = at + random.below(input.len().min(at + 32) - at + 1);
    match random.below(6) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 => drop(input.drain(at..end)),
        2 => drop(input.splice(at..end, [random.next().to_le_bytes()[0]])),
        3 => drop(input.splice(at..end, random.choose(&WORDS).iter().copied())),
        4 => {
            let again = input[at..end].repeat(1 + random.below(200));
            drop(input.splice(at..at, again));
        }
        _ => {
            let other = random.choose(others);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(MAX_BYTES);
}

#[test]
fn every_input_of_the_corpus_is_an_event_or_an_error() {
    let corpus = corpus();
    assert!(corpus.len() > 30, "the corpus has {} files", corpus.len());
    for input in &corpus {
        check_and_show(input);
    }
}

#[test]
fn changed_inputs_are_events_or_errors() {
    // The standard library seeds each of these differently, at random.
    let seed = RandomState::new().build_hasher().finish();
    println!("seed {seed}");
    let mut random = Random(seed);
    let corpus = corpus();
    for _ in 0..ROUNDS {
        let mut input = random.choose(&corpus).clone();
        for _ in 0..=random.below(5) {
            change(&mut random, &mut input, &corpus);
        }
        check_and_show(&input);
    }
}
