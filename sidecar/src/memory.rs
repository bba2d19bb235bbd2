//! Gives memory back that is not needed any more: most of what a start touches is never touched again.
//!
//! The program's code is by far the largest part of an idle sidecar. Reading a configuration runs through much of it
//! once, and the kernel maps what lies around with it.

use std::ops::Range;

/// Gives back what reading a configuration took: free memory, and code that may not run again soon. What does run
/// again is mapped again, from the page cache.
pub(crate) fn settle() {
    trim();
    let function: fn() = settle;
    if let Ok(maps) = std::fs::read_to_string("/proc/self/maps")
        && let Some(code) = code(&maps, function as usize)
    {
        unmap(code);
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

/// The mapping of code around an address, if nobody can have written to it.
fn code(maps: &str, address: usize) -> Option<Range<usize>> {
    maps.lines().find_map(|line| {
        let (addresses, rest) = line.split_once(' ')?;
        let (from, to) = addresses.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        let range = hex(from)?..hex(to)?;
        let mut fields = rest.split_whitespace();
        let (permissions, inode) = (fields.next()?, fields.nth(2)?);
        // Of a file: what came from nowhere else could not be read again.
        (range.contains(&address) && permissions == "r-xp" && inode != "0").then_some(range)
    })
}

fn unmap(code: Range<usize>) {
    let start = std::ptr::without_provenance_mut::<libc::c_void>(code.start);
    // SAFETY: the range is one mapping of a file that is never written to, neither by relocations nor by anybody else
    // (`r-xp`), so each of its pages reads the same when it is mapped again.
    unsafe {
        libc::madvise(start, code.len(), libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_a_file_is_given_back() {
        let maps = "\
55d000-55e000 r--p 00000000 fe:00 42   /bin/program
55e000-560000 r-xp 00001000 fe:00 42   /bin/program
560000-561000 r--p 00003000 fe:00 42   /bin/program
561000-562000 rwxp 00004000 fe:00 42   /bin/program
7f0000-7f1000 r-xp 00000000 00:00 0    [vdso]
";
        assert_eq!(code(maps, 0x55_e123), Some(0x55_e000..0x56_0000));
        for not_code in [0x55_d000, 0x56_0000, 0x56_1000, 0x7f_0000, 0x10] {
            assert_eq!(code(maps, not_code), None, "{not_code:x}");
        }
    }

    /// KiB of this process' code that are mapped.
    fn resident(address: usize) -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_ours = false;
        for line in smaps.lines() {
            if let Some((from, rest)) = line.split_once('-')
                && let Ok(from) = usize::from_str_radix(from, 16)
                && let Ok(to) = usize::from_str_radix(rest.split(' ').next().unwrap(), 16)
            {
                is_ours = (from..to).contains(&address);
            } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_ours) {
                return size.trim().trim_end_matches(" kB").parse().unwrap();
            }
        }
        panic!("no mapping at {address:x}")
    }

    #[test]
    fn what_was_given_back_runs_again() {
        let function: fn() = settle;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let code = code(&maps, function as usize).expect("a test is code of a file too");
        // Every page is touched, so what is missing afterwards was given back.
        let page = |at: usize| std::ptr::with_exposed_provenance::<u8>(at);
        // SAFETY: the pages are mapped for reading.
        let sum = || {
            code.clone().step_by(4096).map(|at| u64::from(unsafe { page(at).read_volatile() })).sum::<u64>()
        };
        let before = sum();
        let all = resident(function as usize);
        settle();
        let left = resident(function as usize);
        assert!(left < all / 2, "{left} KiB of {all} are mapped still");
        assert_eq!(sum(), before);
    }
}
