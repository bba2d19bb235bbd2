//! Host names and the patterns that stand for them.

/// Whether `pattern` (exact, or `*.` and a suffix) stands for every name that `name` (likewise) stands for.
pub fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern == name,
        Some(suffix) => {
            let name =
                name.strip_prefix("*.").map_or(name, |rest| if rest == suffix { pattern } else { rest });
            name == pattern
                || name.strip_suffix(suffix).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
        }
    }
}

/// The first of `names` that none of `patterns` covers.
pub fn first_uncovered<'a>(patterns: &[String], names: &'a [String]) -> Option<&'a str> {
    names.iter().find(|name| !patterns.iter().any(|pattern| covers(pattern, name))).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_pattern_covers_names_below_its_suffix_and_nothing_else() {
        for (pattern, name, expected) in [
            ("a.example.com", "a.example.com", true),
            ("a.example.com", "b.example.com", false),
            ("a.example.com", "*.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "b.a.example.com", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "*.a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.example.com", "*.com", false),
            ("*.example.com", ".example.com", false),
            ("*.a.example.com", "*.example.com", false),
        ] {
            assert_eq!(covers(pattern, name), expected, "{pattern} covers {name}");
        }
    }
}
