//! Which part of a package a request is for (RFC 9110, 13 and 14). Pure.
//!
//! One range of bytes is answered with that part. Several at once, and ranges that are malformed
//! or in another unit, are ignored, as the RFC allows: the whole package comes.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// 200: everything.
    Whole,
    /// 206: so many bytes from there.
    Part {
        /// The first byte.
        first: u64,
        /// Bytes; at least one.
        length: u64,
    },
    /// 304: the asker has it.
    NotModified,
    /// 412: the asker wants another.
    PreconditionFailed,
    /// 416: it has no such byte.
    NotSatisfiable,
}

/// What a GET with these headers gets of a representation of `size` bytes with the strong entity
/// tag `etag` (its quotes included). Preconditions go first (RFC 9110, 13.2.2).
#[must_use]
pub fn select(headers: &HeaderMap, etag: &str, size: u64) -> Selection {
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, etag, false) {
        return Selection::PreconditionFailed;
    }
    if headers.contains_key(IF_NONE_MATCH) && names(headers, &IF_NONE_MATCH, etag, true) {
        return Selection::NotModified;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Selection::Whole };
    if !if_range_holds(headers, etag) {
        return Selection::Whole;
    }
    range.to_str().ok().and_then(|range| part(range, size)).unwrap_or(Selection::Whole)
}

/// Whether a list of entity tags names this one. `weakly`: a weak tag with the same text does.
fn names(headers: &HeaderMap, header: &HeaderName, etag: &str, weakly: bool) -> bool {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|tag| {
        let weak = tag.strip_prefix("W/").filter(|_| weakly);
        tag == "*" || weak.unwrap_or(tag) == etag
    })
}

/// A validator that is not this very tag (a weak one, a date) does not match: packages carry no
/// `Last-Modified`.
fn if_range_holds(headers: &HeaderMap, etag: &str) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.as_bytes().trim_ascii() == etag.as_bytes(),
        _ => false,
    }
}

/// `bytes=` with one range; `None` where it is to be ignored.
fn part(range: &str, size: u64) -> Option<Selection> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(size);
        return Some(match suffix {
            0 => Selection::NotSatisfiable,
            length => Selection::Part { first: size - length, length },
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Selection::NotSatisfiable);
    }
    Some(Selection::Part { first, length: last.min(size - 1) - first + 1 })
}

/// Digits and nothing else; a number that is too large is as large as can be.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Selection::{NotModified, NotSatisfiable, PreconditionFailed, Whole};
    use super::*;
    use proptest::prelude::*;

    const ETAG: &str = "\"abc\"";

    fn asked(headers: &[(HeaderName, &str)], size: u64) -> Selection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, http::HeaderValue::from_str(value).unwrap());
        }
        select(&map, ETAG, size)
    }

    const fn of(first: u64, length: u64) -> Selection {
        Selection::Part { first, length }
    }

    #[test]
    fn one_range_is_answered_as_the_rfc_says() {
        for (range, due) in [
            ("bytes=0-499", of(0, 500)),
            ("bytes=500-999", of(500, 500)),
            ("bytes=-500", of(9500, 500)),
            ("bytes=9500-", of(9500, 500)),
            ("bytes=0-0", of(0, 1)),
            ("bytes=-1", of(9999, 1)),
            ("bytes=0-", of(0, 10_000)),
            ("bytes=9999-", of(9999, 1)),
            ("bytes=9000-99999999999999999999999999", of(9000, 1000)),
            ("bytes=-99999999999999999999999999", of(0, 10_000)),
            ("Bytes=0-1", of(0, 2)),
            ("bytes= 0-1 ", of(0, 2)),
            ("bytes=10000-", NotSatisfiable),
            ("bytes=99999999999999999999999999-", NotSatisfiable),
            ("bytes=18446744073709551615-18446744073709551615", NotSatisfiable),
            ("bytes=-0", NotSatisfiable),
        ] {
            assert_eq!(asked(&[(RANGE, range)], 10_000), due, "{range}");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=1--2",
            "bytes=0x1-2",
            "bytes=0-1,5-6",
            "bytes=0-,0-,0-,0-",
            "bytes 0-1",
            "items=0-1",
            "bytes=1 - 2",
            "bytes=--1",
            "0-1",
        ] {
            assert_eq!(asked(&[(RANGE, range)], 10_000), Whole, "{range}");
        }
        assert_eq!(asked(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")], 10_000), Whole);
    }

    #[test]
    fn a_range_of_another_package_brings_the_whole_one() {
        let range = (RANGE, "bytes=5-");
        for (tag, due) in [
            ("\"abc\"", of(5, 5)),
            ("\"abd\"", Whole),
            ("W/\"abc\"", Whole),
            ("abc", Whole),
            ("*", Whole),
            ("\"abc\", \"abd\"", Whole),
            ("Sun, 22 Nov 2026 07:00:00 GMT", Whole),
        ] {
            assert_eq!(asked(&[range.clone(), (IF_RANGE, tag)], 10), due, "{tag}");
        }
        let twice = [range.clone(), (IF_RANGE, ETAG), (IF_RANGE, ETAG)];
        assert_eq!(asked(&twice, 10), Whole);
        assert_eq!(asked(&[(RANGE, "bytes=10-"), (IF_RANGE, "\"abd\"")], 10), Whole);
    }

    #[test]
    fn preconditions_go_first() {
        let range = (RANGE, "bytes=5-");
        for (header, value, due) in [
            (IF_MATCH, "\"abc\"", of(5, 5)),
            (IF_MATCH, "*", of(5, 5)),
            (IF_MATCH, "\"x\", \"abc\"", of(5, 5)),
            (IF_MATCH, "\"x\"", PreconditionFailed),
            (IF_MATCH, "W/\"abc\"", PreconditionFailed),
            (IF_NONE_MATCH, "\"abc\"", NotModified),
            (IF_NONE_MATCH, "W/\"abc\"", NotModified),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_NONE_MATCH, "\"x\"", of(5, 5)),
        ] {
            assert_eq!(asked(&[range.clone(), (header, value)], 10), due, "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_outside(range in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0_u64..) {
            if let Selection::Part { first, length } = asked(&[(RANGE, &range)], size) {
                prop_assert!(length > 0);
                prop_assert!(first.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
