//! Gives memory back that is not needed any more: most of what a start touches is never touched again.
//!
//! The program's code is by far the largest part of an idle sidecar. Reading a configuration runs through much of it
//! once, and the kernel maps what lies around with it.

use std::ops::Range;

/// Gives back what reading a configuration took: free memory, and what is mapped of the program. What is needed again
/// is mapped again, from the page cache.
pub(crate) fn settle() {
    trim();
    let function: fn() = settle;
    if let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") {
        program(&smaps, function as usize).into_iter().for_each(unmap);
    }
}

/// Gives free memory back to the system.
pub(crate) fn trim() {
    // musl has no such thing, nor any free memory that it keeps for long.
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A mapping, as smaps has it (`proc_pid_smaps(5)`).
struct Mapping<'a> {
    addresses: Range<usize>,
    permissions: &'a str,
    /// Device and inode; of a file, if the inode is not 0.
    file: (&'a str, &'a str),
    /// Nothing in it is this process' own, in memory or swapped out.
    is_as_the_file: bool,
}

impl<'a> Mapping<'a> {
    fn begin(line: &'a str) -> Option<Self> {
        let (addresses, rest) = line.split_once(' ')?;
        let (from, to) = addresses.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        let mut fields = rest.split_whitespace();
        let (permissions, _, device, inode) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Self {
            addresses: hex(from)?..hex(to)?,
            permissions,
            file: (device, inode),
            is_as_the_file: true,
        })
    }
}

/// Where the program that has something at an address is mapped, as far as each page of it is what its file holds:
/// code and constants, but not what relocations have written to.
fn program(smaps: &str, address: usize) -> Vec<Range<usize>> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        let field = |name| line.strip_prefix(name).map(|value: &str| value.trim() != "0 kB");
        if let Some(is_own) = field("Anonymous:").or(field("Swap:")) {
            if let Some(mapping) = mappings.last_mut() {
                mapping.is_as_the_file &= !is_own;
            }
        } else if let Some(mapping) = Mapping::begin(line) {
            mappings.push(mapping);
        }
    }
    let Some(file) = mappings.iter().find(|it| it.addresses.contains(&address)).map(|it| it.file) else {
        return Vec::new();
    };
    let is_given_back = |it: &Mapping<'_>| {
        it.file == file && file.1 != "0" && it.is_as_the_file && matches!(it.permissions, "r-xp" | "r--p")
    };
    mappings.into_iter().filter(is_given_back).map(|it| it.addresses).collect()
}

fn unmap(part: Range<usize>) {
    let start = std::ptr::without_provenance_mut::<libc::c_void>(part.start);
    // SAFETY: the range is one mapping of a file that can't be written to, and no page of which differs from the file
    // (`program`), so each reads the same when it is mapped again.
    unsafe {
        libc::madvise(start, part.len(), libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d000-55e000 r--p 00000000 fe:00 42   /bin/program
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd mr mw me sd
55e000-560000 r-xp 00001000 fe:00 42   /bin/program
Anonymous:             0 kB
Swap:                  0 kB
560000-561000 r--p 00003000 fe:00 42   /bin/program
Anonymous:             4 kB
Swap:                  0 kB
561000-562000 r--p 00004000 fe:00 42   /bin/program
Anonymous:             0 kB
Swap:                  4 kB
562000-563000 rw-p 00005000 fe:00 42   /bin/program
Anonymous:             0 kB
Swap:                  0 kB
570000-571000 r-xp 00000000 fe:00 43   /lib/other
Anonymous:             0 kB
7f0000-7f1000 r-xp 00000000 00:00 0    [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_what_the_file_holds_is_given_back() {
        assert_eq!(program(SMAPS, 0x55_e123), [0x55_d000..0x55_e000, 0x55_e000..0x56_0000]);
        assert!(program(SMAPS, 0x7f_0000).is_empty());
        assert!(program(SMAPS, 0x10).is_empty());
        assert!(program("", 0x10).is_empty());
    }

    /// KiB of this process that are mapped from files.
    fn of_files() -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let sizes = |name| -> usize {
            let line = smaps.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        sizes("Rss:") - sizes("Anonymous:")
    }

    #[test]
    fn what_was_given_back_is_read_again() {
        let function: fn() = settle;
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let parts = program(&smaps, function as usize);
        assert!(parts.len() >= 2, "code and constants: {parts:?}");
        let page = |at: usize| std::ptr::with_exposed_provenance::<u64>(at);
        let sum = || {
            let pages = parts.iter().flat_map(|part| part.clone().step_by(4096));
            // SAFETY: the pages are mapped for reading.
            pages.fold(0_u64, |sum, at| sum.wrapping_add(unsafe { page(at).read_volatile() }))
        };
        // Every page is touched, so what is missing afterwards was given back.
        let before = sum();
        let all = of_files();
        settle();
        let left = of_files();
        assert!(left < all / 2, "{left} KiB of {all} are mapped still");
        assert_eq!(sum(), before);
    }
}
