#!/usr/bin/env python3
"""Checks that every crate Postern is built of may be shipped under Apache-2.0.

Reads the SPDX expression of each dependency from `cargo metadata`, and names
every one that the licences below do not satisfy. `--self-test` tests this file.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Zlib",
}

# Crates under another licence, each with why it may be there.
EXCEPTIONS = {
    ("notify", "CC0-1.0"): "given to the public domain; asks nothing of who ships it",
    ("webpki-root-certs", "CDLA-Permissive-2.0"): "a list of public certificates, as data",
}


class Malformed(Exception):
    """The expression is not SPDX."""


def satisfied(expression, allowed):
    """Whether one can comply with the expression using only allowed licences."""
    # Before 2018 crates wrote "MIT/Apache-2.0" and meant either.
    words = re.findall(r"[()]|[A-Za-z0-9.+-]+", expression.replace("/", " OR "))
    position = 0

    def peek():
        return words[position] if position < len(words) else None

    def take():
        nonlocal position
        word = peek()
        position += 1
        return word

    def single():
        word = take()
        if word == "(":
            value = either()
            if take() != ")":
                raise Malformed(expression)
            return value
        if word in (None, ")", "AND", "OR", "WITH"):
            raise Malformed(expression)
        if peek() == "WITH":
            take()
            word = f"{word} WITH {take()}"
        return word in allowed

    def both():  # AND binds closer than OR
        value = single()
        while peek() == "AND":
            take()
            value = single() and value
        return value

    def either():
        value = both()
        while peek() == "OR":
            take()
            value = both() or value
        return value

    value = either()
    if position != len(words):
        raise Malformed(expression)
    return value


def faults(packages):
    """A line for each dependency that may not be shipped, and each exception of no use."""
    unused = set(EXCEPTIONS)
    for package in packages:
        name, licence = package["name"], package["license"]
        where = f"{name} {package['version']}"
        if not licence:
            yield f"{where} states no licence: find it out, and replace the crate or add it to EXCEPTIONS"
            continue
        own = {allowed for crate, allowed in EXCEPTIONS if crate == name}
        unused -= {(name, licence)}
        try:
            if not satisfied(licence, ALLOWED | own):
                yield f"{where} is under {licence}: replace the crate, or add the licence with a reason"
        except Malformed:
            yield f"{where} states '{licence}', which is no SPDX expression"
    for name, licence in sorted(unused):
        yield f"the exception of {name} for {licence} is not needed: remove it from EXCEPTIONS"


def self_test():
    allowed = {"MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"}
    for expression, expected in {
        "MIT": True,
        "GPL-3.0-only": False,
        "MIT OR GPL-3.0-only": True,
        "MIT AND GPL-3.0-only": False,
        "MIT/GPL-2.0": True,
        "GPL-2.0 / Apache-2.0": True,
        "GPL-2.0 OR MIT AND ISC": True,
        "(GPL-2.0 OR MIT) AND LGPL-2.1": False,
        "ISC AND (Apache-2.0 OR OpenSSL)": True,
        "Apache-2.0 WITH LLVM-exception": True,
        "MIT WITH LLVM-exception": False,
    }.items():
        assert satisfied(expression, allowed) == expected, expression
    for expression in ("", "MIT OR", "(MIT", "MIT ISC", "AND MIT"):
        try:
            satisfied(expression, allowed)
        except Malformed:
            continue
        raise AssertionError(f"accepted: {expression!r}")
    found = list(faults([
        {"name": "a", "version": "1.0.0", "license": "MIT"},
        {"name": "b", "version": "1.0.0", "license": "GPL-3.0-only"},
        {"name": "c", "version": "1.0.0", "license": None},
        *({"name": name, "version": "1.0.0", "license": licence} for name, licence in EXCEPTIONS),
    ]))
    assert [line.split()[0] for line in found] == ["b", "c"], found


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    metadata = json.loads(
        subprocess.run(["cargo", "metadata", "--format-version=1", "--locked"], check=True, capture_output=True).stdout
    )
    packages = metadata["packages"]
    found = list(faults(packages))
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"{len(packages)} crates, each under a licence that Apache-2.0 goes with")


if __name__ == "__main__":
    main()
