//! Cases made of seeds: the same ones in every run.

use std::path::{Path, PathBuf};

/// Longest case, in bytes.
const LENGTH: usize = 4096;

/// Where corpora and dictionaries are.
pub fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A target's seeds, in the order of their names.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = directory().join("corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The words of a dictionary, as libFuzzer has them: a line is `"word"`, in which `\\`, `\"` and `\xHH` stand for
/// bytes; `#` begins a comment.
pub fn words(file: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| word(line).unwrap_or_else(|| panic!("{}: {line}", file.display()))).collect()
}

fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?.bytes();
    let mut out = Vec::new();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'\\' => match rest.next()? {
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            },
            other => other,
        });
    }
    Some(out)
}

/// Each seed as it is, then changed copies of seeds.
pub fn cases(seeds: &[Vec<u8>], words: &[Vec<u8>], count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let changed = std::iter::repeat_with(move || {
        let mut case = random.of(seeds).cloned().unwrap_or_default();
        for _ in 0..=random.below(6) {
            change(&mut case, seeds, words, &mut random);
        }
        case.truncate(LENGTH);
        case
    });
    seeds.iter().cloned().chain(changed).take(count)
}

fn change(case: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[Vec<u8>], random: &mut Random) {
    let at = random.below(case.len() + 1);
    let end = (at + random.below(16)).min(case.len());
    match random.below(8) {
        0 => drop(case.drain(at..end)),
        1 => case.insert(at, random.next() as u8),
        2 if at < case.len() => case[at] ^= 1 << random.below(8),
        3 if at < case.len() => case[at] = random.next() as u8,
        4 => {
            let copy = case[at..end].to_vec();
            let to = random.below(case.len() + 1);
            case.splice(to..to, copy);
        }
        5 => {
            let other = random.of(seeds).cloned().unwrap_or_default();
            let from = random.below(other.len() + 1);
            case.truncate(at);
            case.extend(other.get(from..).unwrap_or_default());
        }
        6 if random.below(2) == 0 => case[at..end].make_ascii_uppercase(),
        _ => {
            let word = random.of(words).cloned().unwrap_or_else(|| vec![0]);
            let end = if random.below(2) == 0 { at } else { end };
            case.splice(at..end, word);
        }
    }
}

/// Xorshift: not random at all, and just as good here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 11) % bound.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}
